"""The geometry of several methods as one long table: a row per method, seed, category level and quantity."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from catid2.runtime.errors import InputError
from catid2.runtime.tables import require_file
from catid2.runtime.tsv import write_tsv
from catid2.studies.geometry import Geometry, read_geometry

COLUMNS = {
    "dataset": pl.String,
    "method": pl.String,
    "seed": pl.Int64,
    "level": pl.Int64,
    "quantity": pl.String,  # one of QUANTITIES
    "of": pl.String,  # one of KINDS, those of layers with _ and the layer
    "value": pl.Float64,
    "chance": pl.Float64,  # what value is where nothing is known of the categories
}
QUANTITIES = ("probe_accuracy", "probe_ceiling", "within_distance", "between_distance", "distance_ratio")
KINDS = ("embedding", "latent", "residual", "code", "prefix", "categories")  # in the order of the table
HEADER = (
    "level: of the category tree, 1 the coarsest; layers count from 1; codes are those before the repair",
    "of: embedding; latent z; residual_l, what the first l codes leave of z; code_l, the l-th code alone; prefix_l, "
    "the first l codes together. Only a trained RQ-VAE has latent and residuals",
    "probe_accuracy: share of held-out documents whose category a probe names that was fitted on others: linear "
    "discriminant analysis of vectors; of codes, the category most frequent under them (codes never seen: under their "
    "longest beginning that was). chance: naming the most frequent category",
    "held out is from the probes alone: an RQ-VAE with L_HCC has been trained on the categories of all documents, so "
    "that its latent may tell more than the embedding does",
    "probe_ceiling: share of held-out documents whose category occurs among the others; no probe exceeds it",
    "within_distance, between_distance: mean cosine distance, less the mean vector, over all pairs of documents of one "
    "category, and of two; empty without such pairs",
    "distance_ratio: within_distance / between_distance; 1 by chance, less where categories lie together",
)


class GeometryFile(NamedTuple):
    """A geometry.json, with its method and seed."""

    method: str
    seed: int
    path: Path


def compare(dataset: str, files: Sequence[GeometryFile]) -> tuple[pl.DataFrame, list[str]]:
    """Return the table (COLUMNS) of the methods and seeds in `files`, in their order, and the lines above it.

    Raises:
        InputError: a file cannot be used, is given twice, or has other documents than the first.
    """
    names = [(file.method, file.seed) for file in files]
    if twice := next((name for place, name in enumerate(names) if name in names[:place]), None):
        raise InputError("--geometry", f"{twice[0]}, seed {twice[1]} is given twice", "give it once")
    found = [read_geometry(file.path) for file in files]
    for file, geometry in zip(files, found, strict=True):
        if _documents(geometry) != _documents(found[0]):
            what = f"not measured on the documents of {files[0].path}"
            raise InputError(file.path, what, "run measure_geometry for all methods with the same settings")
    rows = [
        (dataset, file.method, file.seed, *row)
        for file, geometry in zip(files, found, strict=True)
        for row in _rows(geometry)
    ]
    first = found[0]
    sizes = ", ".join(str(level.categories) for level in first.levels)
    sample = f"measured on {first.sampled} of {first.documents} documents, {first.held_out} of them held out"
    return pl.DataFrame(rows, schema=COLUMNS, orient="row"), [
        *HEADER,
        f"{sample}; categories per level: {sizes}",
    ]


def write_geometry_table(table: pl.DataFrame, header: Sequence[str], output: Path) -> None:
    """Write the table as TSV with six significant digits, below comment lines; the last gives the number of rows."""
    write_tsv(output, (*header, f"{len(table)} rows follow"), table, significant=6)


def read_geometry_table(path: str | Path) -> pl.DataFrame:
    """Return what `write_geometry_table` wrote.

    Raises:
        InputError: the file is missing, cut or not such a table; an accuracy or its chance is no share.
    """
    path = require_file(path)
    remedy = "run compare_geometry again"
    try:
        text = path.read_text("utf-8")
        told = re.search(r"^# (\d+) rows follow$", text, re.MULTILINE)
        table = pl.read_csv(path, separator="\t", comment_prefix="#", infer_schema=False, glob=False)
        table = table.select(pl.col(name).cast(kind) for name, kind in COLUMNS.items())
    except (pl.exceptions.PolarsError, UnicodeDecodeError) as error:
        raise InputError(path, f"not a table of geometry ({error})", remedy) from None
    if told is None or told[1] != str(len(table)) or not text.endswith("\n"):
        what = f"cut short: {len(table)} rows, not {told[1] if told else 'as many as it says'}, or one without an end"
        raise InputError(path, what, remedy)
    share = pl.col("value").is_between(0, 1) & pl.col("chance").is_between(0, 1)
    known = pl.all_horizontal(pl.col("dataset", "method", "seed", "level").is_not_null())
    known &= pl.col("quantity").is_in(QUANTITIES) & pl.col("of").str.contains(
        f"^({'|'.join(KINDS)})(_[1-9][0-9]*)?$"
    )
    wrong = ~(known & (share | (pl.col("quantity") != "probe_accuracy"))).fill_null(False)
    places = table.select(wrong.arg_true()).to_series()
    if len(places):
        row = places[0]
        raise InputError(path, f"row {row}: {' '.join(map(str, table.row(row)))} is no such row", remedy)
    if table.filter(pl.col("quantity") == "probe_accuracy").is_empty():
        raise InputError(path, "no row of probe_accuracy", remedy)
    return table


def layer_of(name: str) -> tuple[str, int]:
    """Return the kind (of KINDS) and the layer of a name in the column `of`; layer 0 if it has none."""
    kind, _, layer = name.partition("_")
    return kind, int(layer or 0)


def place(name: str) -> tuple[int, int]:
    """Return the sort key of a name in the column `of`: by kind, then by layer."""
    kind, layer = layer_of(name)
    return KINDS.index(kind), layer


def _rows(geometry: Geometry) -> Iterator[tuple[int, str, str, float | None, float | None]]:
    """Yield the last five of COLUMNS."""
    for number, level in enumerate(geometry.levels, start=1):
        for name in sorted(level.accuracy, key=place):
            yield number, "probe_accuracy", name, level.accuracy[name], level.majority
        yield number, "probe_ceiling", "categories", level.ceiling, None
        for name in sorted(level.within.keys() & level.between.keys(), key=place):
            within, between = level.within[name], level.between[name]
            yield number, "within_distance", name, within, None
            yield number, "between_distance", name, between, None
            ratio = within / between if within is not None and between else None
            yield number, "distance_ratio", name, ratio, 1.0


def _documents(geometry: Geometry) -> tuple:
    """Return the entries that all methods measured on the same documents share."""
    levels = [(level.categories, level.majority, level.ceiling) for level in geometry.levels]
    return geometry.documents, geometry.sampled, geometry.held_out, levels
