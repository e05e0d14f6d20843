"""Ways to break a file of a finished run: each function returns what breaks that file below a folder.

Files are replaced, never written into, because they are hard links to those of the unbroken run.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import zstandard
from safetensors.torch import load_file, save_file

Break = Callable[[Path], None]


def put(file: Path, content: bytes) -> None:
    """Replace a file, or make it."""
    file.unlink(missing_ok=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


def make_unreadable(file: Path) -> None:
    """Put a file in its place that is there and cannot be read, not even by root: a process has no memory at 0."""
    file.unlink(missing_ok=True)
    file.symlink_to("/proc/self/mem")


def content(path: str, new: bytes) -> Break:
    """Give the file this content."""
    return lambda folder: put(folder / path, new)


def cut(path: str, share: float = 0.5) -> Break:
    """Keep the first bytes of the file."""

    def broken(folder: Path) -> None:
        whole = (folder / path).read_bytes()
        put(folder / path, whole[: int(len(whole) * share)])

    return broken


def gone(path: str) -> Break:
    """Remove the file or the folder."""

    def broken(folder: Path) -> None:
        target = folder / path
        shutil.rmtree(target) if target.is_dir() else target.unlink()

    return broken


def all_of(*breaks: Break) -> Break:
    """Break several things."""

    def broken(folder: Path) -> None:
        for one in breaks:
            one(folder)

    return broken


def nothing(folder: Path) -> None:
    """Break nothing: what is wrong is an option."""


def replaced(path: str, old: str, new: str) -> Break:
    """Replace the first occurrence of a string in a text file."""

    def broken(folder: Path) -> None:
        text = (folder / path).read_text(encoding="utf-8")
        assert old in text
        put(folder / path, text.replace(old, new, 1).encode())

    return broken


def without_lines(path: str, word: str) -> Break:
    """Drop the lines of a TSV, comments left alone, that hold a word."""

    def broken(folder: Path) -> None:
        lines = (folder / path).read_text(encoding="utf-8").splitlines(keepends=True)
        put(folder / path, "".join(line for line in lines if line[0] == "#" or word not in line).encode())

    return broken


def cell(path: str, row: int, column: str, new: str) -> Break:
    """Change one value of a TSV; comments are no rows, and the names of the columns are none either."""

    def broken(folder: Path) -> None:
        lines = (folder / path).read_text(encoding="utf-8").splitlines(keepends=True)
        first = next(number for number, line in enumerate(lines) if line[0] != "#")
        place = lines[first].rstrip("\n").split("\t").index(column)
        words = lines[first + 1 + row].rstrip("\n").split("\t")
        words[place] = new
        lines[first + 1 + row] = "\t".join(words) + "\n"
        put(folder / path, "".join(lines).encode())

    return broken


# --- tables -----------------------------------------------------------------------------------------


def table(path: str, change: Callable[[pa.Table], pa.Table]) -> Break:
    """Rewrite a parquet file."""

    def broken(folder: Path) -> None:
        new = change(pq.read_table(folder / path))
        (folder / path).unlink()
        pq.write_table(new, folder / path)

    return broken


def value(path: str, column: str, row: int, new: Any) -> Break:
    """Change one value; a row from the end counts from -1."""

    def change(old: pa.Table) -> pa.Table:
        values = old.column(column).to_pylist()
        values[row] = new
        return _with(old, column, pa.array(values, old.schema.field(column).type))

    return table(path, change)


def value_where(path: str, column: str, new: Any, **where: Any) -> Break:
    """Change one value, in the first row where other columns have these values."""

    def broken(folder: Path) -> None:
        found = [row.items() >= where.items() for row in pq.read_table(folder / path).to_pylist()]
        value(path, column, found.index(True), new)(folder)

    return broken


def values(path: str, column: str, new: Any) -> Break:
    """Give every row of a column this value."""
    return table(
        path, lambda old: _with(old, column, pa.array([new] * len(old), old.schema.field(column).type))
    )


def typed(path: str, column: str, kind: pa.DataType) -> Break:
    """Cast a column to another type, nulls where a value is no such thing."""

    def change(old: pa.Table) -> pa.Table:
        if pa.types.is_string(old.schema.field(column).type) and not pa.types.is_binary(kind):
            return _with(old, column, pa.nulls(len(old), kind))
        return _with(old, column, old.column(column).cast(kind))

    return table(path, change)


def without(path: str, column: str) -> Break:
    """Drop a column."""
    return table(path, lambda old: old.drop_columns([column]))


def renamed(path: str, column: str, new: str) -> Break:
    """Rename a column."""
    return table(path, lambda old: old.rename_columns({column: new}))


def rows(path: str, keep: Callable[[dict[str, Any]], bool]) -> Break:
    """Keep some rows."""
    return table(
        path, lambda old: old.filter(pa.array([bool(keep(row)) for row in old.to_pylist()], pa.bool_()))
    )


def empty(path: str) -> Break:
    """Keep no row."""
    return table(path, lambda old: old.slice(0, 0))


def repeated(path: str, row: int = 0, **changes: Any) -> Break:
    """Add a copy of one row, changed, at the end."""
    return table(
        path,
        lambda old: pa.concat_tables(
            [old, pa.Table.from_pylist([old.slice(row, 1).to_pylist()[0] | changes], schema=old.schema)]
        ),
    )


def _with(old: pa.Table, column: str, new: pa.Array | pa.ChunkedArray) -> pa.Table:
    return old.set_column(old.column_names.index(column), column, new)


# --- JSON, tensors, matrices, records ----------------------------------------------------------------


def key(path: str, keys: str, new: Any) -> Break:
    """Set what stands below the dotted `keys` of a JSON file; `...` removes it."""

    def broken(folder: Path) -> None:
        whole = json.loads((folder / path).read_text(encoding="utf-8"))
        *above, last = keys.split(".")
        inner = whole
        for name in above:
            inner = inner[name]
        if new is ...:
            del inner[last]
        else:
            inner[last] = new
        put(folder / path, json.dumps(whole).encode())

    return broken


def tensors(path: str, change: Callable[[dict[str, torch.Tensor]], None]) -> Break:
    """Change the tensors of a safetensors file in place."""

    def broken(folder: Path) -> None:
        found = load_file(folder / path)
        change(found)
        (folder / path).unlink()
        save_file(found, folder / path, {"format": "pt"})

    return broken


def matrix(path: str, change: Callable[[np.ndarray], np.ndarray]) -> Break:
    """Rewrite a .npy file."""

    def broken(folder: Path) -> None:
        new = change(np.load(folder / path))
        (folder / path).unlink()
        with (folder / path).open("wb") as file:
            np.save(file, new)

    return broken


def at(row: int, column: int, new: float) -> Callable[[np.ndarray], np.ndarray]:
    """Return what changes one element of a matrix."""

    def change(old: np.ndarray) -> np.ndarray:
        old[row, column] = new
        return old

    return change


def records(path: str, lines: Sequence[bytes]) -> Break:
    """Write zstd lines."""
    return lambda folder: put(folder / path, zstandard.ZstdCompressor().compress(b"\n".join(lines) + b"\n"))


class Planted:
    """A pickle that leaves a file where it is loaded."""

    def __init__(self, trace: str):
        self.trace = trace

    def __reduce__(self) -> tuple:
        return (open, (self.trace, "w"))
