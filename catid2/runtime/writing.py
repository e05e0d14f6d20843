"""Atomic writes, by one process at a time, with a one-line error when the disk is full.

A writer writes to `.tmp-TOKEN-NAME` next to the target, then renames the file. A kill leaves only such files, which the
next write of the same target removes, and the `.owner-NAME` of a claim, which the next claim replaces.
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
_LEAST_ROOM = 1 << 20  # bytes; if the disk has less, it is blamed for a writer's failure
_OWNER = ".owner-"  # prefix of the file that names the owner of an output


class _Claim(NamedTuple):
    output: Path
    file: Path  # names the owner
    token: str


_claims: list[_Claim] = []  # of this process
_asides: set[Path] = set()  # temporary paths of this process's atomic blocks


# --- atomic writes -------------------------------------------------------------------------------------


@contextlib.contextmanager
def atomic(*paths: str | Path) -> Iterator[Any]:
    """Yield a temporary path per target (a single path for one target); rename all when the block succeeds.

    Temporary paths are next to their targets; those left by killed writers are removed. Targets are files or folders;
    the block creates a folder itself. A target that is a temporary path of an outer block is yielded unchanged, because
    the outer block renames it.

    Raises:
        InputError: a target cannot be written, the disk is full, or `require_ownership` raises.
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
            # If another process claims the output before the last rename, nothing is lost: it has yet to write.
            require_ownership()
            for target, aside in zip(targets, asides, strict=True):
                if target.is_dir() and not aside.is_dir():
                    raise InputError(target, "is a folder", "name a file")
            for target, aside in zip(targets, asides, strict=True):
                _replace(aside, target)
    except Exception:
        require_ownership()  # a newer process removes our temporary files: report that instead
        raise
    finally:
        _asides.difference_update(asides)
        for aside in asides:
            _remove(aside)


def aside_pattern(name: str) -> str:
    """Return a regular expression for temporary names of targets whose name matches the expression `name`."""
    return rf"\.tmp-[0-9a-f]{{12}}-{name}"


def _shown(path: Path) -> Path:
    """Return the path to show in a message: for a hidden file or folder of ours, or what is in one, its output."""
    hidden = re.compile(rf"^({re.escape(_OWNER)}|{aside_pattern('')})")
    return Path(*(hidden.sub("", part) for part in path.parts))


def _prepare(target: Path) -> None:
    """Create the target's folder, and remove what killed writers of the target left in it."""
    leftover = re.compile(aside_pattern(re.escape(target.name)))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for path in target.parent.iterdir():
            if leftover.fullmatch(path.name):
                _remove(path)
        if not os.access(target.parent, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        remedy = MAKE_ROOM if error.errno in FULL else "choose another path"
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
    """Flush a file's content to the disk, or the list of names in a folder, but not their files."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some file systems cannot flush a folder; they keep the order of renames themselves.
        if error.errno != errno.EINVAL or not path.is_dir():
            raise
    finally:
        os.close(handle)


# --- a full disk ------------------------------------------------------------------------------------


@contextlib.contextmanager
def needs_room(*paths: Path) -> Iterator[None]:
    """Turn an exception caused by a full disk into an InputError that names the path."""
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
    """Return the path without room and the reason; None if the error has another cause.

    Libraries hide the cause: NumPy drops the error number, safetensors and Polars have it only in the text, and
    PyTorch reports an unexpected position. The incomplete file still fills the disk, so a test write shows the cause.
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
    """Own `output`, and everything written with it, while the block runs; the newest claim wins.

    A worker can outlive its job, if the job is killed but not the worker's session. The restarted job claims the same
    output; from then on every `atomic` and `require_ownership` of the old worker raises InputError, so that it neither
    replaces nor removes anything. No lock is needed, and a kill leaves none behind: Snakemake never runs two jobs for
    an output, so an older owner is stale.

    Args:
        output: the first of the outputs. Only the first of several ranks claims it, because only that one writes.

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
        require_ownership()  # a newer process removes the state that we read and write: report that instead
        raise
    finally:
        _claims.remove(own)
        if _owner(own).get("token") == own.token:
            own.file.unlink(missing_ok=True)


def require_ownership() -> None:
    """Raise InputError if another process has claimed an output of this one.

    `atomic` calls this; code that writes or removes outputs or checkpoints in another way must call it before.
    """
    for own in _claims:
        owner = _owner(own)
        if owner.get("token") == own.token:
            continue
        if owner:
            what = f"taken over by process {owner['pid']} on {owner['host']}, started at {owner['started']}"
        else:
            what = "taken over by a process that was started later and has finished"
        raise InputError(own.output, what, "this one stops here and writes nothing more")


def _owner(own: _Claim) -> dict[str, Any]:
    """Return the current content of a claim's owner file, {} if there is none."""
    try:
        return json.loads(own.file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        what = f"the file that names its owner cannot be read ({error.strerror})"
        raise InputError(own.output, what, "try again when its disk can be read") from None
