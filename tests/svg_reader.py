"""Reads the report's figures back: what stands in each of their axes, in units of the axes.

It reads files and the figures inside the page alike, which have no ids: kinds are told by what the groups hold.
"""

import base64
import io
import re
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np
from matplotlib.image import imread

SVG = "{http://www.w3.org/2000/svg}"
XLINK = "{http://www.w3.org/1999/xlink}"
BASELINE = 0.38  # of a font's size, from the middle of a line of text down to its baseline


class Text(NamedTuple):
    """A text; its place is that of its anchor, in the middle of its height."""

    text: str
    x: float
    y: float
    colour: str
    bold: bool


class Line(NamedTuple):
    """A stroke through points (n, 2)."""

    points: np.ndarray
    colour: str
    style: str


class Mark(NamedTuple):
    """A marker; `fill` is none of one without an inside."""

    x: float
    y: float
    colour: str
    fill: str


class Box(NamedTuple):
    """A filled or framed rectangle: its sides in the picture's units, from the left and from the top."""

    left: float
    right: float
    top: float
    bottom: float
    style: str


class Axis:
    """What makes a value of a place: the labels at the ticks, on a linear scale or a logarithmic one."""

    def __init__(self, ticks: list[tuple[str, float]]):
        """Take the ticks as (label, place)."""
        self.labels = dict(ticks)
        numbers = [(_number(label), place) for label, place in ticks]
        known = [(value, place) for value, place in numbers if value is not None]
        self._scale = _fit(known) if len(known) > 1 else None

    def value(self, place: float) -> float:
        """Return the value at a place."""
        values, (slope, start) = self._scale
        value = slope * place + start
        return 10**value if values == "logarithmic" else value

    def label(self, place: float) -> str:
        """Return the label of the tick nearest to a place."""
        return min(self.labels, key=lambda label: abs(self.labels[label] - place))


class Plot(NamedTuple):
    """What stands in one pair of axes; places are the picture's, x and y make values of them."""

    texts: list[Text]
    lines: list[Line]
    bands: list[Line]  # by their outlines
    marks: list[Mark]
    boxes: list[Box]
    images: list[np.ndarray]  # (rows, columns) opacity
    x: Axis
    y: Axis

    def values(self, line: Line) -> np.ndarray:
        """Return the points of a line or band in units of the axes."""
        return np.array([[self.x.value(x), self.y.value(y)] for x, y in line.points])

    def values_of_x(self, line: Line) -> list[float]:
        """Return where a level line starts and ends, in units of the axes."""
        return [self.x.value(x) for x, _ in line.points]

    def curves(self) -> list[Line]:
        """Return the lines of the data: neither the grid's nor the frame's."""
        return [line for line in self.lines if line.colour not in ("#d4d8de", "var(--line)")]


class Picture(NamedTuple):
    """A figure: its axes in the order they were drawn, and the texts outside of them."""

    plots: list[Plot]
    texts: list[Text]


def read_svg(svg: str) -> Picture:
    """Return what a figure shows; texts outside of the axes are titles and keys."""
    [figure] = ElementTree.fromstring(svg).findall(f"{SVG}g")
    picture = Picture([], [])
    for group in figure.findall(f"{SVG}g/{SVG}g"):  # of its panels
        if group.find(f"{SVG}g/{SVG}g/{SVG}g") is not None:  # ticks in an axis in axes
            picture.plots.append(_plot(group))
        else:
            picture.texts.extend(map(_text, group.iter(f"{SVG}text")))
    return picture


def _plot(axes: ElementTree.Element) -> Plot:
    ticks: dict[str, list[tuple[str, float]]] = {"x": [], "y": []}
    images = [_opacity(image) for image in axes.findall(f"{SVG}image")]
    plot = Plot([], [], [], [], [], images, None, None)
    for group in axes.findall(f"{SVG}g"):
        if group.find(f"{SVG}g/{SVG}g/{SVG}text") is not None:
            for tick in group.findall(f"{SVG}g"):
                _read_tick(tick, ticks)
            continue
        plot.texts.extend(map(_text, group.findall(f"{SVG}text")))
        if group.find(f"{SVG}g/{SVG}text") is not None:  # a key
            plot.texts.extend(map(_text, group.iter(f"{SVG}text")))
            continue
        for use in group.iter(f"{SVG}use"):
            style = use.get("style", "")
            place = float(use.get("x")), float(use.get("y"))
            if _of(style, "stroke") == "none":
                [shape] = [
                    path
                    for path in group.iter(f"{SVG}path")
                    if f"#{path.get('id')}" == use.get(f"{XLINK}href")
                ]
                plot.bands.append(Line(_points(shape) + place, _of(style, "fill"), style))
            else:
                plot.marks.append(Mark(*place, _of(style, "stroke"), _of(style, "fill")))
        for path in group.findall(f"{SVG}path"):
            points = _points(path)
            style = path.get("style", "")
            if path.get("d").rstrip().endswith("z"):
                (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
                plot.boxes.append(Box(left, right, top, bottom, style))
            elif len(points) > 1:
                plot.lines.append(Line(points, _of(style, "stroke"), style))
    return plot._replace(x=Axis(ticks["x"]), y=Axis(ticks["y"]))


def _read_tick(tick: ElementTree.Element, ticks: dict[str, list[tuple[str, float]]]) -> None:
    """Note a tick's label and place: that of its line of the grid, or else of the label."""
    label = tick.find(f"{SVG}g/{SVG}text")
    if label is None:
        return
    text = _text(label)
    axis = "x" if _of(label.get("style"), "text-anchor") == "middle" else "y"
    grid = tick.find(f"{SVG}g/{SVG}path")
    place = text.x if axis == "x" else text.y
    if grid is not None:
        [point, *_] = re.findall(r"M (\S+) (\S+)", grid.get("d"))
        place = float(point["xy".index(axis)])
    ticks[axis].append((text.text, place))


def _points(path: ElementTree.Element) -> np.ndarray:
    return np.array(re.findall(r"[ML] (\S+) (\S+)", path.get("d")), float)


def _text(element: ElementTree.Element) -> Text:
    style = element.get("style")
    size = float(_of(style, "font-size").removesuffix("px"))
    # a line of several is moved to its place
    moved = re.match(r"translate\((\S+) (\S+)\)", element.get("transform", ""))
    x, y = moved.groups() if moved else (element.get("x"), element.get("y"))
    text = "".join(element.itertext()).strip()
    place = float(x), float(y) - BASELINE * size
    return Text(text, *place, _of(style, "fill"), "font-weight: 700" in style)


def _opacity(image: ElementTree.Element) -> np.ndarray:
    data = image.get(f"{XLINK}href").partition("base64,")[2]
    assert "rotate" not in image.get("transform", "")
    return imread(io.BytesIO(base64.b64decode(data)))[..., 3]


def _of(style: str, name: str) -> str:
    found = re.search(rf"(?:^|; ){name}: ([^;]+)", style)
    return found[1] if found else "none"


def _number(label: str) -> float | None:
    try:
        return float(label.replace("−", "-").replace(",", ""))
    except ValueError:
        return None


def _fit(ticks: list[tuple[float, float]]) -> tuple[str, np.ndarray]:
    """Return the scale and the line from places to values (or their logarithms) on which all ticks lie."""
    values, places = np.array(ticks).T
    for scale in ("linear", "logarithmic"):
        if scale == "logarithmic":
            values = np.log10(values)
        line = np.polyfit(places, values, 1)
        if np.allclose(np.polyval(line, places), values, rtol=0, atol=1e-3 * np.ptp(values)):
            return scale, line
    raise AssertionError(f"ticks on no straight line: {ticks}")
