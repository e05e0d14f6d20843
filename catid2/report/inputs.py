"""What the report reads, checked when it is opened. The names of other stages' columns and keys stand here only."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from catid2.docids.table import Docids
from catid2.evaluation.table import MEAN, read_recall
from catid2.report.figures import Curve
from catid2.runtime.errors import InputError
from catid2.runtime.tables import (
    CATEGORIES,
    read_footer,
    read_json,
    read_table,
    require_dense,
    require_file,
)

if TYPE_CHECKING:
    from catid2.config.report import Comparison, ReportDataset

# Of corpus/stats.json; the page has all others folded away.
MAIN_COUNTS = (
    "documents",
    "queries, train",
    "queries, test",
    "labels, E+S, train_pairs",
    "labels, E+S, test_pairs",
    "labels, E+S, seen_test_pairs",
    "labels, E+S, seen_test_queries",
)
# Quantities of the training histories that are drawn, and their titles.
RQVAE_CURVES = {
    "reconstruction": "RQ-VAE: reconstruction error",
    "collision_rate": "RQ-VAE: collision rate",
    "perplexity_0": "RQ-VAE: perplexity of layer 1",
}
RETRIEVER_CURVES = {
    "loss": "retriever: training loss",
    "recall@10": "retriever: validation recall@10",
    "recall@100": "retriever: validation recall@100",
}


class DocidStatistics(NamedTuple):
    """docids.json of one seed; shares are of all documents."""

    documents: int
    codes_per_layer: list[int]
    collisions_before: float
    collisions_after: float
    moved: float
    hccl_dropped: list[float]  # per category level; empty without HCCL
    perplexity: list[float]  # per layer
    nmi: np.ndarray  # (H, L): category level and layer
    nmi_chance: np.ndarray  # (H, L): the same with the categories shuffled


class Catalogue(NamedTuple):
    """What the report shows of a corpus; row = doc_id."""

    titles: list[str]
    categories: np.ndarray  # (N, H) nodes of the tree
    nodes: Mapping[int, str]  # their names

    def path(self, doc_id: int) -> str:
        """Return the names from the top of the tree down to the product's category."""
        return " › ".join(self.nodes[int(node)] for node in self.categories[doc_id])


class DatasetTables(NamedTuple):
    """The small tables of one dataset."""

    dataset: "ReportDataset"
    recall: list[dict[str, Any]]  # one row per method, protocol and labels: the seeds' mean, or the one seed
    definitions: list[str]  # the header comment of recall.tsv
    stats: dict[str, Any]  # corpus/stats.json
    docids: dict[
        str, list[DocidStatistics]
    ]  # by method, in the order of its seeds; {} for those without DocIDs


def read_comparison(results: Path, comparison: "Comparison") -> list[DatasetTables]:
    """Return the small tables of every dataset.

    Raises:
        InputError: there is no dataset, or a table is missing or incomplete.
    """
    if not comparison.datasets:
        raise InputError("--comparison", "no dataset", "a report needs one that has queries")
    return [
        _read_dataset(results / dataset.name, dataset, comparison.study) for dataset in comparison.datasets
    ]


def _read_dataset(folder: Path, dataset: "ReportDataset", study: str) -> DatasetTables:
    path = folder / f"{study}.tsv"
    rows = read_recall(path).to_dicts()
    for method in dataset.methods:
        if not any(row["method"] == method.name for row in rows):
            raise InputError(path, f"no row of method {method.name!r}", "run evaluate for this study again")
    known = [method.name for method in dataset.methods]
    kept = [row for row in rows if row["method"] in known]
    return DatasetTables(
        dataset=dataset,
        recall=sorted(one_per_method(path, kept), key=lambda row: known.index(row["method"])),
        definitions=[
            line[1:].strip() for line in path.read_text("utf-8").splitlines() if line.startswith("#")
        ],
        stats=read_stats(folder / "corpus" / "stats.json"),
        docids={
            method.name: [
                read_docid_statistics(folder / method.docids / f"seed{seed}" / "docids.json")
                for seed in method.seeds
            ]
            for method in dataset.methods
            if method.docids
        },
    )


def read_tsv(path: str | Path, columns: tuple[str, ...]) -> pl.DataFrame:
    """Return a TSV whose comment lines start with `#`.

    Raises:
        InputError: the file is missing, no table, empty, or lacks one of `columns`.
    """
    path = require_file(path)
    try:
        if not path.read_bytes().endswith(b"\n"):
            raise InputError(path, "cut short: its last line has no end", "make it again")
        table = pl.read_csv(path, separator="\t", comment_prefix="#", infer_schema_length=None, glob=False)
    except (pl.exceptions.PolarsError, UnicodeDecodeError) as error:
        raise InputError(path, f"not a table ({error})", "make it again") from None
    for column in columns:
        if column not in table.columns:
            raise InputError(path, f"column {column!r} is missing", f"it has {', '.join(table.columns)}")
    if table.is_empty():
        raise InputError(path, "no rows", "make it again")
    return table


def one_per_method(path: Path, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one row per method, protocol and labels, with the number of seeds as `seeds`.

    With several seeds it is the row of their mean.
    """
    groups: dict[tuple, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["method"], row["protocol"], row["labels"]), []).append(row)
    chosen = []
    for key, members in groups.items():
        mean = [row for row in members if row["seed"] == MEAN]
        single = [row for row in members if row["seed"] != MEAN]
        if len(mean) > 1 or (not mean and len(single) > 1):
            what = f"{len(single)} seeds and {len(mean)} means of {' '.join(key)}"
            raise InputError(path, what, "one row with seed 'mean' is needed")
        chosen.append({**(mean or single)[0], "seeds": len(single)})
    return chosen


def read_stats(path: str | Path) -> dict[str, Any]:
    """Return the counts of a corpus; InputError unless those are there that the page shows first."""
    content = read_json(path)
    for name in MAIN_COUNTS:
        _numbers(path, content, tuple(name.split(", ")), 0, "build the corpus again")
    return content


def read_docid_statistics(path: str | Path) -> DocidStatistics:
    """Return what the report shows of a docids.json."""
    content = read_json(path)
    remedy = "run assign_docids again"

    def shaped(ndim: int, *keys: str) -> np.ndarray:
        return _numbers(path, content, keys, ndim, remedy)

    nmi, chance = (
        shaped(2, "before", "category_nmi", "codes"),
        shaped(2, "before", "category_nmi_chance", "codes"),
    )
    perplexity, sizes = shaped(1, "before", "perplexity"), shaped(1, "codes_per_layer")
    if not nmi.shape == chance.shape == (len(nmi), len(perplexity)) == (len(nmi), len(sizes)):
        what = (
            f"shapes {nmi.shape} and {chance.shape} of the mutual information for {len(perplexity)} perplexities of "
            f"{len(sizes)} layers"
        )
        raise InputError(path, what, remedy)
    return DocidStatistics(
        documents=int(shaped(0, "documents")),
        codes_per_layer=sizes.tolist(),
        collisions_before=float(shaped(0, "before", "collisions", "rate")),
        collisions_after=float(shaped(0, "after", "collisions", "rate")),
        moved=float(shaped(0, "moved_share")),
        hccl_dropped=shaped(1, "hccl_dropped").tolist(),
        perplexity=perplexity.tolist(),
        nmi=nmi,
        nmi_chance=chance,
    )


def _numbers(
    path: str | Path, content: Mapping[str, Any], keys: tuple[str, ...], ndim: int, remedy: str
) -> np.ndarray:
    """Return the finite numbers, an array of `ndim` dimensions, below `keys` of a JSON object."""
    value = _below(path, content, keys, remedy)
    try:
        numbers = np.array(value)
    except ValueError:  # lists of unequal lengths
        numbers = np.array(None)
    if numbers.ndim != ndim or numbers.dtype.kind not in "iuf" or not np.isfinite(numbers).all():
        kind = ("a number", "a list of numbers", "a table of numbers")[ndim]
        what = f"key {'.'.join(keys)!r}: {str(value)[:100]} is not {kind}"
        raise InputError(path, what, remedy)
    return numbers


def _below(path: str | Path, content: Mapping[str, Any], keys: tuple[str, ...], remedy: str) -> Any:
    """Return what stands below `keys` of a JSON object."""
    value: Any = content
    for depth, key in enumerate(keys, start=1):
        if not isinstance(value, dict) or key not in value:
            raise InputError(path, f"key {'.'.join(keys[:depth])!r} is missing", remedy)
        value = value[key]
    return value


def read_docids(path: str | Path, documents: int) -> Docids:
    """Return docids.parquet; InputError unless it has that many documents, in the order of doc_id."""
    docids = Docids.read(path)
    remedy = "run assign_docids on this corpus"
    if len(docids.codes) != documents:
        raise InputError(path, f"{len(docids.codes)} DocIDs for {documents} products", remedy)
    require_dense(path, docids.doc_ids, remedy)
    docids.require_codes()
    return docids


def read_catalogue(folder: str | Path) -> Catalogue:
    """Return titles and categories of the corpus in `folder`."""
    path = Path(folder) / "products.parquet"
    levels = sum(name.startswith("category_id_") for name in read_footer(path)[0].names)
    remedy = "build the corpus again"
    if not levels:
        raise InputError(path, "column 'category_id_1' is missing", remedy)
    ids = {f"category_id_{level}": pa.int32() for level in range(1, levels + 1)}
    products = read_table(path, {"doc_id": pa.int32(), "title": pa.string()} | ids)
    require_dense(path, products.column("doc_id").to_numpy(), remedy)
    tree = read_tree(Path(folder) / "categories.parquet")
    categories = np.stack([products.column(name).to_numpy() for name in ids], axis=1)
    level_of = tree.column("level").to_numpy()
    for level, nodes in enumerate(categories.T, start=1):
        known = (nodes >= 0) & (nodes < len(tree))
        wrong = ~known | (level_of[np.where(known, nodes, 0)] != level)
        if wrong.any():
            row = int(wrong.argmax())
            what = f"column 'category_id_{level}', row {row}: {nodes[row]} is no node of level {level}"
            raise InputError(path, what, remedy)
    return Catalogue(
        titles=[title or "" for title in products.column("title").to_pylist()],
        categories=categories,
        nodes=dict(zip(tree.column("node").to_pylist(), tree.column("name").to_pylist(), strict=True)),
    )


def read_tree(path: str | Path) -> pa.Table:
    """Return categories.parquet (columns CATEGORIES), row = node.

    Raises:
        InputError: the file cannot be used or holds no category; nodes are not 0..N-1 in order; a node has no name, or
            no parent one level above it (so that a cycle, too, is refused).
    """
    tree = read_table(path, CATEGORIES)
    if not len(tree):
        raise InputError(path, "no categories", "build the corpus again")
    node, parent, level = (tree.column(name).to_numpy() for name in ("node", "parent", "level"))
    inner = (parent >= 0) & (parent < len(node))
    above = np.where(inner, level[np.where(inner, parent, 0)], 0)
    for column, wrong, rule in (
        ("node", node != np.arange(len(node)), "nodes are 0, 1, … in order"),
        ("level", level < 1, "levels count from 1"),
        (
            "parent",
            (above != level - 1) | (~inner & (parent != -1)),
            "a parent is one level above, -1 at level 1",
        ),
        ("name", tree.column("name").is_null().to_numpy(), "every node has one"),
    ):
        if wrong.any():
            row = int(wrong.argmax())
            what = f"column {column!r}, row {row}: {tree.column(column)[row]}"
            raise InputError(path, what, f"{rule}; build the corpus again")
    return tree


def read_curves(path: str | Path, quantities: tuple[str, ...], points: int) -> dict[str, Curve]:
    """Return those of `quantities` that a history.tsv has, thinned evenly to `points`, without empty values.

    A quantity that was measured at some steps only (validation recall) keeps those steps.

    Raises:
        InputError: as read_tsv; a value is no number.
    """
    table = read_tsv(path, ("epoch",))
    curves = {}
    for quantity in quantities:
        if quantity not in table.columns:
            continue
        try:
            measured = table.select(pl.col("epoch", quantity).cast(pl.Float64)).drop_nulls().drop_nans()
        except pl.exceptions.PolarsError as error:
            what = f"column {quantity!r} or 'epoch': not numbers ({error})"
            raise InputError(path, what, "train again") from None
        rows = np.unique(
            np.linspace(0, measured.height - 1, min(points, measured.height)).round().astype(int)
        )
        if len(rows):
            steps, values = (measured[name].to_numpy()[rows] for name in ("epoch", quantity))
            curves[quantity] = Curve(steps, values)
    return curves


def read_view(path: str | Path) -> dict[str, Any]:
    """Return encoder, dims and text template of an embedding's description."""
    content = read_json(path)
    remedy = "run embed again"
    return {
        "encoder": _below(path, content, ("encoder",), remedy),
        "dims": _below(path, content, ("dims",), remedy),
        "template": _below(path, content, ("view", "template"), remedy),
    }
