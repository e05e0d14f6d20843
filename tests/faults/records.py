"""What a run has left on disk: which outputs Snakemake holds for complete, and every file's identity and content.

An output is complete when the driver has recorded the finish of its job: the record is whole, none of the job's
outputs is marked incomplete, and all are there (of a failed job Snakemake keeps the record, and what it has written).
A driver that is killed between the end of a job and the record has not got that far; such a job may be made again, and
so may one whose process was killed.
"""

import base64
import hashlib
import json
from pathlib import Path

Identity = tuple[tuple[str, int, int], ...]  # each file's path, inode and time of change in ns

# Snakemake's time stamp of a directory output; it holds no data, and is missing when a job's shell was killed and
# the script went on
STAMP = ".snakemake_timestamp"


def complete_outputs(folder: Path) -> dict[str, Identity]:
    """Return the complete outputs of the project in `folder`, by path relative to it, as they are now."""
    state = folder / ".snakemake"
    incomplete = {_output(path, state / "incomplete") for path in _files(state / "incomplete")}
    by_job: dict[str, list[str]] = {}
    for path in _files(state / "metadata"):
        try:
            record = json.loads(path.read_text())
        except json.JSONDecodeError:  # the driver was killed while it wrote
            continue
        by_job.setdefault(json.dumps([record["rule"], record["log"]]), []).append(
            _output(path, state / "metadata")
        )
    complete: dict[str, Identity] = {}
    for outputs in by_job.values():
        found = {output: identity(folder / output) for output in outputs}
        if incomplete.isdisjoint(outputs) and all(found.values()):
            complete |= found
    return complete


def identity(output: Path) -> Identity:
    """Return what changes when a file, or any file of a folder, is made again; () if it is not there."""
    files = [output] if output.is_file() else [path for path in _files(output) if path.name != STAMP]
    stats = [(path.relative_to(output).as_posix(), path.stat()) for path in sorted(files)]
    return tuple((name, stat.st_ino, stat.st_mtime_ns) for name, stat in stats)


def contents(folder: Path) -> dict[str, str]:
    """Return a sha256 of every file below `folder`, by path relative to it."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in _files(folder)
        if path.name != STAMP
    }


def names(folder: Path) -> set[str]:
    """Return the files and folders that a run leaves in the project in `folder`, Snakemake's own aside."""
    found = (path.relative_to(folder) for path in folder.rglob("*"))
    return {
        path.as_posix()
        for path in found
        if not {".snakemake", "__pycache__"} & set(path.parts) and path.name != STAMP
    }


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _output(record: Path, folder: Path) -> str:
    """Return the output that a file of Snakemake's records is about: its name, in base64, is cut into folders."""
    parts = record.relative_to(folder).parts
    return base64.urlsafe_b64decode("".join(part.removeprefix("@") for part in parts)).decode()
