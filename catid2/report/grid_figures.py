"""The figure of a study over grids: recall along one setting as lines, over two as a heat map.

Stable points are marked, and points whose codes have collapsed are marked as such: their recall says nothing of the
setting.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.patches import Rectangle

from catid2.report.figures import shade
from catid2.report.grids import read_grids
from catid2.report.panels import SIMULATED
from catid2.report.svg import GROUND, INK, MUTED, Panel, inline_panel, save_panels, series_style, shorten
from catid2.runtime.errors import InputError

COLUMNS = 52  # of text that a panel has room for


class Point(NamedTuple):
    """The metric at one point, in percent, and its label."""

    values: tuple[Any, ...]  # of the keys that vary
    value: float
    low: float
    high: float
    stable: bool
    collapsed: bool

    def label(self) -> str:
        """Return the values and the label of the point."""
        said = [word for word, is_so in (("stable", self.stable), ("collapsed", self.collapsed)) if is_so]
        values = ", ".join(map(str, self.values))
        return f"{values} ({' and '.join(said)})" if said else values


class Drawing(NamedTuple):
    """One panel: a grid, or a part of one where more than two settings vary."""

    title: str
    keys: tuple[str, ...]  # one or two
    points: list[Point]

    def values(self, key: int) -> list[Any]:
        """Return the values of one of the keys, in their order in the table."""
        return list(dict.fromkeys(point.values[key] for point in self.points))

    def is_map(self) -> bool:
        """Tell whether both settings are numbers, so that neighbours are near in both directions."""
        return len(self.keys) == 2 and all(isinstance(v, int | float) for k in (0, 1) for v in self.values(k))

    def name(self) -> str:
        """Return what varies."""
        names = " × ".join(self.keys)
        return f"{names}; {self.title}" if self.title else names


def write_grids_figure(path: Path, table: Path, metric: str, protocol: str, simulated: bool) -> None:
    """Write the figure as an SVG file, a panel per grid; of a grid over three settings a panel per value of the first.

    Args:
        path: SVG file.
        table: of `grids.summarize_grids`.
        metric: the column that is drawn.
        protocol: which rows are drawn; of several sets of labels the last.
        simulated: say so.

    Raises:
        InputError: the table cannot be used, lacks the metric or the protocol, or varies more than three settings.
    """
    rows = _read(table, metric, protocol)
    what = f"{_what(rows, metric)}; {rows['dataset'][0]}{SIMULATED if simulated else ''}"
    save_panels(path, "grids", [grid_panel(drawing, what) for drawing in _drawings(rows, metric, table)])


def grids_svg(table: Path, study: str, metric: str, protocol: str) -> list[Markup]:
    """Return the panels of one dataset for the page; arguments and errors as `write_grids_figure`."""
    rows = _read(table, metric, protocol)
    what = _what(rows, metric)
    found = []
    for number, drawing in enumerate(_drawings(rows, metric, table)):
        points = "; ".join(f"{point.label()} {point.value:.1f}" for point in drawing.points)
        salt = f"grids-{rows['dataset'][0]}-{study}-{number}"
        description = f"{what} over {drawing.name()}: {points}."
        found.append(inline_panel(salt, grid_panel(drawing, what), description))
    return found


def _read(table: Path, metric: str, protocol: str) -> pl.DataFrame:
    grids = read_grids(table)
    rows = grids.filter(pl.col("protocol") == protocol)
    if metric not in grids.columns or rows.is_empty():
        raise InputError(table, f"no {metric} with protocol {protocol}", "name one that the table has")
    return rows.filter(pl.col("labels") == rows["labels"][-1])


def _what(rows: pl.DataFrame, metric: str) -> str:
    retrievers = ", ".join(rows["retriever"].unique().sort())
    return f"{metric}, %, {rows['protocol'][0]}, {rows['labels'][0]}, retriever {retrievers}"


def _drawings(rows: pl.DataFrame, metric: str, table: Path) -> list[Drawing]:
    parts = rows.group_by("grid", maintain_order=True)
    return [drawing for _, part in parts for drawing in _drawings_of_grid(part, metric, table)]


def _drawings_of_grid(rows: pl.DataFrame, metric: str, table: Path) -> list[Drawing]:
    keys = [
        key for key in rows.columns[3 : rows.columns.index("retriever")] if rows[key].null_count() < len(rows)
    ]
    if not 1 <= len(keys) <= 3:
        what = f"grid {rows['grid'][0]} varies {len(keys)} settings"
        raise InputError(table, what, "draw one to three; give each further setting a grid of its own")
    parts: list[tuple[str, pl.DataFrame]] = [("", rows)]
    if len(keys) == 3:
        first, *keys = keys
        parts = [
            (f"{_short(first)} {value[0]}", part) for value, part in rows.group_by(first, maintain_order=True)
        ]
    return [
        Drawing(
            title,
            tuple(keys),
            [
                Point(
                    tuple(row[key] for key in keys),
                    *(100 * row[f"{metric}{end}"] for end in ("", "_low", "_high")),
                    row["stable"],
                    bool(row["collapsed"]),
                )
                for row in part.to_dicts()
            ],
        )
        for title, part in parts
    ]


def _short(key: str) -> str:
    return key.rsplit(".", 1)[-1].replace("_", " ")


def grid_panel(drawing: Drawing, what: str) -> Panel:
    """Return one panel; `what` and the meaning of its signs stand below the title."""
    if drawing.is_map():
        signs, height = "shade: value; framed: stable", 0.34 * len(drawing.values(0))
    else:
        signs, height = "bar: 95% interval; filled: stable", 1.6 + 0.14 * len(_groups(drawing))

    def draw(panel: SubFigure) -> None:
        axes = panel.subplots()
        (_draw_map if drawing.is_map() else _draw_lines)(axes, drawing)
        axes.set_title(f"{what}\n{signs}; ×: collapsed", fontsize=7, color=MUTED)

    return Panel(drawing.name(), height + 0.9, draw)


def _groups(drawing: Drawing) -> list[Any]:
    return drawing.values(0) if len(drawing.keys) == 2 else [None]


def _draw_map(axes: Axes, drawing: Drawing) -> None:
    rows, columns = drawing.values(0), drawing.values(1)
    recalls = [point.value for point in drawing.points]
    low, high = min(recalls), max(recalls)
    shares = np.zeros((len(rows), len(columns)))
    for point in drawing.points:
        y, x = rows.index(point.values[0]), columns.index(point.values[1])
        shares[y, x] = 0.08 + 0.57 * ((point.value - low) / (high - low) if high > low else 1.0)
        if point.stable and not point.collapsed:
            axes.add_patch(Rectangle((x - 0.47, y - 0.45), 0.94, 0.9, facecolor="none", edgecolor=INK))
        axes.text(x, y, f"{point.value:.1f}{' ×' if point.collapsed else ''}", ha="center", va="center")
    shade(axes, shares)
    axes.set_xticks(range(len(columns)), [f"{value:g}" for value in columns])
    axes.set_yticks(range(len(rows)), [f"{value:g}" for value in rows])
    axes.set(xlabel=_short(drawing.keys[1]), ylabel=_short(drawing.keys[0]))


def _draw_lines(axes: Axes, drawing: Drawing) -> None:
    """Draw a line per value of the first of two settings, along the last one; places are evenly spaced."""
    along = drawing.values(-1)
    groups = _groups(drawing)
    lines = []
    for index, group in enumerate(groups):
        colour, marker = series_style(index)
        points = [point for point in drawing.points if group is None or point.values[0] == group]
        # lines side by side, so that their intervals can be told apart
        places = [along.index(point.values[-1]) + 0.06 * (index - (len(groups) - 1) / 2) for point in points]
        recalls = [point.value for point in points]
        lines += axes.plot(places, recalls, color=colour, linewidth=1.1, label=shorten(str(group), COLUMNS))
        for place, point in zip(places, points, strict=True):
            axes.plot([place, place], [point.low, point.high], color=colour, linewidth=1.4, alpha=0.45)
            sign = "x" if point.collapsed else marker
            inside = colour if point.stable else GROUND
            axes.plot(
                [place], [point.value], color=colour, marker=sign, markersize=4.2, markerfacecolor=inside
            )
    axes.set_xlim(-0.4, len(along) - 0.6)
    axes.set_ylim(bottom=0)
    shown = [
        f"{value:g}" if isinstance(value, int | float) else shorten(str(value), COLUMNS // len(along))
        for value in along
    ]
    axes.set_xticks(range(len(along)), shown)
    axes.set_xlabel(_short(drawing.keys[-1]))
    axes.grid(axis="y")
    if len(drawing.keys) == 2:
        axes.figure.legend(handles=lines, loc="outside lower left")
