"""What each section of the page holds, computed from the tables: dictionaries that the template reads.

A figure is markup made by catid2.report.panels; everything else is plain values that the template escapes.
"""

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from catid2.docids.table import Docids
from catid2.evaluation.table import metrics_among
from catid2.report.examples import prefix_examples
from catid2.report.figures import Curve
from catid2.report.inputs import (
    RETRIEVER_CURVES,
    RQVAE_CURVES,
    Catalogue,
    DatasetTables,
    DocidStatistics,
    read_curves,
    read_view,
)
from catid2.report.panels import curves_svg, metric_points, recall_svg
from catid2.report.svg import shorten
from catid2.runtime.errors import InputError

if TYPE_CHECKING:
    from catid2.config.report import NamedDataset, ReportConfig, ReportDataset

LANGUAGES = {"us": "en", "es": "es", "jp": "ja"}
PROTOCOLS = {
    "seen": "Test pairs whose document occurs in a training pair labelled E, S or C unless the corpus is configured "
    "otherwise (the protocol of the paper's group).",
    "all": "Every test pair, also those with documents that no training query has.",
}
SIGNIFICANT = 0.05
Compared = Literal["above", "level", "below"]  # level: the difference is not significant
TITLE_COLUMNS = 200  # of a product; shops write titles of a thousand characters


def label(dataset: "NamedDataset") -> str:
    """Return how the page names a dataset."""
    kind = ", simulated" if dataset.simulated else ", sample" if dataset.sample else ""
    return f"{dataset.name} ({dataset.locale}{kind})"


def method_order(datasets: list[DatasetTables]) -> dict[str, int]:
    """Return each method's place among all methods of the report, which decides its colour."""
    names = dict.fromkeys(method.name for tables in datasets for method in tables.dataset.methods)
    return {name: place for place, name in enumerate(names)}


def recall_section(datasets: list[DatasetTables]) -> list[dict[str, Any]]:
    """Return one group per protocol and set of labels: a panel per dataset and one table of all."""
    order = method_order(datasets)
    kinds = dict.fromkeys((row["protocol"], row["labels"]) for tables in datasets for row in tables.recall)
    groups = []
    for protocol, labels in kinds:
        group: dict[str, Any] = {
            "title": f"Protocol “{protocol}”, labels {labels}",
            "definition": PROTOCOLS.get(protocol, ""),
            "figures": [],
            "datasets": [],
        }
        for tables in datasets:
            rows = [row for row in tables.recall if (row["protocol"], row["labels"]) == (protocol, labels)]
            if rows:
                group["metrics"] = metrics_among(rows[0])
                group["datasets"].append({"name": label(tables.dataset)} | table_rows(rows))
                group["figures"].append(recall_svg(tables.dataset.name, label(tables.dataset), rows, order))
        groups.append(group)
    return groups


def table_rows(rows: list[dict[str, Any]]) -> dict[str, list]:
    """Return the rows of one dataset for the page's table, and the ceilings below them."""
    reference = rows[0]
    metrics = metrics_among(reference)
    best = {metric: max(row[metric] for row in rows) for metric in metrics}
    shown = [
        {
            "method": row["method"],
            "retriever": row["retriever"],
            "n_queries": row["n_queries"],
            "seeds": row["seeds"],
            "cells": [
                point._asdict()
                | {
                    "best": point.value == best[point.metric] and len(rows) > 1,
                    "compared": compared(row, reference, point.metric),
                }
                for point in metric_points(row)
            ],
        }
        for row in rows
    ]
    return {"rows": shown, "ceilings": [reference[f"{metric}_ceiling"] for metric in metrics]}


def compared(row: Mapping[str, Any], reference: Mapping[str, Any], metric: str) -> Compared:
    """Return where a method stands next to the reference method, by a row of each; the reference has no p value."""
    p = row[f"{metric}_p_holm"]
    if p is None or p >= SIGNIFICANT:
        return "level"
    return "above" if row[metric] > reference[metric] else "below"


def quality_section(datasets: list[DatasetTables]) -> list[dict[str, Any]]:
    """Return, per dataset, one row per set of DocIDs: collisions, what the repair moved, perplexities."""
    sections = []
    layers = docid_layers(datasets)
    for tables in datasets:
        rows = []
        for shared in shared_results(tables.dataset, "docids"):
            runs = tables.docids[shared.methods[0]]
            perplexity = layer_perplexity(runs)
            sizes = runs[0].codes_per_layer
            rows.append(
                {
                    "methods": shared.methods,
                    "documents": runs[0].documents,
                    "codes": " / ".join(map(str, sizes if len(set(sizes)) > 1 else sizes[:1])),
                    "before": float(np.mean([run.collisions_before for run in runs])),
                    "after": float(np.mean([run.collisions_after for run in runs])),
                    "moved": float(np.mean([run.moved for run in runs])),
                    "perplexity": perplexity + [None] * (layers - len(perplexity)),
                }
            )
        if rows:
            sections.append({"name": label(tables.dataset), "rows": rows})
    return sections


def layer_perplexity(runs: Sequence[DocidStatistics]) -> list[dict[str, float]]:
    """Return the perplexity of each layer and its share of the codes, averaged over the seeds that have the layer."""
    layers = itertools.zip_longest(*(zip(run.perplexity, run.codes_per_layer, strict=True) for run in runs))
    return [
        {
            "value": float(np.mean([value for value, _ in filter(None, pairs)])),
            "share": float(np.mean([value / size for value, size in filter(None, pairs)])),
        }
        for pairs in layers
    ]


def docid_layers(datasets: list[DatasetTables]) -> int:
    """Return the layers of the deepest codebook stack; 0 if no method has DocIDs."""
    return max((len(s.perplexity) for d in datasets for runs in d.docids.values() for s in runs), default=0)


class Shared(NamedTuple):
    """A result of a stage."""

    methods: list[str]  # that share it
    folder: Path  # its run of the first seed, below the folder of results


def shared_results(dataset: "ReportDataset", stage: str) -> list[Shared]:
    """Return the distinct results of a stage, in the order of the methods."""
    found: dict[str, Shared] = {}
    for method in dataset.methods:
        if owner := getattr(method, stage):
            folder = Path(dataset.name, owner, f"seed{method.seeds[0]}")
            found.setdefault(owner, Shared([], folder)).methods.append(method.name)
    return list(found.values())


def training_section(
    results: Path, datasets: list[DatasetTables], config: "ReportConfig"
) -> list[dict[str, Any]]:
    """Return, per dataset, small multiples of the training histories, one line per trained model."""
    order = method_order(datasets)
    sections = []
    for tables in datasets:
        figures = [
            curves_svg(tables.dataset.name, stage, quantity, title, curves, order)
            for stage, quantities in (("rqvae", RQVAE_CURVES), ("retriever", RETRIEVER_CURVES))
            for quantity, title in quantities.items()
            if (curves := stage_curves(results, tables.dataset, stage, quantity, config.curve_points))
        ]
        if figures:
            sections.append({"name": label(tables.dataset), "figures": figures})
    return sections


def stage_curves(
    results: Path, dataset: "ReportDataset", stage: str, quantity: str, points: int
) -> dict[str, Curve]:
    """Return one quantity's curve for each model (first seed) of a stage, by the first method that uses it."""
    curves = {}
    for shared in shared_results(dataset, stage):
        found = read_curves(results / shared.folder / stage / "history.tsv", (quantity,), points)
        if quantity in found:
            curves[shared.methods[0]] = found[quantity]
    return curves


def dropped_section(datasets: list[DatasetTables]) -> list[dict[str, Any]]:
    """Return, per dataset, the share of documents that drop out of HCCL at each level, a row per RQ-VAE that has HCCL.

    It is that of the last epoch, averaged over the seeds; a level that only other rows have is None.
    """
    sections = []
    for tables in datasets:
        rows = []
        for shared in shared_results(tables.dataset, "rqvae"):
            runs = tables.docids[shared.methods[0]]
            shares = np.mean([run.hccl_dropped for run in runs], axis=0).tolist()
            if shares:
                rows.append({"methods": shared.methods, "shares": shares})
        if rows:
            sections.append({"name": label(tables.dataset), "rows": rows})
    levels = max((len(row["shares"]) for section in sections for row in section["rows"]), default=0)
    for section in sections:
        for row in section["rows"]:
            row["shares"] += [None] * (levels - len(row["shares"]))
    return sections


def examples_section(
    tables: DatasetTables, method: str, docids: Docids, catalogue: Catalogue, config: "ReportConfig"
) -> dict[str, Any]:
    """Return prefixes of the DocIDs of `method` and the products below them."""
    return {
        "name": label(tables.dataset),
        "method": method,
        "language": LANGUAGES.get(tables.dataset.locale, ""),
        "examples": [
            {
                "prefix": " ".join(map(str, example.prefix)),
                "n_documents": example.n_documents,
                "products": [
                    {
                        "docid": " ".join(map(str, docids.codes[doc].tolist())),
                        "title": shorten(catalogue.titles[doc], TITLE_COLUMNS),
                        "path": catalogue.path(doc),
                    }
                    for doc in example.documents
                ],
            }
            for example in prefix_examples(
                docids.codes, config.prefix_length, config.examples, config.example_products
            )
        ],
    }


def settings_section(datasets: list[DatasetTables], defaults: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return, per dataset, the settings that some method changes; datasets with the same changes stand together."""
    tables: dict[str, dict[str, Any]] = {}
    for dataset in (tables.dataset for tables in datasets):
        changes = {method.name: method.changes for method in dataset.methods}
        keys = list(dict.fromkeys(key for changed in changes.values() for key in changed))
        rows = [
            {
                "key": key,
                "default": shown(defaults.get(key)),
                "values": [shown(changed[key]) if key in changed else "" for changed in changes.values()],
            }
            for key in sorted(keys)
        ]
        if rows:
            same = tables.setdefault(
                json.dumps(changes, sort_keys=True), {"names": [], "methods": list(changes), "rows": rows}
            )
            same["names"].append(label(dataset))
    return [table | {"name": ", ".join(table["names"])} for table in tables.values()]


def shown(value: Any) -> str:
    """Return a setting as it stands in YAML's flow style."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def counts_section(datasets: list[DatasetTables], keys: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Return the counts of corpus/stats.json, one row per count (all, or those of `keys`), one value per dataset."""
    columns = [counts(tables.stats) for tables in datasets]
    keys = keys or list(dict.fromkeys(key for column in columns for key in column))
    return [
        {"key": key, "values": [f"{column[key]:,}" if key in column else "–" for column in columns]}
        for key in keys
    ]


def counts(values: Any, name: str = "") -> dict[str, int]:
    """Return the whole numbers of nested mappings and lists under joined keys; the config is not counted."""
    if isinstance(values, int) and not isinstance(values, bool):
        return {name: values}
    if isinstance(values, list):
        values = dict(enumerate(values))
    found: dict[str, int] = {}
    for key, value in values.items() if isinstance(values, Mapping) else ():
        if key != "config":
            found |= counts(value, f"{name}, {key}" if name else str(key))
    return found


def views_section(results: Path, datasets: list[DatasetTables]) -> list[dict[str, Any]]:
    """Return encoder, width and text template of every view that a method reads."""
    return [
        {"dataset": tables.dataset.name, "name": view}
        | read_view(results / tables.dataset.name / "embeddings" / f"{view}.json")
        for tables in datasets
        for view in dict.fromkeys(method.view for method in tables.dataset.methods if method.view)
    ]


def summary(datasets: list[DatasetTables], metric: str) -> str:
    """Return where the first method stands in `metric`, per dataset, and what the repair of the DocIDs had to do."""
    protocol, labels = (datasets[0].recall[0][name] for name in ("protocol", "labels"))
    stands = []
    for tables in datasets:
        rows = [row for row in tables.recall if (row["protocol"], row["labels"]) == (protocol, labels)]
        if not rows or metric not in rows[0]:
            what = f"metric {metric}, but {tables.dataset.name} has no {metric} ({protocol}, {labels})"
            raise InputError("--config", what, "name one of the metrics of `evaluate`")
        stands.append(f"{rows[0]['method']} in {tables.dataset.name} {_stand(rows, metric)}")
    text = (
        f"{metric} (protocol {protocol}, labels {labels}) of {'; '.join(stands)}. "
        f"Level: the difference has p ≥ {SIGNIFICANT}, corrected for the number of methods."
    )
    runs = [run for tables in datasets for methods in tables.docids.values() for run in methods]
    if not runs:
        return text
    before = [run.collisions_before for run in runs]
    after = max(run.collisions_after for run in runs)
    left = "none is left" if after == 0 else f"up to {100 * after:.2f}% are left"
    collided = f"{100 * min(before):.2f} to {100 * max(before):.2f}%"
    return f"{text} Of the quantisers' DocIDs {collided} collide; after the repair {left}."


def _stand(rows: list[dict[str, Any]], metric: str) -> str:
    """Return the first row's figure with its interval, and which of the others it is above, level with and below."""
    reference, *others = rows
    text = f"{100 * reference[metric]:.2f}% "
    text += f"({100 * reference[f'{metric}_low']:.1f}–{100 * reference[f'{metric}_high']:.1f})"
    for phrase, theirs in (("above", "below"), ("level with", "level"), ("below", "above")):
        names = [
            f"{row['method']} ({100 * row[metric]:.2f}%)"
            for row in others
            if compared(row, reference, metric) == theirs
        ]
        if names:
            text += f", {phrase} {' and '.join(names)}"
    return text
