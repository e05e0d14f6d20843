"""Training of the RQ-VAE: auto-encoder warm-up, k-means, the four losses, history, exact resume.

Every random draw uses a generator made from (seed, epoch, purpose), so the state to resume from is only weights,
optimiser and history. A batch is an index of rows of the embedding matrix (catid2.quantizer.matrix).
"""

import logging
import math
import time
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from catid2.quantizer.batches import deal, epoch_order
from catid2.quantizer.dense import DenseStep
from catid2.quantizer.history import (
    NAN,
    TERMS,
    Row,
    coding_figures,
    find_problem,
    suitable_size,
    summary,
)
from catid2.quantizer.matrix import Matrix, distinct_rows
from catid2.quantizer.model import RQVAE, architecture
from catid2.quantizer.step import Step, autocast
from catid2.runtime.checkpoint import Checkpoints, State, restore_tensors, tensors_of
from catid2.runtime.errors import InputError
from catid2.runtime.gpu import send
from catid2.runtime.progress import Progress
from catid2.runtime.stopping import Stop, deferred_stop
from catid2.training.distributed import (
    Group,
    any_rank,
    gather,
    report_peak_memory,
    saved_state,
    sum_over_ranks,
    wait_for_all,
)

if TYPE_CHECKING:
    from catid2.config.rqvae import RqvaeConfig

logger = logging.getLogger(__name__)


class Purpose(IntEnum):
    """What a generator is used for, so that no two uses in an epoch share random numbers."""

    WEIGHTS = 0
    BATCHES = 1
    POSITIVES = 2
    KMEANS = 3
    REVIVAL = 4


class Trained(NamedTuple):
    """A trained model, on the CPU, and a row of figures per epoch."""

    model: RQVAE
    history: list[Row]


def train(
    embeddings: np.ndarray,
    categories: np.ndarray,
    config: "RqvaeConfig",
    seed: int,
    group: Group,
    checkpoints: Checkpoints,
    checkpoint_seconds: float = 60.0,
) -> Trained:
    """Train an RQ-VAE, resuming from the newest checkpoint of the same run.

    On the CPU a resumed run gives the same result as an uninterrupted one. On TERM or INT training saves at the end of
    the epoch, which is soon enough: at the size of ESCI us an epoch takes 2 seconds on a GPU and 20 on two CPU cores.

    Args:
        embeddings: (N, D) float16.
        categories: (N, ≥ H) category ids per level, coarse to fine; a category has one parent.
        config: the stage's settings.
        seed: of weights, batches, k-means and drawn positives.
        group: this process among its peers; every rank passes the same data.
        checkpoints: storage of the state; only the first rank uses it.
        checkpoint_seconds: least time between two saves, in seconds.

    Raises:
        InputError: there are more codes than different embeddings; the loss is not finite; a layer has collapsed and
            the config says to stop; a batch has fewer documents than there are ranks; a checkpoint cannot be written.
        SystemExit: 143 (TERM) or 130 (INT), after the state is saved, if any rank was asked to stop.
    """
    training = Training(embeddings, categories, config, seed, group)
    state = saved_state(checkpoints, group)
    if state is not None:
        training.restore(state)
        done = len(training.history)
        logger.info("resuming after epoch %d of %d from %s", done, config.epochs, checkpoints.path)
    with deferred_stop() as stop:
        _run(training, checkpoints, checkpoint_seconds, stop)
    training.step.close()
    report_peak_memory(group)
    return Trained(training.model.cpu().eval(), training.history)


def _run(training: "Training", checkpoints: Checkpoints, checkpoint_seconds: float, stop: Stop) -> None:
    """Train the remaining epochs; save when a save is due, and when a rank was asked to stop."""
    config, group = training.config, training.group
    saved_epochs, saved_at = len(training.history), time.monotonic()
    epochs = range(saved_epochs, config.epochs)
    for epoch in Progress(epochs, desc="train", initial=saved_epochs, total=config.epochs, unit=" epochs"):
        started = time.monotonic()
        row = training.run_epoch(epoch)
        logger.info("epoch %d, %.2f s: %s", epoch + 1, time.monotonic() - started, summary(row))
        problem = find_problem(row, config, training.points)
        if problem:
            if problem.fatal:
                kept = f"the last good checkpoint is of epoch {saved_epochs}, {checkpoints.path}"
                remedy = f"{problem.remedy}; {kept if saved_epochs else 'no checkpoint had been saved'}"
                raise InputError(f"epoch {epoch + 1}", problem.text, remedy)
            logger.warning("epoch %d: %s", epoch + 1, problem.text)
        # The first epoch with codes is always saved: after a collapse at least that one is left.
        due = time.monotonic() - saved_at >= checkpoint_seconds or epoch == config.warmup_epochs
        stopping = any_rank(stop.requested)
        if group.is_first and (due or stopping):
            checkpoints.save(training.state())
            saved_epochs, saved_at = epoch + 1, time.monotonic()
        if stopping:
            # If a rank exits, torchrun kills the others: not while the first still writes.
            wait_for_all(group)
            place = f"epoch {epoch + 1} of {config.epochs}"
            logger.info("stopped by %s after %s, checkpoint saved; run again to resume", stop.cause, place)
            stop.exit()


class Training:
    """Model, data and history of one run.

    Args:
        embeddings, categories, config, seed, group: as in `train`.
        dense: whether to train with DenseStep, on batches of one size; by default on a GPU.
    """

    def __init__(
        self,
        embeddings: np.ndarray,
        categories: np.ndarray,
        config: "RqvaeConfig",
        seed: int,
        group: Group,
        dense: bool | None = None,
    ):
        self.config, self.seed, self.group = config, seed, group
        self.points = distinct_rows(embeddings, 4 * config.codebook_size)
        _require_codes_are_fewer(config.codebook_size, self.points, len(embeddings))
        self.matrix = Matrix(embeddings, group.device)  # (N, D) float16
        self.categories = torch.from_numpy(np.array(categories)).long()  # (N, H), on the CPU
        self.labels = self.categories.to(group.device)  # the same, where steps read them
        self.history: list[Row] = []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_seed(seed, 0, Purpose.WEIGHTS))
            self.model = RQVAE(architecture(config, self.matrix.shape[1])).to(group.device)
        if config.standardize == "center":
            self.model.mean.copy_(self.matrix.mean())
        self.batches = -(-len(self.matrix) // config.batch_size)  # of an epoch
        smallest = len(self.matrix) // self.batches
        if smallest < group.world_size:
            few = f"a batch has fewer than {group.world_size} documents, one for every rank"
            raise InputError("batch_size", few, "raise it or take fewer ranks")
        self.codes_per_batch = len(self.matrix) / self.batches / config.codebook_size
        self.dense = group.device.type != "cpu" if dense is None else dense
        self.step = (
            DenseStep(self.model, config, group, smallest) if self.dense else Step(self.model, config, group)
        )

    def state(self) -> State:
        """Return everything that the next epoch depends on."""
        return State(tensors_of(self.model, self.step.optimizer), {"history": self.history})

    def restore(self, state: State) -> None:
        """Restore what `state` returned."""
        self.history = state.progress["history"]
        restore_tensors(state.tensors, self.model, self.step.optimizer)

    def run_epoch(self, epoch: int) -> Row:
        """Train one epoch; return its figures and append them to the history."""
        warmup = epoch < self.config.warmup_epochs
        if epoch == self.config.warmup_epochs:
            self.initialise_codebooks(epoch)
        row: Row = {"epoch": epoch + 1, "warmup": int(warmup)}
        row |= self._train_epoch(epoch, warmup)
        if warmup:
            row |= coding_figures(None, self.config)
        else:
            codes = self._corpus_codes()
            row |= coding_figures(codes, self.config)
            if self.config.revive_dead_codes and epoch + 1 < self.config.epochs:
                self._revive(codes, epoch)
        self.history.append(row)
        return row

    def _train_epoch(self, epoch: int, warmup: bool) -> Row:
        config, device = self.config, self.group.device
        batches = self.batches_of(epoch)
        trained = sum(map(len, batches))
        draws = self._generator(epoch, Purpose.POSITIVES, device)
        totals = torch.zeros(len(TERMS), device=device)
        zero = totals.new_zeros(())
        dropped: list[int | Tensor] = [0] * config.levels
        norms: dict[str, float] = {}
        self.model.train()
        for index, batch in enumerate(batches):
            rows, labels = self.matrix[batch], self.labels[send(batch, device)]
            rate = self._learning_rate(epoch * self.batches + index)
            taken = self.step.take(rows, labels, draws, rate, warmup, measured=index == 0)
            # Read at once, because the next step may write to the same tensors.
            norms |= {name: float(norm) for name, norm in taken.norms.items()}
            values = [taken.terms.get(name, zero) for name in TERMS]
            totals += torch.stack(values) * (len(batch) / trained)
            for level, count in enumerate(taken.dropped):
                dropped[level] += count
        values = dict(zip(TERMS, sum_over_ranks(totals, self.group).tolist(), strict=True))
        loss = sum(self.step.weight(name) * values[name] for name in taken.terms)
        return (
            {"lr": rate, "loss": loss}
            | {name: values[name] if name in taken.terms else NAN for name in TERMS}
            | {f"gradient_{name}": norm for name, norm in norms.items()}
            | {
                f"dropped_{level + 1}": int(dropped[level]) if level < len(taken.dropped) else NAN
                for level in range(config.levels)
            }
        )

    def batches_of(self, epoch: int) -> tuple[Tensor, ...]:
        """Return the documents of each batch of an epoch, counted from 0; nothing but the seed decides them."""
        together = self.categories[:, min(self.config.levels, 2) - 1]
        order = epoch_order(together, self.config.batches, self._generator(epoch, Purpose.BATCHES))
        return deal(order, self.batches, self.dense)

    def _learning_rate(self, step: int) -> float:
        config = self.config
        if step < config.rise_steps:
            return config.learning_rate * (step + 1) / config.rise_steps
        if config.schedule == "constant":
            return config.learning_rate
        steps = self.batches * config.epochs
        done = (step - config.rise_steps) / max(1, steps - config.rise_steps)
        return config.learning_rate * 0.5 * (1 + math.cos(math.pi * done))

    @torch.no_grad()
    def _latents(self, rows: Tensor) -> Tensor:
        """Return the (n, d) latents of the documents `rows` (n,) on every rank; each rank computes a share."""
        self.model.eval()
        own = rows[self.group.shard(len(rows))]
        with autocast(self.config, self.group):
            parts = [self.model.encode(self.matrix[part]) for part in own.split(8192)]
        return gather(torch.cat(parts), len(rows), self.group)

    def _corpus_codes(self) -> np.ndarray:
        """Return the (N, L) int32 codes of the corpus, computed part by part."""
        codes = np.empty((len(self.matrix), self.config.layers), np.int32)
        for part in torch.arange(len(codes)).split(65_536):
            with torch.no_grad():
                codes[part[0] : part[-1] + 1] = self.model.quantizer(self._latents(part)).codes.cpu()
        return codes

    def _sample_latents(self, generator: torch.Generator) -> Tensor:
        order = torch.randperm(len(self.matrix), generator=generator)
        return self._latents(order[: self.config.kmeans_documents])

    def initialise_codebooks(self, epoch: int) -> None:
        generator = self._generator(epoch, Purpose.KMEANS)
        z = self._sample_latents(generator)
        self.model.quantizer.initialise(z, self.codes_per_batch, generator)

    def _revive(self, codes: np.ndarray, epoch: int) -> None:
        unused = np.stack(
            [np.bincount(column, minlength=self.config.codebook_size) == 0 for column in codes.T]
        )
        if unused.any():
            generator = self._generator(epoch, Purpose.REVIVAL)
            z = self._sample_latents(generator)
            self.model.quantizer.revive(
                z, torch.from_numpy(unused).to(z.device), self.codes_per_batch, generator
            )

    def _generator(self, epoch: int, purpose: Purpose, device: torch.device | str = "cpu") -> torch.Generator:
        return torch.Generator(device).manual_seed(_seed(self.seed, epoch, purpose))


def _require_codes_are_fewer(codes: int, points: int, documents: int) -> None:
    if points >= codes:
        return
    what = f"{codes} codes a layer for {documents} documents"
    if points < documents:
        what += f" that have {points} different embeddings"
    remedy = f"set it to {suitable_size(points)} or less" if points > 1 else "check the template of the view"
    raise InputError("rqvae.codebook_size", what, remedy)


def _seed(seed: int, epoch: int, purpose: Purpose) -> int:
    return int(np.random.SeedSequence((seed, epoch, purpose)).generate_state(1, np.uint64)[0])
