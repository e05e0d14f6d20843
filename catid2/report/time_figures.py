"""The figure of times: what the stages of each method took, and how long a query waits."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from markupsafe import Markup
from matplotlib.figure import SubFigure
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, NullFormatter

from catid2.report.figures import (
    NAME_RUNGS,
    Rung,
    draw_ladders,
    finish_rows,
    ladder_height,
    write_after,
    write_name,
)
from catid2.report.inputs import read_tsv
from catid2.report.panels import SIMULATED
from catid2.report.svg import MUTED, Panel, inline_panel, save_panels, series_style
from catid2.runtime.errors import InputError

KEY_ROW = 0.17  # of the names of stages below the bars, two in a row
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


def stages_panel(title: str, times: Times) -> Panel:
    """Return a bar per method: the wall time of its stages, end to end, and their sum."""
    names = list(dict.fromkeys(name for stages in times.stages.values() for name in stages))

    def draw(panel: SubFigure) -> None:
        axes = panel.subplots()
        top = 0.0
        for method, stages in times.stages.items():
            write_name(axes, top + 1, method)
            ends = np.cumsum(list(stages.values()))
            colours = [series_style(names.index(name))[0] for name in stages]
            axes.barh(top + 2.2, list(stages.values()), left=[0, *ends[:-1]], height=1.3, color=colours)
            write_after(axes, ends[-1], top + 2.2, f"{_figure(ends[-1])} s")
            top += NAME_RUNGS + 1
        finish_rows(axes, top)
        axes.set(xlim=(0, None), xlabel="wall time, s")
        keys = [Patch(color=series_style(place)[0], label=name) for place, name in enumerate(names)]
        panel.legend(handles=keys, loc="outside lower left", ncols=2)

    bars = ladder_height(dict.fromkeys(times.stages, (0,)))  # a bar takes the room of a rung
    return Panel(title, bars + KEY_ROW * math.ceil(len(names) / 2), draw)


def waits_panel(title: str, times: Times) -> Panel:
    """Return, per method and batch size, a point at the median and a line to the 95th percentile."""
    ladders = {
        method: [Rung(wait.p50, wait.p50, wait.p95, f"batch of {wait.batch}") for wait in waits]
        for method, waits in times.waits.items()
    }
    every = [rung for rungs in ladders.values() for rung in rungs]

    def draw(panel: SubFigure) -> None:
        if not every:
            panel.text(0.03, 0.5, "no method's latency was measured", color=MUTED)
            return
        axes = panel.subplots()
        axes.set_xscale("log")
        many = max(rung.high for rung in every) > 200 * min(rung.low for rung in every)
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if many else (1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter("{x:,g}")  # matplotlib's own writes powers of ten as TeX
        axes.xaxis.set_minor_formatter(NullFormatter())
        # one style, not one a method: colours stand for stages in this figure
        draw_ladders(axes, ladders, dict.fromkeys(ladders, series_style(0)))
        axes.set_xlabel("ms until a batch is answered: median and 95th percentile", loc="left")

    return Panel(title, ladder_height(ladders), draw)


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
    return [
        inline_panel(
            f"times-{dataset}-stages",
            stages_panel(f"{dataset}: stages", times),
            f"Seconds that all stages of a method took in {dataset}: {sums}.",
        ),
        inline_panel(
            f"times-{dataset}-latency",
            waits_panel(f"{dataset}: latency", times),
            f"Milliseconds, median to 95th percentile, in {dataset}: {waits}.",
        ),
    ]


def write_times_figure(path: Path, table: Path, simulated: bool) -> None:
    """Write the two panels of efficiency.tsv at `table` as an SVG file."""
    times = read_times(table)
    dataset = f"{times.dataset}{SIMULATED if simulated else ''}"
    panels = [stages_panel(f"{dataset}: stages", times), waits_panel(f"{dataset}: latency", times)]
    save_panels(path, "times", panels)


def _figure(value: float) -> str:
    """Return a time with three significant digits or more, and no exponent however long it is."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
