"""The queries of one split, as training and search read them."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from catid2.artifacts import QUERIES, InputError, read_table


def read_queries(path: str | Path, split: str) -> pa.Table:
    """Return the queries of `split` (columns QUERIES), sorted by query_id.

    Raises:
        InputError: as read_table; or a query has no text (an empty text is one).
    """
    table = read_table(path, QUERIES)
    table = table.filter(pc.equal(table.column("split"), split)).sort_by("query_id")
    texts = table.column("query")
    if texts.null_count:
        row = pc.index(texts.is_null(), True).as_py()
        query_id = table.column("query_id")[row].as_py()
        raise InputError(path, f"query {query_id} has no text (null)", "remove it, or build the corpus again")
    return table
