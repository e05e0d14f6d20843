"""Writing and reading recall.tsv."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pyarrow.parquet as pq

from catid2.runtime.errors import InputError
from catid2.runtime.tables import METRIC, require_file
from catid2.runtime.tsv import write_tsv
from catid2.runtime.writing import atomic

KEYS = {
    "dataset": pl.String,
    "method": pl.String,
    "retriever": pl.String,  # from the run's metadata: t5, light, none, or several joined by + (fused runs)
    "seed": pl.String,  # a number, or `mean` over the method's seeds
    "protocol": pl.String,
    "labels": pl.String,
    "n_queries": pl.Int64,
    "n_docs": pl.Int64,
}
MEAN = "mean"
# Beside each metric: its interval, its standard deviation over seeds, its p, the same corrected for the number of
# methods, the best that any run can reach.
ENDS = ("_low", "_high", "_std", "_p", "_p_holm", "_ceiling")


class Evaluation(NamedTuple):
    """The table of recall.tsv, the lines above it, and the metrics of each query."""

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


def metrics_among(columns: Iterable[str]) -> list[str]:
    """Return the columns that are metrics, in their order."""
    return [name for name in columns if re.fullmatch(METRIC, name)]


def read_recall(path: str | Path) -> pl.DataFrame:
    """Return recall.tsv as a table: KEYS, the metrics, then each one's ENDS.

    Raises:
        InputError: the file is missing, truncated or not such a table; or a row lacks a required value.
    """
    path = require_file(path)
    remedy = "run evaluate again"
    try:
        if not path.read_bytes().endswith(b"\n"):
            raise InputError(path, "cut short: its last line has no end", remedy)
        table = pl.read_csv(path, separator="\t", comment_prefix="#", infer_schema=False, glob=False)
        figures = [name for name in table.columns if name not in KEYS]
        table = table.select(
            [pl.col(name).cast(kind) for name, kind in KEYS.items()] + [pl.col(figures).cast(pl.Float64)]
        )
    except (pl.exceptions.PolarsError, UnicodeDecodeError) as error:
        raise InputError(path, f"not a table of recall ({error})", remedy) from None
    if table.is_empty():
        raise InputError(path, "no rows", remedy)
    metrics = metrics_among(figures)
    if not metrics:
        raise InputError(path, f"no column of a metric, but {', '.join(figures) or 'none'}", remedy)
    known = [*metrics, *(f"{metric}{end}" for metric in metrics for end in ENDS)]
    for name in known:
        if name not in figures:
            raise InputError(path, f"column {name!r} is missing", remedy)
    for name in figures:
        if name not in known:
            raise InputError(path, f"column {name!r} is of no metric", remedy)
    whole = [name for name in figures if not name.endswith(("_std", "_p", "_p_holm"))]  # those may be empty
    for name in (*KEYS, *whole):
        wrong = table[name].is_null()
        if name not in KEYS:
            wrong |= ~table[name].is_between(0, 1)
        if wrong.fill_null(True).any():
            row = wrong.fill_null(True).arg_max()
            raise InputError(path, f"column {name!r}, row {row}: {table[name][row]}", remedy)
    return table
