"""What happens between the steps and epochs of training: validation, checkpoints, an end when asked."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from catid2.runtime.stopping import Stop
from catid2.training.distributed import any_rank

if TYPE_CHECKING:
    from transformers import TrainerControl, TrainerState

    from catid2.training.resumable_trainer import ResumableTrainer

log = logging.getLogger(__name__)


class Boundaries(TrainerCallback):
    """Say when the Trainer validates and saves, and end the run if it is asked to stop.

    Validation is every `valid_every` epochs and after the last, with a checkpoint. Within an epoch a checkpoint is
    taken when one is due by time, which the first rank's clock says, or when any rank is asked to stop. The state at
    the last step of an epoch is saved when the epoch is logged and validated: resuming there would leave that out.
    """

    def __init__(self, trainer: ResumableTrainer, checkpoint_seconds: float, stop: Stop):
        self.trainer, self.checkpoint_seconds, self.stop = trainer, checkpoint_seconds, stop
        self.config, self.batches = trainer.config, trainer.batches
        self.saved_at = time.monotonic()

    def on_epoch_begin(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Set the epoch, counted by steps, so that a resumed run draws the batches it would have drawn."""
        self.batches.epoch = state.global_step // self.batches.steps

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Ask for a checkpoint within the epoch."""
        if state.global_step % self.batches.steps:
            control.should_save = self._save_now()

    def on_epoch_end(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Ask for validation and a checkpoint."""
        epoch = round(state.epoch)
        control.should_evaluate = epoch % self.config.valid_every == 0 or epoch == self.config.epochs
        control.should_save = control.should_evaluate or self._save_now()

    def on_save(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """End the run after a checkpoint if any rank is asked to stop, also if that was during validation."""
        self.saved_at = time.monotonic()
        if any_rank(self.stop.requested):
            if state.is_world_process_zero:
                place = self.trainer.place(state.global_step)
                log.info(
                    "stopped by %s after %s, checkpoint saved; run again to go on", self.stop.cause, place
                )
            self.stop.exit()

    def _save_now(self) -> bool:
        """Return whether to save, the same on every rank: one byte between the processors, and no wait for a GPU."""
        first = self.trainer.group.is_first
        due = first and time.monotonic() - self.saved_at >= self.checkpoint_seconds
        return any_rank(due or self.stop.requested)

    def on_log(self, args: Any, state: TrainerState, control: TrainerControl, logs: dict, **_: Any) -> None:
        """Write losses and recalls to the log of the script."""
        if state.is_world_process_zero and "train_runtime" not in logs:
            values = "  ".join(
                f"{name.removeprefix('eval_')} {value:.4g}" for name, value in logs.items() if name != "epoch"
            )
            log.info("epoch %d/%d  %s", round(logs["epoch"]), self.config.epochs, values)
