"""Reading products.parquet: ids, categories, and the canonical order, which does not depend on the order of rows."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catid2.runtime.errors import InputError
from catid2.runtime.tables import read_footer, read_table, require_dense


def read_products(path: str | Path) -> tuple[pa.Array, np.ndarray]:
    """Return the product ids (N,) and the categories (N, H) int32 of corpus/products.parquet, row = doc_id.

    Raises:
        InputError: the file cannot be used, holds no document, or its doc_id is not 0..N-1 in order.
    """
    levels = sum(name.startswith("category_id_") for name in read_footer(path)[0].names)
    product_ids = read_table(path, {"product_id": pa.string()})["product_id"]
    return product_ids.combine_chunks(), _read_nodes(path, levels)


def read_categories(path: str | Path, levels: int) -> np.ndarray:
    """Return the categories (N, levels) int32 of corpus/products.parquet, coarse to fine, row = doc_id.

    Raises:
        InputError: as `read_products`; or there are fewer levels, or a category has two parents.
    """
    categories = _read_nodes(path, levels)
    for level in range(1, levels):
        pairs = np.unique(categories[:, level - 1 : level + 1], axis=0)
        nodes, parents = np.unique(pairs[:, 1], return_counts=True)
        if (parents > 1).any():
            what = f"category {nodes[parents > 1][0]} of level {level + 1} has two parents"
            raise InputError(path, what, "make it a tree")
    return categories


def _read_nodes(path: str | Path, levels: int) -> np.ndarray:
    names = [f"category_id_{level}" for level in range(1, levels + 1)]
    table = read_table(path, dict.fromkeys(["doc_id", *names], pa.int32()))
    require_dense(path, table["doc_id"].to_numpy(), "build the corpus again")
    nodes = np.empty((len(table), levels), np.int32)
    for level, name in enumerate(names):
        nodes[:, level] = table[name].to_numpy()
    return nodes


def canonical_order(product_ids: pa.Array | Sequence[str], where: str | Path = "product_id") -> np.ndarray:
    """Return the rows (N,) in the order of their product_id, by UTF-8 bytes.

    Raises:
        InputError: a product_id is null or occurs twice, so the order is not defined.
    """
    keys = pa.array(product_ids, pa.string())
    if keys.null_count:
        row = keys.is_null().to_pylist().index(True)
        raise InputError(where, f"row {row}: product_id is null", "give every document an id of its own")
    order = pc.sort_indices(keys)
    ordered = keys.take(order)
    twice = pc.equal(ordered[1:], ordered[:-1])
    if pc.any(twice).as_py():
        name = ordered[twice.to_pylist().index(True)].as_py()
        raise InputError(where, f"product_id {name!r} occurs twice", "give every document an id of its own")
    return order.to_numpy().astype(np.int64)
