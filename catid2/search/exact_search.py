"""Exact search for the documents with the largest inner product, block by block.

A score has the same bits for any blocks, threads or device. Products with the same text (a catalogue has many)
therefore tie, and the lower doc_id comes first. With float32 sums, the order of additions in a matrix product would
break such ties. Here no sum is rounded: a float16 number is a multiple of 2^-24, so the product of two is a multiple of
2^-48, and float64 holds every sum of such products below 2^5 exactly. Vectors of length at most 4 stay as they are;
longer ones are scaled down by a power of two and then rounded to multiples of 2^-24.
"""

from __future__ import annotations

import numpy as np
import torch

from catid2.runtime.progress import Progress
from catid2.search.rankings import Rankings
from catid2.training.distributed import CPU

UNIT = 2.0**-24  # all float16 numbers are multiples of it
LONGEST = 4.0  # longest document or query vector: by Cauchy-Schwarz no partial sum of a score exceeds 16
BLOCK = 16_384  # documents scored at once
BATCH = 512  # queries scored at once: with BLOCK 67 MB of scores, and d × 131 kB of document vectors


def nearest(
    queries: np.ndarray,
    documents: np.ndarray,
    k: int,
    device: torch.device = CPU,
    block: int = BLOCK,
    batch: int = BATCH,
) -> Rankings:
    """Return the k documents with the largest inner product for each query; of equal scores, the lower doc_ids.

    A query with a zero vector (a text without words) has no results.

    Args:
        queries: (Q, d) float16, finite.
        documents: (N, d) float16, finite, row = doc_id; read block by block, so it may be a memory map.
        k: documents per query; all if there are fewer.
        device: where scores are computed.
        block: documents scored at once.
        batch: queries scored at once.
    """
    query_scale, document_scale = _scale(queries, batch), _scale(documents, block)
    query_vectors = _exact(queries, query_scale).to(device)
    shape = len(queries), min(k, len(documents))
    doc_ids = torch.full(shape, -1, device=device)
    scores = torch.full(shape, float("-inf"), dtype=torch.float64, device=device)
    for first in Progress(range(0, len(documents), block), desc="search", unit=" blocks of documents"):
        vectors = _exact(documents[first : first + block], document_scale).to(device)
        for start in range(0, len(queries), batch):
            rows = slice(start, start + batch)
            columns, values = _best(query_vectors[rows] @ vectors.T, shape[1])
            # Results of earlier blocks come first: their doc_ids are lower, and the sort is stable.
            values, order = torch.cat([scores[rows], values], 1).sort(dim=1, descending=True, stable=True)
            found = torch.cat([doc_ids[rows], columns + first], 1).gather(1, order)
            doc_ids[rows], scores[rows] = found[:, : shape[1]], values[:, : shape[1]]
    silent = ~query_vectors.any(dim=1, keepdim=True)
    doc_ids.masked_fill_(silent, -1)
    scores = (scores / (query_scale * document_scale)).masked_fill(silent, float("-inf"))
    return Rankings(doc_ids.int().cpu().numpy(), scores.float().cpu().numpy())


def _scale(vectors: np.ndarray, block: int) -> float:
    """Return the largest power of two, at most 1, that scales all vectors to LONGEST or less."""
    blocks = (vectors[start : start + block] for start in range(0, len(vectors), block))
    longest = max(
        (float(np.linalg.norm(rows.astype(np.float64), axis=1).max()) for rows in blocks), default=0
    )
    return 2.0 ** -max(0, np.ceil(np.log2(max(longest, UNIT) / LONGEST)))


def _exact(vectors: np.ndarray, scale: float) -> torch.Tensor:
    """Return `vectors` in float64, scaled and rounded to multiples of UNIT."""
    return torch.from_numpy(np.rint(vectors.astype(np.float64) * (scale / UNIT)) * UNIT)


def _best(scores: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return columns and values of the k best of each row of `scores` (B, n); of equal scores the lower column."""
    values, columns = scores.topk(min(k, scores.shape[1]), dim=1)
    # Of the scores that tie with the last one topk returns any.
    tied = ((scores >= values[:, -1:]).sum(1) > values.shape[1]).nonzero().flatten()
    columns[tied] = scores[tied].argsort(dim=1, descending=True, stable=True)[:, : values.shape[1]]
    columns = columns.sort(dim=1).values
    values, order = scores.gather(1, columns).sort(dim=1, descending=True, stable=True)
    return columns.gather(1, order), values
