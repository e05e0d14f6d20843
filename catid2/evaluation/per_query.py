"""Wins and losses by query: the per-query table of `evaluate`, read back."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from catid2.evaluation.metrics import judged_pairs
from catid2.runtime.errors import InputError
from catid2.runtime.tables import read_table

KEYS = {  # texts as Polars writes them
    "method": pa.large_string(),
    "protocol": pa.large_string(),
    "labels": pa.large_string(),
    "query_id": pa.int64(),
    "n_relevant": pa.int32(),
}


class PerQuery(NamedTuple):
    """A metric of Q queries under one protocol and label set, averaged over the seeds of each of M methods."""

    protocol: str
    labels: str
    query_ids: np.ndarray  # (Q,)
    n_relevant: np.ndarray  # (Q,)
    values: dict[str, np.ndarray]  # by method, the reference first; (Q,) each

    def relevant(self, judgements: pl.DataFrame, path: Path) -> dict[int, list[int]]:
        """Return the relevant documents of each query, sorted; errors as judged_pairs, `path` holds the judgements."""
        pairs = judged_pairs(judgements, self.protocol, self.labels, path).filter(pl.col("relevant") > 0)
        return {query: docs for query, docs in pairs.group_by("query_id").agg("doc_id").iter_rows()}

    def differences(self) -> np.ndarray:
        """Return the reference minus each other method, (Q, M - 1): above 0 the reference wins."""
        reference, *others = self.values.values()
        differences = reference[:, None] - np.array(others).reshape(-1, len(reference)).T
        return differences.round(9)  # the mean of three equal numbers is not always the number

    def telling(self, n: int) -> list[int]:
        """Return the rows of up to `n` queries: the biggest win and loss against each other method, the second biggest…

        There are none where there is no other method.
        """
        orders = [
            np.argsort(sign * differences, kind="stable").tolist()
            for differences in self.differences().T
            for sign in (-1, 1)
        ]
        return in_turn(orders, n)


def telling_queries(every: Sequence[PerQuery], n: int) -> list[int]:
    """Return the query_ids of up to `n` telling queries, of all protocols and label sets in turn."""
    return in_turn([one.query_ids[one.telling(n)].tolist() for one in every], n)


def in_turn(lists: Sequence[Sequence[int]], n: int) -> list[int]:
    """Return the first `n` distinct numbers when the lists are read in turn: the first of each, the second of each…"""
    dealt = (number for turn in itertools.zip_longest(*lists) for number in turn if number is not None)
    return list(itertools.islice(dict.fromkeys(dealt), n))


def require_test_queries(path: Path, every: Sequence[PerQuery], query_ids: np.ndarray) -> None:
    """Raise InputError unless the queries of the table at `path` are among `query_ids`, the corpus's test queries."""
    for one in every:
        unknown = np.setdiff1d(one.query_ids, query_ids)
        if len(unknown):
            raise InputError(path, f"query {unknown[0]} is no test query of the corpus", "run evaluate again")


def read_per_query(path: Path, metric: str, methods: Sequence[str] = ()) -> list[PerQuery]:
    """Return a metric of {study}_per_query.parquet for each protocol and label set, in the order of the file.

    Args:
        path: the table.
        metric: one of its columns.
        methods: which are wanted, the reference first; by default all, the study's first being the reference.

    Raises:
        InputError: as read_table; the table is empty, lacks a method, or has not the same queries for all methods.
    """
    table = pl.from_arrow(read_table(path, KEYS | {metric: pa.float64()}))
    remedy = "run evaluate again"
    if table.is_empty():
        raise InputError(path, "no rows", remedy)
    found = []
    for (protocol, labels), rows in table.group_by("protocol", "labels", maintain_order=True):
        means = rows.group_by("method", "query_id", maintain_order=True).agg(
            pl.first("n_relevant"), pl.mean(metric)
        )
        of_method = {name: of for (name,), of in means.group_by("method", maintain_order=True)}
        wanted = list(methods or of_method)
        for name in wanted:
            if name not in of_method or not of_method[name]["query_id"].equals(
                of_method[wanted[0]]["query_id"]
            ):
                what = (
                    f"not the same queries of {name} and {wanted[0]} (protocol {protocol}, labels {labels})"
                )
                raise InputError(path, what, remedy)
        first = of_method[wanted[0]]
        ids, relevant = first["query_id"].to_numpy(), first["n_relevant"].to_numpy()
        values = {name: of_method[name][metric].to_numpy() for name in wanted}
        found.append(PerQuery(protocol, labels, ids, relevant, values))
    return found
