"""taxonomy.parquet and taxonomy.json: categories that a method uses in place of the corpus's own."""

import logging
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from catid2.corpus.products import canonical_order, read_products
from catid2.corpus.text import DocumentTexts
from catid2.corpus.tree import build_tree
from catid2.docids.schemes.coding import Documents
from catid2.quantizer.diagnostics import category_nmi, category_nmi_chance
from catid2.runtime.errors import InputError
from catid2.runtime.tables import TAGS, read_embeddings, read_table
from catid2.taxonomies.catalogue import Catalogue, Paths
from catid2.taxonomies.registry import maker

if TYPE_CHECKING:
    from catid2.config.taxonomy import Taxonomy

log = logging.getLogger(__name__)


class Made(NamedTuple):
    """A tree, and the places of the N documents in it."""

    # doc_id, product_id, category_1.., category_id_1..: as in corpus/products.parquet
    table: pa.Table
    # settings, nodes of each level, agreement with the corpus's own tree
    description: dict[str, Any]


def make_taxonomy(
    config: "Taxonomy", products: Path, embeddings: Path | None, tags: Path | None, seed: int
) -> Made:
    """Make the tree that `config` asks for.

    Args:
        config: settings of a kind other than the corpus's own tree.
        products: corpus/products.parquet.
        embeddings: (N, D) .npy, for a kind that reads vectors.
        tags: columns product_id and tags, for a kind that reads tags; a product without a row has no tags.
        seed: of the random draws.

    Raises:
        InputError: a file is missing, damaged or of another corpus; or as the maker of the kind.
    """
    if not config.made:
        raise InputError("--config", f"kind {config.kind!r} is the corpus's own tree", "name another kind")
    product_ids, nodes = read_products(products)
    documents = texts = tag_lists = None
    if config.reads == "vectors":
        matrix = read_embeddings(_given(embeddings, "--embeddings", config), rows=len(product_ids))
        documents = Documents(matrix, nodes, canonical_order(product_ids, products), embeddings, None)
    elif config.reads == "text":
        texts = DocumentTexts(products, config.template, config.max_characters)
    elif config.reads == "tags":
        tag_lists = _read_tags(_given(tags, "--tags", config), product_ids)
    catalogue = Catalogue(_read_paths(products, nodes.shape[1]), documents, texts, tag_lists)
    paths = maker(config.kind)(catalogue, config, seed)

    counts = Counter(paths)
    leaves = list(counts)
    tree = build_tree(leaves, [counts[leaf] for leaf in leaves])
    place = {leaf: number for number, leaf in enumerate(leaves)}
    made = tree.ancestors[[place[path] for path in paths]]
    moved = sum(path != own for path, own in zip(paths, catalogue.paths, strict=True))
    levels = made.shape[1]
    description = {
        "settings": config.model_dump(mode="json"),
        "seed": seed,
        "documents": len(paths),
        "moved": moved,
        "nodes": np.bincount(tree.nodes["level"].to_numpy(), minlength=levels + 1)[1:].tolist(),
        # [h][l]: level h + 1 of the corpus's tree with level l + 1 of this one
        "nmi_with_corpus": category_nmi(made, nodes)["codes"],
        "nmi_with_corpus_chance": category_nmi_chance(made, nodes)["codes"],
    }
    log.info("%s: nodes %s, %d of %d documents moved", config.kind, description["nodes"], moved, len(paths))
    names = {f"category_{level + 1}": [path[level] for path in paths] for level in range(levels)}
    ids = {f"category_id_{level + 1}": pa.array(made[:, level], pa.int32()) for level in range(levels)}
    doc_ids = pa.array(range(len(paths)), pa.int32())
    return Made(pa.table({"doc_id": doc_ids, "product_id": product_ids} | names | ids), description)


def _given(path: Path | None, option: str, config: "Taxonomy") -> Path:
    if path is None:
        raise InputError(option, f"missing, but kind {config.kind!r} reads it", "name the file")
    return path


def _read_paths(products: Path, levels: int) -> Paths:
    names = read_table(products, {f"category_{level}": pa.string() for level in range(1, levels + 1)})
    for name in names.column_names:
        if names[name].null_count:
            row = names[name].to_pylist().index(None)
            raise InputError(products, f"column {name!r}, row {row}: null", "build the corpus again")
    return list(zip(*(column.to_pylist() for column in names.columns), strict=True))


def _read_tags(path: Path, product_ids: pa.Array) -> list[list[str]]:
    table = read_table(path, TAGS)
    by_product: dict[str, list[str]] = {}
    for row, (product, tags) in enumerate(zip(*table.to_pydict().values(), strict=True)):
        if product in by_product:
            raise InputError(
                path, f"row {row}: product_id {product!r} occurs twice", "give each product one row"
            )
        by_product[product] = [tag for tag in tags or [] if tag]
    found = [by_product.get(product, []) for product in product_ids.to_pylist()]
    if not any(found):
        raise InputError(path, "no product of this corpus has a tag", "name the tags of this catalogue")
    return found
