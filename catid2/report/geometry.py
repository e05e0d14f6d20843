"""The figure of geometry: how well the vectors and the codes of each method tell the categories of each level."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.lines import Line2D

from catid2.report.panels import SIMULATED
from catid2.report.svg import MUTED, Panel, save_panels, series_style, shorten
from catid2.studies.geometry_table import layer_of, place, read_geometry_table

VECTORS, CODES, PREFIXES = ("embedding", "latent", "residual"), ("code",), ("prefix",)
DASHED = (0, (3, 3))
SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def write_geometry_figure(path: Path, geometry: Path, simulated: bool) -> None:
    """Write an SVG file from a table of compare_geometry, a panel per method; values are means over its seeds.

    Raises:
        InputError: the table cannot be used.
    """
    table = read_geometry_table(geometry).filter(pl.col("quantity") == "probe_accuracy")
    names = sorted(table["of"].unique(), key=place)
    note = SIMULATED if simulated else ""
    panels = [
        geometry_panel(f"{table['dataset'][0]}{note}: {shorten(method, 24)}", rows, names)
        for (method,), rows in table.group_by("method", maintain_order=True)
    ]
    save_panels(path, "geometry", panels)


def geometry_panel(title: str, rows: pl.DataFrame, names: Sequence[str]) -> Panel:
    """Return the panel of one method: accuracy of the probes of vectors, of single codes and of prefixes by level.

    `rows` are its rows of probe_accuracy; `names` is what any method of the figure has, in order.
    """

    def draw(panel: SubFigure) -> None:
        plots = panel.subplot_mosaic([["vectors", "vectors"], ["codes", "prefixes"]])
        for part, kinds, text in (
            ("vectors", VECTORS, "accuracy of a linear probe, %"),
            ("codes", CODES, "of one layer's code"),
            ("prefixes", PREFIXES, "of all codes up to it"),
        ):
            _draw_lines(plots[part], rows, [name for name in names if layer_of(name)[0] in kinds])
            plots[part].set_title(text)
        plots["codes"].set_xlabel("layer")
        plots["prefixes"].set(xlabel="layer", yticklabels=[])
        levels = rows["level"].unique().sort()
        keys = [Line2D([], [], color=series_style(level - 1)[0], label=f"level {level}") for level in levels]
        keys.append(Line2D([], [], color=MUTED, linestyle=DASHED, label="dashed: chance"))
        panel.legend(handles=keys, loc="outside lower left", ncols=4)

    return Panel(title, 4.0, draw)


def _draw_lines(axes: Axes, rows: pl.DataFrame, names: Sequence[str]) -> None:
    """Draw the means over seeds of those of `names` that `rows` have, in a band from the least to the most."""
    spots = {name: spot for spot, name in enumerate(names)}
    for (level,), of_level in rows.sort("level").group_by("level", maintain_order=True):
        colour, _ = series_style(level - 1)
        chance = 100 * of_level["chance"].mean()
        axes.axhline(chance, color=colour, linewidth=0.8, linestyle=DASHED, alpha=0.8)
        value = 100 * pl.col("value")
        found = of_level.filter(pl.col("of").is_in(names)).group_by("of", maintain_order=True)
        lines = found.agg(low=value.min(), mean=value.mean(), high=value.max())
        x = [spots[name] for name in lines["of"]]
        axes.fill_between(x, lines["low"], lines["high"], color=colour, alpha=0.2, linewidth=0)
        axes.plot(x, lines["mean"], color=colour, marker="o", markersize=3)
    axes.set(xlim=(-0.3, len(names) - 0.7), ylim=(0, 103), yticks=range(0, 101, 25))
    axes.set_xticks(range(len(names)), [_tick(name) for name in names])
    axes.grid(axis="y")


def _tick(name: str) -> str:
    kind, layer = layer_of(name)
    if kind == "residual":
        return f"r{layer}".translate(SUBSCRIPTS)
    return str(layer) if layer else {"latent": "z"}.get(kind, kind)
