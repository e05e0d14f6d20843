"""The training loop of retrievers and the dual encoder: steps, validation, checkpoints, resuming after a kill.

A subclass of Training defines the batches, the validation and what is written. The loop does the rest: several ranks
(DistributedDataParallel), bfloat16, the schedule, micro-batches, clipping, the history, and keeping the weights that
validated best. Its arithmetic is that of Hugging Face's Trainer, which resumes to the same bytes only if private
methods are overridden.

All random numbers depend on (seed, epoch) or on (seed, step, rank), so the state to resume from is the weights, the
optimiser, the best weights so far and the rows of the history. Checkpoints are saved at the end of a step: at a time
interval, after each validation, and when TERM or INT asks the run to stop. On a CPU, training that was stopped or
killed and then resumed gives the same bytes as an uninterrupted one. With other code, other settings or another number
of ranks training starts from scratch; the micro-batch is such a setting, because it changes rounding and dropout.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from catid2.runtime.checkpoint import (
    Checkpoints,
    State,
    restore_tensors,
    restore_weights,
    tensors_of,
    weights_of,
)
from catid2.runtime.complete import list_files
from catid2.runtime.errors import InputError
from catid2.runtime.gpu import send
from catid2.runtime.progress import Progress
from catid2.runtime.stopping import deferred_stop
from catid2.runtime.writing import atomic
from catid2.training.distributed import (
    Group,
    any_rank,
    gather,
    report_peak_memory,
    saved_state,
    wait_for_all,
)
from catid2.training.history import history

if TYPE_CHECKING:
    from catid2.training.examples import EpochBatches

log = logging.getLogger(__name__)

_BEST = "best."  # before the names of the best weights in a state


class TrainingConfig(Protocol):
    """The settings that the loop reads, described in catid2.config. Only `Training.learning_rate` reads `schedule`."""

    epochs: int
    learning_rate: float
    schedule: str
    warmup: float
    weight_decay: float
    clip_norm: float
    bf16: bool
    valid_every: int
    select_by: str


class Training(ABC):
    """Model, optimiser, data and history of one run.

    Args:
        config: schedule and validation.
        model: its forward takes what `batch` returns, and returns the mean loss of this rank's examples.
        batches: the order of the examples.
        seed: of dropout.
        group: this process and its peers.

    Attributes:
        step: number of steps taken.
        rows: rows of history.tsv so far.
        best: the weights that validated best, at step `best_step` with `best_value`; on the first rank, on the CPU.
    """

    def __init__(
        self, config: TrainingConfig, model: nn.Module, batches: EpochBatches, seed: int, group: Group
    ):
        self.config, self.batches, self.seed, self.group = config, batches, seed, group
        self.model = model.to(group.device)
        self.parallel: nn.Module = InBfloat16(model) if reduced(config, group.device) else model
        if group.world_size > 1:  # averages the gradients of the ranks while they are computed
            self.parallel = DistributedDataParallel(self.parallel, broadcast_buffers=False)
        # Biases and the scales of norms do not decay, nor does T5's relative attention bias, although it is a matrix.
        trained = [(name, weights) for name, weights in model.named_parameters() if weights.requires_grad]
        decays = [weights for name, weights in trained if weights.ndim > 1 and "bias" not in name]
        others = [weights for name, weights in trained if weights.ndim <= 1 or "bias" in name]
        groups = [
            {"params": decays, "weight_decay": config.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)
        self.step = 0
        # Sum over the steps of the epoch so far; on the device, so that no step waits for it.
        self.loss = torch.zeros(1, dtype=torch.float64, device=group.device)
        self.norm = torch.zeros(())  # of the last step's gradient
        self.rows: list[dict[str, Any]] = []
        self.best: dict[str, Tensor] = {}
        self.best_step: int | None = None
        self.best_value = -1.0

    # --- what a subclass defines ---------------------------------------------------------------------

    @abstractmethod
    def batch(self, rows: np.ndarray) -> dict[str, Tensor]:
        """Return the arguments of the model's forward for the examples `rows` (n,) of a micro-batch."""

    @abstractmethod
    def validate(self) -> dict[int, float]:
        """Return recall over the held-out queries by cutoff (of CUTOFFS); the same on every rank."""

    @abstractmethod
    def write(self, folder: Path) -> None:
        """Write the model, and everything that belongs to it except the history, to a folder."""

    # --- a run ---------------------------------------------------------------------------------------

    def run(self, checkpoints: Checkpoints, checkpoint_seconds: float, output: Path) -> None:
        """Train to the end, from the saved state of this run if there is one, and write the folder `output`.

        Raises:
            InputError: the training has diverged, or a state cannot be read or written; the last good state is kept.
            SystemExit: 143 (TERM) or 130 (INT), after the state is saved, if any rank was asked to stop.
        """
        wait_for_all(self.group)  # until all ranks have checked the folder: the first one changes it
        state = saved_state(checkpoints, self.group, (_BEST,))
        if state is not None:
            self.restore(state)
            log.info("resuming after %s from %s", self.place(), checkpoints.path)
        self._take_steps(checkpoints, checkpoint_seconds)
        report_peak_memory(self.group)
        if self.group.is_first:
            restore_weights(self.best, self.model)
            with atomic(output) as aside:
                aside.mkdir()
                self.write(aside)
                table = aside / "history.tsv"
                table.write_text(history(self.rows, self.best_step), encoding="utf-8")
                for weights in aside.glob("*.safetensors"):
                    weights.chmod(table.stat().st_mode)  # safetensors' files are readable only by the owner
                list_files(aside)
            checkpoints.remove()
        wait_for_all(self.group)

    def _take_steps(self, checkpoints: Checkpoints, checkpoint_seconds: float) -> None:
        steps, saved_at, examples = self.batches.steps, time.monotonic(), None
        bar = Progress(desc="train", initial=self.step, total=self.config.epochs * steps, unit=" steps")
        with deferred_stop() as stop, bar:
            while self.step < self.config.epochs * steps:
                epoch, step = divmod(self.step, steps)
                if examples is None or not step:
                    examples = self.batches.of_epoch(epoch)
                self.descend(examples[step])
                bar.update()
                validated = step + 1 == steps and self.end_epoch(epoch + 1)
                due = self.group.is_first and time.monotonic() - saved_at >= checkpoint_seconds
                if any_rank(validated or due or stop.requested):
                    self.save(checkpoints)
                    saved_at = time.monotonic()
                    if any_rank(stop.requested):
                        # If a rank exits, torchrun kills the others: not while the first still writes.
                        wait_for_all(self.group)
                        what = f"stopped by {stop.cause} after {self.place()}"
                        log.info("%s, checkpoint saved; run again to resume", what)
                        stop.exit()

    def descend(self, examples: np.ndarray) -> None:
        """Take one step on this rank's `examples` (micro-batches, examples)."""
        # For dropout, which differs between ranks.
        torch.manual_seed(_seed(self.seed, self.step, self.group.rank))
        self.model.train()
        for number, rows in enumerate(examples, start=1):
            batch = {name: send(part, self.group.device) for name, part in self.batch(rows).items()}
            # The ranks exchange gradients only in the last micro-batch of a step.
            waits = self.group.world_size > 1 and number < len(examples)
            with self.parallel.no_sync() if waits else contextlib.nullcontext():
                loss = self.parallel(**batch) / len(examples)
                loss.backward()
            self.loss += loss.detach()
        self.norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = self.learning_rate(self.step)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of a step, by Hugging Face's schedules: the first step of a warm-up has rate 0."""
        config, steps = self.config, self.batches.steps
        total, rise = config.epochs * steps, math.ceil(config.warmup * config.epochs * steps)
        if step < rise:
            return config.learning_rate * (step / rise)
        shares = {
            "cosine": 0.5 * (1 + math.cos(math.pi * ((step - rise) / (total - rise)))),
            "linear": (total - step) / (total - rise),
            "constant_with_warmup": 1.0,
        }
        return config.learning_rate * shares[config.schedule]

    def end_epoch(self, epoch: int) -> bool:
        """Add the row of a finished epoch; validate and keep the best weights if it is time. Return whether it was.

        Raises:
            InputError: the loss or the gradient is not finite.
        """
        config = self.config
        loss = gather(self.loss, self.group.world_size, self.group).mean().item() / self.batches.steps
        self.loss.zero_()
        for name, value in (("loss", loss), ("grad_norm", self.norm.item())):
            if not math.isfinite(value):
                what = f"with {config.learning_rate:g} the {name} of epoch {epoch} is {value}"
                raise InputError("learning_rate", what, "lower learning_rate")
        row = {"epoch": epoch, "step": self.step, "loss": loss}
        row["learning_rate"] = self.learning_rate(self.step - 1)
        last = epoch == config.epochs
        validates = last or epoch % config.valid_every == 0
        if validates:
            self.model.eval()
            row |= {f"recall@{k}": value for k, value in self.validate().items()}
            value = float(last) if config.select_by == "last" else row[config.select_by]
            if value > self.best_value:
                self.best_value, self.best_step = value, self.step
                if self.group.is_first:
                    weights = weights_of(self.model)
                    self.best = {name: part.detach().cpu().clone() for name, part in weights.items()}
        self.rows.append(row)
        told = row | {"grad_norm": self.norm.item()}
        shown = "  ".join(f"{name} {value:.4g}" for name, value in told.items() if name != "epoch")
        log.info("epoch %d/%d  %s", epoch, config.epochs, shown)
        return validates

    # --- its state -----------------------------------------------------------------------------------

    def save(self, checkpoints: Checkpoints) -> None:
        """Save the state. Every rank must call this; the first one writes.

        Raises:
            InputError: the disk is full, or the training has diverged and must not replace the last good state.
        """
        if not all(parameter.isfinite().all() for parameter in self.model.parameters()):
            what = f"with {self.config.learning_rate:g} weights are not finite after {self.place()}"
            raise InputError("learning_rate", what, "lower learning_rate")
        state = self.state()
        if self.group.is_first:
            checkpoints.save(state)

    def state(self) -> State:
        """Return everything that a run needs to resume."""
        best = {f"{_BEST}{name}": part for name, part in self.best.items()}
        progress = {
            "step": self.step,
            "losses": gather(self.loss, self.group.world_size, self.group).tolist(),  # of each rank
            "rows": self.rows,
            "best": [self.best_step, self.best_value],
        }
        return State(tensors_of(self.model, self.optimizer) | best, progress)

    def restore(self, state: State) -> None:
        """Restore what `state` returned."""
        best = {name: part for name, part in state.tensors.items() if name.startswith(_BEST)}
        self.best = {name.removeprefix(_BEST): part for name, part in best.items()}
        rest = {name: part for name, part in state.tensors.items() if name not in best}
        restore_tensors(rest, self.model, self.optimizer)
        progress = state.progress
        self.step, self.rows = progress["step"], progress["rows"]
        self.loss.fill_(progress["losses"][self.group.rank])
        self.best_step, self.best_value = progress["best"]

    def place(self) -> str:
        """Return how far training has come, for the log."""
        return f"step {self.step} (epoch {-(-self.step // self.batches.steps)} of {self.config.epochs})"


def require_own_folder(output: Path, kind: str) -> None:
    """Raise InputError if the folder `output` holds files other than those of a finished training of a `kind`."""
    if output.is_dir() and any(output.iterdir()) and not (output / "history.tsv").is_file():
        raise InputError(output, f"holds files other than those of a trained {kind}", "name an empty folder")


class InBfloat16(nn.Module):
    """A model whose forward and backward pass compute in bfloat16; its weights and their gradients stay float32.

    Under autocast, norms and residual sums, and so the states between them, would be float32.

    Args:
        model: of float32 weights; its forward takes no floating-point tensors.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model
        # One name of each weight per module that has it: a weight or a module may have several (T5's embeddings).
        self._names = [
            (f"{path}.{name}".removeprefix("."), weights)
            for path, module in model.named_modules()
            for name, weights in module.named_parameters(recurse=False)
        ]

    def forward(self, **batch: Tensor) -> Tensor:
        """Return what the model returns."""
        copies = {weights: weights.bfloat16() for weights in self.model.parameters()}
        named = {name: copies[weights] for name, weights in self._names}
        return torch.func.functional_call(self.model, named, kwargs=batch, tie_weights=False)


def reduced(config: TrainingConfig, device: torch.device) -> bool:
    """Return whether to compute in bfloat16: on a GPU if the config says so, never on a CPU."""
    return config.bf16 and device.type == "cuda"


def _seed(*values: int) -> int:
    return int(np.random.SeedSequence(values).generate_state(1, np.uint64)[0])
