"""A sha256 of each of the user's files, so that a replaced file is noticed whatever its time stamps.

Snakemake compares time stamps: it misses a file that is replaced by an older one, and reruns everything for a copy of
the same file. Rules that read the user's files have these digests as parameters instead. A file is read once; its
sha256 is remembered while its size, inode and time stamps stay the same. A missing file keeps its last sha256, so
deleting a download reruns nothing.
"""

import hashlib
import json
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from catid2.runtime.errors import unreadable

# Next to Snakemake's own records, which hold the parameters; like them relative to the working directory.
MEMORY = Path(".snakemake") / "catid2_contents.json"


def contents(paths: Iterable[str]) -> dict[str, str]:
    """Return by path the sha256 of a file, or that of the names and contents of all files in a folder.

    In a folder names that begin with "." or "_" do not count: tools keep notes in such files.

    Raises:
        FileNotFoundError: a path is missing and was never read; its `filename` is the path as given.
        InputError: a file cannot be read.
    """
    memory = _recall()
    known = dict(memory)
    digests = {path: _digest(path, known) for path in paths}
    if known != memory:
        _remember(known)
    return digests


def file_sha256(path: str | Path) -> str:
    """Return the sha256 of a file.

    Raises:
        FileNotFoundError: the file is missing.
        InputError: the file cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise unreadable(path, error) from None


def _digest(path: str, known: dict[str, list]) -> str:
    if not os.path.isdir(path):
        return _file_digest(path, known)
    digest = hashlib.sha256()
    for file in sorted(file for file in Path(path).rglob("*") if file.is_file()):
        name = file.relative_to(path)
        if not any(part.startswith((".", "_")) for part in name.parts):
            digest.update(f"{name.as_posix()}\0{_file_digest(str(file), known)}\n".encode())
    return digest.hexdigest()


def _file_digest(path: str, known: dict[str, list]) -> str:
    """Return the sha256 of a file; `known` holds, by path, the stat values of a file when last read, and its sha256."""
    try:
        stat = os.stat(path)
        seen = [stat.st_size, stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns]
        if path not in known or known[path][0] != seen:
            known[path] = [seen, file_sha256(path)]
    except FileNotFoundError:
        if path not in known:
            raise
    except OSError as error:
        raise unreadable(path, error) from None
    return known[path][1]


def _recall() -> dict[str, list]:
    try:
        return json.loads(MEMORY.read_text("utf-8"))
    except (FileNotFoundError, ValueError):  # then all files are read again
        return {}


def _remember(known: dict[str, list]) -> None:
    """Replace the memory. If two processes do this at once, one wins, and the other's files are read again later.

    `atomic` is no use here: it removes the temporary file of another process that writes at the same time.
    """
    MEMORY.parent.mkdir(exist_ok=True)
    aside = MEMORY.with_name(f".tmp-{secrets.token_hex(6)}-{MEMORY.name}")
    aside.write_text(json.dumps(known), "utf-8")
    os.replace(aside, MEMORY)
