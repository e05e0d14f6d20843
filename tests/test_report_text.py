"""Figures and page hold any text that users give: it is read back with parsers of XML and HTML."""

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from report_tree import RELIEF, write_tree

from catid2.config.report import Comparison, ReportConfig
from catid2.report.geometry import write_geometry_figure
from catid2.report.grid_figures import grids_svg, write_grids_figure
from catid2.report.inputs import read_comparison
from catid2.report.page import write_page
from catid2.report.panels import DocidFiles, write_layers_figure, write_recall_figure
from catid2.report.svg import shorten
from catid2.report.time_figures import times_svgs, write_times_figure
from catid2.runtime.tables import read_json, write_json, write_table
from catid2.studies.geometry_table import write_geometry_table

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = {
    "tex": r"$x^{$ \frac 5$ off $\alpha$",
    "colours": "#1a1c20 #0072b2; fill: #ffffff; var(--ink)",
    "style": "x font-family: Arial; font-size: 99px",
    "attributes": """" onload="alert(1)" id="x" width="9pt" transform="rotate(0 1 2)" 'q'""",
    "elements": "<g/></text></svg><!-- c --><metadata>m</metadata><style>s</style><defs> </defs>]]>&lt;&#0;",
    "controls": "a\x00b\x0b\x1b[31mc\x7f\x85\ufffe\uffff\ufdd0\U0001ffff",
    "scripts": "हिन्दी \u202eعربى\u202c 日本語 😀 e\u0301 \u200b",
    "templates": "{{ 7 * 7 }} {% raw %} {x} %s %(y)s",
}
FORBIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff\U0001fffe\U0001ffff]"
)


def shown(text: str) -> str:
    """What a reader sees of a text: forbidden characters replaced, white space as one space."""
    return " ".join(FORBIDDEN.sub("\ufffd", text).split())


def texts_of(svg: str) -> list[str]:
    """Return the texts of an SVG, each on one line."""
    root = ElementTree.fromstring(svg)
    assert root.tag == f"{SVG}svg"
    return [shown("".join(text.itertext())) for text in root.iter(f"{SVG}text")]


class Reader(HTMLParser):
    """Collects the texts between tags, the tags and the names of attributes."""

    def __init__(self, html: str):
        super().__init__()
        self.texts: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data):
        self.texts.append(shown(data))


# --- the files ----------------------------------------------------------------------------------------


def renamed(path: Path, columns: tuple[str, ...], name: str) -> Path:
    """Put a name into columns of a table with comments, and return where that is."""
    header = [line for line in path.read_text("utf-8").splitlines() if line.startswith("#")]
    table = pl.read_csv(path, separator="\t", comment_prefix="#", infer_schema=False)
    table = table.with_columns(
        pl.format("{} {}", pl.col(column), pl.lit(name)).alias(column) for column in columns
    )
    path.write_text("\n".join([*header, table.write_csv(separator="\t")]), encoding="utf-8")
    return path


def recall(results: Path, name: str, output: Path) -> list[str]:
    write_recall_figure(
        output, renamed(results / "demo_us" / "recall.tsv", ("dataset", "method"), name), True
    )
    return [f"demo_us {name} (simulated): seen, ES", *(f"{method} {name}" for method in (*RELIEF, "bm25"))]


def layers(results: Path, name: str, output: Path) -> list[str]:
    corpus, docids = (
        results / "demo_us" / "corpus",
        results / "demo_us" / "catid2" / "seed0" / "docids.parquet",
    )
    tree = pq.read_table(corpus / "categories.parquet")
    names = pa.array([f"{name} {node}" if len(name) < 18 else name for node in range(len(tree))])
    write_table(
        corpus / "categories.parquet", tree.set_column(tree.column_names.index("name"), "name", names)
    )
    files = [DocidFiles(name, docids, docids.with_suffix(".json"))]
    write_layers_figure(output, corpus, files, ReportConfig(categories=9), True)
    return [f"{name} (simulated)", shorten(names[0].as_py(), 20)]


def grids_table(folder: Path, name: str) -> Path:
    """Write a table over one setting that is text, and over two."""
    figures = {
        "recall@10": 0.4,
        "recall@10_low": 0.3,
        "recall@10_high": 0.5,
        "stable": True,
        "collapsed": False,
    }
    quality = {"collisions_before": 0.1, "lowest_perplexity": 0.5}
    rows = [
        {
            "dataset": f"d {name}",
            "grid": grid,
            "method": f"m{place}",
            "view.template": value,
            "rqvae.alpha": alpha,
        }
        | {"retriever": "light", "seeds": 1, "protocol": "seen", "labels": "ES"}
        | figures
        | quality
        for grid, alphas in ((1, [None]), (2, [0.1, 0.2]))
        for alpha in alphas
        for place, value in enumerate((name, f"other {name}"))
    ]
    path = folder / "grids.tsv"
    path.write_text(pl.DataFrame(rows, infer_schema_length=None).write_csv(separator="\t"), encoding="utf-8")
    return path


def grids(results: Path, name: str, output: Path) -> list[str]:
    table = grids_table(results, name)
    write_grids_figure(output, table, "recall@10", "seen", True)
    for svg, columns in zip(
        grids_svg(table, "study", "recall@10", "seen"), (26, 52), strict=True
    ):  # ticks, a key
        assert {shown(shorten(text, columns)) for text in (name, f"other {name}")} <= set(texts_of(svg))
    what = f"recall@10, %, seen, ES, retriever light; d {name} (simulated)"
    return [shorten(name, 26), shorten(f"other {name}", 26), what]


def times(results: Path, name: str, output: Path) -> list[str]:
    row = {"dataset": f"d {name}", "method": f"m {name}", "stage": f"s {name}", "wall_s": 2.5}
    table = results / "efficiency.tsv"
    latency = {"batch1_p50_ms": 5.0, "batch1_p95_ms": 900.0}
    table.write_text(pl.DataFrame([row | latency]).write_csv(separator="\t"), encoding="utf-8")
    write_times_figure(output, table, True)
    stages, waits = times_svgs(table)
    assert {shown(f"m {name}"), shown(f"s {name}")} <= set(texts_of(stages))
    assert {shown(f"m {name}"), "10", "100"} <= set(texts_of(waits))  # powers of ten are no TeX either
    return [f"d {name} (simulated): stages", f"m {name}", f"s {name}", "100"]


def geometry(results: Path, name: str, output: Path) -> list[str]:
    row = {"dataset": f"d {name}", "method": name, "seed": 0, "level": 1, "quantity": "probe_accuracy"}
    rows = [row | {"of": of, "value": 0.5, "chance": 0.1} for of in ("embedding", "code_1", "prefix_1")]
    write_geometry_table(pl.DataFrame(rows), ["header"], results / "geometry.tsv")
    write_geometry_figure(output, results / "geometry.tsv", True)
    return [f"d {name} (simulated): {shorten(name, 24)}"]


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> tuple[Path, Comparison]:
    folder = tmp_path_factory.mktemp("results")
    return folder, write_tree(folder, locales=("us",))


@pytest.fixture
def own(results, tmp_path) -> Path:
    """A copy of what figures of demo_us read."""
    for path in ("recall.tsv", "corpus", "catid2/seed0/docids.parquet", "catid2/seed0/docids.json"):
        source, target = results[0] / "demo_us" / path, tmp_path / "demo_us" / path
        for file in source.iterdir() if source.is_dir() else [source]:
            place = target / file.name if source.is_dir() else target
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(file.read_bytes())
    return tmp_path


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("draw", [recall, layers, grids, times, geometry])
def test_a_figure_holds_any_text(own: Path, draw: Callable[[Path, str, Path], list[str]], name: str):
    expected = draw(own, HOSTILE[name], own / "figure.svg")
    text = (own / "figure.svg").read_text("utf-8")
    assert not FORBIDDEN.search(text)
    texts = texts_of(text)
    for one in expected:
        assert shown(one) in texts


# --- the page -----------------------------------------------------------------------------------------


def test_the_page_holds_any_text(tmp_path):
    comparison = write_tree(tmp_path, locales=("us",))
    folder, every = tmp_path / "demo_us", list(HOSTILE.values())
    for table, columns in (("categories", ["name"]), ("products", ["title", "brand"])):
        content = pq.read_table(folder / "corpus" / f"{table}.parquet")
        for column in columns:
            values = pa.array([every[row % len(every)] for row in range(len(content))])
            content = content.set_column(content.column_names.index(column), column, values)
        write_table(folder / "corpus" / f"{table}.parquet", content)
    stats = read_json(folder / "corpus" / "stats.json")
    write_json(folder / "corpus" / "stats.json", stats | {f"count {text}": 1 for text in every})
    view = {"encoder": HOSTILE["tex"], "dims": 64, "view": {"template": f"template {HOSTILE['elements']}"}}
    write_json(folder / "embeddings" / "title.json", view)
    with (folder / "recall.tsv").open("r+", encoding="utf-8") as file:
        table = file.read()
        file.seek(0)
        file.write("".join(f"# note {text}\n" for text in every if text != HOSTILE["controls"]) + table)
    us = comparison.datasets[0]
    changes = {"embed.template": "half a pair \ud800" + HOSTILE["elements"], "embed.list": every}
    methods = [method.model_copy(update={"changes": changes}) for method in us.methods]
    us = us.model_copy(update={"methods": tuple(methods), "inputs": {f"file {text}": text for text in every}})
    comparison = comparison.model_copy(update={"datasets": (us,), "defaults": {}})
    config = ReportConfig(categories=20, examples=50, example_products=500, prefix_length=1)
    output = tmp_path / "report.html"
    write_page(output, tmp_path, comparison, config, read_comparison(tmp_path, comparison))

    html = output.read_text("utf-8")
    assert not FORBIDDEN.search(html)
    reader = Reader(html)
    assert "metadata" not in reader.tags
    assert html.count("<script") == 1  # the page's own
    assert "onload" not in reader.attributes
    for text in every:
        assert shown(text) in reader.texts  # a title
        assert shown(f"count {text}") in reader.texts
        assert shown(f"demo_us: file {text}") in reader.texts
        assert shown(f"note {text}") in reader.texts or text == HOSTILE["controls"]
    assert shown(f"template {HOSTILE['elements']}") in reader.texts
    assert shown("half a pair \ud800" + HOSTILE["elements"]) in reader.texts
    maps = [svg for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL) if "mutual information" in svg]
    assert len(maps) == len(RELIEF)
    for svg in maps:
        assert {shown(shorten(text, 20)) for text in every} <= set(texts_of(svg))
