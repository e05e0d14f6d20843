"""What the report reads, checked when it is opened. The names of other stages' columns and keys stand here only."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from catid2.artifacts import CATEGORIES, InputError, docids_columns, read_json, read_table, require_file
from catid2.evaluate import MEAN, read_recall
from catid2.report.figures import Curve

if TYPE_CHECKING:
    from catid2.config.report import Comparison, ReportDataset

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
    codes_per_layer: int
    collisions_before: float
    collisions_after: float
    moved: float
    perplexity: list[float]  # per layer
    nmi: np.ndarray  # (H, L): category level and layer
    nmi_chance: np.ndarray  # (H, L): the same with the categories shuffled


class Docids(NamedTuple):
    """docids.parquet as arrays; row = doc_id."""

    docids: np.ndarray  # (N, positions)
    codes: np.ndarray  # (N, layers) the quantiser's codes, before the repair


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
        InputError: a table is missing or has not what the report needs.
    """
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
        stats=read_json(folder / "corpus" / "stats.json"),
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
        table = pl.read_csv(path, separator="\t", comment_prefix="#", infer_schema_length=None)
    except (pl.exceptions.PolarsError, UnicodeDecodeError) as error:
        raise InputError(path, f"not a table ({error})", "make it again") from None
    for column in columns:
        if column not in table.columns:
            raise InputError(path, f"column {column!r} is missing", f"it has {', '.join(table.columns)}")
    if table.is_empty():
        raise InputError(path, "no rows", "make it again")
    return table


def cutoffs(row: Mapping[str, Any]) -> list[int]:
    """Return the k of the columns recall@k."""
    names = [name.removeprefix("recall@") for name in row]
    return sorted(int(name) for name in names if name.isdecimal())


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


def read_docid_statistics(path: str | Path) -> DocidStatistics:
    """Return what the report shows of a docids.json."""
    content = read_json(path)
    try:
        return DocidStatistics(
            documents=content["documents"],
            codes_per_layer=content["codes_per_layer"],
            collisions_before=content["before"]["collisions"]["rate"],
            collisions_after=content["after"]["collisions"]["rate"],
            moved=content["moved_share"],
            perplexity=content["before"]["perplexity"],
            nmi=np.array(content["before"]["category_nmi"]["codes"]),
            nmi_chance=np.array(content["before"]["category_nmi_chance"]["codes"]),
        )
    except KeyError as error:
        raise InputError(path, f"key {error} is missing", "run assign_docids again") from None


def read_docids(path: str | Path, documents: int) -> Docids:
    """Return docids.parquet as arrays in the order of doc_id; InputError unless it has that many documents."""
    names = pq.read_schema(require_file(path)).names
    length = sum(name.startswith("c_") for name in names)
    layers = sum(name.startswith("before_") for name in names)
    columns = docids_columns(length, layers)
    del columns["product_id"], columns["moved"]
    table = read_table(path, columns).sort_by("doc_id")
    if table.num_rows != documents:
        what = f"{table.num_rows} DocIDs for {documents} products"
        raise InputError(path, what, "run assign_docids on this corpus")
    return Docids(
        docids=_matrix(table, [f"c_{position}" for position in range(length)]),
        codes=_matrix(table, [f"before_{layer}" for layer in range(layers)]),
    )


def read_catalogue(folder: str | Path) -> Catalogue:
    """Return titles and categories of the corpus in `folder`."""
    path = require_file(Path(folder) / "products.parquet")
    levels = sum(name.startswith("category_id_") for name in pq.read_schema(path).names)
    ids = {f"category_id_{level}": pa.int32() for level in range(1, levels + 1)}
    products = read_table(path, {"doc_id": pa.int32(), "title": pa.string()} | ids).sort_by("doc_id")
    tree = read_table(Path(folder) / "categories.parquet", CATEGORIES)
    return Catalogue(
        titles=[title or "" for title in products.column("title").to_pylist()],
        categories=_matrix(products, list(ids)),
        nodes=dict(zip(tree.column("node").to_pylist(), tree.column("name").to_pylist(), strict=True)),
    )


def _matrix(table: pa.Table, columns: list[str]) -> np.ndarray:
    return np.stack([table.column(name).to_numpy() for name in columns], axis=1)


def read_curves(path: str | Path, quantities: tuple[str, ...], points: int) -> dict[str, Curve]:
    """Return those of `quantities` that a history.tsv has, thinned evenly to `points`, without empty values.

    A quantity that was measured at some steps only (validation recall) keeps those steps.
    """
    table = read_tsv(path, ())
    step = table.columns[0]
    curves = {}
    for quantity in quantities:
        if quantity not in table.columns:
            continue
        measured = table.select(pl.col(step, quantity).cast(pl.Float64)).drop_nulls().drop_nans()
        rows = np.unique(
            np.linspace(0, measured.height - 1, min(points, measured.height)).round().astype(int)
        )
        if len(rows):
            steps, values = (measured[name].to_numpy()[rows] for name in (step, quantity))
            curves[quantity] = Curve(steps, values)
    return curves


def read_view(path: str | Path) -> dict[str, Any]:
    """Return encoder, dims and text template of an embedding's description."""
    content = read_json(path)
    try:
        return {
            "encoder": content["encoder"],
            "dims": content["dims"],
            "template": content["view"]["template"],
        }
    except KeyError as error:
        raise InputError(path, f"key {error} is missing", "run embed again") from None
