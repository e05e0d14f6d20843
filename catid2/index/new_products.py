"""Products for an index: a file of them, read like a catalogue, cleaned like a corpus, placed in the index's tree."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import takewhile
from pathlib import Path

import numpy as np
import pyarrow as pa

from catid2.config.catalogue import CatalogueColumns, CatalogueConfig, ProductColumns
from catid2.corpus.catalogue.columns import Column
from catid2.corpus.catalogue.files import check_filled, check_once, check_rows, load_table
from catid2.corpus.catalogue.names import Splitting
from catid2.corpus.cleaning import clean_name, clean_text, name_key
from catid2.corpus.database import Resources, connect
from catid2.corpus.tree import PLACEHOLDER
from catid2.runtime.errors import warn
from catid2.runtime.tables import TEXT_FIELDS, products_columns


class CategoryTree:
    """The category tree of N products, which grows with the paths of new ones.

    Names are one if build_corpus takes them for one (`name_key`). A level that a path lacks is a node without a name.

    Args:
        paths: (N,) names, coarse to fine, without those that are null.
        nodes: (N, H) their nodes.
    """

    def __init__(self, paths: Sequence[tuple[str, ...]], nodes: np.ndarray):
        self.levels = nodes.shape[1]
        self._next = int(nodes.max(initial=-1)) + 1
        self._nodes: dict[tuple[str, ...], tuple[int, str | None]] = {}
        for row in np.unique(nodes, axis=0, return_index=True)[1]:
            names = self._padded(paths[row])
            for level, (key, name) in enumerate(zip(_prefixes(names), names, strict=True)):
                self._nodes[key] = int(nodes[row, level]), name

    def place(self, path: Sequence[str]) -> list[tuple[int, str | None]]:
        """Return the node and its name at each level of a path; a node that the tree lacks is added.

        A product without a path gets the path of all products, if the catalogue that the tree is of had no categories.
        """
        placeholder = self._padded(PLACEHOLDER)
        if not path and _prefixes(placeholder)[-1] in self._nodes:
            path = placeholder
        names = self._padded([clean_name(name) for name in path])
        for key, name in zip(_prefixes(names), names, strict=True):
            if key not in self._nodes:
                self._nodes[key] = self._next, name
                self._next += 1
        return [self._nodes[key] for key in _prefixes(names)]

    def _padded(self, path: Sequence[str]) -> list[str | None]:
        return [*path[: self.levels], *[None] * (self.levels - len(path))]


def _prefixes(names: Sequence[str | None]) -> list[tuple[str, ...]]:
    """Return what identifies the node of a path at each level."""
    keys = tuple(name_key(name or "") for name in names)
    return [keys[: level + 1] for level in range(len(keys))]


def read_new_products(
    path: Path, present: Collection[str], tree: CategoryTree, separator: str, clean_html: bool
) -> pa.Table:
    """Return the products of a file in the columns of products.parquet, by product_id; `doc_id` counts from 0.

    The file is parquet, CSV or JSON lines, as docs/catalogue.md describes them, with the columns product_id and title,
    and optionally brand, color, bullets, description, and the category path: in `category`, or in category_1, ….

    Args:
        path: the file.
        present: products of the index.
        tree: of the index; it grows.
        separator: between the names in a `category`.
        clean_html: whether tags are removed from texts, as in the index's corpus.

    Raises:
        InputError: as load_table; a product has no id or title, is there twice, or is in the index.
    """
    levels = [f"category_{level}" for level in range(1, tree.levels + 1)]
    required = {"product_id": Column("product_id", "id"), "title": Column("title")}
    optional = {name: Column(name, optional=True) for name in (*TEXT_FIELDS, *levels) if name not in required}
    splitting = Splitting("--category-separator", separator, of_paths=True, path_separator="")
    category = {"category": Column("category", "names", splitting, optional=True)}
    config = CatalogueConfig(columns=CatalogueColumns(products=ProductColumns(product_id="product_id")))
    with connect(Resources()) as connection:
        table = load_table(connection, "item", path, required | optional | category, config)
        check_filled(connection, table, "product_id", "title")
        check_once(connection, table, "product_id")
        connection.register("present", pa.table({"product_id": pa.array(sorted(present), pa.string())}))
        known = "product_id IN (SELECT product_id FROM present)"
        remedy = "leave it out, or name it in --remove to replace it"
        check_rows(connection, table, "product_id", known, " is in the index already", remedy)
        columns = ", ".join(["product_id", *TEXT_FIELDS, *levels, "category"])
        rows = connection.sql(f"SELECT {columns} FROM item ORDER BY product_id").to_arrow_table()
    for what, remedy in table.doubts:
        warn(path, what, remedy)
    texts = {name: [clean_text(text, clean_html) for text in rows[name].to_pylist()] for name in TEXT_FIELDS}
    by_level = zip(*(rows[name].to_pylist() for name in levels), strict=True)
    paths = [
        one or list(takewhile(lambda name: name and clean_name(name), names))
        for one, names in zip(rows["category"].to_pylist(), by_level, strict=True)
    ]
    places = [tree.place(one) for one in paths]
    nodes = {
        f"category_id_{level}": [place[level - 1][0] for place in places]
        for level in range(1, tree.levels + 1)
    }
    names = {name: [place[level][1] for place in places] for level, name in enumerate(levels)}
    content = {"doc_id": range(len(rows)), "product_id": rows["product_id"]} | texts | names | nodes
    return pa.table(content, pa.schema(products_columns(tree.levels)))
