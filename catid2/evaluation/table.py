"""recall.tsv: its columns, written and read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pyarrow.parquet as pq

from catid2.runtime.errors import InputError
from catid2.runtime.tables import require_file
from catid2.runtime.tsv import write_tsv
from catid2.runtime.writing import atomic

KEYS = {
    "dataset": pl.String,
    "method": pl.String,
    "retriever": pl.String,  # t5, light or none: that of the run's metadata
    "seed": pl.String,  # a number, or `mean` over the method's seeds
    "protocol": pl.String,
    "labels": pl.String,
    "n_queries": pl.Int64,
    "n_docs": pl.Int64,
}
MEAN = "mean"
CUTOFF = re.compile("[1-9][0-9]{0,8}")  # the k of a column recall@k


class Evaluation(NamedTuple):
    """The table of recall.tsv, the lines above it, and the recall of every single query."""

    table: pl.DataFrame
    header: list[str]
    per_query: pl.DataFrame


def write_evaluation(evaluation: Evaluation, output: Path, per_query: Path) -> None:
    """Write recall.tsv (six significant digits) and recall_per_query.parquet; both or none."""
    with atomic(output, per_query) as (table_aside, single_aside):
        write_tsv(table_aside, evaluation.header, evaluation.table, significant=6)
        pq.write_table(
            evaluation.per_query.to_arrow(compat_level=pl.CompatLevel.oldest()),
            single_aside,
            compression="zstd",
            write_page_checksum=True,
        )


def read_recall(path: str | Path) -> pl.DataFrame:
    """Return recall.tsv as a table: KEYS, then recall@k and its _low, _high, _std, _p for every cutoff k.

    Raises:
        InputError: the file is missing, cut or not such a table; or a row lacks a value that every row has.
    """
    path = require_file(path)
    remedy = "run evaluate again"
    try:
        if not path.read_bytes().endswith(b"\n"):
            raise InputError(path, "cut short: its last line has no end", remedy)
        table = pl.read_csv(path, separator="\t", comment_prefix="#", infer_schema=False, glob=False)
        figures = [name for name in table.columns if name.startswith("recall@")]
        table = table.select(
            [pl.col(name).cast(kind) for name, kind in KEYS.items()] + [pl.col(figures).cast(pl.Float64)]
        )
    except (pl.exceptions.PolarsError, UnicodeDecodeError) as error:
        raise InputError(path, f"not a table of recall ({error})", remedy) from None
    if table.is_empty():
        raise InputError(path, "no rows", remedy)
    cutoffs = {name.removeprefix("recall@").partition("_")[0] for name in figures}
    if not cutoffs or not all(CUTOFF.fullmatch(cutoff) for cutoff in cutoffs):
        raise InputError(path, f"no columns recall@k, but {', '.join(figures) or 'none'}", remedy)
    cutoffs = sorted(cutoffs, key=int)
    for cutoff in cutoffs:
        for end in ("", "_low", "_high", "_std", "_p"):
            if f"recall@{cutoff}{end}" not in figures:
                raise InputError(path, f"column 'recall@{cutoff}{end}' is missing", remedy)
    for name in (*KEYS, *(f"recall@{cutoff}{end}" for cutoff in cutoffs for end in ("", "_low", "_high"))):
        wrong = table[name].is_null()
        if name not in KEYS:
            wrong |= ~table[name].is_between(0, 1)
        if wrong.fill_null(True).any():
            row = wrong.fill_null(True).arg_max()
            raise InputError(path, f"column {name!r}, row {row}: {table[name][row]}", remedy)
    return table
