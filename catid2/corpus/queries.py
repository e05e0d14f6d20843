"""Reading the queries and judgements of one split, for training, search and evaluation."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catid2.runtime.errors import InputError
from catid2.runtime.tables import JUDGEMENTS, LABELS, QUERIES, SPLITS, read_table


def read_queries(path: str | Path, split: str | None) -> pa.Table:
    """Return the queries of `split` (columns QUERIES), sorted by query_id; None: all, in the order of the file.

    Raises:
        InputError: as read_table; a query_id is repeated, a split is unknown, or the text of a query of `split` is
            null (an empty text is allowed).
    """
    table = read_table(path, QUERIES)
    _require_one_of(path, table, "split", SPLITS)
    _require_once(path, table, ["query_id"])
    if split is not None:
        table = table.filter(pc.equal(table.column("split"), split)).sort_by("query_id")
    texts = table.column("query")
    if texts.null_count:
        row = pc.index(texts.is_null(), True).as_py()
        query_id = table.column("query_id")[row].as_py()
        raise InputError(path, f"query {query_id} has no text (null)", "remove it, or build the corpus again")
    return table


def read_judgements(path: str | Path, split: str) -> pa.Table:
    """Return the judgements of `split` (columns JUDGEMENTS), in the order of the file.

    Raises:
        InputError: as read_table; a split or a label is unknown, or a pair is judged twice.
    """
    table = read_table(path, JUDGEMENTS)
    _require_one_of(path, table, "split", SPLITS)
    _require_one_of(path, table, "label", LABELS)
    _require_once(path, table, ["query_id", "doc_id"])
    return table.filter(pc.equal(table.column("split"), split))


def _require_one_of(path: str | Path, table: pa.Table, column: str, allowed: Sequence[str]) -> None:
    known = pc.is_in(table.column(column), value_set=pa.array(allowed, pa.string()))  # a null is not
    row = pc.index(known, False).as_py()
    if row >= 0:
        value = table.column(column)[row].as_py()
        what = f"column {column!r}, row {row}: {'null' if value is None else repr(value)}"
        raise InputError(path, what, f"allowed are {', '.join(allowed)}; build the corpus again")


def _require_once(path: str | Path, table: pa.Table, key: Sequence[str]) -> None:
    values = [table.column(name).to_numpy() for name in key]
    order = np.lexsort(values)  # of equal keys the first row comes first
    again = np.ones(max(len(order) - 1, 0), bool)
    for column in values:
        again &= column[order][1:] == column[order][:-1]
    if again.any():
        row = order[1:][again].min()
        names = ", ".join(f"{name} {column[row]}" for name, column in zip(key, values, strict=True))
        raise InputError(path, f"row {row}: {names} is there twice", "build the corpus again")
