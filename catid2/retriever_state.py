"""The folder of a retriever's training state: what may be taken up, and what may be deleted.

It holds `fingerprint`, of the run that it belongs to; `checkpoint-STEP/`, the Trainer's, whole if it has the mark
COMPLETE; and `best/STEP/`, the model that validated best when a checkpoint was taken. A model in `best/` is
kept until a whole checkpoint says that another is better, so a run killed anywhere finds what its newest
whole checkpoint counts on. Only these names are ever deleted.
"""

from __future__ import annotations

import logging
import os
import shutil
from fnmatch import fnmatch
from pathlib import Path

from catid2.artifacts import InputError, atomic

log = logging.getLogger(__name__)

COMPLETE = "complete"  # a file in a checkpoint, written when everything else in it is
FINGERPRINT = "fingerprint"
OWN_NAMES = (FINGERPRINT, "checkpoint-*", "best", ".tmp-*")


class StateFolder:
    """The state of one run. Ranks may all read it; one of them writes.

    Raises:
        InputError: there is something in the folder that no run of ours has put there.
    """

    def __init__(self, path: Path):
        self.path = path
        if path.exists() and not path.is_dir():
            raise InputError(path, "not a folder", "name an empty folder for the checkpoints")
        names = sorted(entry.name for entry in path.iterdir()) if path.is_dir() else []
        foreign = [name for name in names if not any(fnmatch(name, own) for own in OWN_NAMES)]
        # Checkpoints without our mark are another program's: ours is the first thing written.
        if FINGERPRINT not in names:
            foreign = foreign or [name for name in names if not name.startswith(".tmp-")]
        if foreign:
            raise InputError(
                path, f"holds files that are not checkpoints ({foreign[0]})", "name an empty folder"
            )

    def claim(self, fingerprint: str) -> None:
        """Remove another run's state, and checkpoints that a kill left unfinished; mark the folder as this run's."""
        mark = self.path / FINGERPRINT
        if mark.is_file() and mark.read_text() != fingerprint:
            log.info("%s: made with other code, settings or inputs, starting anew", self.path)
            self.remove()
        with atomic(mark) as aside:
            aside.write_text(fingerprint)
        for checkpoint in self.path.glob("checkpoint-*"):
            if not (checkpoint / COMPLETE).exists():
                log.info("%s: not whole, ignored", checkpoint)
                shutil.rmtree(checkpoint)

    def newest(self) -> Path | None:
        """Return the newest whole checkpoint, or None."""
        whole = (mark.parent for mark in self.path.glob(f"checkpoint-*/{COMPLETE}"))
        return max(whole, key=lambda checkpoint: int(checkpoint.name.rsplit("-", 1)[1]), default=None)

    def best(self, step: int) -> Path:
        """Return the folder of the model that validated best at `step`."""
        return self.path / "best" / str(step)

    def seal(self, step: int, best_step: int) -> None:
        """Mark the checkpoint of `step` as whole, and remove the models that it counts no longer as the best."""
        os.sync()  # the mark must not reach the disk before what it stands for
        (self.path / f"checkpoint-{step}" / COMPLETE).touch()
        outdated = [model for model in self.best(best_step).parent.iterdir() if model.name != str(best_step)]
        if outdated:
            os.sync()  # nor after what the checkpoint before counted on is gone
        for model in outdated:
            shutil.rmtree(model)

    def remove(self) -> None:
        """Remove the state, and the folder if nothing else is in it."""
        mark = self.path / FINGERPRINT
        mark.write_text("")  # what a kill leaves of the state must not be taken up
        for name in OWN_NAMES:
            for entry in self.path.glob(name):
                if entry == mark:
                    continue
                if entry.is_dir():
                    shutil.rmtree(entry)
                else:
                    entry.unlink()
        mark.unlink()  # last: without it the rest would look like another program's
        if not any(self.path.iterdir()):
            self.path.rmdir()
