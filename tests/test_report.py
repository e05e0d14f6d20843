"""The report: numbers equal the tables it was made from, the page stands alone, and bad input is named."""

import json
import re
import runpy
import shutil
import sys
from collections import Counter
from datetime import date
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from report_tree import METRICS, RELIEF, write_tree
from svg_reader import Picture, Plot, read_svg

from catid2.config.grids import GridPoints, GridSummary
from catid2.config.report import Comparison, NamedDataset, ReportConfig, ReportStudy
from catid2.report.categories import OTHERS, category_shares
from catid2.report.examples import prefix_examples
from catid2.report.figures import Curve, curves_panel
from catid2.report.grids import summarize_grids
from catid2.report.inputs import RETRIEVER_CURVES, RQVAE_CURVES, read_comparison, read_curves
from catid2.report.page import write_page
from catid2.report.panels import DocidFiles, write_layers_figure
from catid2.report.sections import counts_section, layer_perplexity, quality_section, summary
from catid2.report.svg import draw_panels, shorten, styled, svg_text
from catid2.report.tables import locale_rows, write_locales
from catid2.report.time_figures import Times, Wait, stages_panel, waits_panel
from catid2.report.times import SHOWN
from catid2.runtime.errors import InputError
from catid2.runtime.tables import read_json, write_table

ROOT = Path(__file__).parent.parent
CONFIG = ReportConfig(categories=4)


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> tuple[Path, Comparison]:
    results = tmp_path_factory.mktemp("results")
    return results, write_tree(results)


@pytest.fixture(scope="module")
def page(tree, tmp_path_factory) -> str:
    return make_page(*tree, tmp_path_factory.mktemp("page") / "report.html")


@pytest.fixture(scope="module")
def us(tree) -> Comparison:
    """One of the two datasets: most of what can go wrong goes wrong in one."""
    return Comparison(datasets=tree[1].datasets[:1], defaults=tree[1].defaults)


def make_page(results: Path, comparison: Comparison, path: Path) -> str:
    write_page(path, results, comparison, CONFIG, read_comparison(results, comparison), commit="0123abcd")
    return path.read_text("utf-8")


class Reader(HTMLParser):
    """Collects what a browser would load, the text, the tables' cells and the elements left open."""

    VOID = ("meta", "br", "link", "img", "input")

    def __init__(self, text: str):
        super().__init__()
        self.loads: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.bold: list[set[int]] = []  # the places in each row that are marked as the best
        self.labels: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.tags.add(tag)
        self.ids += [values["id"]] if "id" in values else []
        for name in ("src", "href", "xlink:href", "data", "poster", "srcset"):
            if name in values and tag != "a":
                self.loads.append(values[name])
        if tag == "a":
            self.links.append(values["href"])
        if tag == "svg":
            self.labels.append(values["aria-label"])
        if tag == "tr":
            self.rows.append([])
            self.bold.append(set())
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.bold[-1] |= {len(self.rows[-1]) - 1} if values.get("class") == "best" else set()
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.handle_endtag(tag)

    def handle_data(self, data):
        if {"td", "th"} & set(self.open[-4:]):
            self.rows[-1][-1] += data


# --- the page ---------------------------------------------------------------------------------------


def test_page_loads_nothing_and_is_well_formed(page):
    reader = Reader(page)
    assert reader.open == []
    assert all(load.startswith(("data:image/png;base64,", "#")) for load in reader.loads)
    assert any(load.startswith("data:") for load in reader.loads)
    assert not reader.tags & {"link", "iframe", "object", "embed", "img"}
    [script] = re.findall(r"<script.*?>(.*?)</script>", page, re.DOTALL)  # which has no src, or it would load
    assert not re.search(r"\b(import|fetch|eval|XMLHttpRequest|innerHTML)\b|https?:", script)
    assert not re.search(r"@import|url\((?!#)", page)
    assert len(page.encode()) < 1_500_000


def test_references_inside_the_page_resolve_to_one_element(page):
    reader = Reader(page)
    assert len(set(reader.ids)) == len(reader.ids)
    used = set(re.findall(r"url\(#([^)]*)\)", page))
    used |= {load[1:] for load in (*reader.loads, *reader.links) if load.startswith("#")}
    assert used
    assert used <= set(reader.ids)


def test_the_page_links_to_its_tables(tree, tmp_path):
    results, comparison = tree
    path = tmp_path / "a folder" / "page.html"
    path.parent.mkdir()
    write_page(path, results, comparison, CONFIG, read_comparison(results, comparison))
    links = [unquote(link) for link in Reader(path.read_text()).links if not link.startswith("#")]
    tables = [(path.parent / link).resolve() for link in links]
    ends = ("recall.tsv", "recall_per_query.parquet")
    assert tables == [
        (results / dataset.name / end).resolve() for dataset in comparison.datasets for end in ends
    ]


def measured(results: Path, dataset: str, protocol: str) -> dict[str, dict[str, Any]]:
    """Return what the page shows of a table of recall: by method its only row, or that of its seeds' mean."""
    table = read_recall_table(results / dataset / "recall.tsv").filter(protocol=protocol)
    seeds = dict.fromkeys(RELIEF, "mean") | {"bm25": "0"}
    return {
        method: table.filter(method=method, seed=seed).row(0, named=True) for method, seed in seeds.items()
    }


def read_recall_table(path: Path) -> pl.DataFrame:
    return pl.read_csv(path, separator="\t", comment_prefix="#", schema_overrides={"seed": pl.String})


def test_metrics_in_the_page_equal_the_tables_and_the_best_is_bold(tree, page):
    results, comparison = tree
    reader = Reader(page)
    shown = [
        (row, bold)
        for row, bold in zip(reader.rows, reader.bold, strict=True)
        if len(row) == 4 + len(METRICS) and row[0] != "method"
    ]
    assert len(shown) == 2 * 2 * 4
    for protocol in ("seen", "all"):
        for dataset in comparison.datasets:
            rows = measured(results, dataset.name, protocol)
            reference = next(iter(rows.values()))
            best = {metric: max(row[metric] for row in rows.values()) for metric in METRICS}
            for method, row in rows.items():
                cells, bold = shown.pop(0)
                seeds = "1" if method == "bm25" else "2"
                assert cells[:4] == [method, row["retriever"], str(row["n_queries"]), seeds]
                assert bold == {4 + i for i, metric in enumerate(METRICS) if row[metric] == best[metric]}
                for metric, cell in zip(METRICS, cells[4:], strict=True):
                    p = row[f"{metric}_p_holm"]
                    mark = "▲" if row[metric] > reference[metric] else "▼"
                    mark = mark if p is not None and p < 0.05 else ""
                    low, high = (100 * row[f"{metric}_{end}"] for end in ("low", "high"))
                    assert cell == f"{100 * row[metric]:.2f}{mark}{low:.1f}–{high:.1f}"


def test_the_ceiling_stands_below_the_methods(tree, page):
    results, _ = tree
    shown = [row for row in Reader(page).rows if row[0] == "ceiling"]
    ceilings = measured(results, "demo_us", "all")["bm25"]
    values = [f"{100 * ceilings[f'{metric}_ceiling']:.2f}" for metric in METRICS]
    assert shown == [["ceiling", "", *values]] * 4  # two protocols, two datasets


def docid_reports(results: Path, dataset: str, method: str) -> list[dict[str, Any]]:
    """Return the docids.json of a method's two seeds."""
    return [read_json(results / dataset / method / f"seed{seed}" / "docids.json") for seed in (0, 1)]


def test_the_lead_says_where_the_first_method_stands(tree, page):
    results, comparison = tree
    lead = re.search(r'<p class="lead">(.*?)</p>', page)[1].replace("&#39;", "'")
    expected = []
    for dataset in comparison.datasets:
        rows = measured(results, dataset.name, "seen")
        (first, own), *others = rows.items()
        low, high = (100 * own[f"recall@10_{end}"] for end in ("low", "high"))
        text = f"{first} in {dataset.name} {100 * own['recall@10']:.2f}% ({low:.1f}–{high:.1f})"
        level = {name for name, row in others if row["recall@10_p_holm"] >= 0.05}
        worse = {name for name, row in others if row["recall@10"] < own["recall@10"]} - level
        better = {name for name, _ in others} - level - worse
        for phrase, which in (("above", worse), ("level with", level), ("below", better)):
            found = [f"{name} ({100 * row['recall@10']:.2f}%)" for name, row in others if name in which]
            text += f", {phrase} {' and '.join(found)}" if found else ""
        expected.append(text)
    said = (
        f"recall@10 (protocol seen, labels ES) of {'; '.join(expected)}. "
        "Level: the difference has p ≥ 0.05, corrected for the number of methods."
    )
    assert lead.startswith(said)
    assert "above" in said
    assert "below" in said
    reports = [r for d in comparison.datasets for m in RELIEF for r in docid_reports(results, d.name, m)]
    rates = [100 * report["before"]["collisions"]["rate"] for report in reports]
    assert f"DocIDs {min(rates):.2f} to {max(rates):.2f}% collide; after the repair none is left." in lead


def test_the_lead_says_how_many_collisions_the_repair_leaves(tree, us):
    [tables] = read_comparison(tree[0], us)
    docids = {
        name: [run._replace(collisions_after=0.0125) for run in runs] for name, runs in tables.docids.items()
    }
    assert summary([tables._replace(docids=docids)], "recall@100").endswith(
        "after the repair up to 1.25% are left."
    )


def test_quality_of_docids_in_the_page_equals_docids_json(tree, page):
    results, comparison = tree
    shown = iter([row for row in Reader(page).rows if row[0] in RELIEF and len(row) == 6 + 4])
    for dataset in comparison.datasets:
        for method in RELIEF:
            reports = docid_reports(results, dataset.name, method)
            figures = {
                place: np.mean([report[place]["collisions"]["rate"] for report in reports])
                for place in ("before", "after")
            }
            assert figures["before"] > 0.05 > figures["after"]
            moved = np.mean([report["moved_share"] for report in reports])
            perplexity = np.mean([report["before"]["perplexity"] for report in reports], axis=0)
            percents = [f"{100 * value:.2f}" for value in (figures["before"], figures["after"], moved)]
            assert next(shown) == [method, "160", "8", *percents, *(f"{value:.0f}" for value in perplexity)]


# --- figures, read back


def drawings(page: str, label: str) -> list[Picture]:
    """Return the figures of the page whose description starts with `label`."""
    found = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    return [read_svg(svg) for svg in found if f'aria-label="{label}' in svg]


def assert_shows_recall(plot: Plot, rows: dict[str, dict[str, Any]]) -> None:
    """Check that below each method's name stand its metrics and intervals, a rung each."""
    names = [text for text in plot.texts if text.bold]
    assert [text.text for text in names] == list(rows)
    assert [text.text for text in plot.texts if "@" in text.text] == list(METRICS)
    by_height = sorted(plot.marks, key=lambda mark: mark.y)
    for name, below in zip(names, [*(text.y for text in names[1:]), np.inf], strict=True):
        marks = [mark for mark in by_height if name.y < mark.y < below]
        row = rows[name.text]
        for metric, mark in zip(METRICS, marks, strict=True):
            assert plot.x.value(mark.x) == pytest.approx(100 * row[metric], abs=0.01)
            [interval] = [line for line in plot.curves() if line.points[:, 1] == pytest.approx(mark.y)]
            ends = [100 * row[f"{metric}_{end}"] for end in ("low", "high")]
            assert plot.values_of_x(interval) == pytest.approx(ends, abs=0.01)
            assert interval.colour == mark.colour
    assert len({mark.colour for mark in plot.marks}) == len(rows)


def test_the_pages_figures_of_recall_equal_the_tables(tree, page):
    results, comparison = tree
    for dataset in comparison.datasets:
        for protocol in ("seen", "all"):
            [picture] = drawings(page, f"Metrics in percent of {dataset.name}, protocol {protocol}")
            assert_shows_recall(picture.plots[0], measured(results, dataset.name, protocol))


@pytest.mark.parametrize(
    ("stage", "quantity"),
    [*(("rqvae", quantity) for quantity in RQVAE_CURVES), ("retriever", "loss"), ("retriever", "recall@10")],
)
def test_curves_in_the_page_equal_the_histories(tree, page, stage, quantity):
    results, comparison = tree
    title = (RQVAE_CURVES | RETRIEVER_CURVES)[quantity]
    for dataset in comparison.datasets:
        [picture] = drawings(page, f"{title} during training in {dataset.name}")
        assert [text.text for text in picture.texts] == [title]
        [plot] = picture.plots
        names = {text.colour: text for text in plot.texts}
        assert {text.text for text in names.values()} == set(RELIEF)
        ends = {}
        for line in plot.curves():
            method = names[line.colour].text
            ends[method] = line.points[-1, 1]
            path = results / dataset.name / method / "seed0" / stage / "history.tsv"
            history = (
                pl.read_csv(path, separator="\t", null_values="NaN").select("epoch", quantity).drop_nulls()
            )
            np.testing.assert_allclose(plot.values(line), history.to_numpy(), atol=1e-3)
        # a name stands above another's as its line ends above the other's
        in_order = [ends[text.text] for text in sorted(plot.texts, key=lambda text: text.y)]
        assert in_order == pytest.approx(sorted(ends.values()), abs=1e-3)


def test_epochs_on_the_axis_of_curves_are_whole():
    curve = Curve(np.arange(1, 19), np.linspace(1, 2, 18))
    with styled("test"):
        picture = read_svg(svg_text(draw_panels([curves_panel("loss", {"catid2": curve}, {"catid2": 0})])))
    labels = picture.plots[0].x.labels
    assert len(labels) > 2
    assert all(label.isdecimal() for label in labels)


def assert_shows_layers(plots: list[Plot], folder: Path, method: str, rows: int) -> None:
    """Check the mutual information of each level and layer, and what the codes of the first and last layer hold."""
    information, *maps = plots
    report = read_json(folder / method / "seed0" / "docids.json")["before"]
    cells: dict[str, dict[tuple[str, str], float]] = {"": {}, "chance": {}}
    for text in information.texts:
        what, _, number = text.text.rpartition(" ")
        cells[what][information.y.label(text.y), information.x.label(text.x)] = float(number)
    colours = [
        {text.colour for text in information.texts if text.text.startswith("chance") == chance}
        for chance in (False, True)
    ]
    assert [len(found) for found in colours] == [1, 1]
    assert colours[0] != colours[1], "a level by chance is in the background"
    for what, name in (("", "category_nmi"), ("chance", "category_nmi_chance")):
        expected = {
            (f"category level {level}", f"layer {layer}"): pytest.approx(value, abs=0.0051)
            for level, values in enumerate(report[name]["codes"], start=1)
            for layer, value in enumerate(values, start=1)
        }
        assert cells[what] == expected
    names = pq.read_table(folder / "corpus" / "categories.parquet").column("name").to_pylist()
    products = pq.read_table(folder / "corpus" / "products.parquet").column("category_id_1").to_pylist()
    categories = [names[node] for node in products]
    largest = [name for name, _ in Counter(categories).most_common(rows)]
    codes = pq.read_table(folder / method / "seed0" / "docids.parquet")
    for layer, plot in zip((1, 4), maps, strict=True):
        held: dict[int, Counter] = {}
        for code, category in zip(codes.column(f"before_{layer - 1}").to_pylist(), categories, strict=True):
            held.setdefault(code, Counter())[category if category in largest else OTHERS] += 1
        # an image has 255 steps; its columns stand in another order, each code's is there once
        shares = [
            [255 * counts[name] // counts.total() for name in (*largest, OTHERS)] for counts in held.values()
        ]
        in_order = sorted(plot.y.labels, key=plot.y.labels.get)
        assert in_order == [shorten(name, 20) for name in (*largest, OTHERS)]
        [drawn] = plot.images
        assert sorted((255 * drawn.T).round().tolist()) == sorted(shares)


def test_the_pages_figures_of_layers_equal_docids_json_and_counting(tree, page):
    results, comparison = tree
    for dataset in comparison.datasets:
        for method in RELIEF:
            [picture] = drawings(page, f"{method} in {dataset.name}: mutual")
            assert_shows_layers(picture.plots, results / dataset.name, method, rows=CONFIG.categories)


def test_page_names_every_dataset_method_setting_and_checksum(tree, page):
    _, comparison = tree
    for dataset in comparison.datasets:
        assert dataset.name in page
        for checksum in dataset.inputs.values():
            assert checksum in page
    rows = Reader(page).rows
    head = rows.index(["setting", "all others", *RELIEF, "bm25"])
    assert rows[head + 1 : head + 3] == [
        ["bm25.k1", "0.9", "", "", "", "1.2"],
        ["rqvae.losses.hccl", "0.05", "", "0.0", "0.0", ""],
    ]
    assert ["commit", "0123abcd"] in rows


def test_the_page_shows_products_below_the_prefix_of_their_docids(tree, page):
    results, comparison = tree
    head = ["DocID", "product and its category"]
    rows = iter(Reader(page).rows)
    for dataset, language in zip(comparison.datasets, ("en", "ja"), strict=True):
        products = pl.read_parquet(results / dataset.name / "corpus" / "products.parquet")
        paths = products.select(pl.concat_str("^category_[1-3]$", separator=" › ")).to_series()
        table = pl.read_parquet(results / dataset.name / "catid2" / "seed0" / "docids.parquet")
        docids = table.select("^c_.*$").to_numpy()
        assert head in rows  # goes on to it
        for example in prefix_examples(
            docids, CONFIG.prefix_length, CONFIG.examples, CONFIG.example_products
        ):
            prefix = " ".join(map(str, example.prefix))
            assert next(rows) == [f"prefix {prefix}: {example.n_documents} products"]
            for doc in example.documents:
                docid = " ".join(map(str, docids[doc]))
                assert next(rows) == [docid, products["title"][doc] + paths[doc]]
                assert docid.startswith(f"{prefix} ")
        shown = CONFIG.examples * CONFIG.example_products
        examples = page[page.index('id="examples"') :]
        assert examples.count(f'<td class="text wrap" lang="{language}">') == shown


def test_counts_are_all_whole_numbers_but_those_of_the_config(tree, page):
    one, other = read_comparison(*tree)
    stats = {"documents": 1234, "tree": [{"nodes": 3}], "config": {"levels": 4}, "share": 0.5, "usual": True}
    rows = counts_section([one._replace(stats=stats), other._replace(stats={"queries": {"test": 0}})])
    assert [(row["key"], *row["values"]) for row in rows] == [
        ("documents", "1,234", "–"),
        ("tree, 0, nodes", "3", "–"),
        ("queries, test", "–", "0"),
    ]
    shown = Reader(page).rows
    assert shown.count(["queries, test", "402", "402"]) == 2  # among the main counts, and among all
    assert shown.count(["products, dropped, no category", "12", "12"]) == 1


def test_the_page_names_the_encoder_of_each_view(page):
    for dataset in ("demo_us", "demo_jp"):
        assert [dataset, "title", "tfidf_svd", "64", "{title} {brand}"] in Reader(page).rows


def test_page_says_which_data_are_simulated(page, tree, us, tmp_path):
    note = re.search(r'<p class="note".*?</p>', page).group()
    assert "demo_jp" in note
    assert "demo_us" not in note
    assert 'class="note"' not in make_page(tree[0], us, tmp_path / "report.html")


def test_page_says_where_a_sample_comes_from(tree, us, tmp_path):
    sampled = us.datasets[0].model_copy(update={"sample": True})
    page = make_page(tree[0], us.model_copy(update={"datasets": (sampled,)}), tmp_path / "report.html")
    [note] = re.findall(r'<p class="note".*?</p>', page)
    for said in ("demo_us", "sample of ESCI", "OpenSearch", "MERGE", "Apache-2.0"):
        assert said in note


def test_the_share_of_documents_that_drop_out_of_hccl_is_shown_where_there_is_hccl(page):
    rows = Reader(page).rows
    head = rows.index(["method", "level 1", "level 2", "level 3"])
    assert rows[head + 1 : head + 4] == [
        ["demo_us (us)"],
        ["catid2", "0.0", "25.0", "97.5"],
        ["demo_jp (jp, simulated)"],
    ]


def test_a_level_with_one_category_has_no_map_of_full_bars(tree, tmp_path):
    results, comparison = tree
    shutil.copytree(results / "demo_us", tmp_path / "demo_us")
    corpus = tmp_path / "demo_us" / "corpus"
    products = pq.read_table(corpus / "products.parquet")
    place = products.column_names.index("category_id_1")
    root = pa.array([0] * len(products), pa.int32())
    write_table(corpus / "products.parquet", products.set_column(place, "category_id_1", root))
    us = Comparison(datasets=comparison.datasets[:1])
    text = make_page(tmp_path, us, tmp_path / "report.html")
    assert text.count(">all products lie in one category of level 1</text>") == len(RELIEF)
    assert "main category of their code" not in text
    docids = tmp_path / "demo_us" / "catid2" / "seed0" / "docids.parquet"
    files = [DocidFiles("catid2", docids, docids.with_suffix(".json"))]
    write_layers_figure(tmp_path / "layers.svg", corpus, files, CONFIG, False)
    assert "all products lie in one category" in (tmp_path / "layers.svg").read_text("utf-8")
    tree_level_2 = CONFIG.model_copy(update={"category_level": 2})
    write_layers_figure(tmp_path / "layers.svg", corpus, files, tree_level_2, False)
    assert "products in a code's main category" in (tmp_path / "layers.svg").read_text("utf-8")


def test_same_tables_give_the_same_bytes(tree, us, tmp_path):
    once, again = (make_page(tree[0], us, tmp_path / name) for name in ("once.html", "again.html"))
    assert once == again


def test_the_page_says_when_it_was_made(tree, us, tmp_path):
    tables = read_comparison(tree[0], us)
    write_page(tmp_path / "report.html", tree[0], us, CONFIG, tables, day=date(2031, 2, 3))
    assert '<time datetime="2031-02-03">2031-02-03</time>' in (tmp_path / "report.html").read_text("utf-8")


def test_methods_that_share_docids_share_a_panel(tree, tmp_path):
    results, comparison = tree
    first = comparison.datasets[0]
    catid2, tiger, *_ = first.methods
    tiger = tiger.model_copy(update={"docids": "catid2", "rqvae": "catid2"})
    shared = Comparison(datasets=(first.model_copy(update={"methods": (catid2, tiger)}),))
    labels = Reader(make_page(results, shared, tmp_path / "report.html")).labels
    assert sum("mutual information" in label for label in labels) == 1
    assert any(label.startswith("catid2, tiger in demo_us") for label in labels)


def test_page_without_docids_has_only_recall(tree, tmp_path):
    results, comparison = tree
    bm25 = comparison.datasets[0].methods[-1]
    alone = Comparison(datasets=(comparison.datasets[0].model_copy(update={"methods": (bm25,)}),))
    text = make_page(results, alone, tmp_path / "report.html")
    assert 'id="recall"' in text
    assert 'class="best"' not in text  # of a single method
    assert not re.search(r'id="(queries|docids|layers|training|examples)"', text)


def test_studies_are_shown_with_their_figures_and_tables(tree, us, page, tmp_path):
    shutil.copytree(tree[0] / "demo_us", tmp_path / "results" / "demo_us")
    folder = tmp_path / "results" / "demo_us"
    for study in ("ablation", "sensitivity"):
        shutil.copyfile(folder / "recall.tsv", folder / f"{study}.tsv")
    points = {name: (weight,) for weight, name in enumerate(RELIEF)}
    grids = GridSummary(grids=[GridPoints(keys=("rqvae.alpha",), points=points)])
    table = summarize_grids(grids, folder / "sensitivity.tsv", {})
    (folder / "sensitivity_grids.tsv").write_text(table.write_csv(separator="\t"))
    own = NamedDataset(name="demo_us", locale="us", simulated=True)
    studies = (
        ReportStudy(name="ablation", datasets=(own,)),
        ReportStudy(name="sensitivity", datasets=(own,), grids=True),
    )
    both = us.model_copy(update={"studies": studies})
    text = make_page(tmp_path / "results", both, tmp_path / "report.html")
    reader, plain = Reader(text), Reader(page)
    assert reader.open == []
    assert "demo_us (us, simulated), protocol" in text
    assert len(set(reader.ids)) == len(reader.ids)
    new = [label for label in reader.labels if label not in plain.labels]
    assert [label.partition(" ")[0] for label in new] == ["Metrics", "recall@10,"]
    assert "over rqvae.alpha: 0 " in new[1]
    rows = [row for row in reader.rows if len(row) == 4 + len(METRICS)]
    assert len(rows) == (2 + 2) * (
        1 + len(RELIEF) + 1
    )  # a head each, and two protocols of the page's own study
    (folder / "ablation.tsv").unlink()
    with pytest.raises(InputError, match=r"ablation\.tsv: no such file"):
        make_page(tmp_path / "results", both, tmp_path / "report.html")


def test_times_are_shown_when_they_are_asked_for(tree, page, tmp_path):
    results, comparison = tree
    first = comparison.model_copy(update={"datasets": comparison.datasets[:1]})
    shutil.copytree(results, tmp_path / "results")
    columns = ["dataset", "method", "stage", "owner", *SHOWN, "batch1_p50_ms", "batch1_p95_ms"]
    rows = [["demo_us", "catid2", "embed", "view title", 2.5, 3, 900, None, None]]
    rows += [["demo_us", "catid2", "retrieve", "catid2", 1.25, None, 800, 17.5, 21]]
    table = pl.DataFrame(rows, schema=columns, orient="row")
    path = tmp_path / "results" / "demo_us" / "efficiency.tsv"
    path.write_text("# times differ\n" + table.write_csv(separator="\t"))
    config = CONFIG.model_copy(update={"efficiency": True})
    tables = read_comparison(tmp_path / "results", first)
    write_page(tmp_path / "report.html", tmp_path / "results", first, config, tables)
    shown = Reader((tmp_path / "report.html").read_text("utf-8")).rows
    latency = ["p50, batches of 1, ms", "p95, batches of 1, ms"]
    assert ["method", "stage", "wall, s", "CPU, s", "memory, MiB", *latency] in shown
    assert ["catid2", "embed (view title)", "2.5", "3", "900", "–", "–"] in shown
    assert ["catid2", "retrieve", "1.25", "–", "800", "17.5", "21"] in shown
    described = (tmp_path / "report.html").read_text("utf-8")
    assert "Seconds that all stages of a method took in demo_us: catid2 3.75." in described
    assert "catid2 17.5 to 21 in batches of 1." in described
    assert 'id="times"' not in page


def test_the_figure_of_times_is_to_scale_and_names_its_bars_and_points():
    seconds = {
        "fast": {"embed": 2.0, "retrieve": 1.0},
        "slow": {"embed": 2.0, "train": 40.0, "retrieve": 2.5},
    }
    waits = {"slow": [Wait(1, 5.0, 9.0), Wait(32, 50.0, 80.0)], "fast": [Wait(1, 2.0, 300.0)]}
    times = Times("demo_us", seconds, waits)
    pictures = []
    for panel in (stages_panel, waits_panel):
        with styled("test"):
            pictures.append(read_svg(svg_text(draw_panels([panel("a title", times)]))))

    [plot] = pictures[0].plots
    stages = {text.colour: text.text for text in pictures[0].texts}
    frame, *bars = plot.boxes
    names = [text for text in plot.texts if text.bold]
    assert [text.text for text in names] == list(seconds)
    for name, below in zip(names, (names[1].y, frame.bottom), strict=True):
        own = [bar for bar in bars if name.y < bar.top < below]
        left = 0.0
        for (stage, expected), bar in zip(seconds[name.text].items(), own, strict=True):
            assert stages[re.search("fill: ([^;]+)", bar.style)[1]] == stage
            assert (plot.x.value(bar.left), plot.x.value(bar.right)) == pytest.approx(
                (left, left + expected), abs=0.01
            )
            left += expected
        [total] = [text for text in plot.texts if not text.bold and name.y < text.y < below]
        assert total.text == f"{left:g} s"

    [plot] = pictures[1].plots
    names = [text for text in plot.texts if text.bold]
    assert [text.text for text in names] == list(waits)
    for name, below in zip(names, (names[1].y, np.inf), strict=True):
        for mark, wait in zip(
            [mark for mark in plot.marks if name.y < mark.y < below], waits[name.text], strict=True
        ):
            assert plot.x.value(mark.x) == pytest.approx(wait.p50, rel=1e-3)
            [line] = [line for line in plot.curves() if line.points[:, 1] == pytest.approx(mark.y)]
            assert plot.values_of_x(line) == pytest.approx([wait.p50, wait.p95], rel=1e-3)
            [note] = [text for text in plot.texts if not text.bold and text.y == pytest.approx(mark.y, abs=1)]
            assert note.text == f"batch of {wait.batch}"


# --- locales.tsv ------------------------------------------------------------------------------------


def test_locales_table_holds_means_over_seeds(tree, tmp_path):
    results, comparison = tree
    path = tmp_path / "locales.tsv"
    write_locales(path, read_comparison(results, comparison))
    table = pl.read_csv(path, separator="\t", comment_prefix="#", infer_schema_length=None)
    assert table.height == 2 * 4 * 2
    keys = ["dataset", "method", "protocol", "labels"]
    assert not table.select(keys).is_duplicated().any()
    for row in table.iter_rows(named=True):
        seed = "0" if row["method"] == "bm25" else "mean"
        source = read_recall_table(results / row["dataset"] / "recall.tsv")
        [expected] = source.filter(method=row["method"], protocol=row["protocol"], seed=seed).to_dicts()
        assert row["seeds"] == (1 if seed == "0" else 2)
        assert {k: row[k] for k in expected if "@" in k} == {k: v for k, v in expected.items() if "@" in k}
        if row["method"] == "bm25":
            assert row["collisions_before"] is row["perplexity_1"] is None
            continue
        runs = [
            read_json(results / row["dataset"] / row["method"] / f"seed{s}" / "docids.json") for s in (0, 1)
        ]
        for name, values in {
            "collisions_before": [run["before"]["collisions"]["rate"] for run in runs],
            "collisions_after": [run["after"]["collisions"]["rate"] for run in runs],
            "moved": [run["moved_share"] for run in runs],
            "perplexity_4": [run["before"]["perplexity"][3] for run in runs],
        }.items():
            assert row[name] == pytest.approx(np.mean(values), abs=1e-12)


def test_locales_header_says_what_the_columns_are(tree, tmp_path):
    path = tmp_path / "locales.tsv"
    write_locales(path, read_comparison(*tree))
    header = [line for line in path.read_text("utf-8").splitlines() if line.startswith("# ")]
    assert sum("bm25: k1 1.2, b 0.75" in line for line in header) == 1
    assert any("collisions_before" in line for line in header)


def test_docids_of_different_length_fill_the_columns_they_have(tree):
    results, comparison = tree
    tables = read_comparison(results, comparison)[:2]
    short = {
        method: [run._replace(perplexity=run.perplexity[:2]) for run in runs]
        for method, runs in tables[0].docids.items()
    }
    rows = locale_rows([tables[0]._replace(docids=short), tables[1]])
    assert len({tuple(row) for row in rows}) == 1
    assert rows[0]["perplexity_3"] is None
    assert rows[-4]["perplexity_3"] > 0


def test_the_table_of_docids_says_the_sizes_of_layers_and_which_are_missing(tree):
    one, other = read_comparison(*tree)
    short = {
        method: [run._replace(perplexity=[2.0, 3.0], codes_per_layer=[8, 4]) for run in runs]
        for method, runs in one.docids.items()
    }
    first, second = quality_section([one._replace(docids=short), other])
    assert (first["name"], second["name"]) == ("demo_us (us)", "demo_jp (jp, simulated)")
    assert [row["codes"] for row in (*first["rows"], *second["rows"])] == ["8 / 4"] * 3 + ["8"] * 3
    shown = [{"value": 2.0, "share": 0.25}, {"value": 3.0, "share": 0.75}, None, None]
    assert all(row["perplexity"] == shown for row in first["rows"])


def test_perplexity_is_averaged_over_the_seeds_that_have_the_layer(tree):
    run = read_comparison(*tree)[0].docids["catid2"][0]
    short = run._replace(perplexity=[4.0], codes_per_layer=[8])
    long = run._replace(perplexity=[2.0, 6.0], codes_per_layer=[4, 12])
    assert layer_perplexity([short, long]) == [{"value": 3.0, "share": 0.5}, {"value": 6.0, "share": 0.5}]


# --- bad input --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "missing",
    [
        "recall.tsv",
        "recall_per_query.parquet",
        "corpus/stats.json",
        "corpus/queries.parquet",
        "corpus/judgements.parquet",
        "bm25/seed0/run.parquet",
        "tiger/seed0/beam_trace.parquet",
        "corpus/products.parquet",
        "corpus/categories.parquet",
        "embeddings/title.json",
        "tiger/seed1/docids.json",
        "tiger/seed0/docids.parquet",
        "catid2/seed0/rqvae/history.tsv",
        "catid2/seed0/retriever/history.tsv",
    ],
)
def test_missing_input_is_named_and_nothing_is_written(tree, tmp_path, missing):
    results, comparison = tree
    copy = tmp_path / "results"
    shutil.copytree(results / "demo_us", copy / "demo_us")
    (copy / "demo_us" / missing).unlink()
    with pytest.raises(InputError, match=re.escape(missing)):
        make_page(copy, Comparison(datasets=comparison.datasets[:1]), tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == [copy]


def test_inputs_that_do_not_belong_together_are_named(tree, tmp_path):
    results, comparison = tree
    copy = tmp_path / "results"
    shutil.copytree(results, copy)
    write_tree(tmp_path / "larger", products=170, locales=("us",))
    shutil.copy(tmp_path / "larger/demo_us/tiger/seed0/docids.parquet", copy / "demo_us/tiger/seed0")
    with pytest.raises(InputError, match="170 DocIDs for 160 products"):
        make_page(copy, comparison, tmp_path / "report.html")
    unknown = comparison.datasets[0].methods[0].model_copy(update={"name": "unheard"})
    wrong = Comparison(datasets=(comparison.datasets[0].model_copy(update={"methods": (unknown,)}),))
    with pytest.raises(InputError, match="no row of method 'unheard'"):
        read_comparison(results, wrong)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"metric": "recall@7"}, "metric recall@7"),
        ({"category_level": 4}, "category_level 4, but the tree has 3 levels"),
    ],
)
def test_settings_that_the_tables_do_not_have_are_named(tree, us, tmp_path, settings, message):
    tables = read_comparison(tree[0], us)
    with pytest.raises(InputError, match=message):
        write_page(tmp_path / "report.html", tree[0], us, ReportConfig(**settings), tables)


# --- parts ------------------------------------------------------------------------------------------


def test_category_shares_equal_counting_one_by_one():
    random = np.random.default_rng(0)
    categories, codes = random.integers(0, 6, 500), random.integers(0, 9, 500) * 3
    names = [f"category {number}" for number in range(6)]
    found = category_shares(categories, codes, names, rows=4)
    assert len(found.names) == 5
    assert found.names[-1] == OTHERS
    assert sorted(found.codes.tolist()) == sorted(set(codes.tolist()))
    for column, code in enumerate(found.codes):
        inside = [names[category] for category in categories[codes == code]]
        for row, name in enumerate(found.names[:-1]):
            assert found.shares[row, column] == pytest.approx(inside.count(name) / len(inside))
    np.testing.assert_allclose(found.shares.sum(axis=0), 1)
    leading = found.shares.argmax(axis=0)
    assert (np.diff(leading) >= 0).all()
    assert found.purity == pytest.approx(
        sum(np.bincount(categories[codes == code]).max() for code in set(codes.tolist())) / 500
    )


def test_category_shares_of_codes_that_are_categories_form_steps():
    categories = np.repeat([0, 1, 2], [5, 3, 2])
    found = category_shares(categories, categories, ["a", "b", "c"], rows=9)
    assert found.names == ["a", "b", "c"]
    np.testing.assert_array_equal(found.shares, np.eye(3))
    assert found.purity == 1


def test_prefix_examples_are_the_fullest_with_different_first_codes():
    docids = np.array(
        [[0, 0, 1], [0, 0, 0], [0, 1, 0], [0, 1, 1], [0, 1, 2], [1, 5, 0], [1, 5, 9], [2, 2, 2]]
    )
    found = prefix_examples(docids, length=2, examples=5, products=2)
    assert [(example.prefix, example.n_documents) for example in found] == [((0, 1), 3), ((1, 5), 2)]
    assert found[0].documents == [2, 3]
    assert prefix_examples(docids[[5, 7]], 2, 5, 2) == []


def test_curves_are_thinned_to_their_ends_and_skip_what_was_not_measured(tmp_path):
    path = tmp_path / "history.tsv"
    lines = [f"{epoch}\t{epoch / 2}\t{epoch if epoch % 10 == 0 else ''}\tnan" for epoch in range(1, 301)]
    path.write_text("\n".join(["epoch\tloss\trecall@10\tempty", *lines]) + "\n")
    curves = read_curves(path, ("loss", "recall@10", "empty", "absent"), points=50)
    assert set(curves) == {"loss", "recall@10"}
    assert len(curves["loss"].steps) == 50
    assert curves["loss"].steps[[0, -1]].tolist() == [1, 300]
    np.testing.assert_array_equal(curves["loss"].values, curves["loss"].steps / 2)
    assert curves["recall@10"].steps.tolist() == list(range(10, 301, 10))


def test_shorten_counts_full_width_characters_twice():
    assert shorten("Home", 4) == "Home"
    assert shorten("Home & Kitchen", 6) == "Home…"
    assert shorten("ホーム", 6) == "ホーム"
    assert shorten("ホーム&キッチン", 6) == "ホー…"


# --- the scripts ------------------------------------------------------------------------------------


@pytest.fixture
def script(monkeypatch, capsys):
    """Return a function that runs a script as `python scripts/NAME.py …` does: its exit code and stderr."""

    def run(name: str, *arguments: str | Path) -> tuple[int, str]:
        path = str(ROOT / "scripts" / f"{name}.py")
        monkeypatch.setattr(sys, "argv", [path, *map(str, arguments)])
        try:
            runpy.run_path(path, run_name="__main__")
        except SystemExit as stop:
            return stop.code, capsys.readouterr().err
        return 0, capsys.readouterr().err

    return run


def test_report_script_writes_both_or_names_what_is_wrong(script, tree, us, tmp_path):
    results, comparison = tree[0], us
    wrong = json.loads(comparison.model_dump_json())
    wrong["datasets"][0]["name"] = "elsewhere"
    outputs = ["--table", tmp_path / "locales.tsv", "--page", tmp_path / "report.html"]
    options = ["--config", "{}", "--results", results, *outputs, "--comparison"]
    code, error = script("report_locales", *options, json.dumps(wrong))
    assert code == 1
    assert re.fullmatch(r"error: .*elsewhere/recall\.tsv: no such file; .*\n", error)
    assert list(tmp_path.iterdir()) == []
    code, error = script("report_locales", *options, comparison.model_dump_json())
    assert code == 0, error
    assert {path.name for path in tmp_path.iterdir()} == {"locales.tsv", "report.html"}


def test_the_file_of_recall_has_a_panel_per_protocol(script, tree, tmp_path):
    results, output = tree[0], tmp_path / "recall.svg"
    recall = results / "demo_jp" / "recall.tsv"
    code, error = script("plot_recall", "--recall", recall, "--simulated", "--output", output)
    assert code == 0, error
    picture = read_svg(output.read_text("utf-8"))
    titles = sorted(picture.texts, key=lambda text: text.x)
    assert [text.text for text in titles] == [
        f"demo_jp (simulated): {protocol}, ES" for protocol in ("seen", "all")
    ]
    for protocol, plot in zip(("seen", "all"), picture.plots, strict=True):
        assert_shows_recall(plot, measured(results, "demo_jp", protocol))


def test_the_file_of_layers_has_a_panel_per_method(script, tree, tmp_path):
    folder, output = tree[0] / "demo_jp", tmp_path / "layers.svg"
    runs = [folder / method / "seed0" for method in RELIEF]
    docids = [f"{run.parent.name}:{run}/docids.parquet:{run}/docids.json" for run in runs]
    options = ["--config", CONFIG.model_dump_json(), "--corpus", folder / "corpus", "--output", output]
    code, error = script("plot_layers", *options, *(value for text in docids for value in ("--docids", text)))
    assert code == 0, error
    picture = read_svg(output.read_text("utf-8"))
    titles = sorted([text for text in picture.texts if text.bold], key=lambda text: text.x)
    assert [text.text for text in titles] == list(RELIEF)
    for place, method in enumerate(RELIEF):
        plots = picture.plots[3 * place : 3 * place + 3]
        assert_shows_layers(plots, folder, method, rows=CONFIG.categories)
    code, error = script("plot_layers", *options, "--docids", "x")
    assert code == 1
    assert error.startswith("error: --docids: 'x' is not NAME:PARQUET:JSON")
