"""The chart of a benchmark run: how many times faster or smaller this project is than what it is compared with."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from measured import Measured

from catid2.report.svg import INK, MUTED, SERIES, save_svg, styled

WIDTH, ROW, FRAME = 11.1, 0.17, 0.72  # inches


def write_chart(path: Path, measured: list[Measured]) -> None:
    """Write an SVG file with a bar for each pair of figures: theirs / ours on a logarithmic axis, 1 is equal."""
    # Look-ups are a part of the search that they are held against, not a rival.
    rivals = [line for line in measured if line.alternative and line.alternative != "the whole search"]
    pairs = [line for line in rivals if line.ours > 0 and line.theirs > 0]
    if not pairs:
        return
    with styled("bench"):
        figure = Figure(figsize=(WIDTH, FRAME + ROW * len(pairs)), layout="constrained")
        title = "theirs / ours: how many times less time or memory (right of the line this project is ahead)"
        figure.suptitle(title, x=0.005, ha="left")
        draw_ratios(figure.subplots(), pairs)
        save_svg(path, figure)


def draw_ratios(axes: Axes, pairs: list[Measured]) -> None:
    """Draw a bar from 1 to the ratio of each pair, with its name on the left and the ratio at its end."""
    for place, pair in enumerate(pairs):
        ratio = pair.theirs / pair.ours
        colour = SERIES[0] if ratio >= 1 else SERIES[1]
        axes.barh(place, ratio - 1, left=1, height=0.6, color=colour)
        end = f" {ratio:.3g} × " if ratio >= 0.1 else f" {ratio:.1g} × "
        axes.text(ratio, place, end, va="center", ha="left" if ratio >= 1 else "right", color=INK, fontsize=7)
    names = [f"{pair.what}, {pair.size} — against {pair.alternative}" for pair in pairs]
    axes.set_yticks(range(len(pairs)), names, fontsize=7)
    ratios = [pair.theirs / pair.ours for pair in pairs]
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:,g}")  # matplotlib's own writes powers of ten as TeX
    axes.set(xlim=(min(0.3, *ratios) / 2, max(3, *ratios) * 2), ylim=(len(pairs) - 0.5, -0.5))
    axes.axvline(1, color=MUTED, linewidth=0.8)
    axes.grid(axis="x")
