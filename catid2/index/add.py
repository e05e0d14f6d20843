"""Change the products of an index without a training: new ones get free DocIDs, removed ones leave theirs free.

The products that stay keep their DocIDs, vectors and order; new ones follow, by product_id. A doc_id is a row, so after
a removal the doc_ids behind it are lower. Encoder, quantiser and retriever stay as they are; BM25 is indexed anew.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from catid2.corpus.database import write_stream
from catid2.corpus.products import canonical_order
from catid2.corpus.text import document_texts
from catid2.docids.assign import Assignment
from catid2.docids.extend import extend, require_extensible
from catid2.docids.table import Docids, docids_table
from catid2.embedding.documents import require_finite
from catid2.index.card import CARD, model_card
from catid2.index.export import save_bm25
from catid2.index.folder import (
    DOCIDS,
    ENCODER,
    PRODUCTS,
    RETRIEVER,
    RQVAE,
    VECTORS,
    require_new_folder,
    write_settings,
)
from catid2.index.new_products import CategoryTree, read_new_products
from catid2.quantizer.codes import greedy_codes
from catid2.quantizer.latents import encode
from catid2.quantizer.model import RQVAE as Model
from catid2.runtime.errors import InputError
from catid2.runtime.tables import products_columns, read_table, write_table
from catid2.runtime.writing import atomic

if TYPE_CHECKING:
    from catid2.index.index import Index

ROWS_PER_GROUP = 2**14  # of products.parquet, as build_corpus writes it


class Coded(NamedTuple):
    """M new products in the index's space."""

    vectors: np.ndarray  # (M, d) float16
    codes: np.ndarray  # (M, L') int32: their DocIDs
    before: np.ndarray  # (M, L) int32: their codes before the repair


def change_products(
    index: Index, output: Path, products: Path | None, removed: Sequence[str], separator: str = " > "
) -> int:
    """Write an index with other products to the new folder `output`; return how many are new.

    Args:
        index: which stays as it is.
        output: folder to write.
        products: file of new products (`read_new_products`).
        removed: product ids of the index. A product that is removed and among the new ones is replaced.
        separator: between the names of a category path.

    Raises:
        InputError: `output` exists or lies in the index; a removed product is not in the index, or no product would be
            left; the products cannot be used (`read_new_products`), or the DocIDs not be extended (`extend`).
    """
    require_new_folder(output, index.folder)
    kept = np.ones(len(index), bool)
    kept[index.require(removed)] = False
    docids = Docids.read(index.folder / DOCIDS)
    table = read_table(index.folder / PRODUCTS, products_columns(index.category_ids.shape[1]))
    table = table.filter(pa.array(kept))
    codes, before, vectors = docids.codes[kept], docids.before[kept], index.vectors[kept]
    added = 0
    if products is not None:
        require_extensible(index.settings.docids)
        tree = CategoryTree(index.categories, index.category_ids)
        present = table["product_id"].to_pylist()
        new = read_new_products(products, present, tree, separator, index.settings.clean_html)
        coded = _coded(index, new, codes, products)
        table = pa.concat_tables([table, new])
        codes, before, vectors = (
            np.concatenate(parts)
            for parts in ((codes, coded.codes), (before, coded.before), (vectors, coded.vectors))
        )
        added = len(new)
    if not len(table):
        raise InputError("--remove", "no product is left", "remove fewer, or delete the index")
    table = table.set_column(0, "doc_id", pa.array(np.arange(len(table), dtype=np.int32)))
    moved = (codes[:, : before.shape[1]] != before).any(axis=1)
    assignment = Assignment(codes, before, moved, np.zeros(len(table), bool))
    with atomic(output) as folder:
        folder.mkdir()
        for name in (RETRIEVER, ENCODER, RQVAE):
            if (index.folder / name).is_dir():
                shutil.copytree(index.folder / name, folder / name)
        write_stream(folder / PRODUCTS, table.to_batches(ROWS_PER_GROUP), table.schema)
        write_table(folder / DOCIDS, docids_table(table["product_id"], assignment))
        np.save(folder / VECTORS, vectors)
        save_bm25(folder, index.settings)
        (folder / CARD).write_text(model_card(index.settings, index.retriever.kind, changed=True), "utf-8")
        write_settings(folder, index.settings)
    return added


def _coded(index: Index, new: pa.Table, taken: np.ndarray, where: Path) -> Coded:
    """Encode new products and give them DocIDs that are not `taken` (N, L')."""
    view = index.settings.view
    vectors = index.encoder.documents(document_texts(new, view.template, view.max_characters))
    require_finite(vectors, where, 0)
    model = Model.load(index.folder / RQVAE)
    product_ids = new["product_id"].combine_chunks()
    latents = encode(model, vectors, canonical_order(product_ids), where)
    codebooks = model.codebooks.numpy()
    sizes = index.retriever.sizes
    codes = extend(latents, codebooks, product_ids, taken, sizes, index.settings.docids)
    return Coded(vectors, codes, greedy_codes(latents, codebooks))
