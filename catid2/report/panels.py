"""The report's figures from the stages' tables: one panel each, for the page or for a file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from markupsafe import Markup

from catid2.docids.table import Docids
from catid2.evaluation.table import metrics_among, read_recall
from catid2.report.categories import category_shares
from catid2.report.figures import (
    Curve,
    LayerFigure,
    MetricPoint,
    curves_panel,
    layers_panel,
    recall_panel,
)
from catid2.report.inputs import (
    Catalogue,
    DocidStatistics,
    one_per_method,
    read_catalogue,
    read_docid_statistics,
    read_docids,
)
from catid2.report.svg import inline_panel, save_panels
from catid2.runtime.errors import InputError

if TYPE_CHECKING:
    from catid2.config.report import ReportConfig

SIMULATED = " (simulated)"  # in the title of a figure that stands alone


class DocidFiles(NamedTuple):
    """Where one set of DocIDs lies, and what the figure calls it."""

    name: str
    table: Path  # docids.parquet
    statistics: Path  # docids.json


def metric_points(row: Mapping[str, Any]) -> list[MetricPoint]:
    """Return every metric of a row of a study's table, with its interval."""
    return [
        MetricPoint(name, *(row[f"{name}{end}"] for end in ("", "_low", "_high")))
        for name in metrics_among(row)
    ]


def recall_svg(dataset: str, title: str, rows: list[dict[str, Any]], order: Mapping[str, int]) -> Markup:
    """Return the recall panel of one dataset; `rows` are of one protocol and set of labels."""
    protocol, labels = rows[0]["protocol"], rows[0]["labels"]
    methods = {row["method"]: metric_points(row) for row in rows}
    numbers = "; ".join(
        f"{method} " + ", ".join(f"{point.metric} {100 * point.value:.2f}" for point in points)
        for method, points in methods.items()
    )
    description = f"Metrics in percent of {dataset}, protocol {protocol}, labels {labels}: {numbers}."
    salt = f"recall-{dataset}-{protocol}-{labels}"
    return inline_panel(salt, recall_panel(title, methods, order), description)


def layer_figure(
    title: str, statistics: DocidStatistics, docids: Docids, catalogue: Catalogue, config: "ReportConfig"
) -> LayerFigure:
    """Return the figure of layers of one method: NMI of all layers, categories in the first and the last.

    Where the level has one category there is nothing to draw but bars of 100%: a note says so.

    Raises:
        InputError: the category tree lacks the level that the config names.
    """
    levels = catalogue.categories.shape[1]
    if config.category_level > levels:
        what = f"category_level {config.category_level}, but the tree has {levels} levels"
        raise InputError("--config", what, "name one of its levels")
    nodes, categories = np.unique(catalogue.categories[:, config.category_level - 1], return_inverse=True)
    if len(nodes) == 1:
        note = f"all products lie in one category of level {config.category_level}"
        return LayerFigure(title, statistics.nmi, statistics.nmi_chance, {}, note)
    names = [catalogue.nodes[int(node)] for node in nodes]
    layers = dict.fromkeys((0, docids.before.shape[1] - 1))
    shares = {
        layer: category_shares(categories, docids.before[:, layer], names, config.categories)
        for layer in layers
    }
    return LayerFigure(title, statistics.nmi, statistics.nmi_chance, shares)


def layers_svg(dataset: str, layers: LayerFigure) -> Markup:
    """Return the panel of layers of one method of `dataset`."""
    rows = "; ".join(
        f"level {level} "
        + ", ".join(f"{value:.2f} (chance {low:.2f})" for value, low in zip(*pair, strict=True))
        for level, pair in enumerate(zip(layers.nmi, layers.nmi_chance, strict=True), start=1)
    )
    maps = layers.note or "; ".join(
        f"in layer {layer + 1}, {share.purity:.0%} of products lie in the main category of their code"
        for layer, share in layers.shares.items()
    )
    description = f"{layers.title} in {dataset}: mutual information of categories and layers: {rows}; {maps}."
    return inline_panel(f"layers-{dataset}-{layers.title}", layers_panel(layers), description)


def curves_svg(
    dataset: str, stage: str, quantity: str, title: str, curves: dict[str, Curve], order: Mapping[str, int]
) -> Markup:
    """Return the panel of one quantity during training."""
    ends = ", ".join(f"{method} {curve.values[-1]:.3g}" for method, curve in curves.items())
    description = f"{title} during training in {dataset}; at the end: {ends}."
    salt = f"training-{dataset}-{stage}-{quantity}"
    return inline_panel(salt, curves_panel(title, curves, order), description)


def write_recall_figure(path: Path, recall: Path, simulated: bool) -> None:
    """Write recall with intervals as an SVG file, a panel per protocol and labels of the table `recall`."""
    rows = one_per_method(recall, read_recall(recall).to_dicts())
    kinds: dict[tuple[str, str], dict[str, Sequence[MetricPoint]]] = {}
    for row in rows:
        kinds.setdefault((row["protocol"], row["labels"]), {})[row["method"]] = metric_points(row)
    order = {name: place for place, name in enumerate(dict.fromkeys(row["method"] for row in rows))}
    dataset = f"{rows[0]['dataset']}{SIMULATED if simulated else ''}"
    panels = [recall_panel(f"{dataset}: {', '.join(kind)}", kinds[kind], order) for kind in kinds]
    save_panels(path, "recall", panels)


def write_layers_figure(
    path: Path, corpus: Path, docids: Sequence[DocidFiles], config: "ReportConfig", simulated: bool
) -> None:
    """Write categories by layer as an SVG file, a panel per set of DocIDs of the corpus in the folder `corpus`.

    Raises:
        InputError: a file is missing or is not of this corpus.
    """
    catalogue = read_catalogue(corpus)
    panels = []
    for files in docids:
        statistics = read_docid_statistics(files.statistics)
        table = read_docids(files.table, len(catalogue.titles))
        title = f"{files.name}{SIMULATED if simulated else ''}"
        panels.append(layers_panel(layer_figure(title, statistics, table, catalogue, config)))
    save_panels(path, "layers", panels)
