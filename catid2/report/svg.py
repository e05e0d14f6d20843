"""One look for all figures, and two ways out: an SVG file, or SVG text inside the page.

Inside the page colours become CSS variables, so that a figure follows the reader's light or dark scheme,
and text stays text, so that it takes the reader's fonts (Japanese titles included) and can be searched.
The same drawing gives the same bytes: no dates, no random ids. Names in a figure may hold any text.
"""

import contextlib
import io
import re
import unicodedata
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure, SubFigure

from catid2.runtime.writing import atomic

# Colour in a file -> CSS variable in the page (template.html.j2 defines each for both schemes). The series
# are Okabe and Ito's colours, told apart by readers with any kind of colour vision.
INK, MUTED, LINE, SHADE, GROUND = "#1a1c20", "#5c626b", "#d4d8de", "#0072b3", "#ffffff"
SERIES = ("#0072b2", "#d55e00", "#009e73", "#b8548a", "#a87400", "#3794c9", "#7a5195", "#6b6e70")
MARKERS = ("o", "s", "^", "D", "v", "P")
CSS_VARIABLES = {INK: "--ink", MUTED: "--muted", LINE: "--line", SHADE: "--shade", GROUND: "--ground"} | {
    colour: f"--s{index}" for index, colour in enumerate(SERIES)
}
_COLOURS = re.compile("|".join(CSS_VARIABLES))
# Characters that XML and HTML forbid, as a damaged name in a catalogue may have: controls but tab and line ends, halves
# of a surrogate pair, and what Unicode calls noncharacters.
_FORBIDDEN = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef"
    + "".join(chr(plane << 16 | last) for plane in range(17) for last in (0xFFFE, 0xFFFF))
    + "]"
)
_NO_TURN = re.compile(r"rotate\(-?0 ")
_SVG = "{http://www.w3.org/2000/svg}"
ElementTree.register_namespace("", _SVG[1:-1])
ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")

PANEL_WIDTH = 3.7  # inches; 355 CSS pixels: one panel fills a phone's width at its natural size
STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # names may hold $
    "font.family": "sans-serif",
    "font.size": 8.5,
    "figure.titlesize": 9,
    "figure.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlesize": 8,
    "axes.facecolor": "none",
    "axes.labelcolor": MUTED,
    "axes.edgecolor": LINE,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.labelpad": 1,
    "xaxis.labellocation": "right",
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "lines.linewidth": 1.5,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "legend.labelcolor": "linecolor",
    "legend.handlelength": 0.8,
    "legend.handletextpad": 0.5,
    "legend.borderpad": 0,
    "legend.borderaxespad": 0.3,
}


def series_style(index: int) -> tuple[str, str]:
    """Return colour and marker of the `index`-th method; the pair repeats only after all combinations."""
    return SERIES[index % len(SERIES)], MARKERS[index // len(SERIES) % len(MARKERS)]


@contextlib.contextmanager
def styled(salt: str) -> Iterator[None]:
    """Draw and save in the common look; `salt` makes the ids inside the SVG unique and repeatable.

    Missing glyphs do not matter: text stays text, and the viewer of the SVG chooses the font.
    """
    with mpl.rc_context(STYLE | {"svg.hashsalt": salt}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from font")
        yield


class Panel(NamedTuple):
    """A part of a figure, PANEL_WIDTH wide. Matplotlib's constrained layout places what `draw` puts into it."""

    title: str
    height: float  # inches; next to a higher panel it is as high as that one
    draw: Callable[[SubFigure], None]


def draw_panels(panels: Sequence[Panel]) -> Figure:
    """Return the panels side by side on a new figure, apart from pyplot's global state."""
    size = (PANEL_WIDTH * len(panels), max(panel.height for panel in panels))
    figure = Figure(figsize=size, layout="constrained")
    figure.patch.set_visible(False)
    for panel, place in zip(
        panels, figure.subfigures(1, len(panels), wspace=0.04, squeeze=False)[0], strict=True
    ):
        place.suptitle(panel.title, x=0.014, ha="left")
        panel.draw(place)
    # The layout differs in the last bits from process to process, and the ids of clip paths hold all bits.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for artist in figure.findobj():
        artist.set_clip_on(False)
    return figure


def save_panels(path: str | Path, salt: str, panels: Sequence[Panel]) -> None:
    """Write the panels as an SVG file; `salt` as in `styled`."""
    with styled(salt):
        save_svg(path, draw_panels(panels))


def inline_panel(salt: str, panel: Panel, description: str) -> Markup:
    """Return one panel as an <svg> element for the page, with `description` for those who cannot see it.

    What the page's own style says already (fonts, joins) goes, and so do the ids of groups, as several figures
    share one page; ids that are referred to differ by the salt of `styled`. Elements and attributes are changed, never
    text, in which any of their words may stand.
    """
    with styled(salt):
        root = ElementTree.fromstring(svg_text(draw_panels([panel])))
    _simplify(root)
    for size in ("width", "height"):
        root.attrib.pop(size, None)
    root.attrib = {"role": "img", "aria-label": printable(description)} | root.attrib
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def svg_text(figure: Figure) -> str:
    """Return the text of an SVG file of `figure`, without date or program name."""
    buffer = io.StringIO()
    figure.savefig(
        buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
    )
    return printable(buffer.getvalue())


def save_svg(path: str | Path, figure: Figure) -> None:
    """Write `figure` as an SVG file with a white ground, complete or not at all."""
    figure.patch.set(visible=True, facecolor="white")
    with atomic(path) as aside:
        aside.write_text(svg_text(figure), encoding="utf-8")


def _simplify(element: ElementTree.Element) -> None:
    """Take out of an element, and of those below it, what `inline_panel` does not want."""
    name = element.tag.removeprefix(_SVG)
    if name != "text":
        element.text = None
    if name == "g":
        element.attrib.pop("id", None)
    if _NO_TURN.match(element.get("transform", "")):
        del element.attrib["transform"]
    if "style" in element.attrib:
        kept = [part for part in element.get("style").split("; ") if not part.startswith("font-family:")]
        element.set("style", _COLOURS.sub(lambda found: f"var({CSS_VARIABLES[found[0]]})", "; ".join(kept)))
    for child in list(element):
        _simplify(child)
        child.tail = "\n"
        kind = child.tag.removeprefix(_SVG)
        if kind in ("metadata", "style") or (kind in ("g", "defs") and not len(child)):
            element.remove(child)


def printable(text: str) -> str:
    """Return `text` with the replacement character (U+FFFD) for each character that XML or HTML forbids."""
    return _FORBIDDEN.sub("\ufffd", text)


def shorten(text: str, width: int) -> str:
    """Cut `text`, as one line, to `width` columns; a full-width (Chinese, Japanese) character counts as two."""
    text = " ".join(text.split())
    columns = 0
    for index, character in enumerate(text):
        columns += 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if columns > width:
            return text[: max(index - 1, 0)].rstrip() + "…"
    return text
