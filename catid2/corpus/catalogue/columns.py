"""The columns that are read from a file of a catalogue, and their positions in it."""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pyarrow as pa

from catid2.corpus.catalogue.names import Splitting
from catid2.runtime.errors import InputError
from catid2.runtime.tables import no_column

ROWS_PER_CHUNK = 2**14
_INVISIBLE = re.compile(r"^[\s\ufeff\u200b\u2060]+|[\s\ufeff\u200b\u2060]+$")
_SURROGATES = re.compile("[\ud800-\udfff]")  # also what Python makes of bytes that are not UTF-8


class Column(NamedTuple):
    """A column of a file: its name there (None: the file has none), and what it holds."""

    own: str | None
    # An id is text or a whole number, a grade text or a number, a code one of a few texts.
    kind: Literal["text", "id", "code", "grade", "names"] = "text"
    splitting: Splitting | None = None  # of names
    optional: bool = False  # the file may lack it: then it is null in every row


class Chunk(NamedTuple):
    """Some rows of a file, in its order."""

    # Of a text file the line on which each row starts, from 1; of a parquet file the row, from 0.
    places: Sequence[int]
    values: Mapping[str, pa.Array | list[Any]]  # of each column that is read; null where there is none


def place(path: Path, column: Column, names: Sequence[str]) -> int | None:
    """Return the position of a column in a file; None if the file lacks it and it is optional.

    White space and byte order marks around names are ignored, unless two columns differ only in them.

    Raises:
        InputError: the column is missing or repeated.
    """
    own = column.own
    found = [number for number, name in enumerate(names) if name == own]
    found = found or [number for number, name in enumerate(names) if _plain(name) == _plain(own)]
    if len(found) == 1:
        return found[0]
    if not found and column.optional:
        return None
    raise missing_column(path, own, names, "is there twice" if found else "is missing")


def missing_column(path: Path, own: str, names: Sequence[str], fault: str = "is missing") -> InputError:
    """Return the error of a column that a file with the columns `names` does not have exactly once."""
    return no_column(path, own, [_plain(name) for name in names], fault)


def chunks_of(
    path: Path, columns: Mapping[str, Column], rows: Iterator[tuple[int, Sequence[Any]]]
) -> Iterator[Chunk]:
    """Gather rows of a text file, each with its line and the values of `columns`, into chunks.

    Raises:
        InputError: a text is not valid Unicode.
    """
    lines: list[int] = []
    values: dict[str, list[Any]] = {name: [] for name in columns}
    for line, row in rows:
        for (name, column), value in zip(columns.items(), row, strict=True):
            if isinstance(value, str) and not value.isascii() and _SURROGATES.search(value):
                raise InputError(
                    path, f"column {column.own!r}, line {line}: not UTF-8", "write the file as UTF-8"
                )
            values[name].append(value)
        lines.append(line)
        if len(lines) == ROWS_PER_CHUNK:
            yield Chunk(lines, values)
            lines, values = [], {name: [] for name in columns}
    yield Chunk(lines, values)


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", _INVISIBLE.sub("", name))
