"""Writing outputs: complete or not at all, by one process at a time, and one line when the disk is full.

A writer writes aside, to `.tmp-TOKEN-NAME` next to the target, and renames. A kill leaves nothing but such files,
which the next write of the same target removes, and the `.owner-NAME` of a claim, which the next claim replaces.
"""

import contextlib
import errno
import json
import os
import re
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from catid2.runtime.errors import InputError
from catid2.runtime.ranks import read_ranks

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
MAKE_ROOM = "make room and run again"
_LEAST_ROOM = 1 << 20  # bytes; on a disk without them a writer's failure is put down to the disk


_OWNER = ".owner-"  # before the name of an output: the file that says whose it is


class _Claim(NamedTuple):
    output: Path
    file: Path  # says whose the output is
    token: str


_claims: list[_Claim] = []  # of this process
_asides: set[Path] = set()  # what atomic blocks of this process are writing


# --- complete or not at all ----------------------------------------------------------------------------


@contextlib.contextmanager
def atomic(*paths: str | Path) -> Iterator[Any]:
    """Yield one temporary path per target (one path if one target); rename all when the block succeeds.

    Temporary paths lie next to their targets; those that killed writers left there are removed. Targets may be files
    or folders; a folder is created by the block. A target that is itself a temporary path of a block around this
    one is yielded as it is: that block makes it whole.

    Raises:
        InputError: a target cannot be written, the disk is full, or `require_ownership` says so.
    """
    targets = [Path(path) for path in paths]
    if _asides.issuperset(targets):
        yield targets[0] if len(targets) == 1 else targets
        return
    require_ownership()
    if twice := [target for number, target in enumerate(targets) if target in targets[:number]]:
        raise InputError(twice[0], "named for two outputs", "give each a path of its own")
    for target in targets:
        _prepare(target)
    asides = [target.with_name(f".tmp-{secrets.token_hex(6)}-{target.name}") for target in targets]
    _asides.update(asides)
    try:
        with needs_room(*targets):
            yield asides[0] if len(asides) == 1 else asides
            for aside in asides:
                _sync(aside)
            # Another process may claim between this and the last rename. It does no harm: the newer one has yet
            # to write its own.
            require_ownership()
            for target, aside in zip(targets, asides, strict=True):
                if target.is_dir() and not aside.is_dir():
                    raise InputError(target, "is a folder", "name a file")
            for target, aside in zip(targets, asides, strict=True):
                _replace(aside, target)
    except Exception:
        require_ownership()  # a newer process removes our temporary files: say that
        raise
    finally:
        _asides.difference_update(asides)
        for aside in asides:
            _remove(aside)


def aside_pattern(name: str) -> str:
    """Return a regular expression for the names of temporary paths of targets whose name matches `name`."""
    return rf"\.tmp-[0-9a-f]{{12}}-{name}"


def _shown(path: Path) -> Path:
    """Return the path to show in a message: for one of our hidden files, the output that it belongs to."""
    return path.with_name(re.sub(rf"^({re.escape(_OWNER)}|{aside_pattern('')})", "", path.name))


def _prepare(target: Path) -> None:
    """Make the target's folder, and remove what killed writers of the target left there."""
    leftover = re.compile(aside_pattern(re.escape(target.name)))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for path in target.parent.iterdir():
            if leftover.fullmatch(path.name):
                _remove(path)
        if not os.access(target.parent, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        remedy = MAKE_ROOM if error.errno in FULL else "name another place"
        raise InputError(_shown(target), f"cannot be written ({error.strerror})", remedy) from None


def _replace(aside: Path, target: Path) -> None:
    if target.is_dir():
        shutil.rmtree(target)
    os.replace(aside, target)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Flush a file, or each file of a folder, to the disk before it gets its final name."""
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    for file in files:
        flush(file)


def flush(path: Path) -> None:
    """Wait until a file's content is on the disk, or which names a folder holds; what these name is not flushed."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some file systems cannot flush a folder: they keep the order of names themselves.
        if error.errno != errno.EINVAL or not path.is_dir():
            raise
    finally:
        os.close(handle)


# --- a full disk ------------------------------------------------------------------------------------


@contextlib.contextmanager
def needs_room(*paths: Path) -> Iterator[None]:
    """Turn what a full disk makes a writer raise into an InputError that names the path it has no room for."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        fault = _lack_of_room(error, paths)
        if fault is None:
            raise
        path, reason = fault
        raise InputError(_shown(path), f"cannot be written ({reason})", MAKE_ROOM) from None


def _lack_of_room(error: Exception, paths: tuple[Path, ...]) -> tuple[Path, str] | None:
    """Return the path there is no room for, and the reason; None if the error has another cause.

    Libraries hide the cause: NumPy drops the error number, safetensors and Polars tell it in the text alone, and
    PyTorch speaks of an unexpected position. What could not be written whole still fills the disk, so it is asked.
    """
    told = [os.strerror(code) for code in FULL if os.strerror(code) in str(error)]
    if isinstance(error, OSError) and error.errno in FULL:
        told = [os.strerror(error.errno)]
    if not told and not isinstance(error, OSError | RuntimeError):
        return None
    for path in paths:
        try:
            with tempfile.TemporaryFile(dir=path.parent) as probe:
                probe.write(bytes(_LEAST_ROOM))
                probe.flush()
                os.fsync(probe.fileno())
        except OSError as failure:
            if failure.errno in FULL:
                return path, os.strerror(failure.errno)
    return (paths[0], told[0]) if told else None


# --- one process at a time --------------------------------------------------------------------------


@contextlib.contextmanager
def claim(output: str | Path) -> Iterator[None]:
    """Be the one that writes `output`, and all that goes with it, while the block runs; the newest claim wins.

    A worker can outlive its job, when the job is killed but not the worker's session. The job that is started
    again claims the same output; from then on every `atomic` and `require_ownership` of the old worker raises
    InputError, so that it neither replaces nor removes anything. There is no lock to wait for, and none that a
    kill could leave behind: Snakemake never runs two jobs for one output, so an older holder is a stale one.

    Args:
        output: the first of the outputs. Of several ranks the first writes, and claims; the others need not.

    Raises:
        InputError: the folder cannot be written.
    """
    if read_ranks().rank:
        yield
        return
    output = Path(output)
    own = _Claim(output, output.with_name(f"{_OWNER}{output.name}"), secrets.token_hex(16))
    owner = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "token": own.token,
    }
    with atomic(own.file) as aside:
        aside.write_text(json.dumps(owner), encoding="utf-8")
    _claims.append(own)
    try:
        yield
    except Exception:
        require_ownership()  # a newer process removes the state we read and write: say that
        raise
    finally:
        _claims.remove(own)
        if _owner(own).get("token") == own.token:
            own.file.unlink(missing_ok=True)


def require_ownership() -> None:
    """Raise InputError if another process has claimed what this one had claimed before.

    `atomic` calls it; who writes or removes outputs or checkpoints in another way calls it before.
    """
    for own in _claims:
        owner = _owner(own)
        if owner.get("token") == own.token:
            continue
        if owner:
            what = f"taken over by process {owner['pid']} on {owner['host']}, started at {owner['started']}"
        else:
            what = "no longer this process's: one that was started later has taken it over and finished"
        raise InputError(own.output, what, "this one stops here and writes nothing more")


def _owner(own: _Claim) -> dict[str, Any]:
    """Return what the owner file of a claim says now, {} if there is none."""
    try:
        return json.loads(own.file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        what = f"the file that names its owner cannot be read ({error.strerror})"
        raise InputError(own.output, what, "try again when its disk can be read") from None
