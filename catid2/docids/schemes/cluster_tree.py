"""Hierarchical k-means: a tree of clusters whose paths are DocIDs (DSI's semantic identifiers, NCI)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from catid2.docids.schemes.coding import Documents, Unique
from catid2.quantizer.codebooks import kmeans
from catid2.quantizer.codes import blocks, greedy_codes, rank_within, tuple_ids
from catid2.runtime.tables import require_finite

if TYPE_CHECKING:
    from catid2.config.schemes import HierarchicalKmeansScheme, TreeScheme


def hierarchical_kmeans(documents: Documents, settings: "HierarchicalKmeansScheme", seed: int) -> Unique:
    """Code each document by its path in a tree of clusters and a number in its last cluster.

    Raises:
        InputError: an embedding is not finite.
    """
    everything = np.arange(len(documents.order))
    paths = cluster_paths(documents, [everything], settings, seed)
    return numbered(documents, paths, (settings.branches,) * paths.shape[1])


def cluster_paths(
    documents: Documents, groups: Sequence[np.ndarray], settings: "TreeScheme", seed: int
) -> np.ndarray:
    """Split each group of documents into clusters, and these again, until they are small enough.

    A path that ends early is padded with code 0; no document outside the cluster has its prefix, so paths stay
    distinct. A cluster of identical documents cannot be split and ends its path, however large it is.

    Args:
        documents: the corpus.
        groups: one ascending array of positions in the canonical order per tree of clusters.
        settings: branches, leaf_documents, depth, kmeans_documents.
        seed: of k-means.

    Returns:
        (N, d) int32, in canonical order: the code of the cluster at each level; d ≤ depth is the depth reached.

    Raises:
        InputError: an embedding is not finite.
    """
    require_finite(documents.where, documents.embeddings)
    generator = torch.Generator().manual_seed(seed)
    paths = np.zeros((len(documents.order), settings.depth), np.int32)
    clusters, reached = list(groups), 0
    for level in range(settings.depth):
        clusters = [members for members in clusters if len(members) > settings.leaf_documents]
        children: list[np.ndarray] = []
        for members in clusters:
            codes = _split(documents.embeddings, documents.order[members], settings, generator)
            sizes = np.bincount(codes, minlength=settings.branches)
            if sizes.max() < len(members):
                paths[members, level] = codes
                children += np.split(members[np.argsort(codes, kind="stable")], np.cumsum(sizes)[:-1])
        if not children:
            break
        clusters, reached = children, level + 1
    return paths[:, :reached]


def _split(
    embeddings: np.ndarray, rows: np.ndarray, settings: "TreeScheme", generator: torch.Generator
) -> np.ndarray:
    """Return the cluster (M,) of each row (M,): the nearest centre of k-means on at most `kmeans_documents` of them."""
    drawn = np.arange(len(rows))
    if len(rows) > settings.kmeans_documents:
        drawn = (
            torch.randperm(len(rows), generator=generator)[: settings.kmeans_documents].sort().values.numpy()
        )
    points = torch.from_numpy(embeddings[rows[drawn]].astype(np.float32))
    centres = kmeans(points, settings.branches, generator).numpy()
    codes = np.empty(len(rows), np.int32)
    for block in blocks(len(rows)):
        codes[block] = greedy_codes(embeddings[rows[block]], centres[None])[:, 0]
    return codes


def numbered(documents: Documents, paths: np.ndarray, sizes: tuple[int, ...]) -> Unique:
    """Return DocIDs: the paths (N, l), in canonical order, and last the number of the document within its path.

    Args:
        documents: the corpus; numbers follow its canonical order.
        paths: codes; position i in 0..sizes[i]-1.
        sizes: (l,).
    """
    number = rank_within(tuple_ids(paths))
    codes = np.empty((len(paths), len(sizes) + 1), np.int32)
    codes[documents.order] = np.column_stack([paths, number])
    return Unique(codes, (*sizes, int(number.max()) + 1))
