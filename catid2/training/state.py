"""The folder of a retriever's training state: what may be taken up, and what may be deleted.

A run has a folder of its own in it (catid2.runtime.checkpoint.Runs). That holds `checkpoint-STEP/`, the Trainer's,
whole if it has the mark COMPLETE; and `best/STEP/`, the model that validated best when a checkpoint was taken. The
mark names the best model and the sha256 of every file that the checkpoint counts on, so that a damaged one is not taken
up. The two newest checkpoints are kept, and a model in `best/` as long as one of them counts on it: a run killed
anywhere finds all that its newest whole checkpoint needs. Only these names are ever deleted, and nothing because it
cannot be read at the moment.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from catid2.runtime.checkpoint import Fingerprint, Runs
from catid2.runtime.contents import file_sha256
from catid2.runtime.errors import unreadable
from catid2.runtime.tables import write_json
from catid2.runtime.writing import aside_pattern, flush, needs_room, require_ownership

log = logging.getLogger(__name__)

COMPLETE = "complete"  # a file in a checkpoint, written when everything else in it is
KEPT = 2  # checkpoints, so that there is another one if the newest gets damaged
_STEP = "[0-9]+"
_CHECKPOINT = re.compile(f"checkpoint-{_STEP}")
_MODEL = re.compile(f"{_STEP}|{aside_pattern(_STEP)}")
_FILES = f"{_CHECKPOINT.pattern}/.*|best/(({_MODEL.pattern})/.*)?"  # relative to a run's folder


class _Mark(NamedTuple):
    """What COMPLETE says of its checkpoint."""

    best_step: int | None  # of the model that had validated best
    files: dict[str, str]  # name relative to the state's folder → sha256


class StateFolder:
    """The state of one run. Ranks may all read it; one of them writes.

    Args:
        folder: of the stage's checkpoints.

    Raises:
        InputError: there is something in the folder that no run of ours has put there; or, from any method, a file
            is there but cannot be read.
    """

    def __init__(self, folder: Path):
        self._runs = Runs(folder, _FILES)
        self.path = folder  # from `enter` on that of the run

    def enter(self, fingerprint: Fingerprint) -> None:
        """Say which run this is."""
        self.path = self._runs.folder_of(fingerprint)

    def claim(self, fingerprint: Fingerprint) -> None:
        """Enter the run's folder, and remove checkpoints from it that are unfinished or damaged."""
        self.enter(fingerprint)
        self._runs.begin(fingerprint)
        whole = self._whole()
        for checkpoint in self._checkpoints():
            if checkpoint not in whole:
                log.info("%s: not whole, removed", checkpoint)
                shutil.rmtree(checkpoint)
        for checkpoint in whole:
            damaged = self._damaged(checkpoint)
            if damaged is not None:
                log.warning("%s: not as it was saved (%s), removed", checkpoint, damaged)
                _discard(checkpoint)

    def newest(self) -> Path | None:
        """Return the newest whole checkpoint, or None."""
        return next(iter(self._whole()), None)

    def sees(self, step: int, seconds: float) -> bool:
        """Return whether the whole checkpoint of `step` can be read here, at the latest after so many seconds.

        On a network file system a node may see for a while what another one has changed long ago.
        """
        end = time.monotonic() + seconds
        while _read(self.checkpoint(step) / COMPLETE) is None:
            if time.monotonic() > end:
                return False
            time.sleep(0.5)
        return True

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
        digests = self._digests_of_best(best_step)
        folders = [self.checkpoint(step)]
        if best_step is not None and not digests:
            folders.append(self.best(best_step))
        inside = [path for folder in folders for path in folder.rglob("*")]
        digests |= {self._name(path): file_sha256(path) for path in sorted(inside) if path.is_file()}
        # The mark must not reach the disk before what it stands for. (os.sync would wait for every disk of the node.)
        for path in {*inside, *folders, *(folder.parent for folder in folders), self.path}:
            flush(path)
        write_json(self.checkpoint(step) / COMPLETE, {"best_step": best_step, "files": digests})
        flush(self.checkpoint(step))  # before what the checkpoint before counted on is gone
        require_ownership()
        whole = self._whole()
        for checkpoint in whole[KEPT:]:
            _discard(checkpoint)
        kept = {str(_read_mark(checkpoint).best_step) for checkpoint in whole[:KEPT]}
        for model in self.path.glob("best/*"):
            if model.name not in kept and _MODEL.fullmatch(model.name):
                shutil.rmtree(model)

    def remove(self) -> None:
        """Remove the state, that of other runs, and the folder if nothing else is in it."""
        require_ownership()
        for mark in self._runs.folder.glob(f"*/checkpoint-*/{COMPLETE}"):
            mark.unlink()  # first: what a kill leaves of the state must not be taken up
        self._runs.remove()

    def _name(self, path: Path) -> str:
        return path.relative_to(self.path).as_posix()

    def _checkpoints(self) -> list[Path]:
        """Return the checkpoints, newest first."""
        found = [path for path in self.path.glob("checkpoint-*") if _CHECKPOINT.fullmatch(path.name)]
        return sorted(found, key=step_of, reverse=True)

    def _whole(self) -> list[Path]:
        """Return the checkpoints that are marked as whole, newest first."""
        return [path for path in self._checkpoints() if _read(path / COMPLETE) is not None]

    def _digests_of_best(self, step: int | None) -> dict[str, str]:
        """Return what the newest checkpoint has noted of the best model; {} if its best was another one."""
        newest = self.newest()
        if newest is None or step is None:
            return {}
        folder = f"{self._name(self.best(step))}/"
        return {name: digest for name, digest in _read_mark(newest).files.items() if name.startswith(folder)}

    def _damaged(self, checkpoint: Path) -> str | None:
        """Return which file of a marked checkpoint is missing or has changed, or None if it is as it was saved."""
        try:
            files = _read_mark(checkpoint).files
        except ValueError:
            return COMPLETE
        changed = (name for name, digest in files.items() if _sha256(self.path / name) != digest)
        return next(changed, None)


def step_of(checkpoint: Path) -> int:
    """Return the step after which a checkpoint was taken."""
    return int(checkpoint.name.removeprefix("checkpoint-"))


def _read_mark(checkpoint: Path) -> _Mark:
    """Return what the mark of a whole checkpoint says; raise ValueError if it says something else."""
    try:
        content = json.loads(_read(checkpoint / COMPLETE) or b"")
        return _Mark(content["best_step"], dict(content["files"]))
    except (TypeError, KeyError) as error:
        raise ValueError(f"not a mark: {error}") from None


def _discard(checkpoint: Path) -> None:
    """Remove a checkpoint, its mark first: a kill leaves it unfinished, not damaged."""
    (checkpoint / COMPLETE).unlink()
    shutil.rmtree(checkpoint)


def _sha256(path: Path) -> str | None:
    """Return the sha256 of a file, None if there is no such file; as _read otherwise."""
    try:
        return file_sha256(path)
    except FileNotFoundError:
        return None


def _read(path: Path) -> bytes | None:
    """Return the content of a file, None if there is no such file.

    Raises:
        InputError: it cannot be read, for example because the node that has served it is lost. That may pass, so it
            is no reason to take the file for missing or damaged.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unreadable(path, error) from None
