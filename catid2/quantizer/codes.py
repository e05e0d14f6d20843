"""Documents as tuples of codes: greedy residual quantisation, prefixes, collisions, distortion.

Everything is NumPy, in float64 and in blocks of rows: memory stays linear in the number of documents, and codes do not
depend on the precision of the model that made the latents. ID schemes and repairs build on these functions.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np

BLOCK = 2048  # rows whose distances to all K codes are computed at once: 4 MB at K = 256


class Collisions(NamedTuple):
    """How many documents share a DocID."""

    rate: float  # 1 - distinct DocIDs / documents, the collision rate of the RQ-VAE literature
    documents: int  # documents that share their DocID
    groups: int  # DocIDs of more than one document
    largest: int  # documents in the largest group; 0 without collisions


def blocks(n: int) -> Iterator[slice]:
    """Yield slices of at most BLOCK rows that cover `range(n)`."""
    for start in range(0, n, BLOCK):
        yield slice(start, min(start + BLOCK, n))


def squared_distances(residual: np.ndarray, codebook: np.ndarray) -> np.ndarray:
    """Return the squared Euclidean distances (M, K) in float64 of residuals (M, d) to codes (K, d)."""
    residual = residual.astype(np.float64, copy=False)
    codebook = codebook.astype(np.float64, copy=False)
    distance = residual @ (-2.0 * codebook.T)
    distance += np.einsum("kd,kd->k", codebook, codebook)
    distance += np.einsum("md,md->m", residual, residual)[:, None]
    return distance


def greedy_codes(latents: np.ndarray, codebooks: np.ndarray) -> np.ndarray:
    """Return the codes (N, L) int32 of residual quantisation: c_l = argmin_k ||r_l - e_k^l||², r_{l+1} = r_l - e.

    This is the paper's c_l = argmax_k p_l (CAT-ID², section 3, after RQ-VAE). Of equal distances the lower code wins.

    Args:
        latents: (N, d) output of the encoder, or residuals if `codebooks` starts at a deeper layer.
        codebooks: (L, K, d).
    """
    codes = np.empty((len(latents), len(codebooks)), np.int32)
    for block in blocks(len(latents)):
        residual = latents[block].astype(np.float64)
        for layer, codebook in enumerate(codebooks):
            codes[block, layer] = squared_distances(residual, codebook).argmin(axis=1)
            residual -= codebook[codes[block, layer]]
    return codes


def residuals(latents: np.ndarray, codebooks: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Return r_l (M, d) in float64: the latents (M, d) minus the codewords of the first l layers' codes (M, l)."""
    residual = latents.astype(np.float64)
    for layer in range(codes.shape[1]):
        residual -= codebooks[layer][codes[:, layer]]
    return residual


def distortion(latents: np.ndarray, codebooks: np.ndarray, codes: np.ndarray) -> float:
    """Return the mean over documents of ||z - ẑ||², where ẑ is the sum of the codewords of the codes (N, L)."""
    total = 0.0
    for block in blocks(len(latents)):
        error = residuals(latents[block], codebooks, codes[block])
        total += float(np.einsum("md,md->", error, error))
    return total / len(latents)


def _number_pairs(ids: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Return (N,) int64 numbers of the distinct pairs of two (N,) columns: dense from 0, in lexicographic order."""
    return np.unique(ids * (int(column.max(initial=0)) + 1) + column, return_inverse=True)[1]


def tuple_ids(codes: np.ndarray) -> np.ndarray:
    """Return (N,) int64 numbers of the distinct rows of `codes` (N, l): dense from 0, in lexicographic order.

    Numbered layer by layer, so that no number exceeds N × K, however long the DocIDs are.
    """
    ids = np.zeros(len(codes), np.int64)
    for column in codes.T:
        ids = _number_pairs(ids, column)
    return ids


def prefix_ids(codes: np.ndarray) -> np.ndarray:
    """Return (N, L): column l is `tuple_ids` of the prefixes c_0..c_l of (N, L) codes."""
    prefixes = np.empty(codes.shape, np.int64)
    ids = np.zeros(len(codes), np.int64)
    for layer, column in enumerate(codes.T):
        prefixes[:, layer] = ids = _number_pairs(ids, column)
    return prefixes


def shared(codes: np.ndarray) -> np.ndarray:
    """Return (N,) bool: whether another document has the same codes."""
    ids = tuple_ids(codes)
    return (np.bincount(ids) > 1)[ids]


def rank_within(group: np.ndarray, *keys: np.ndarray) -> np.ndarray:
    """Return each element's rank (M,) from 0 within its group (M,), sorted by the keys in turn, then by position."""
    order = np.lexsort((*reversed(keys), group))
    ordered = group[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(group) else np.empty(0, np.int64)
    rank = np.empty(len(group), np.int64)
    rank[order] = np.arange(len(group)) - np.repeat(starts, np.diff(np.r_[starts, len(group)]))
    return rank


def collisions(codes: np.ndarray) -> Collisions:
    """Count the collisions of DocIDs (N, L), N > 0."""
    sizes = np.bincount(tuple_ids(codes))
    colliding = sizes[sizes > 1]
    return Collisions(
        rate=1 - len(sizes) / len(codes),
        documents=int(colliding.sum()),
        groups=len(colliding),
        largest=int(colliding.max(initial=0)),
    )


def standardized(
    embeddings: np.ndarray, order: np.ndarray, how: Literal["none", "unit", "center"]
) -> np.ndarray:
    """Return (N, D) embeddings in float32: unchanged, of length 1, or minus their mean and then of length 1.

    The mean is summed in the order of `order` (N,), so that the place of a row changes no bit.
    """
    mean = np.zeros(embeddings.shape[1])
    if how == "center":
        for block in blocks(len(order)):
            mean += embeddings[order[block]].sum(axis=0, dtype=np.float64)
        mean /= len(order)
    latents = np.empty(embeddings.shape, np.float32)
    for block in blocks(len(embeddings)):
        rows = embeddings[block] - mean
        if how != "none":
            rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        latents[block] = rows
    return latents
