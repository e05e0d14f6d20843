"""DocIDs that start with the category path, after Hi-Gen (Wu et al. 2024)."""

from typing import TYPE_CHECKING

import numpy as np

from catid2.docids.schemes.cluster_tree import cluster_paths, numbered
from catid2.docids.schemes.coding import Documents, Unique
from catid2.quantizer.codes import rank_within, tuple_ids
from catid2.runtime.errors import InputError

if TYPE_CHECKING:
    from catid2.config.schemes import CategoryScheme


def category(documents: Documents, settings: "CategoryScheme", seed: int) -> Unique:
    """Code each document by its category path, its clusters within the category, and a number in the last cluster.

    Raises:
        InputError: the tree has fewer levels than the settings name, or an embedding is not finite.
    """
    have = documents.categories.shape[1]
    if settings.levels > have:
        what = f"scheme.levels is {settings.levels}, but the corpus has {have} category levels"
        raise InputError("--config", what, "name fewer levels, or build the corpus with more")
    path = category_path(documents.categories[documents.order, : settings.levels])
    leaf = tuple_ids(path)
    members = np.split(np.argsort(leaf, kind="stable"), np.cumsum(np.bincount(leaf))[:-1])
    clusters = cluster_paths(documents, members, settings, seed)
    sizes = (*(path.max(axis=0) + 1).tolist(), *[settings.branches] * clusters.shape[1])
    return numbered(documents, np.column_stack([path, clusters]), sizes)


def category_path(categories: np.ndarray) -> np.ndarray:
    """Return (N, H) int32: the number from 0 of each category among its siblings, for nodes (N, H), coarse to fine.

    Siblings are numbered in the order of their nodes; categories without documents are skipped.
    """
    path = np.empty(categories.shape, np.int32)
    parent = np.zeros(len(categories), np.int64)
    for level, nodes in enumerate(categories.T):
        pairs, which = np.unique(np.column_stack([parent, nodes]), axis=0, return_inverse=True)
        which = which.reshape(-1)
        path[:, level] = rank_within(pairs[:, 0])[which]
        parent = which
    return path
