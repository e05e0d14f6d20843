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

from catid2.quantizer.batches import epoch_order
from catid2.quantizer.blocks import block_bounds
from catid2.quantizer.codebooks import Quantized
from catid2.quantizer.contrast import ContrastPlan, plan_contrast
from catid2.quantizer.history import (
    NAN,
    TERMS,
    Row,
    coding_figures,
    find_problem,
    gradient_norms,
    suitable_size,
    summary,
)
from catid2.quantizer.losses import cscl, disl, hccl, quantisation_loss, squared_error
from catid2.quantizer.matrix import Matrix, distinct_rows
from catid2.quantizer.model import RQVAE, architecture
from catid2.runtime.checkpoint import Checkpoints, State, restore_tensors, tensors_of
from catid2.runtime.errors import InputError
from catid2.runtime.progress import Progress
from catid2.runtime.stopping import Stop, deferred_stop
from catid2.training.distributed import (
    Group,
    any_rank,
    gather,
    report_peak_memory,
    saved_state,
    sum_gradients,
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
    """Model, optimiser, data and history of one run."""

    def __init__(
        self, embeddings: np.ndarray, categories: np.ndarray, config: "RqvaeConfig", seed: int, group: Group
    ):
        self.config, self.seed, self.group = config, seed, group
        self.points = distinct_rows(embeddings, 4 * config.codebook_size)
        _require_codes_are_fewer(config.codebook_size, self.points, len(embeddings))
        self.matrix = Matrix(embeddings, group.device)  # (N, D) float16
        self.categories = torch.from_numpy(np.array(categories)).long()  # (N, H), on the CPU
        self.history: list[Row] = []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_seed(seed, 0, Purpose.WEIGHTS))
            self.model = RQVAE(architecture(config, self.matrix.shape[1])).to(group.device)
        if config.standardize == "center":
            self.model.mean.copy_(self.matrix.mean())
        weights = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        matrices = [parameter for parameter in weights if parameter.ndim == 2]
        others = [parameter for parameter in weights if parameter.ndim != 2]  # biases, scales and codebooks
        self.parameters = matrices + others
        self.optimizer = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": config.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=config.learning_rate,
            fused=True,
        )
        self.batches = -(-len(self.matrix) // config.batch_size)  # of an epoch
        if len(self.matrix) // self.batches < group.world_size:
            few = f"a batch has fewer than {group.world_size} documents, one for every rank"
            raise InputError("batch_size", few, "raise it or take fewer ranks")
        self.codes_per_batch = len(self.matrix) / self.batches / config.codebook_size

    def state(self) -> State:
        """Return everything that the next epoch depends on."""
        return State(tensors_of(self.model, self.optimizer), {"history": self.history})

    def restore(self, state: State) -> None:
        """Restore what `state` returned."""
        self.history = state.progress["history"]
        restore_tensors(state.tensors, self.model, self.optimizer)

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
        config = self.config
        together = self.categories[:, min(config.levels, 2) - 1]
        order = epoch_order(together, config.batches, self._generator(epoch, Purpose.BATCHES))
        draws = self._generator(epoch, Purpose.POSITIVES)
        totals = torch.zeros(len(TERMS), device=self.group.device)
        zero = totals.new_zeros(())
        dropped = [0] * config.levels
        norms: dict[str, float] = {}
        self.model.train()
        for index, batch in enumerate(order.tensor_split(self.batches)):
            plans = [] if warmup else self.plans(batch, draws)
            terms, quantized = self._warmup_terms(batch) if warmup else self.terms(batch, plans)
            if index == 0:
                weighted = {name: self._weight(name) * term for name, term in terms.items()}
                norms = gradient_norms(weighted, self.model.encoder.parameters(), self.group)
            rate = self._learning_rate(epoch * self.batches + index)
            self.descend(terms, quantized, rate)
            values = [terms[name].detach() if name in terms else zero for name in TERMS]
            totals += torch.stack(values) * (len(batch) / len(self.matrix))
            for level, plan in enumerate(plans):
                dropped[level] += plan.dropped
        values = dict(zip(TERMS, sum_over_ranks(totals, self.group).tolist(), strict=True))
        loss = sum(self._weight(name) * values[name] for name in terms)
        return (
            {"lr": rate, "loss": loss}
            | {name: values[name] if name in terms else NAN for name in TERMS}
            | {f"gradient_{name}": norm for name, norm in norms.items()}
            | {
                f"dropped_{level + 1}": dropped[level] if level < len(plans) else NAN
                for level in range(config.levels)
            }
        )

    def _weight(self, term: str) -> float:
        config = self.config
        weights = {"commitment": config.mu, "disl": config.alpha, "hccl": config.beta, "cscl": config.gamma}
        return weights.get(term, 1.0)

    def descend(self, terms: dict[str, Tensor], quantized: Quantized | None, rate: float) -> None:
        """Take one step of the optimiser and, with `codebook_update: ema`, of the codebooks."""
        self.optimizer.zero_grad(set_to_none=True)
        sum(self._weight(name) * term for name, term in terms.items()).backward()
        sum_gradients(self.parameters, self.group)
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = rate
        self.optimizer.step()
        if quantized is not None and self.config.codebook_update == "ema":
            self.model.quantizer.follow(quantized, self.group)

    def _warmup_terms(self, batch: Tensor) -> tuple[dict[str, Tensor], None]:
        """Return this rank's share of the loss of a plain auto-encoder on the batch."""
        rows = self.matrix[batch[self.group.shard(len(batch))]]
        with self._precision():
            x = self.model.standardize(rows)
            reconstruction = self.model.decode(self.model.encoder(x))
        error = squared_error(x, reconstruction, self.config.error_reduction, len(batch))
        return {"reconstruction": error}, None

    def terms(self, batch: Tensor, plans: list[ContrastPlan]) -> tuple[dict[str, Tensor], Quantized]:
        """Return this rank's share of every loss with a weight above 0, and the codes that it was computed with."""
        config, group, total = self.config, self.group, len(batch)
        rows = self.matrix[batch]  # (B, D) of all ranks: DisL contrasts with all of them
        with self._precision():
            done = self.model(rows[group.shard(total)], distance_gradient=config.gamma > 0)
        quantisation = quantisation_loss(
            done.x, done.reconstruction, done.quantized, config.error_reduction, total
        )
        terms = {"reconstruction": quantisation.reconstruction, "commitment": quantisation.commitment}
        if config.codebook_update == "gradient":
            terms["codebook"] = quantisation.codebook
        if config.alpha:
            originals = done.x if group.world_size == 1 else self.model.standardize(rows)
            terms["disl"] = disl(
                done.reconstruction,
                originals,
                config.disl_negatives,
                config.disl_similarity,
                config.disl_temperature,
                config.disl_reduction,
                group,
                batched=group.device.type != "cpu",
            )
        if config.beta:
            terms["hccl"] = sum(
                hccl(
                    residual,
                    plan,
                    config.hccl_similarity,
                    config.hccl_temperature,
                    config.hccl_reduction,
                    group,
                )
                for residual, plan in zip(done.quantized.residuals, plans, strict=False)
            )
        if config.gamma:
            terms["cscl"] = cscl(
                done.quantized.distances, config.cscl_scaling, config.cscl_temperature, group, total
            )
        return terms, done.quantized

    def plans(self, batch: Tensor, draws: torch.Generator) -> list[ContrastPlan]:
        """Return a contrast plan for each level that has a layer; none if the weight of HCCL is 0."""
        config = self.config
        if not config.beta:
            return []
        labels = self.categories[batch]
        bounds = torch.tensor(block_bounds(len(batch), config.hccl_negatives))
        blocks = torch.repeat_interleave(bounds.diff())  # 0 0 … 1 1 …
        # A GPU is fastest with few large launches, a CPU with tiles that stay in its cache.
        tile_rows = 128 if self.group.device.type == "cpu" else 2048
        return [
            plan_contrast(
                labels[:, level],
                labels[:, level - 1] if level and config.hccl_hard_negatives else blocks,
                config.hccl_positives,
                draws,
                self.group.device,
                tile_rows,
            )
            for level in range(min(config.levels, config.layers))
        ]

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
        with self._precision():
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

    def _generator(self, epoch: int, purpose: Purpose) -> torch.Generator:
        return torch.Generator().manual_seed(_seed(self.seed, epoch, purpose))

    def _precision(self) -> torch.autocast:
        reduced = self.config.precision == "bfloat16"
        return torch.autocast(self.group.device.type, dtype=torch.bfloat16, enabled=reduced)


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
