"""What a search adds to BM25: the relevant documents that it finds and BM25 does not, at the same cutoff."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from catid2.evaluation.metrics import judged_pairs
from catid2.evaluation.recall import (
    RETRIEVER_NOTE,
    Inputs,
    RunFile,
    header_notes,
    read_run,
    read_searched,
    read_test_judgements,
    retrievers_of,
)
from catid2.evaluation.significance import bootstrap_interval
from catid2.evaluation.table import MEAN
from catid2.runtime.errors import InputError
from catid2.runtime.tsv import write_tsv

if TYPE_CHECKING:
    from catid2.config.evaluate import EvaluateConfig

SEED = 0  # of the resampling, as in evaluate


def beyond_bm25(
    config: EvaluateConfig, inputs: Inputs, runs: Sequence[RunFile], notes: Mapping[str, str], bm25: str
) -> tuple[pl.DataFrame, list[str]]:
    """Return a row per method, seed, protocol and label set, a method's mean after its seeds; and the header's lines.

    Args:
        config: metrics, whose cutoffs count; labels, protocols and bootstrap.
        inputs: the corpus.
        runs: one per method and seed, BM25's among them.
        notes: text about a method for the header, such as BM25's tokenizer, k1 and b.
        bm25: the method that the others are compared with.

    Raises:
        InputError: a file cannot be used, a run is of another corpus (as `read_run`), a (method, seed) is given twice,
            runs of a method are of different retrievers, a note names no method, `bm25` has no run or several, there
            is no other run, or no test pair is relevant.
    """
    retrievers = retrievers_of(runs)
    noted = header_notes(notes, list(retrievers))
    of_bm25 = [run for run in runs if run.method == bm25]
    if len(of_bm25) != 1:
        raise InputError("--bm25", f"{len(of_bm25)} runs of {bm25!r}", "name the method of one of the runs")
    if len(runs) == 1:
        raise InputError("--run", f"no run but that of {bm25}", "give the runs that are compared with it")
    query_ids, n_docs = read_searched(inputs.queries, inputs.products)
    judgements = read_test_judgements(inputs.judgements, query_ids, n_docs)

    def ranks(run: RunFile, name: str) -> pl.DataFrame:
        return read_run(run.path, query_ids, n_docs).select("query_id", "doc_id", pl.col("rank").alias(name))

    reference = ranks(of_bm25[0], "bm25")
    methods: dict[str, dict[str, pl.DataFrame]] = {}
    for run in runs:
        if run.method != bm25:
            methods.setdefault(run.method, {})[str(run.seed)] = ranks(run, "rank")
    cutoffs = config.cutoffs()
    rows = []
    for protocol in config.protocols:
        for labels in config.labels:
            keys = {"protocol": protocol, "labels": labels}
            pairs = judged_pairs(judgements, protocol, labels, inputs.judgements)
            pairs = _joined(pairs.filter(pl.col("relevant") > 0), reference)
            shares = {}
            for method, seeds in methods.items():
                own = {seed: _shares(_joined(pairs, listed), cutoffs) for seed, listed in seeds.items()}
                if len(own) > 1:
                    own[MEAN] = np.mean(list(own.values()), axis=0)
                shares |= {(method, seed): found for seed, found in own.items()}
            for (method, seed), figures in zip(shares, _figures(config, list(shares.values())), strict=True):
                named = {"dataset": inputs.dataset, "method": method, "retriever": retrievers[method]}
                rows.append(named | {"seed": seed} | keys | figures)
    return pl.DataFrame(rows), _header(config, bm25) + noted


def _joined(pairs: pl.DataFrame, ranks: pl.DataFrame) -> pl.DataFrame:
    return pairs.join(ranks, on=["query_id", "doc_id"], how="left")


def _shares(pairs: pl.DataFrame, cutoffs: Sequence[int]) -> np.ndarray:
    """Return the share of each query's pairs that BM25 misses, and the part of it that is found: (queries, k, 2)."""
    columns = []
    for k in cutoffs:
        missed = (pl.col("bm25") > k).fill_null(True)
        columns += [missed.mean().alias(f"missed@{k}")]
        columns += [(missed & (pl.col("rank") <= k).fill_null(False)).mean().alias(f"found@{k}")]
    found = pairs.group_by("query_id").agg(columns).sort("query_id").drop("query_id")
    return found.to_numpy().reshape(len(found), -1, 2)


def _figures(config: EvaluateConfig, shares: Sequence[np.ndarray]) -> Iterator[dict[str, float]]:
    """Yield the figures of each row; the resamples, which take the time, are drawn once for all of them."""
    found = np.hstack([own[:, :, 1] for own in shares])  # (queries, rows × k)
    interval = bootstrap_interval(found, config.confidence, config.n_resamples, SEED)
    ends = zip(*(end.tolist() for end in interval), strict=True)
    for own in shares:
        figures: dict[str, float] = {"n_queries": len(own)}
        for k, (missed, beyond) in zip(config.cutoffs(), own.mean(axis=0).tolist(), strict=True):
            low, high = next(ends)
            figures |= {f"missed_by_bm25@{k}": missed, f"beyond_bm25@{k}": beyond}
            figures |= {f"beyond_bm25@{k}_low": low, f"beyond_bm25@{k}_high": high}
        yield figures


def _header(config: EvaluateConfig, bm25: str) -> list[str]:
    return [
        f"missed_by_bm25@k: share of a query's relevant documents that are not among the first k of {bm25}, averaged "
        f"over the queries with at least one relevant document; 1 - recall@k of {bm25}",
        "beyond_bm25@k: the part of these that is among the first k of the method; recall@k of "
        f"{bm25} plus this is the recall of both lists together",
        "protocol, labels: what is relevant, as in the table of metrics of the same study",
        f"_low, _high: {config.confidence:.0%} percentile bootstrap interval over queries, {config.n_resamples} "
        f"resamples, seed {SEED}",
        RETRIEVER_NOTE,
        "seed mean: each query's shares averaged over the method's seeds",
    ]


def write_beyond_bm25(path: Path, table: pl.DataFrame, header: Sequence[str]) -> None:
    """Write the table, floats with six significant digits."""
    write_tsv(path, header, table, significant=6)
