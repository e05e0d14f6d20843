"""JSON lines: one object per line."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from catid2.corpus.catalogue.columns import Chunk, Column, chunks_of, missing_column
from catid2.corpus.catalogue.formats import open_text
from catid2.runtime.errors import InputError

_REMEDY = "write JSON lines, an object a line, as jq -c '.[]' makes them of an array"
_TYPES = {
    "text": (str,),
    "code": (str,),
    "id": (str, int, float),
    "grade": (str, int, float),
    "names": (str, list),
}


def json_chunks(path: Path, columns: Mapping[str, Column]) -> Iterator[Chunk]:
    """Yield the columns: texts, numbers as texts, names unchanged, and missing values as null.

    Raises:
        InputError: a line is no JSON object, a value is of another type, or no object has a column.
    """
    yield from chunks_of(path, columns, _rows(path, columns))


def _rows(path: Path, columns: Mapping[str, Column]) -> Iterator[tuple[int, list[Any]]]:
    keys: dict[str, None] = {}  # of all objects, in order
    for line, record in _objects(path):
        keys.update(dict.fromkeys(record))
        yield line, [_value(path, line, column, record.get(column.own)) for column in columns.values()]
    for column in columns.values():
        if keys and column.own not in keys and not column.optional:
            raise missing_column(path, column.own, list(keys))


def _objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with open_text(path) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                what = f"line {number} is not JSON ({getattr(error, 'msg', error)})"
                raise InputError(path, what, _REMEDY) from None
            if not isinstance(record, dict):
                raise InputError(path, f"line {number} is not a JSON object", _REMEDY)
            yield number, record


def _value(path: Path, line: int, column: Column, value: Any) -> str | list | None:
    if value is None:
        return None
    whole = isinstance(value, float) and value.is_integer() and abs(value) < 2**53  # beyond it is not exact
    of_kind = isinstance(value, _TYPES[column.kind]) and not isinstance(value, bool)
    if not of_kind or (column.kind == "id" and isinstance(value, float) and not whole):
        what = f"column {column.own!r}, line {line}: {json.dumps(value)[:100]} is no {column.kind}"
        raise InputError(path, what, "correct it, or write it as a text")
    if isinstance(value, str | list):
        return value
    return str(int(value) if whole else value)
