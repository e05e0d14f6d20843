"""The ID schemes by the `kind` of their settings (catid2.config.schemes). A new one is a function and a line here."""

from collections.abc import Callable
from typing import Any

from catid2.docids.schemes.category import category
from catid2.docids.schemes.cluster_tree import hierarchical_kmeans
from catid2.docids.schemes.coding import Coding, Documents
from catid2.docids.schemes.random import random
from catid2.docids.schemes.residual_kmeans import residual_kmeans
from catid2.docids.schemes.rqvae import rqvae

# A scheme takes the documents, its own settings and the seed.
SCHEMES: dict[str, Callable[[Documents, Any, int], Coding]] = {
    "rqvae": rqvae,
    "residual_kmeans": residual_kmeans,
    "random": random,
    "hierarchical_kmeans": hierarchical_kmeans,
    "category": category,
}
