"""The figure of a study over grids: recall along one setting as lines, over two as a heat map.

Stable points are marked, and points whose codes have collapsed are marked as such: their recall says nothing of the
setting.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from catid2.report.grids import read_grids
from catid2.report.panels import SIMULATED
from catid2.report.svg import (
    GROUND,
    INK,
    LINE,
    MUTED,
    PANEL_WIDTH,
    SHADE,
    Panel,
    inline_svg,
    new_panels,
    save_svg,
    series_style,
    styled,
)
from catid2.runtime.errors import InputError

TITLE = 0.5  # two lines
AXIS_BELOW = 0.42
LINES_HEIGHT = 1.8
CELL_HEIGHT = 0.34


class Point(NamedTuple):
    """Recall of one point, in percent, and what is said of it."""

    values: tuple[Any, ...]  # of the keys that vary
    recall: float
    low: float
    high: float
    stable: bool
    collapsed: bool

    def label(self) -> str:
        """Return the values and what is said of the point."""
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

    def height(self) -> float:
        """Inches that the drawing needs, its legend left out."""
        drawn = CELL_HEIGHT * len(self.values(0)) if self.is_map() else LINES_HEIGHT
        return TITLE + drawn + AXIS_BELOW


def write_grids_figure(path: Path, table: Path, cutoff: int, protocol: str, simulated: bool) -> None:
    """Write the figure as an SVG file, a panel per grid; of a grid over three settings a panel per value of the first.

    Args:
        path: SVG file.
        table: of `grids.summarize_grids`.
        cutoff: the k of the recall@k that is drawn.
        protocol: which rows are drawn; of several sets of labels the last.
        simulated: say so.

    Raises:
        InputError: the table cannot be used, or has not the cutoff, the protocol, or varies more than three settings.
    """
    rows = _read(table, cutoff, protocol)
    drawings = _drawings(rows, cutoff, table)
    with styled("grids"):
        panels = new_panels(max(map(_height, drawings)), len(drawings))
        what = f"{_what(rows, cutoff)}; {rows['dataset'][0]}{SIMULATED if simulated else ''}"
        for panel, drawing in zip(panels, drawings, strict=True):
            draw(panel, drawing, what)
        save_svg(path, panels[0].figure)


def grids_svg(table: Path, study: str, cutoff: int, protocol: str) -> list[Markup]:
    """Return the panels of one dataset for the page; arguments and errors as `write_grids_figure`."""
    rows = _read(table, cutoff, protocol)
    found = []
    for number, drawing in enumerate(_drawings(rows, cutoff, table)):
        points = "; ".join(f"{point.label()} {point.recall:.1f}" for point in drawing.points)
        with styled(f"grids-{rows['dataset'][0]}-{study}-{number}"):
            [panel] = new_panels(_height(drawing))
            draw(panel, drawing, _what(rows, cutoff))
            found.append(
                Markup(inline_svg(panel.figure, f"{_what(rows, cutoff)} over {drawing.name()}: {points}."))
            )
    return found


def _read(table: Path, cutoff: int, protocol: str) -> pl.DataFrame:
    grids = read_grids(table)
    rows = grids.filter(pl.col("protocol") == protocol)
    if f"recall@{cutoff}" not in grids.columns or rows.is_empty():
        raise InputError(table, f"no recall@{cutoff} with protocol {protocol}", "name one that the table has")
    return rows.filter(pl.col("labels") == rows["labels"][-1])


def _what(rows: pl.DataFrame, cutoff: int) -> str:
    retrievers = ", ".join(rows["retriever"].unique().sort())
    return f"recall@{cutoff}, %, {rows['protocol'][0]}, {rows['labels'][0]}, retriever {retrievers}"


def _height(drawing: Drawing) -> float:
    return drawing.height() + 0.25


def _drawings(rows: pl.DataFrame, cutoff: int, table: Path) -> list[Drawing]:
    parts = rows.group_by("grid", maintain_order=True)
    return [drawing for _, part in parts for drawing in _drawings_of_grid(part, cutoff, table)]


def _drawings_of_grid(rows: pl.DataFrame, cutoff: int, table: Path) -> list[Drawing]:
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
    figure = f"recall@{cutoff}"
    return [
        Drawing(
            title,
            tuple(keys),
            [
                Point(
                    tuple(row[key] for key in keys),
                    *(100 * row[f"{figure}{end}"] for end in ("", "_low", "_high")),
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


def draw(panel: Panel, drawing: Drawing, what: str) -> None:
    """Draw one panel; `what` stands below its title."""
    panel.title(drawing.name())
    panel.text(0.05, 0.32, what, fontsize=7, color=MUTED)
    height = drawing.height() - TITLE - AXIS_BELOW
    if drawing.is_map():
        _draw_map(panel.axes(0.75, TITLE, PANEL_WIDTH - 0.95, height), drawing)
        below = "shade: recall; framed: stable; ×: collapsed"
    else:
        _draw_lines(
            panel.axes(0.5, TITLE, PANEL_WIDTH - (1.5 if len(drawing.keys) == 2 else 0.7), height), drawing
        )
        below = "bar: 95% interval; filled: stable; ×: collapsed"
    panel.text(0.05, drawing.height() + 0.1, below, fontsize=7, color=MUTED)


def _draw_map(axes: Axes, drawing: Drawing) -> None:
    rows, columns = drawing.values(0), drawing.values(1)
    recalls = [point.recall for point in drawing.points]
    low, high = min(recalls), max(recalls)
    for point in drawing.points:
        y, x = rows.index(point.values[0]), columns.index(point.values[1])
        shade = (point.recall - low) / (high - low) if high > low else 1.0
        edge = INK if point.stable and not point.collapsed else "none"
        axes.add_patch(
            Rectangle(
                (x + 0.03, y + 0.05), 0.94, 0.9, facecolor=SHADE, alpha=0.08 + 0.57 * shade, linewidth=0
            )
        )
        axes.add_patch(
            Rectangle((x + 0.03, y + 0.05), 0.94, 0.9, facecolor="none", edgecolor=edge, linewidth=1.2)
        )
        text = f"{point.recall:.1f}{' ×' if point.collapsed else ''}"
        axes.text(x + 0.5, y + 0.5, text, ha="center", va="center")
    axes.set(xlim=(0, len(columns)), ylim=(len(rows), 0))
    axes.set_xticks([x + 0.5 for x in range(len(columns))], [f"{value:g}" for value in columns])
    axes.set_yticks([y + 0.5 for y in range(len(rows))], [f"{value:g}" for value in rows])
    axes.set_xlabel(_short(drawing.keys[1]), loc="right", labelpad=1)
    axes.set_ylabel(_short(drawing.keys[0]), labelpad=2)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _draw_lines(axes: Axes, drawing: Drawing) -> None:
    """Draw a line per value of the first of two settings, along the last one; places are evenly spaced."""
    along = drawing.values(-1)
    groups: Sequence[Any] = drawing.values(0) if len(drawing.keys) == 2 else [None]
    for index, group in enumerate(groups):
        colour, marker = series_style(index)
        points = [point for point in drawing.points if group is None or point.values[0] == group]
        # lines side by side, so that their intervals can be told apart
        places = [along.index(point.values[-1]) + 0.06 * (index - (len(groups) - 1) / 2) for point in points]
        axes.plot(places, [point.recall for point in points], color=colour, linewidth=1.1)
        for place, point in zip(places, points, strict=True):
            axes.plot([place, place], [point.low, point.high], color=colour, linewidth=1.4, alpha=0.45)
            sign = "x" if point.collapsed else marker
            inside = colour if point.stable else GROUND
            axes.plot(
                [place], [point.recall], color=colour, marker=sign, markersize=4.2, markerfacecolor=inside
            )
        if group is not None:
            place = {"xy": (1.03, 0.93 - 0.13 * index), "xycoords": "axes fraction", "annotation_clip": False}
            axes.annotate(str(group), **place, va="center", fontsize=7.5, color=colour)
    axes.set_xlim(-0.4, len(along) - 0.6)
    axes.set_ylim(bottom=0)
    axes.set_xticks(
        range(len(along)), [f"{value:g}" if isinstance(value, int | float) else str(value) for value in along]
    )
    axes.set_xlabel(_short(drawing.keys[-1]), loc="right", labelpad=1)
    axes.grid(axis="y", color=LINE)
    axes.tick_params(length=0)
