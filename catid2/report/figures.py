"""What the figures show: recall with intervals, categories by layer, training curves.

Each figure is made of panels as wide as a phone, so that the page can lay them out side by side or one below
the other without making text smaller; the files put the same panels into one picture. Sizes are inches.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.patches import Rectangle

from catid2.report.categories import CategoryShares
from catid2.report.svg import INK, MUTED, PANEL_WIDTH, SHADE, Panel, series_style, shorten

TITLE = 0.3
AXIS_BELOW = 0.36  # tick labels and the axis' name
RUNG = 0.11  # between the cutoffs of one method
METHOD_NAME = 0.2  # above the cutoffs of a method
NMI_ROW = 0.31  # a value and, below it, its chance level
CODE_MAP_ROW = 0.155
CODE_MAP_TITLE = 0.36
NAMES = 1.22  # width of the names beside the maps of layers
CURVE_HEIGHT = 1.75


class RecallPoint(NamedTuple):
    """Recall at one cutoff and its interval, as shares of 1."""

    cutoff: int
    recall: float
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


def recall_height(methods: int, cutoffs: int) -> float:
    """Inches that a recall panel needs."""
    return TITLE + methods * (METHOD_NAME + cutoffs * RUNG + 0.08) + AXIS_BELOW


def draw_recall(
    panel: Panel, title: str, methods: Mapping[str, Sequence[RecallPoint]], order: Mapping[str, int]
) -> None:
    """Draw, per method, a ladder of cutoffs: each a point on its 95% interval, in percent.

    `order` gives each method its place in the report's colours.
    """
    heights = [METHOD_NAME + len(points) * RUNG + 0.08 for points in methods.values()]
    axes = panel.axes(0.1, TITLE, PANEL_WIDTH - 0.3, sum(heights))
    panel.title(title)
    right = max(100 * point.high for points in methods.values() for point in points) or 1.0
    top = 0.0
    for height, (method, points) in zip(heights, methods.items(), strict=True):
        colour, marker = series_style(order[method])
        axes.text(0, top + METHOD_NAME * 0.55, f" {method}", color=INK, va="center", fontweight="bold")
        for rung, point in enumerate(points, start=1):
            y = top + METHOD_NAME + (rung - 0.5) * RUNG
            axes.plot([100 * point.low, 100 * point.high], [y, y], color=colour, linewidth=1.4, alpha=0.5)
            axes.plot([100 * point.recall], [y], color=colour, marker=marker, markersize=3.6)
            if not top:
                axes.text(
                    100 * point.high + right * 0.015,
                    y,
                    f"@{point.cutoff}",
                    color=MUTED,
                    va="center",
                    fontsize=7,
                )
        top += height
    axes.set(xlim=(0, right * 1.1), ylim=(top, 0), yticks=[])
    axes.set_xlabel("recall, %", loc="right", labelpad=1)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    axes.tick_params(length=0)


def layers_height(layers: LayerFigure) -> float:
    """Inches that a panel of layers needs."""
    maps = sum(CODE_MAP_TITLE + CODE_MAP_ROW * len(share.names) for share in layers.shares.values())
    return TITLE + 0.2 + NMI_ROW * len(layers.nmi) + maps + (0.3 if layers.note else 0.1)


def draw_layers(panel: Panel, layers: LayerFigure) -> None:
    """Draw one method: the NMI of each category level with each layer, and what the codes of some layers hold."""
    panel.title(layers.title)
    width = PANEL_WIDTH - NAMES - 0.1
    top = TITLE + 0.2
    draw_nmi(panel.axes(NAMES, top, width, NMI_ROW * len(layers.nmi)), layers.nmi, layers.nmi_chance)
    top += NMI_ROW * len(layers.nmi)
    if layers.note:
        panel.text(0.05, top + 0.17, layers.note, fontsize=8)
    for layer, share in layers.shares.items():
        height = CODE_MAP_ROW * len(share.names)
        text = f"layer {layer + 1}: {len(share.codes)} codes; {share.purity:.0%} of products in a code's main category"
        panel.text(0.05, top + CODE_MAP_TITLE - 0.12, text, fontsize=8)
        draw_code_map(panel.axes(NAMES, top + CODE_MAP_TITLE, width, height), share)
        top += CODE_MAP_TITLE + height


def draw_nmi(axes: Axes, nmi: np.ndarray, chance: np.ndarray) -> None:
    """Draw (H, L) values in 0..1 as shaded cells: the number, below it its chance level; the shade is the number."""
    levels, layers = nmi.shape
    for level in range(levels):
        for layer in range(layers):
            value = float(nmi[level, layer])
            axes.add_patch(
                Rectangle(
                    (layer + 0.02, level + 0.05), 0.96, 0.9, facecolor=SHADE, alpha=0.65 * value, linewidth=0
                )
            )
            axes.text(layer + 0.5, level + 0.34, f"{value:.2f}", ha="center", va="center")
            below = f"chance {chance[level, layer]:.2f}"
            axes.text(layer + 0.5, level + 0.74, below, ha="center", va="center", color=MUTED, fontsize=6.5)
    axes.set(xlim=(0, layers), ylim=(levels, 0))
    axes.set_xticks(np.arange(layers) + 0.5, [f"layer {layer + 1}" for layer in range(layers)])
    axes.set_yticks(np.arange(levels) + 0.5, [f"category level {level + 1}" for level in range(levels)])
    axes.tick_params(length=0, labeltop=True, labelbottom=False, pad=2)
    axes.spines[:].set_visible(False)


def draw_code_map(axes: Axes, share: CategoryShares) -> None:
    """Draw which categories each code of a layer holds: one column per code in use, the shade is the share."""
    image = np.zeros((*share.shares.shape, 4))
    image[..., :3] = to_rgba(SHADE)[:3]
    image[..., 3] = share.shares  # transparent where nothing is: right on a light and on a dark ground
    axes.imshow(image, aspect="auto", interpolation="none")
    axes.set_yticks(range(len(share.names)), [shorten(name, 20) for name in share.names], fontsize=7.5)
    axes.set_xticks([])
    axes.tick_params(length=0, pad=3)
    axes.spines[:].set_visible(True)


def draw_curves(
    panel: Panel, title: str, curves: Mapping[str, Curve], order: Mapping[str, int], unit: str
) -> None:
    """Draw one quantity during training: a line per method, named at its end; `unit` is that of the steps."""
    panel.title(title)
    axes = panel.axes(0.5, TITLE, PANEL_WIDTH - 1.6, CURVE_HEIGHT - TITLE - AXIS_BELOW)
    for method, curve in curves.items():
        axes.plot(curve.steps, curve.values, color=series_style(order[method])[0])
    axes.set_xlabel(unit, loc="right", labelpad=1)
    axes.grid(axis="y")
    axes.tick_params(length=0)
    axes.margins(x=0.01, y=0.08)
    low, high = axes.get_ylim()
    gap = (high - low) * 0.13 / (CURVE_HEIGHT - TITLE - AXIS_BELOW)  # a line of text in units of the axis
    ends = {method: float(curve.values[-1]) for method, curve in curves.items()}
    for method, y in spread(ends, gap, low, high).items():
        place = {"xy": (1.03, y), "xycoords": ("axes fraction", "data"), "annotation_clip": False}
        colour = series_style(order[method])[0]
        axes.annotate(shorten(method, 17), **place, va="center", fontsize=7.5, color=colour)


def spread(values: Mapping[str, float], gap: float, low: float, high: float) -> dict[str, float]:
    """Move labels apart: places in the order of `values`, `gap` or more apart, none above `high`.

    Labels move up from `low` first, and back down where they would end above `high`.
    """
    names = sorted(values, key=lambda name: values[name])
    places: list[float] = []
    for name in names:
        places.append(max(values[name], places[-1] + gap if places else low))
    ceiling = high
    for position in reversed(range(len(places))):
        places[position] = min(places[position], ceiling)
        ceiling = places[position] - gap
    return dict(zip(names, places, strict=True))
