"""Metrics of a query's first k documents: recall, nDCG and success.

ir-measures (trec_eval's code) computes them. `catid2.evaluation.trec` writes the same judgements and runs as files, so
that other programs can compute them too.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import ir_measures
import numpy as np
import polars as pl

from catid2.runtime.errors import InputError

# For each metric its measure, and the column of `judged_pairs` that it reads.
MEASURES = {
    "recall": (ir_measures.R, "relevant"),
    "ndcg": (ir_measures.nDCG, "gain"),
    "success": (ir_measures.Success, "relevant"),
}
# ESCI's gains 1, 0.1, 0.01 and 0 (arXiv 2206.06588) times 100: qrels hold integers, and nDCG is a ratio.
GAINS = {"E": 100, "S": 10, "C": 1, "I": 0}


class Judged(NamedTuple):
    """The judgements under one protocol and label set; row i of a matrix of values is `query_ids[i]`."""

    protocol: str
    labels: str
    query_ids: np.ndarray
    n_relevant: np.ndarray
    has_gain: np.ndarray  # whether a document of the query has a gain above 0
    evaluators: list[ir_measures.providers.Evaluator]


def judged_pairs(judgements: pl.DataFrame, protocol: str, labels: str, path: Path) -> pl.DataFrame:
    """Return query_id, doc_id, relevant (1 or 0) and gain of the pairs of `protocol`, sorted by query and document.

    Only queries with a relevant document (one with a label in `labels`) are included. The gain depends only on the
    label, not on `labels`.

    Raises:
        InputError: no pair is relevant; the message names `path`.
    """
    pairs = judgements.filter("seen") if protocol == "seen" else judgements
    pairs = pairs.select(
        "query_id",
        "doc_id",
        relevant=pl.col("label").is_in(list(labels)).cast(pl.Int64),
        gain=pl.col("label").replace_strict(GAINS, return_dtype=pl.Int64),
    ).filter(pl.col("relevant").max().over("query_id") > 0)
    if pairs.is_empty():
        what = f"no test pair is relevant (protocol {protocol}, labels {labels})"
        raise InputError(path, what, "take the protocol or the labels out of evaluate's config")
    return pairs.sort("query_id", "doc_id")


def judge(judgements: pl.DataFrame, protocol: str, labels: str, metrics: Sequence[str], path: Path) -> Judged:
    """Return the judgements in the form that `values_per_query` reads; errors as in judged_pairs."""
    pairs = judged_pairs(judgements, protocol, labels, path)
    evaluators = []
    for column in ("relevant", "gain"):
        measures = [_measure(metric) for metric in metrics if MEASURES[_parts(metric)[0]][1] == column]
        if measures:
            evaluators.append(ir_measures.pytrec_eval.evaluator(measures, as_dicts(pairs, column)))
    sums = pl.col("relevant").sum(), pl.col("gain").sum() > 0
    queries = pairs.group_by("query_id").agg(sums).sort("query_id")
    return Judged(protocol, labels, *(column.to_numpy() for column in queries), evaluators)


def values_per_query(
    judged: Judged, metrics: Sequence[str], scores: dict[str, dict[str, float]]
) -> np.ndarray:
    """Return the metrics of each query, (queries, metrics); 0 for a query without results."""
    row = {str(query_id): i for i, query_id in enumerate(judged.query_ids)}
    column = {_measure(metric): j for j, metric in enumerate(metrics)}
    values = np.zeros((len(row), len(column)))
    for evaluator in judged.evaluators:
        for metric in evaluator.iter_calc(scores):
            values[row[metric.query_id], column[metric.measure]] = metric.value
    return values


def ceiling(metric: str, judged: Judged) -> float:
    """Return the best value that a run can reach.

    k documents hold at most k of a query's relevant ones, and without a gain a query's nDCG is 0.
    """
    kind, k = _parts(metric)
    if kind == "recall":
        return float((np.minimum(k, judged.n_relevant) / judged.n_relevant).mean())
    return float(judged.has_gain.mean()) if kind == "ndcg" else 1.0


def scores_of(run: pl.DataFrame) -> dict[str, dict[str, float]]:
    """Return a run in the form of ir-measures, which sorts by score; the rank must decide, so score = -rank."""
    return as_dicts(run.with_columns(score=-pl.col("rank").cast(pl.Float64)), "score")


def as_dicts(table: pl.DataFrame, column: str) -> dict[str, dict]:
    """Return `column` by query_id and doc_id."""
    keys = pl.col("query_id", "doc_id").cast(pl.String)
    grouped = table.select(keys, column).group_by("query_id", maintain_order=True).agg("doc_id", column)
    return {query: dict(zip(docs, values, strict=True)) for query, docs, values in grouped.iter_rows()}


def _parts(metric: str) -> tuple[str, int]:
    kind, _, k = metric.partition("@")
    return kind, int(k)


def _measure(metric: str) -> ir_measures.measures.Measure:
    kind, k = _parts(metric)
    return MEASURES[kind][0] @ k
