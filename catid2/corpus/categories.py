"""The categories of a corpus's documents, as the RQ-VAE is trained on them."""

from pathlib import Path

import numpy as np

from catid2.runtime.errors import InputError
from catid2.runtime.tables import products_columns, read_table, require_dense


def read_categories(products: str | Path, levels: int) -> np.ndarray:
    """Return (N, levels) int32 category ids of products.parquet, coarse to fine, row = doc_id.

    Raises:
        InputError: products.parquet is not what build_corpus writes, holds no document, its doc_ids are not 0..N-1
            in order, or a category has two parents.
    """
    columns = products_columns(levels)
    wanted = ["doc_id", *(f"category_id_{level}" for level in range(1, levels + 1))]
    table = read_table(products, {name: columns[name] for name in wanted})
    require_dense(products, table["doc_id"].to_numpy(), "build the corpus again")
    categories = np.stack([table[name].to_numpy() for name in wanted[1:]], axis=1)
    for level in range(1, levels):
        pairs = np.unique(categories[:, level - 1 : level + 1], axis=0)
        nodes, parents = np.unique(pairs[:, 1], return_counts=True)
        if (parents > 1).any():
            node = nodes[parents > 1][0]
            what = f"category {node} of level {level + 1} has two parents"
            raise InputError(products, what, "make it a tree")
    return categories
