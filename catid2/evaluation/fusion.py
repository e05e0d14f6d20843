"""Reciprocal rank fusion: the runs of several methods as one (Cormack, Clarke and Büttcher, SIGIR 2009).

A document scores Σ weight / (k + rank) over the runs that list it; a run that does not list it adds nothing. Only
ranks count, so that scores of different kinds (inner products, log-probabilities, BM25) need no common scale.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import polars as pl
import pyarrow as pa

from catid2.evaluation.recall import NO_RETRIEVER, read_retriever, read_run, read_searched
from catid2.runtime.tables import MADE_BY, RUN

if TYPE_CHECKING:
    from catid2.config.fuse import FuseConfig

log = logging.getLogger(__name__)


class WeightedRun(NamedTuple):
    """A run.parquet and its weight."""

    weight: float
    path: Path


def fuse_runs(config: FuseConfig, runs: Sequence[WeightedRun], products: Path, queries: Path) -> pa.Table:
    """Return the fused run (RUN columns), in the order of the query ids.

    In its metadata it has the retrievers that made any of the runs, so that a table says what a figure depends on.

    Raises:
        InputError: an input cannot be used, or a run is not one of this corpus (as `read_run`).
    """
    query_ids, n_docs = read_searched(queries, products)
    read = [(run.weight, read_run(run.path, query_ids, n_docs)) for run in runs]
    found = fused(read, config.k, config.top_k)
    listed = found["query_id"].n_unique()
    log.info("%d runs fused, %d of %d queries have a result", len(runs), listed, len(query_ids))
    kinds = sorted({read_retriever(run.path) for run in runs} - {NO_RETRIEVER})
    table = found.to_arrow().cast(pa.schema(RUN))
    return table.replace_schema_metadata({MADE_BY: "+".join(kinds)} if kinds else None)


def fused(runs: Sequence[tuple[float, pl.DataFrame]], k: float, top_k: int) -> pl.DataFrame:
    """Return the fusion of (weight, run) pairs: score descending, then doc_id ascending, at most `top_k` a query.

    The scores are compared as they are written (float32): sums that are equal on paper tie, and whoever sorts the
    file gets its order. A sum adds the runs in their order, so that the order of rows changes nothing.
    """
    terms = [
        run.select("query_id", "doc_id", score=weight / (k + pl.col("rank").cast(pl.Float64)))
        for weight, run in runs
    ]
    return (
        pl.concat(terms)
        .group_by("query_id", "doc_id")
        .agg(pl.col("score").sum().cast(pl.Float32))
        .sort("query_id", "score", "doc_id", descending=[False, True, False])
        .select("query_id", "doc_id", pl.int_range(1, pl.len() + 1).over("query_id").alias("rank"), "score")
        .filter(pl.col("rank") <= top_k)
    )
