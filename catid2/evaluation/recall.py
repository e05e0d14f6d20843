"""Runs against judgements, the table recall.tsv: metrics, bootstrap intervals, paired significance.

A figure of the table is the mean of a metric over the queries with at least one relevant document.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from catid2.corpus.queries import read_judgements, read_queries
from catid2.evaluation.metrics import Judged, ceiling, judge, scores_of, values_per_query
from catid2.evaluation.significance import bootstrap_interval, holm, paired_t_test, randomization_test
from catid2.evaluation.table import ENDS, KEYS, MEAN, Evaluation
from catid2.runtime.errors import InputError
from catid2.runtime.tables import MADE_BY, RUN, read_footer, read_table

if TYPE_CHECKING:
    from catid2.config.evaluate import EvaluateConfig

log = logging.getLogger(__name__)

NO_RETRIEVER = "none"
RETRIEVER_NOTE = (
    "retriever: t5 (T5 or mT5, the paper's), light (a small decoder on frozen vectors, which compares DocIDs and "
    "stands in for no t5), none, or several joined by + (fused runs)"
)


class RunFile(NamedTuple):
    """A run and what made it."""

    method: str
    seed: int
    path: Path


class Inputs(NamedTuple):
    """The corpus that all runs searched, and its name in the table."""

    dataset: str
    judgements: Path
    queries: Path
    products: Path


# --- runs and judgements ----------------------------------------------------------------------------


def evaluate(
    config: EvaluateConfig, inputs: Inputs, runs: Sequence[RunFile], notes: Mapping[str, str], seed: int = 0
) -> Evaluation:
    """Evaluate `runs` on the test queries; significance tests compare with the method of the first run.

    Args:
        config: metrics, labels, protocols and statistics.
        inputs: the corpus.
        runs: one per method and seed.
        notes: text about a method for the header, such as BM25's tokenizer, k1 and b.
        seed: of the resampling.

    Raises:
        InputError: a file cannot be used, a run holds a query or document that does not exist, repeats a
            document, has ranks other than 1..n or a score that is not finite; a (method, seed) is given
            twice; runs of a method are of different retrievers; a note names no method; no query has a relevant
            document.
    """
    retrievers = retrievers_of(runs)
    methods = list(retrievers)
    noted = header_notes(notes, methods)
    query_ids, n_docs = read_searched(inputs.queries, inputs.products)
    judgements = read_test_judgements(inputs.judgements, query_ids, n_docs)
    judged = [
        judge(judgements, protocol, labels, config.metrics, inputs.judgements)
        for protocol in config.protocols
        for labels in config.labels
    ]
    header = _header(config, methods[0], seed) + noted
    measured: list[dict[tuple[str, int], np.ndarray]] = [{} for _ in judged]
    for run in runs:
        listed = read_run(run.path, query_ids, n_docs)
        longest = listed["rank"].max() or 0
        if longest < min(config.cutoffs()[-1], n_docs):
            what = f"{run.method}, seed {run.seed}: at most {longest} documents a query, deeper recall stops there"
            log.warning("%s", what)
            header.append(what)
        scores = scores_of(listed)
        for known, values in zip(judged, measured, strict=True):
            values[run.method, run.seed] = values_per_query(known, config.metrics, scores)
        log.info("%s evaluated", run.path)
    tables, singles = [], []
    for known, values in zip(judged, measured, strict=True):
        keys = {"dataset": inputs.dataset, "protocol": known.protocol, "labels": known.labels}
        of_queries = {"n_queries": len(known.query_ids), "n_docs": n_docs}
        of_queries |= {f"{metric}_ceiling": ceiling(metric, known) for metric in config.metrics}
        tables += [
            keys | of_queries | row | {"retriever": retrievers[row["method"]]}
            for row in _rows(config, methods, values, seed)
        ]
        singles += [_single_queries(keys, name, known, config.metrics, own) for name, own in values.items()]
    extras = [f"{metric}{end}" for metric in config.metrics for end in ENDS]
    schema = KEYS | dict.fromkeys([*config.metrics, *extras], pl.Float64)
    return Evaluation(pl.DataFrame(tables, schema=schema), header, pl.concat(singles))


def retrievers_of(runs: Sequence[RunFile]) -> dict[str, str]:
    """Return the kind of retriever of each method, in the order of the methods.

    Raises:
        InputError: a (method, seed) is given twice, the runs of a method are of different retrievers, or as
            read_footer.
    """
    names = [(run.method, run.seed) for run in runs]
    if len(set(names)) < len(names):
        raise InputError("--run", "a method and seed are given twice", "give each run once")
    retrievers: dict[str, str] = {}
    for run in runs:
        kind = read_retriever(run.path)
        if retrievers.setdefault(run.method, kind) != kind:
            what = f"made by the retriever {kind}, other seeds of {run.method} by {retrievers[run.method]}"
            raise InputError(run.path, what, "retrieve with one kind for all seeds")
    return retrievers


def header_notes(notes: Mapping[str, str], methods: Sequence[str]) -> list[str]:
    """Return the notes about methods as lines for a header; InputError if one is of none of `methods`."""
    for method in notes.keys() - set(methods):
        raise InputError("--note", f"no run of a method {method!r}", f"the methods are {', '.join(methods)}")
    return [f"{method}: {' '.join(note.split())}" for method, note in notes.items()]


def read_searched(queries: Path, products: Path) -> tuple[pl.Series, int]:
    """Return the ids of the test queries, in order, and the number of documents; errors as read_queries, read_table."""
    n_docs = read_table(products, {"doc_id": pa.int32()}).num_rows
    return pl.from_arrow(read_queries(queries, "test"))["query_id"], n_docs


def read_retriever(path: Path) -> str:
    """Return the kind of retriever that made a run, or NO_RETRIEVER; errors as in read_footer."""
    metadata = read_footer(path)[0].metadata or {}
    return metadata.get(MADE_BY.encode(), NO_RETRIEVER.encode()).decode("utf-8", "replace")


def read_run(path: Path, query_ids: pl.Series, n_docs: int) -> pl.DataFrame:
    """Return a run, checked against the test queries `query_ids` and the `n_docs` documents.

    Raises:
        InputError: as read_table; or the run is empty although a retriever made it (one of BM25 may have found
            nothing), names an unknown query or document, lists a document twice for a query, has ranks other than
            1..n or a score that is not finite.
    """
    run = pl.from_arrow(read_table(path, RUN))
    if run.is_empty() and read_retriever(path) != NO_RETRIEVER:
        raise InputError(path, "no row", "search again")
    for bad, what in (
        (~run["query_id"].is_in(query_ids.implode()), "not a test query of this corpus"),
        (~run["doc_id"].is_between(0, n_docs - 1), f"doc_id outside 0..{n_docs - 1}"),
        (~run["score"].is_finite(), "the score is not finite"),
        (run.select("query_id", "doc_id").is_duplicated(), "the document is listed twice for the query"),
        (_rank_errors(run), "the query's ranks are not 1..n, each once"),
    ):
        if bad.any():
            i = bad.arg_max()
            where = f"row {i} (query_id {run['query_id'][i]}, doc_id {run['doc_id'][i]})"
            raise InputError(path, f"{where}: {what}", "search this corpus again")
    return run


def _rank_errors(run: pl.DataFrame) -> pl.Series:
    outside = (pl.col("rank") < 1) | (pl.col("rank") > pl.len().over("query_id"))
    return run.select(outside | pl.struct("query_id", "rank").is_duplicated()).to_series()


def read_test_judgements(path: Path, query_ids: pl.Series, n_docs: int) -> pl.DataFrame:
    """Return the test judgements, checked against the test queries `query_ids` and the `n_docs` documents.

    Raises:
        InputError: as read_judgements; or a pair is of no test query or no document.
    """
    table = pl.from_arrow(read_judgements(path, "test"))
    for bad, what in (
        (~table["query_id"].is_in(query_ids.implode()), "not a test query of queries.parquet"),
        (~table["doc_id"].is_between(0, n_docs - 1), f"doc_id outside 0..{n_docs - 1}"),
    ):
        if bad.any():
            row = table.row(bad.arg_max(), named=True)
            where = f"query_id {row['query_id']}, doc_id {row['doc_id']}, label {row['label']}"
            raise InputError(path, f"{where}: {what}", "build the corpus again")
    return table


# --- tables -----------------------------------------------------------------------------------------


def _rows(
    config: EvaluateConfig, methods: list[str], measured: dict[tuple[str, int], np.ndarray], seed: int
) -> list[dict]:
    """Return the rows of a protocol and label set: each method's seeds, then their mean if there are several."""
    names: list[tuple[str, str]] = []
    matrices: list[np.ndarray] = []  # (queries, metrics) each
    spreads: list[np.ndarray | None] = []
    averages = {}
    for method in methods:
        seeds = {own: values for (name, own), values in sorted(measured.items()) if name == method}
        names += [(method, str(own)) for own in seeds]
        matrices += seeds.values()
        spreads += [None] * len(seeds)
        averages[method] = np.mean(list(seeds.values()), axis=0)
        if len(seeds) > 1:
            names.append((method, MEAN))
            matrices.append(averages[method])
            spreads.append(np.std([values.mean(0) for values in seeds.values()], axis=0, ddof=1))
    stacked = np.hstack(matrices)  # (queries, rows × metrics)
    low, high = bootstrap_interval(stacked, config.confidence, config.n_resamples, seed)
    differences = stacked - np.tile(averages[methods[0]], len(matrices))
    if config.significance == "randomization":
        p = randomization_test(differences, config.n_resamples, seed)
    else:
        p = paired_t_test(differences)
    p = p.reshape(len(names), -1)
    p[[method == methods[0] for method, _ in names]] = np.nan
    # A comparison is that of a method: of its mean row, or of its only one.
    last = {method: row for row, (method, _) in enumerate(names)}
    others = [last[method] for method in methods[1:]]
    corrected = np.full_like(p, np.nan)
    corrected[others] = holm(p[others])
    figures = zip(stacked.mean(0), low, high, p.flat, corrected.flat, strict=True)
    rows = []
    for (method, own), spread in zip(names, spreads, strict=True):
        row: dict = {"method": method, "seed": own}
        for j, metric in enumerate(config.metrics):
            mean, below, above, single, of_all = (float(value) for value in next(figures))
            row |= {metric: mean, f"{metric}_low": below, f"{metric}_high": above}
            row[f"{metric}_std"] = None if spread is None else float(spread[j])
            row |= {f"{metric}_p": _or_none(single), f"{metric}_p_holm": _or_none(of_all)}
        rows.append(row)
    return rows


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else value


def _single_queries(
    keys: dict[str, str],
    name: tuple[str, int],
    judged: Judged,
    metrics: Sequence[str],
    values: np.ndarray,
) -> pl.DataFrame:
    columns = {"query_id": judged.query_ids, "n_relevant": judged.n_relevant.astype(np.int32)}
    columns |= {metric: values[:, j] for j, metric in enumerate(metrics)}
    named = keys | {"method": name[0], "seed": name[1]}
    order = ["dataset", "method", "seed", "protocol", "labels", *columns]
    literals = [
        pl.lit(value, pl.Int64 if column == "seed" else pl.String).alias(column)
        for column, value in named.items()
    ]
    return pl.DataFrame(columns).with_columns(literals).select(order)


def _header(config: EvaluateConfig, first: str, seed: int) -> list[str]:
    test = {"randomization": f"randomization test ({config.n_resamples} sign flips)", "t_test": "t-test"}
    protocols = {
        "seen": "protocol seen: only test pairs whose document occurs in a training pair with one of the corpus's "
        "seen_labels (E, S, C unless its config says otherwise), training queries that the retriever holds out for "
        "validation included",
        "all": "protocol all: every test pair",
    }
    metrics = {
        "recall": "recall@k: share of a query's relevant documents among the first k of its run",
        "ndcg": "ndcg@k: gains of the first k, each divided by log2(1 + rank), as a share of the best order's; "
        "gains as ESCI has them (E 1, S 0.1, C 0.01, I 0), of all pairs of the protocol whatever `labels` are",
        "success": "success@k: 1 if there is a relevant document among the first k, else 0",
    }
    measured = {metric.partition("@")[0] for metric in config.metrics}
    return [
        *(line for kind, line in metrics.items() if kind in measured),
        "all are means over the queries with at least one relevant document; a query without results counts 0",
        "relevant: judged in the test split with one of the letters in `labels` (E exact, S substitute, "
        "C complement, I irrelevant)",
        "_ceiling: the best that any run can reach; k documents hold at most k of a query's relevant ones",
        *(protocols[protocol] for protocol in config.protocols),
        f"_low, _high: {config.confidence:.0%} percentile bootstrap interval over queries, {config.n_resamples} "
        f"resamples, seed {seed}",
        f"_p: two-sided paired {test[config.significance]} over queries against {first}, averaged over its seeds; "
        "_p_holm: the same, corrected for the number of methods (Holm 1979); only of a "
        "method's mean, or of its only seed",
        RETRIEVER_NOTE,
        "seed mean: each query's figures averaged over the method's seeds; _std: standard deviation over its seeds",
    ]
