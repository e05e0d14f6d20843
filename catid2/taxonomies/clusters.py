"""A tree from vectors: hierarchical k-means."""

from typing import TYPE_CHECKING

import numpy as np

from catid2.config.schemes import HierarchicalKmeansScheme
from catid2.docids.schemes.cluster_tree import cluster_paths
from catid2.taxonomies.catalogue import Catalogue, Paths

if TYPE_CHECKING:
    from catid2.config.taxonomy import ClustersTaxonomy


def clusters(catalogue: Catalogue, settings: "ClustersTaxonomy", seed: int) -> Paths:
    """Split the catalogue into clusters, and these again; the name of a node is its path, such as `cluster 1.2.3`.

    Raises:
        InputError: an embedding is not finite.
    """
    documents = catalogue.documents
    cut = HierarchicalKmeansScheme(
        kind="hierarchical_kmeans",
        branches=settings.branches,
        leaf_documents=max(settings.least_documents - 1, 1),  # larger clusters are split
        depth=settings.levels,
        kmeans_documents=settings.kmeans_documents,
    )
    codes = np.zeros((len(documents.order), settings.levels), np.int64)
    found = cluster_paths(documents, [np.arange(len(documents.order))], cut, seed)
    codes[documents.order, : found.shape[1]] = found
    numbers = [list(map(str, path)) for path in (codes + 1).tolist()]
    return [
        tuple(f"cluster {'.'.join(path[:level])}" for level in range(1, settings.levels + 1))
        for path in numbers
    ]
