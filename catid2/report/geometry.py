"""The figure of geometry: how well the vectors and the codes of each method tell the categories of each level."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl
from matplotlib.axes import Axes

from catid2.report.figures import AXIS_BELOW, TITLE
from catid2.report.panels import SIMULATED
from catid2.report.svg import MUTED, PANEL_WIDTH, Panel, new_panels, save_svg, series_style, shorten, styled
from catid2.studies.geometry_table import layer_of, place, read_geometry_table

LEGEND = 0.24
PLOT_TITLE = 0.2
PLOT = 1.3
LEFT, RIGHT, GAP = 0.42, 0.12, 0.22  # beside the plots, and between two
HEIGHT = TITLE + LEGEND + 2 * (PLOT_TITLE + PLOT + AXIS_BELOW)
VECTORS, CODES, PREFIXES = ("embedding", "latent", "residual"), ("code",), ("prefix",)
SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def write_geometry_figure(path: Path, geometry: Path, simulated: bool) -> None:
    """Write an SVG file from a table of compare_geometry, a panel per method; values are means over its seeds.

    Raises:
        InputError: the table cannot be used.
    """
    table = read_geometry_table(geometry).filter(pl.col("quantity") == "probe_accuracy")
    methods = table["method"].unique(maintain_order=True)
    names = sorted(table["of"].unique(), key=place)
    note = SIMULATED if simulated else ""
    with styled("geometry"):
        panels = new_panels(HEIGHT, len(methods))
        for panel, method in zip(panels, methods, strict=True):
            rows = table.filter(pl.col("method") == method)
            draw_geometry(panel, f"{rows['dataset'][0]}{note}: {shorten(method, 24)}", rows, names)
        save_svg(path, panels[0].figure)


def draw_geometry(panel: Panel, title: str, rows: pl.DataFrame, names: Sequence[str]) -> None:
    """Draw one method: accuracy of the probes of vectors, of single codes and of prefixes, a line per level.

    `rows` are its rows of probe_accuracy; `names` is what any method of the figure has, in order.
    """
    panel.title(title)
    left = 0.05
    for level in rows["level"].unique().sort():
        panel.text(left, TITLE + 0.05, f"level {level}", color=series_style(level - 1)[0], fontsize=8)
        left += 0.5
    panel.text(left, TITLE + 0.05, "dashed: chance", color=MUTED, fontsize=8)
    width = PANEL_WIDTH - LEFT - RIGHT
    half = (width - GAP) / 2
    top = TITLE + LEGEND + PLOT_TITLE
    below = top + PLOT + AXIS_BELOW + PLOT_TITLE
    for kinds, text, corner, size in (
        (VECTORS, "accuracy of a linear probe, %", (LEFT, top), width),
        (CODES, "of one layer's code", (LEFT, below), half),
        (PREFIXES, "of all codes up to it", (LEFT + half + GAP, below), half),
    ):
        panel.text(corner[0], corner[1] - 0.1, text, fontsize=8)
        axes = panel.axes(*corner, size, PLOT)
        _draw_lines(axes, rows, [name for name in names if layer_of(name)[0] in kinds])
        if kinds is PREFIXES:
            axes.set_yticklabels([])
        if kinds is not VECTORS:
            axes.set_xlabel("layer", loc="right", labelpad=1)


def _draw_lines(axes: Axes, rows: pl.DataFrame, names: Sequence[str]) -> None:
    """Draw the means over seeds of those of `names` that `rows` have, in a band from the least to the most."""
    spots = {name: spot for spot, name in enumerate(names)}
    for (level,), of_level in rows.sort("level").group_by("level", maintain_order=True):
        colour, _ = series_style(level - 1)
        chance = 100 * of_level["chance"].mean()
        axes.axhline(chance, color=colour, linewidth=0.8, linestyle=(0, (3, 3)), alpha=0.8)
        value = 100 * pl.col("value")
        found = of_level.filter(pl.col("of").is_in(names)).group_by("of", maintain_order=True)
        lines = found.agg(low=value.min(), mean=value.mean(), high=value.max())
        x = [spots[name] for name in lines["of"]]
        axes.fill_between(x, lines["low"], lines["high"], color=colour, alpha=0.2, linewidth=0)
        axes.plot(x, lines["mean"], color=colour, marker="o", markersize=3)
    axes.set(xlim=(-0.3, len(names) - 0.7), ylim=(0, 103), yticks=range(0, 101, 25))
    axes.set_xticks(range(len(names)), [_tick(name) for name in names])
    axes.grid(axis="y")
    axes.tick_params(length=0)


def _tick(name: str) -> str:
    kind, layer = layer_of(name)
    if kind == "residual":
        return f"r{layer}".translate(SUBSCRIPTS)
    return str(layer) if layer else {"latent": "z"}.get(kind, kind)
