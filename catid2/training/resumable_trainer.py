"""Training that survives a kill: Hugging Face's Trainer with our batches, validation and checkpoints.

The Trainer gives the loop, mixed precision, DDP under scripts/launch.py, schedules and checkpoints. Ours are the
batches (a function of seed and epoch alone), the validation (recall over the whole corpus) and what counts as a
checkpoint: only whole ones, of this very run. A subclass says what a batch is, how it validates, and what is saved.

Checkpoints are taken at the end of a step: every so many seconds, after each validation, and when TERM or INT asks
the run to stop (catid2.training.state says what is in their folder). Training that was stopped or killed
anywhere and is started again ends, on a CPU, with the same bytes as one that never was. With other code, other
settings or another number of ranks it starts anew; another micro-batch is another setting, for it changes rounding
and dropout. The Trainer reads its own files in a checkpoint without unpickling anything but tensors and numbers
(torch.load with weights_only).
"""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from safetensors.torch import load_model
from torch.utils.data import DataLoader
from transformers import PreTrainedModel, PrinterCallback, Trainer, TrainingArguments

from catid2.pretrained.loading import holds_more_than_tensors
from catid2.runtime.complete import list_files
from catid2.runtime.errors import InputError
from catid2.runtime.stopping import deferred_stop
from catid2.runtime.tables import read_json, write_json
from catid2.runtime.writing import atomic, require_ownership
from catid2.training.boundaries import Boundaries
from catid2.training.distributed import Group, from_first, gather, wait_for_all
from catid2.training.examples import EpochBatches
from catid2.training.history import history
from catid2.training.state import StateFolder, step_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from catid2.runtime.checkpoint import Fingerprint

log = logging.getLogger(__name__)

VISIBLE_SECONDS = 60.0  # until each node sees what another has written: NFS may cache a folder for so long
LOSSES = "losses.json"  # in a checkpoint: each rank's sum of losses over the epoch's steps so far


class TrainingConfig(Protocol):
    """The settings of a stage that trains with this Trainer; the stage's own model describes them."""

    epochs: int
    learning_rate: float
    schedule: str
    warmup: float
    weight_decay: float
    clip_norm: float
    bf16: bool
    valid_every: int
    select_by: str


def training_arguments(config: TrainingConfig, checkpoints: Path, seed: int) -> TrainingArguments:
    """Return what the Trainer runs with."""
    cpu = not torch.cuda.is_available()
    arguments = TrainingArguments(
        output_dir=str(checkpoints),
        num_train_epochs=config.epochs,
        learning_rate=config.learning_rate,
        lr_scheduler_type=config.schedule,
        weight_decay=config.weight_decay,
        max_grad_norm=config.clip_norm,
        optim="adamw_torch_fused",
        seed=seed,
        bf16=config.bf16 and not cpu,
        use_cpu=cpu,
        ddp_backend="gloo" if cpu and int(os.environ.get("WORLD_SIZE", "1")) > 1 else None,
        ddp_find_unused_parameters=False,
        eval_strategy="no",  # Boundaries says when
        save_strategy="no",
        save_total_limit=None,  # StateFolder removes old checkpoints, when a newer one is whole
        logging_strategy="epoch",
        logging_nan_inf_filter=False,  # it would hide that the loss is NaN
        report_to="none",
        disable_tqdm=not sys.stderr.isatty(),
    )
    if arguments.n_gpu > 1:
        # One process that sees several GPUs would become nn.DataParallel, for which our batches are not made;
        # several GPUs are used under scripts/launch.py.
        arguments._n_gpu = 1
    return arguments


class ResumableTrainer(Trainer):
    """Trainer with our batches, validation and checkpoints.

    Args:
        config: schedule, and when and by what is validated.
        model: its forward takes what `_collate` returns, and returns the loss.
        batches: of this rank.
        arguments: as `training_arguments` returns them.
        folder: for the state of the run.
    """

    def __init__(
        self,
        config: TrainingConfig,
        model: torch.nn.Module,
        batches: EpochBatches,
        arguments: TrainingArguments,
        folder: StateFolder,
    ):
        self.config, self.batches, self.folder = config, batches, folder
        arguments.per_device_train_batch_size = batches.batch_size // batches.parts
        arguments.gradient_accumulation_steps = batches.parts // batches.ranks
        arguments.warmup_steps = math.ceil(config.warmup * config.epochs * batches.steps)
        super().__init__(model=model, args=arguments)
        self.remove_callback(PrinterCallback)
        self.group = Group(arguments.process_index, batches.ranks, arguments.device)
        # The Trainer's own sum is lost between checkpoint and restart. Summed on the device: no step waits for it.
        self.epoch_loss = torch.zeros(1, dtype=torch.float64, device=arguments.device)

    # --- what a subclass says ------------------------------------------------------------------------

    def _collate(self, rows: list[int]) -> dict[str, torch.Tensor]:
        """Return what the model is called with for the examples `rows` of a micro-batch."""
        raise NotImplementedError

    def _validate(self) -> dict[int, float]:
        """Return recall over the held-out queries at those CUTOFFS that are measured; the same on every rank."""
        raise NotImplementedError

    def _pretrained(self) -> PreTrainedModel:
        """Return the Hugging Face model inside the model that is trained: it is what is saved."""
        raise NotImplementedError

    # --- what the Trainer asks for -------------------------------------------------------------------

    def get_train_dataloader(self) -> DataLoader:
        """Return a loader of this rank's micro-batches; not prepared by accelerate, which would shard it again.

        The Trainer resumes within an epoch by leaving out the first batches of the batch sampler.
        """
        rows = range(len(self.batches.examples.text))
        # A generator of its own: the loader draws a number per epoch, and dropout must not notice.
        generator = torch.Generator()
        return DataLoader(rows, batch_sampler=self.batches, collate_fn=self._collate, generator=generator)

    def training_step(self, *arguments: Any, **options: Any) -> torch.Tensor:
        """Do as the Trainer does for a micro-batch, and add its share of the step's loss to the epoch's."""
        loss = super().training_step(*arguments, **options)
        self.epoch_loss += loss
        return loss

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """Return the loss of a micro-batch; all are of one size, so the mean over them is that over the batch."""
        return model(**inputs)

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Log as the Trainer does, on every rank, unless the training has diverged.

        Raises:
            InputError: the loss or the gradient of the epoch is not finite; the last checkpoint is kept.
        """
        if "loss" in logs:
            logs["loss"] = gather(self.epoch_loss, self.group.world_size, self.group).mean().item()
            logs["loss"] /= self.batches.steps
            self.epoch_loss.zero_()
        for name in ("loss", "grad_norm"):
            if not math.isfinite(logs.get(name, 0.0)):
                rate, epoch = self.config.learning_rate, round(self.state.epoch)
                what = f"with {rate:g} the {name} of epoch {epoch} is {logs[name]}"
                raise InputError("learning_rate", what, "lower learning_rate")
        super().log(logs, *args, **kwargs)

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Return validation recall, log it, and keep the model if it is the best so far."""
        metrics = {f"eval_recall@{k}": value for k, value in self._validate().items()}
        self.log(metrics)
        last = round(self.state.epoch) == self.config.epochs
        value = float(last) if self.config.select_by == "last" else metrics[f"eval_{self.config.select_by}"]
        if value > (self.state.best_metric if self.state.best_metric is not None else -1.0):
            self.state.best_metric, self.state.best_global_step = value, self.state.global_step
            if self.args.should_save:
                with atomic(self.folder.best(self.state.global_step)) as aside:
                    self._save(aside)
        return metrics

    def _save(self, output_dir: str | Path | None = None, state_dict: dict | None = None) -> None:
        """Write the Hugging Face model, which knows how tied weights are saved."""
        if self.args.should_save:
            self._pretrained().save_pretrained(output_dir)

    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: torch.nn.Module | None = None
    ) -> None:
        load_model(self._pretrained(), Path(resume_from_checkpoint) / "model.safetensors")
        losses = read_json(Path(resume_from_checkpoint) / LOSSES)
        self.epoch_loss.fill_(losses["epoch"][self.group.rank])

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """Read both on the CPU; Transformers 5.17 cannot on several CPU ranks."""
        if checkpoint is not None:
            for part, name in ((self.optimizer, "optimizer.pt"), (self.lr_scheduler, "scheduler.pt")):
                state = torch.load(Path(checkpoint) / name, map_location="cpu", weights_only=True)
                part.load_state_dict(state)

    def _load_scaler(self, checkpoint: str | None) -> None:
        """Read nothing: bfloat16 needs no scaler, so a file of that name is not ours."""

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        """Save as the Trainer does, and mark the folder when all ranks are done.

        Raises:
            InputError: the folder cannot be written, or the training has diverged and must not replace what is saved.
        """
        require_ownership()  # here, where the peers of a first rank that has lost it wait: they too write nothing more
        step = self.state.global_step
        if not all(parameter.isfinite().all() for parameter in self.model.parameters()):
            what = f"with {self.config.learning_rate:g} weights are not finite after {self.place(step)}"
            raise InputError("learning_rate", what, "lower learning_rate")
        losses = gather(self.epoch_loss, self.group.world_size, self.group).tolist()
        with self.folder.writing(step):
            super()._save_checkpoint(model, trial)
        wait_for_all(self.group)
        if self.args.should_save:
            write_json(self.folder.checkpoint(step) / LOSSES, {"epoch": losses})
            self.folder.seal(step, self.state.best_global_step)

    # --- a run ---------------------------------------------------------------------------------------

    def run(self, fingerprint: Fingerprint, checkpoint_seconds: float) -> None:
        """Train to the end, from the newest whole checkpoint of this run if there is one.

        Raises:
            InputError: as `log` and `_save_checkpoint`, or a checkpoint cannot be read on every rank.
            SystemExit: 143 (TERM) or 130 (INT), when any rank was asked to stop and the state is saved.
        """
        newest = self._newest(fingerprint)
        self.args.output_dir = str(self.folder.path)
        if newest and self.group.is_first:
            log.info("resuming after %s from %s", self.place(step_of(newest)), newest)
        # The Trainer seeds all ranks alike, and each would drop the same units. A checkpoint has each rank's state.
        torch.manual_seed(self.args.seed + self.args.process_index)
        with deferred_stop() as stop:
            self.add_callback(Boundaries(self, checkpoint_seconds, stop))
            try:
                self.train(resume_from_checkpoint=str(newest) if newest else None)
            except Exception as error:
                if newest is None or not holds_more_than_tensors(error):
                    raise
                what = "a .pt or .pth file in it holds more than tensors and numbers, and was not loaded"
                raise InputError(newest, what, "remove the folder and run again") from None

    def _newest(self, fingerprint: Fingerprint) -> Path | None:
        """Return the checkpoint that the first rank takes up, when every rank can read it."""
        fingerprint = json.loads(from_first(json.dumps(fingerprint).encode(), self.group))
        self.folder.enter(fingerprint)
        step = 0
        if self.group.is_first:
            self.folder.claim(fingerprint)
            newest = self.folder.newest()
            step = step_of(newest) if newest else 0
        step = int(from_first(str(step).encode(), self.group))
        if not step:
            return None
        seen = torch.tensor([self.folder.sees(step, VISIBLE_SECONDS)], device=self.group.device)
        blind = (~gather(seen, self.group.world_size, self.group)).nonzero().flatten().tolist()
        if blind:
            what = f"not there for rank {', '.join(map(str, blind))}"
            remedy = "keep the checkpoints on a file system that all nodes share"
            raise InputError(self.folder.checkpoint(step), what, remedy)
        return self.folder.checkpoint(step)

    def place(self, step: int) -> str:
        """Return how far training is after `step`, for the log."""
        return f"step {step} (epoch {-(-step // self.batches.steps)} of {self.config.epochs})"

    def history(self) -> str:
        """Return history.tsv of the log (catid2.training.history)."""
        epochs: dict[int, dict[str, Any]] = {}
        for entry in self.state.log_history:
            number = round(entry["epoch"])
            values = {name.removeprefix("eval_"): value for name, value in entry.items()}
            epochs.setdefault(number, {}).update(values | {"epoch": number})
        return history([row for _, row in sorted(epochs.items())], self.state.best_global_step)


def write_trained(output: Path, best: Path, tokenizer: PreTrainedTokenizerBase, history: str) -> None:
    """Write a folder with model, tokenizer and history.tsv, whole or not at all."""
    with atomic(output) as aside:
        aside.mkdir()
        for file in best.iterdir():
            shutil.copyfile(file, aside / file.name)  # not the mode: safetensors lets only the owner read
        tokenizer.save_pretrained(aside)
        (aside / "history.tsv").write_text(history, encoding="utf-8")
        list_files(aside)
