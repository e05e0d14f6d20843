"""Decoding to intermediate nodes of the trie and ranking the documents below them by dense score.

The paper limits online latency in this way: fewer decoder steps, and one matrix product over a few hundred documents.
The queries' vectors come from embed_queries, in the view of the documents.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from catid2.embedding.vectors import ViewVectors
from catid2.runtime.errors import InputError
from catid2.search.beam import Beams
from catid2.search.trie import Trie


class DenseRanking(NamedTuple):
    """The vectors that rank the documents below nodes.

    Attributes:
        depth: decoder steps, 1..L-1: beam search ends at nodes of this depth.
        queries: (Q, d) unit vectors of the queries, in their order.
        documents: (N, d) unit vectors, row = doc_id.
    """

    depth: int
    queries: torch.Tensor
    documents: torch.Tensor

    def rank(
        self, trie: Trie, found: Beams, rows: np.ndarray, width: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return doc_ids (B, width) and cosines (B, width), best first, of the queries `rows` (B,).

        All documents below a query's nodes compete, whatever the nodes' scores; padding is -1 and -inf.
        """
        doc_ids = torch.full((len(rows), width), -1, dtype=torch.int32, device=found.nodes.device)
        scores = torch.full((len(rows), width), float("-inf"), device=found.nodes.device)
        for row, (nodes, query) in enumerate(zip(found.nodes, self.queries[rows], strict=True)):
            first, end = trie.leaves(nodes[nodes >= 0], self.depth)
            # The leaves of all nodes, concatenated: each range counts up from its first leaf.
            lengths = end - first
            starts = (first - lengths.cumsum(0) + lengths).repeat_interleave(lengths)
            leaves = starts + torch.arange(len(starts), device=starts.device)
            below = trie.doc_ids[leaves].sort().values  # ties: the lower doc_id first
            best = (self.documents[below] @ query).sort(descending=True, stable=True)
            kept = min(width, len(below))
            doc_ids[row, :kept] = below[best.indices[:kept]]
            scores[row, :kept] = best.values[:kept]
        return doc_ids, scores


def require_depth(depth: int, length: int, where: str = "rank_below_level") -> None:
    """Raise InputError, naming `where`, unless `depth` is less than `length`, the positions of the DocIDs."""
    if depth >= length:
        raise InputError(where, f"{depth}, but DocIDs have {length} positions", "set a lower level")


def dense_ranking(
    depth: int, vectors: ViewVectors, query_ids: np.ndarray, device: torch.device
) -> DenseRanking:
    """Return the ranking of documents below nodes of `depth` for the queries (Q,), on `device`."""
    queries = unit(vectors.of_queries(query_ids))
    return DenseRanking(depth, queries.to(device), unit(vectors.documents).to(device))


def unit(vectors: np.ndarray) -> torch.Tensor:
    """Return vectors (n, d) as float32 of length 1."""
    return functional.normalize(torch.from_numpy(np.array(vectors, np.float32)), dim=1)
