"""What a study over grids says: metrics and DocID quality of each point, which are stable, which have collapsed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl

from catid2.evaluation.table import metrics_among, read_recall
from catid2.quantizer.diagnostics import nmi
from catid2.report.inputs import (
    one_per_method,
    read_catalogue,
    read_docid_statistics,
    read_docids,
    read_tsv,
)
from catid2.report.panels import DocidFiles
from catid2.runtime.errors import InputError

if TYPE_CHECKING:
    from catid2.config.grids import GridSummary

ENDS = ("", "_low", "_high", "_p")  # of a metric's columns
QUALITY = ("collisions_before", "lowest_perplexity", "collapsed")


class Quality(NamedTuple):
    """What the DocIDs of a point are like, before the repair."""

    collisions: float  # share of documents that add no new ID, mean over seeds
    perplexity: float  # of the layer and seed with the lowest share of its codes: that share
    nmi: list[
        float
    ]  # of category level h of the corpus with the codes of layer h, h = 1..min(H, L), mean over seeds


def read_quality(files: Sequence[DocidFiles], corpus: Path) -> dict[str, Quality]:
    """Return the quality of the DocIDs of each method; several files of one name are its seeds.

    Raises:
        InputError: a file is missing or is not of the corpus in the folder `corpus`.
    """
    catalogue = read_catalogue(corpus)
    found: dict[str, list[Quality]] = {}
    for file in files:
        statistics = read_docid_statistics(file.statistics)
        codes = read_docids(file.table, len(catalogue.titles)).before
        pairs = zip(codes.T, catalogue.categories.T, strict=False)
        shares = np.array(statistics.perplexity) / statistics.codes_per_layer
        own = Quality(statistics.collisions_before, float(shares.min()), [nmi(*pair) for pair in pairs])
        found.setdefault(file.name, []).append(own)
    return {
        name: Quality(
            float(np.mean([one.collisions for one in seeds])),
            min(one.perplexity for one in seeds),
            # seeds of a tree of clusters may differ in depth
            np.mean(list(zip(*(one.nmi for one in seeds), strict=False)), axis=1).tolist(),
        )
        for name, seeds in found.items()
    }


def summarize_grids(config: "GridSummary", recall: Path, quality: Mapping[str, Quality]) -> pl.DataFrame:
    """Return a row per grid, point, protocol and labels.

    Args:
        config: the grids, and what stable and collapsed mean.
        recall: the study's table; of several seeds the mean is taken.
        quality: of the points that have DocIDs.

    Raises:
        InputError: the table cannot be used, or lacks a point or the metric.
    """
    rows = {}
    for row in one_per_method(recall, read_recall(recall).to_dicts()):
        rows[row["method"], row["protocol"], row["labels"]] = row
    kinds = dict.fromkeys((protocol, labels) for _, protocol, labels in rows)
    keys = list(dict.fromkeys(key for grid in config.grids for key in grid.keys))
    levels = max((len(one.nmi) for one in quality.values()), default=0)
    table = []
    for number, grid in enumerate(config.grids, start=1):
        for protocol, labels in kinds:
            points = {name: rows.get((name, protocol, labels)) for name in grid.points}
            missing = [name for name, row in points.items() if row is None or config.metric not in row]
            if missing:
                what = f"no {config.metric} of {missing[0]} (protocol {protocol}, labels {labels})"
                raise InputError(recall, what, "evaluate the study again")
            sound = [name for name in points if not _collapsed(quality.get(name), grid.collapse_perplexity)]
            best = max((points[name][config.metric] for name in sound), default=1.0)
            for name, values in grid.points.items():
                row = points[name]
                place = dict(zip(grid.keys, values, strict=True))
                line: dict[str, Any] = {"dataset": row["dataset"], "grid": number, "method": name}
                line |= {key: _shown(place[key]) if key in place else None for key in keys}
                line |= {"retriever": row["retriever"], "seeds": row["seeds"]}
                line |= {"protocol": protocol, "labels": labels, "n_queries": row["n_queries"]}
                line |= {
                    f"{metric}{end}": row[f"{metric}{end}"] for metric in metrics_among(row) for end in ENDS
                }
                line |= _quality_columns(quality.get(name), levels, grid.collapse_perplexity)
                stable = name in sound and row[config.metric] >= config.stable_share * best
                table.append(line | {"stable": stable})
    return pl.DataFrame(table, infer_schema_length=None)


def _shown(value: Any) -> str:
    return "null" if value is None else str(value)


def _collapsed(quality: Quality | None, least: float) -> bool | None:
    return quality.perplexity < least if quality else None


def _quality_columns(quality: Quality | None, levels: int, least: float) -> dict[str, Any]:
    found = quality.nmi if quality else []
    return {
        "collisions_before": quality.collisions if quality else None,
        "lowest_perplexity": quality.perplexity if quality else None,
        "collapsed": _collapsed(quality, least),
    } | {f"nmi_{level}": found[level - 1] if level <= len(found) else None for level in range(1, levels + 1)}


def header(config: "GridSummary") -> list[str]:
    """Return the lines above the table that say what the columns are."""
    thresholds = {f"{grid.collapse_perplexity:g}" for grid in config.grids}
    return [
        "grid: number of the grid in the study; a key of another grid is empty",
        "metrics, _low, _high, _p (not corrected): as in the study's table, the mean over seeds if there are several",
        "collisions_before: share of documents that add no new ID before the repair, mean over seeds",
        "lowest_perplexity: perplexity of the layer and seed that use the codes least, as a share of the codes",
        f"collapsed: lowest_perplexity below {', '.join(sorted(thresholds))}",
        "nmi_h: normalised mutual information of level h of the corpus's own tree with the codes of layer h",
        f"stable: not collapsed, and {config.metric} at least {config.stable_share:.0%} of the best such point",
    ]


def read_grids(path: Path) -> pl.DataFrame:
    """Return the table of `summarize_grids` with numbers and flags as such.

    Raises:
        InputError: the file is missing, cut or not such a table.
    """
    table = read_tsv(
        path, ("dataset", "grid", "method", "retriever", "protocol", "labels", *QUALITY, "stable")
    )
    metrics = metrics_among(table.columns)
    figures = [name for name in table.columns if name.startswith((*metrics, "nmi_"))]
    try:
        return table.with_columns(
            pl.col("grid").cast(pl.Int64),
            pl.col(*figures, "collisions_before", "lowest_perplexity").cast(pl.Float64),
            pl.col("collapsed", "stable").cast(pl.Boolean),
        )
    except pl.exceptions.PolarsError as error:
        raise InputError(path, f"not a table of grids ({error})", "summarize the grids again") from None
