"""Ranked documents of many queries: their recall, and their table run.parquet."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from catid2.runtime.tables import RUN


class Rankings(NamedTuple):
    """The best documents of Q queries, best first; (Q, k), padded with -1 and -inf."""

    doc_ids: np.ndarray  # int32
    scores: np.ndarray  # float32, descending


def recall(found: np.ndarray, query: np.ndarray, doc: np.ndarray, k: int) -> float:
    """Return recall@k: the share of a query's relevant documents among its first k, averaged over queries.

    Args:
        found: (Q, n) doc_ids, best first, padded with -1.
        query: (P,) query row of each relevant pair, sorted; queries without pairs do not count.
        doc: (P,) document of each pair.
        k: cut-off.
    """
    hit = (found[query, :k] == doc[:, None]).any(axis=1)
    rows, first = np.unique(query, return_index=True)
    relevant = np.diff(np.append(first, len(query)))
    return float((np.add.reduceat(hit.astype(np.float64), first) / relevant).sum() / len(rows))


def run_table(query_ids: np.ndarray, found: Rankings) -> pa.Table:
    """Return rankings as the table of run.parquet: ranks count from 1, padding is omitted."""
    valid = found.doc_ids >= 0
    rank = np.broadcast_to(np.arange(1, valid.shape[1] + 1, dtype=np.int32), valid.shape)
    columns = {
        "query_id": np.repeat(query_ids, valid.sum(axis=1)),
        "doc_id": found.doc_ids[valid],
        "rank": rank[valid],
        "score": found.scores[valid],
    }
    return pa.table(columns, pa.schema(RUN))
