"""The folder of a retriever's training state: what may be taken up, and what may be deleted.

It holds `fingerprint`, of the run that it belongs to; `checkpoint-STEP/`, the Trainer's, whole if it has the mark
COMPLETE; and `best/STEP/`, the model that validated best when a checkpoint was taken. The mark names the best model
and the sha256 of every file that the checkpoint counts on, so that a damaged one is not taken up. The two newest
checkpoints are kept, and a model in `best/` as long as one of them counts on it: a run killed anywhere finds all
that its newest whole checkpoint needs. Only these names are ever deleted.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

from catid2.artifacts import write_json
from catid2.errors import InputError
from catid2.writing import atomic, needs_room, require_ownership

log = logging.getLogger(__name__)

COMPLETE = "complete"  # a file in a checkpoint, written when everything else in it is
KEPT = 2  # checkpoints, so that there is another one if the newest gets damaged
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
        """Mark the folder as this run's; remove another run's state, and checkpoints that are unfinished or damaged."""
        require_ownership()
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
        for checkpoint in self._whole():
            damaged = self._damaged(checkpoint)
            if damaged is not None:
                log.warning("%s: not as it was saved (%s), ignored", checkpoint, damaged)
                _discard(checkpoint)

    def newest(self) -> Path | None:
        """Return the newest whole checkpoint, or None."""
        return next(iter(self._whole()), None)

    def checkpoint(self, step: int) -> Path:
        """Return the folder of the checkpoint after `step`."""
        return self.path / f"checkpoint-{step}"

    def best(self, step: int) -> Path:
        """Return the folder of the model that validated best at `step`."""
        return self.path / "best" / str(step)

    @contextlib.contextmanager
    def writing(self, step: int) -> Iterator[None]:
        """Write the checkpoint of `step` in the block; if that fails, leave no part of it on the disk.

        Raises:
            InputError: the disk is full, or another process has taken over.
        """
        require_ownership()
        try:
            with needs_room(self.checkpoint(step)):
                yield
        except BaseException:
            require_ownership()  # a process that has taken over removes what it finds: say that, and leave it the rest
            shutil.rmtree(self.checkpoint(step), ignore_errors=True)
            raise

    def seal(self, step: int, best_step: int | None) -> None:
        """Mark the checkpoint of `step` as whole; remove older ones, and models that none counts as the best any more.

        Args:
            step: after which the checkpoint was taken.
            best_step: of the model that has validated best so far; None before the first validation.
        """
        folders = [self.checkpoint(step), *([] if best_step is None else [self.best(best_step)])]
        files = sorted(file for folder in folders for file in folder.rglob("*") if file.is_file())
        digests = {file.relative_to(self.path).as_posix(): _sha256(file) for file in files}
        os.sync()  # the mark must not reach the disk before what it stands for
        write_json(self.checkpoint(step) / COMPLETE, {"best_step": best_step, "files": digests})
        whole = self._whole()
        kept = {self.best(best) for best in map(_best_step, whole[:KEPT]) if best is not None}
        outdated = [model for model in self.path.glob("best/*") if model not in kept]
        if outdated or whole[KEPT:]:
            os.sync()  # nor after what the checkpoint before counted on is gone
        for checkpoint in whole[KEPT:]:
            _discard(checkpoint)
        for model in outdated:
            shutil.rmtree(model)

    def remove(self) -> None:
        """Remove the state, and the folder if nothing else is in it."""
        require_ownership()
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

    def _whole(self) -> list[Path]:
        """Return the checkpoints that are marked as whole, newest first."""
        whole = [mark.parent for mark in self.path.glob(f"checkpoint-*/{COMPLETE}")]
        return sorted(whole, key=lambda checkpoint: int(checkpoint.name.rsplit("-", 1)[1]), reverse=True)

    def _damaged(self, checkpoint: Path) -> str | None:
        """Return which file of a marked checkpoint is missing or has changed, or None if it is as it was saved."""
        try:
            digests = json.loads((checkpoint / COMPLETE).read_text(encoding="utf-8"))["files"]
        except (OSError, ValueError, TypeError, KeyError):
            return COMPLETE
        for name, digest in digests.items():
            try:
                if _sha256(self.path / name) != digest:
                    return name
            except OSError as error:
                return f"{name}: {error.strerror}"
        return None


def _best_step(checkpoint: Path) -> int | None:
    return json.loads((checkpoint / COMPLETE).read_text(encoding="utf-8"))["best_step"]


def _discard(checkpoint: Path) -> None:
    """Remove a checkpoint, its mark first: a kill leaves it unfinished, not damaged."""
    (checkpoint / COMPLETE).unlink()
    shutil.rmtree(checkpoint)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
