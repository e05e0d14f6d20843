"""What the figures show: recall with intervals, categories by layer, training curves.

Each figure is made of panels as wide as a phone, so that the page can lay them out side by side or one below
the other without making text smaller; the files put the same panels into one picture. Heights are inches.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import SubFigure
from matplotlib.ticker import MaxNLocator

from catid2.report.categories import CategoryShares
from catid2.report.svg import MUTED, SHADE, Panel, series_style, shorten

FRAME = 0.7  # title, tick labels and the axis' name
ROW = 0.155  # of a map
RUNG = 0.11  # of a ladder: its unit of height
NAME_RUNGS = 2.5  # the name above a method's rungs and the gap to the next


class Rung(NamedTuple):
    """A value with its interval on a ladder, and a note next to it."""

    value: float
    low: float
    high: float
    note: str = ""


class MetricPoint(NamedTuple):
    """A metric and its interval, as shares of 1."""

    metric: str
    value: float
    low: float
    high: float


class LayerFigure(NamedTuple):
    """What the figure of layers shows of one method's DocIDs."""

    title: str
    nmi: np.ndarray  # (H, L) normalised mutual information of category level and layer
    nmi_chance: np.ndarray  # (H, L) the same with the categories shuffled
    shares: Mapping[int, CategoryShares]  # by layer, from 0; none where there is one category
    note: str = ""  # in place of the shares


class Curve(NamedTuple):
    """One quantity during training."""

    steps: np.ndarray  # (T,) epochs or steps
    values: np.ndarray  # (T,)


def ladder_height(ladders: Mapping[str, Sequence[object]]) -> float:
    """Return the height of a panel of ladders."""
    return FRAME + RUNG * sum(NAME_RUNGS + len(rungs) for rungs in ladders.values())


def draw_ladders(
    axes: Axes, ladders: Mapping[str, Sequence[Rung]], styles: Mapping[str, tuple[str, str]]
) -> None:
    """Draw, per method, its name and below it a rung per value: a point on its interval.

    `styles` gives each method its colour and marker.
    """
    top = 0.0
    for method, rungs in ladders.items():
        colour, marker = styles[method]
        write_name(axes, top + 1, method)
        for y, rung in enumerate(rungs, start=2):
            axes.plot([rung.low, rung.high], [top + y] * 2, color=colour, linewidth=1.4, alpha=0.5)
            axes.plot([rung.value], [top + y], color=colour, marker=marker, markersize=3.6)
            write_after(axes, rung.high, top + y, rung.note)
        top += NAME_RUNGS + len(rungs)
    finish_rows(axes, top)


def write_name(axes: Axes, y: float, name: str) -> None:
    """Write the name of what is drawn below it."""
    place = {"transform": axes.get_yaxis_transform(), "clip_on": True}
    axes.text(0, y, f" {name}", **place, va="center", fontweight="bold")


def write_after(axes: Axes, x: float, y: float, text: str) -> None:
    """Write a note right of what is drawn up to (x, y)."""
    place = {"xytext": (4, 0), "textcoords": "offset points"}
    axes.annotate(text, (x, y), **place, color=MUTED, va="center", fontsize=7)


def finish_rows(axes: Axes, bottom: float) -> None:
    """Leave the vertical axis, on which names stand, without ticks; it goes down to `bottom`."""
    axes.set(ylim=(bottom, 0), yticks=[])
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")


def recall_panel(title: str, methods: Mapping[str, Sequence[MetricPoint]], order: Mapping[str, int]) -> Panel:
    """Return a ladder of metrics per method, in percent; the first one names them.

    `order` gives each method its place in the report's colours.
    """
    ladders = {
        method: [
            Rung(*(100 * share for share in point[1:]), "" if place else point.metric) for point in points
        ]
        for place, (method, points) in enumerate(methods.items())
    }

    def draw(panel: SubFigure) -> None:
        axes = panel.subplots()
        draw_ladders(axes, ladders, {method: series_style(order[method]) for method in methods})
        axes.set(xlim=(0, None), xlabel="%")

    return Panel(title, ladder_height(ladders), draw)


def layers_panel(layers: LayerFigure) -> Panel:
    """Return the NMI of each category level with each layer, and what the codes of some layers hold."""
    rows = [2 * len(layers.nmi), *(len(share.names) for share in layers.shares.values())]

    def draw(panel: SubFigure) -> None:
        first, *others = panel.subplots(len(rows), squeeze=False, height_ratios=rows)[:, 0]
        draw_nmi(first, layers.nmi, layers.nmi_chance)
        first.set_xlabel(layers.note, loc="left")
        for axes, (layer, share) in zip(others, layers.shares.items(), strict=True):
            shade(axes, share.shares)
            axes.set_xticks([])
            axes.set_yticks(
                range(len(share.names)), [shorten(name, 20) for name in share.names], fontsize=7.5
            )
            what = f"layer {layer + 1}: {len(share.codes)} codes"
            axes.set_title(f"{what}; {share.purity:.0%} of products in a code's main category", loc="right")

    return Panel(layers.title, FRAME + ROW * sum(rows) + 0.3 * len(layers.shares), draw)


def draw_nmi(axes: Axes, nmi: np.ndarray, chance: np.ndarray) -> None:
    """Draw (H, L) values in 0..1 as shaded cells: the number, below it its chance level; the shade is the number."""
    shade(axes, 0.65 * nmi)
    for (level, layer), value in np.ndenumerate(nmi):
        axes.text(layer, level - 0.16, f"{value:.2f}", ha="center", va="center")
        below = f"chance {chance[level, layer]:.2f}"
        axes.text(layer, level + 0.24, below, ha="center", va="center", color=MUTED, fontsize=6)
    levels, layers = nmi.shape
    axes.set_xticks(range(layers), [f"layer {layer + 1}" for layer in range(layers)])
    axes.set_yticks(range(levels), [f"category level {level + 1}" for level in range(levels)])
    axes.tick_params(labeltop=True, labelbottom=False)


def shade(axes: Axes, shares: np.ndarray) -> None:
    """Draw (R, C) numbers in 0..1 as cells: transparent where nothing is, right on a light and on a dark ground."""
    image = np.zeros((*shares.shape, 4))
    image[..., :3] = to_rgb(SHADE)
    image[..., 3] = shares
    axes.imshow(image, aspect="auto", interpolation="none")
    axes.spines[:].set_visible(True)


def curves_panel(title: str, curves: Mapping[str, Curve], order: Mapping[str, int]) -> Panel:
    """Return one quantity during training: a line per method, named in the order of their ends."""

    def draw(panel: SubFigure) -> None:
        axes = panel.subplots()
        lines = []
        for method, curve in sorted(curves.items(), key=lambda named: -named[1].values[-1]):
            style = {"color": series_style(order[method])[0], "label": shorten(method, 17)}
            lines += axes.plot(curve.steps, curve.values, **style)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
        axes.grid(axis="y")
        axes.margins(x=0.01, y=0.08)
        axes.legend(handles=lines, loc="upper left", bbox_to_anchor=(1, 1))

    return Panel(title, max(1.75, FRAME + 0.14 * len(curves)), draw)
