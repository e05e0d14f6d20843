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
    table = read_table(path, {"doc_id": pa.int32(), "product_id": pa.string()})
    doc_ids = table["doc_id"].to_numpy()
    require_dense(path, doc_ids, "build the corpus again")
    levels = sum(name.startswith("category_id_") for name in read_footer(path)[0].names)
    nodes = read_table(path, {f"category_id_{level}": pa.int32() for level in range(1, levels + 1)})
    categories = np.empty((len(doc_ids), levels), np.int32)
    for level, column in enumerate(nodes.columns):
        categories[:, level] = column.to_numpy()
    return table["product_id"].combine_chunks(), categories


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
