"""The figure of times: what the stages of each method took, and how long a query waits.

Panels as in catid2.report.figures; sizes are inches.
"""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator, NullFormatter

from catid2.report.figures import AXIS_BELOW, METHOD_NAME, RUNG, TITLE
from catid2.report.inputs import read_tsv
from catid2.report.panels import SIMULATED
from catid2.report.svg import (
    INK,
    MUTED,
    PANEL_WIDTH,
    Panel,
    inline_svg,
    new_panels,
    save_svg,
    series_style,
    styled,
)
from catid2.runtime.errors import InputError

BAR = 0.15
KEY_ROW = 0.17  # of the names of stages below the bars, two in a row
TOTAL = 0.55  # width of the total beside the longest bar
NEEDED = ("dataset", "method", "stage", "wall_s")  # columns of efficiency.tsv
P50 = re.compile("batch([1-9][0-9]{0,8})_p50_ms")
REMEDY = "run summarize_efficiency again"


class Wait(NamedTuple):
    """How long a query waits when `batch` are searched at once, ms from the batch's arrival."""

    batch: int
    p50: float
    p95: float


class Times(NamedTuple):
    """What the figure shows, by method."""

    dataset: str
    stages: Mapping[str, Mapping[str, float]]  # wall time of each stage, s
    waits: Mapping[str, Sequence[Wait]]  # of the methods whose latency was measured


def read_times(path: Path) -> Times:
    """Return what the figure shows of efficiency.tsv.

    Raises:
        InputError: the table is missing, cut, or lacks a column; a wall time is no number of 0 or more, or a latency
            none above 0.
    """
    table = read_tsv(path, NEEDED)
    batches = sorted(int(found[1]) for name in table.columns if (found := P50.fullmatch(name)))
    latencies = [f"batch{batch}_{name}_ms" for batch in batches for name in ("p50", "p95")]
    for name in ("wall_s", *latencies):
        if name not in table.columns:
            raise InputError(path, f"column {name!r} is missing", REMEDY)
        numbers = table[name].cast(pl.Float64, strict=False)
        known = numbers.drop_nulls()
        good = known.is_finite() & (known >= 0 if name == "wall_s" else known > 0)
        if len(known) < table[name].drop_nulls().len() or not good.all():
            what = "0 or more" if name == "wall_s" else "more than 0"
            raise InputError(path, f"column {name!r} holds what is no number of {what}", REMEDY)
    table = table.with_columns(pl.col("wall_s", *latencies).cast(pl.Float64))
    stages: dict[str, dict[str, float]] = {}
    waits: dict[str, list[Wait]] = {}
    for row in table.to_dicts():
        stages.setdefault(row["method"], {})[row["stage"]] = row["wall_s"] or 0.0
        for batch in batches:
            p50, p95 = (row[f"batch{batch}_{name}_ms"] for name in ("p50", "p95"))
            if p50 is not None and p95 is not None:
                waits.setdefault(row["method"], []).append(Wait(batch, p50, p95))
    return Times(table["dataset"][0], stages, waits)


def times_height(times: Times) -> float:
    """Inches that the higher of the two panels needs."""
    stages = _stage_names(times)
    bars = len(times.stages) * (METHOD_NAME + BAR + 0.08) + KEY_ROW * math.ceil(len(stages) / 2) + 0.1
    rungs = sum(METHOD_NAME + len(waits) * RUNG + 0.08 for waits in times.waits.values())
    return TITLE + max(bars, rungs) + AXIS_BELOW


def draw_stages(panel: Panel, title: str, times: Times) -> None:
    """Draw a bar per method: the wall time of its stages, end to end, and their sum."""
    panel.title(title)
    names = _stage_names(times)
    colours = {name: series_style(place)[0] for place, name in enumerate(names)}
    row = METHOD_NAME + BAR + 0.08
    axes = panel.axes(0.1, TITLE, PANEL_WIDTH - 0.3, row * len(times.stages))
    longest = max(sum(stages.values()) for stages in times.stages.values()) or 1.0
    for place, (method, stages) in enumerate(times.stages.items()):
        top, left = place * row, 0.0
        axes.text(0, top + METHOD_NAME * 0.55, f" {method}", color=INK, va="center", fontweight="bold")
        for name, seconds in stages.items():
            axes.add_patch(
                Rectangle((left, top + METHOD_NAME), seconds, BAR, facecolor=colours[name], linewidth=0)
            )
            left += seconds
        _write_after(axes, left, top + METHOD_NAME + BAR / 2, f"{_figure(left)} s")
    room = (PANEL_WIDTH - 0.3) / (PANEL_WIDTH - 0.3 - TOTAL)
    axes.set(xlim=(0, longest * room), ylim=(row * len(times.stages), 0), yticks=[])
    axes.set_xlabel("wall time, s", loc="right", labelpad=1)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    axes.tick_params(length=0)
    below = TITLE + row * len(times.stages) + AXIS_BELOW + 0.08
    for place, name in enumerate(names):
        x, y = 0.1 + (place % 2) * (PANEL_WIDTH - 0.2) / 2, below + (place // 2) * KEY_ROW
        panel.text(x, y, "■", color=colours[name], fontsize=8)
        panel.text(x + 0.14, y, name, color=INK, fontsize=7.5)


def draw_waits(panel: Panel, title: str, times: Times) -> None:
    """Draw, per method and batch size, a point at the median and a line to the 95th percentile."""
    panel.title(title)
    if not times.waits:
        panel.text(0.1, TITLE + 0.15, "no method's latency was measured", color=MUTED)
        return
    heights = [METHOD_NAME + len(waits) * RUNG + 0.08 for waits in times.waits.values()]
    axes = panel.axes(0.1, TITLE, PANEL_WIDTH - 0.3, sum(heights))
    every = [wait for waits in times.waits.values() for wait in waits]
    low, high = min(wait.p50 for wait in every) / 1.5, max(wait.p95 for wait in every)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if high > 100 * low else (1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter("{x:,g}")  # matplotlib's own writes powers of ten as TeX
    axes.xaxis.set_minor_formatter(NullFormatter())
    # Room for the batch sizes right of the longest line.
    axes.set(xlim=(low, high * (high / low) ** 0.25), ylim=(sum(heights), 0), yticks=[])
    colour, marker = series_style(0)  # not one a method: colours stand for stages in this figure
    top = 0.0
    for height, (method, waits) in zip(heights, times.waits.items(), strict=True):
        axes.text(low, top + METHOD_NAME * 0.55, f" {method}", color=INK, va="center", fontweight="bold")
        for rung, wait in enumerate(waits, start=1):
            y = top + METHOD_NAME + (rung - 0.5) * RUNG
            axes.plot([wait.p50, wait.p95], [y, y], color=colour, linewidth=1.4, alpha=0.5)
            axes.plot([wait.p50], [y], color=colour, marker=marker, markersize=3.6)
            _write_after(axes, wait.p95, y, f"batch of {wait.batch}")
        top += height
    axes.set_xlabel("ms until a batch is answered: median and 95th percentile", loc="right", labelpad=1)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    axes.tick_params(length=0, which="both")


def times_svgs(path: Path) -> list[Markup]:
    """Return the two panels for the page, of efficiency.tsv at `path`."""
    times = read_times(path)
    dataset = times.dataset
    sums = "; ".join(f"{method} {_figure(sum(stages.values()))}" for method, stages in times.stages.items())
    waits = "; ".join(
        f"{method} "
        + ", ".join(
            f"{_figure(wait.p50)} to {_figure(wait.p95)} in batches of {wait.batch}" for wait in waits
        )
        for method, waits in times.waits.items()
    )
    drawings = (
        ("stages", draw_stages, "stages", f"Seconds that all stages of a method took in {dataset}: {sums}."),
        (
            "latency",
            draw_waits,
            "latency",
            f"Milliseconds, median to 95th percentile, in {dataset}: {waits}.",
        ),
    )
    figures = []
    for name, draw, title, description in drawings:
        with styled(f"times-{dataset}-{name}"):
            [panel] = new_panels(times_height(times))
            draw(panel, f"{dataset}: {title}", times)
            figures.append(Markup(inline_svg(panel.figure, description)))
    return figures


def write_times_figure(path: Path, table: Path, simulated: bool) -> None:
    """Write the two panels of efficiency.tsv at `table` as an SVG file."""
    times = read_times(table)
    dataset = f"{times.dataset}{SIMULATED if simulated else ''}"
    with styled("times"):
        panels = new_panels(times_height(times), 2)
        draw_stages(panels[0], f"{dataset}: stages", times)
        draw_waits(panels[1], f"{dataset}: latency", times)
        save_svg(path, panels[0].figure)


def _figure(value: float) -> str:
    """Return a time with three significant digits or more, and no exponent however long it is."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _write_after(axes: Axes, x: float, y: float, text: str) -> None:
    """Write a note right of what was drawn up to (x, y)."""
    place = {"xytext": (4, 0), "textcoords": "offset points"}
    axes.annotate(text, (x, y), **place, color=MUTED, va="center", fontsize=7)


def _stage_names(times: Times) -> list[str]:
    return list(dict.fromkeys(name for stages in times.stages.values() for name in stages))
