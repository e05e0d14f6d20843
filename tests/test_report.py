"""The report: numbers equal the tables it was made from, the page stands alone, and bad input is named."""

import json
import re
import runpy
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from report_tree import CUTOFFS, RELIEF, write_tree

from catid2.artifacts import read_json, write_table
from catid2.config.grids import GridPoints, GridSummary
from catid2.config.report import Comparison, NamedDataset, ReportConfig, ReportStudy
from catid2.errors import InputError
from catid2.report.categories import OTHERS, category_shares
from catid2.report.examples import prefix_examples
from catid2.report.figures import spread
from catid2.report.grids import summarize_grids
from catid2.report.inputs import read_comparison, read_curves
from catid2.report.page import write_page
from catid2.report.panels import DocidFiles, write_layers_figure
from catid2.report.sections import layer_perplexity
from catid2.report.svg import new_panels, shorten, styled
from catid2.report.tables import locale_rows, write_locales
from catid2.report.time_figures import Times, Wait, draw_stages, draw_waits, times_height
from catid2.report.times import SHOWN

ROOT = Path(__file__).parent.parent
CONFIG = ReportConfig(categories=4)


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> tuple[Path, Comparison]:
    results = tmp_path_factory.mktemp("results")
    return results, write_tree(results)


@pytest.fixture(scope="module")
def page(tree, tmp_path_factory) -> str:
    return make_page(*tree, tmp_path_factory.mktemp("page") / "report.html")


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
        if tag in ("td", "th"):
            self.rows[-1].append("")
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
    assert not reader.tags & {"script", "link", "iframe", "object", "embed", "img"}
    assert not re.search(r"@import|url\((?!#)", page)
    assert len(page.encode()) < 1_500_000


def test_references_inside_the_page_resolve_to_one_element(page):
    reader = Reader(page)
    assert len(set(reader.ids)) == len(reader.ids)
    used = set(re.findall(r"url\(#([^)]*)\)", page))
    used |= {load[1:] for load in (*reader.loads, *reader.links) if load.startswith("#")}
    assert used
    assert used <= set(reader.ids)


def test_recall_in_the_page_equals_the_tables(tree, page):
    results, comparison = tree
    rows = [row for row in Reader(page).rows if len(row) == 4 + len(CUTOFFS)]
    shown = [row for row in rows if row[0] != "method"]
    expected = []
    for protocol in ("seen", "all"):
        for dataset in comparison.datasets:
            table = read_recall_table(results / dataset.name / "recall.tsv")
            for method in (*RELIEF, "bm25"):
                seed = "0" if method == "bm25" else "mean"
                [row] = table.filter(method=method, seed=seed, protocol=protocol).to_dicts()
                expected.append((method, row))
    assert len(shown) == len(expected) == 2 * 3 * 4
    for cells, (method, row) in zip(shown, expected, strict=True):
        assert cells[:2] == [method, row["retriever"]]
        for k, cell in zip(CUTOFFS, cells[4:], strict=True):
            p = row[f"recall@{k}_p"]
            star = "*" if p is not None and p < 0.05 else ""
            low, high = (100 * row[f"recall@{k}_{end}"] for end in ("low", "high"))
            assert cell == f"{100 * row[f'recall@{k}']:.2f}{star}{low:.1f}–{high:.1f}"


def read_recall_table(path: Path) -> pl.DataFrame:
    return pl.read_csv(path, separator="\t", comment_prefix="#", schema_overrides={"seed": pl.String})


def test_mutual_information_in_the_figures_equals_docids_json(tree, page):
    results, comparison = tree
    drawings = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    for dataset in comparison.datasets:
        for method in RELIEF:
            [drawing] = [d for d in drawings if f'aria-label="{method} in {dataset.name}: mutual' in d]
            numbers = [float(text) for text in re.findall(r">(\d\.\d\d)</text>", drawing)]
            content = read_json(results / dataset.name / method / "seed0" / "docids.json")
            np.testing.assert_allclose(
                numbers, np.ravel(content["before"]["category_nmi"]["codes"]), atol=0.00501
            )
            chance = [float(text) for text in re.findall(r">chance (\d\.\d\d)</text>", drawing)]
            expected = np.ravel(content["before"]["category_nmi_chance"]["codes"])
            np.testing.assert_allclose(chance, expected, atol=0.00501)


def test_page_names_every_dataset_method_setting_and_checksum(tree, page):
    _, comparison = tree
    for dataset in comparison.datasets:
        assert dataset.name in page
        for checksum in dataset.inputs.values():
            assert checksum in page
    cells = [cell for row in Reader(page).rows for cell in row]
    for expected in (*RELIEF, "bm25", "rqvae.losses.hccl", "bm25.k1", "0.05", "1.2", "0123abcd"):
        assert expected in cells


def test_page_says_which_data_are_simulated(page, tree, tmp_path):
    results, comparison = tree
    note = re.search(r'<p class="note".*?</p>', page).group()
    assert "demo_es, demo_jp" in note
    assert "demo_us" not in note
    real = [dataset.model_copy(update={"simulated": False}) for dataset in comparison.datasets]
    other = comparison.model_copy(update={"datasets": tuple(real)})
    assert 'class="note"' not in make_page(results, other, tmp_path / "report.html")


def test_the_share_of_documents_that_drop_out_of_hccl_is_shown_where_there_is_hccl(page):
    rows = Reader(page).rows
    head = rows.index(["method", "level 1", "level 2", "level 3"])
    assert rows[head + 1 : head + 4] == [
        ["demo_us (us)"],
        ["catid2", "0.0", "25.0", "97.5"],
        ["demo_es (es, simulated)"],
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


def test_product_titles_are_escaped(tree, tmp_path):
    results, comparison = tree
    config = ReportConfig(examples=50, example_products=500, prefix_length=1)
    path = tmp_path / "report.html"
    write_page(path, results, comparison, config, read_comparison(results, comparison))
    text = path.read_text("utf-8")
    assert "&lt;script&gt;alert(&#39;no&#39;)&lt;/script&gt; &amp; more" in text
    assert "<script" not in text


def test_same_tables_give_the_same_bytes(tree, page, tmp_path):
    assert make_page(*tree, tmp_path / "again.html") == page


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
    assert not re.search(r'id="(docids|layers|training|examples)"', text)


def test_studies_are_shown_with_their_figures_and_tables(tree, page, tmp_path):
    results, comparison = tree
    shutil.copytree(results, tmp_path / "results")
    folder = tmp_path / "results" / "demo_us"
    for study in ("ablation", "sensitivity"):
        shutil.copyfile(folder / "recall.tsv", folder / f"{study}.tsv")
    points = {name: (weight,) for weight, name in enumerate(RELIEF)}
    grids = GridSummary(grids=[GridPoints(keys=("rqvae.alpha",), points=points)])
    table = summarize_grids(grids, folder / "sensitivity.tsv", {})
    (folder / "sensitivity_grids.tsv").write_text(table.write_csv(separator="\t"))
    us = NamedDataset(name="demo_us", locale="us", simulated=True)
    studies = (
        ReportStudy(name="ablation", datasets=(us,)),
        ReportStudy(name="sensitivity", datasets=(us,), grids=True),
    )
    both = comparison.model_copy(update={"studies": studies})
    text = make_page(tmp_path / "results", both, tmp_path / "report.html")
    reader, plain = Reader(text), Reader(page)
    assert reader.open == []
    assert "demo_us (us, simulated), protocol" in text
    assert len(set(reader.ids)) == len(reader.ids)
    new = [label for label in reader.labels if label not in plain.labels]
    assert [label.partition(" ")[0] for label in new] == ["Recall", "recall@10,"]
    assert "over rqvae.alpha: 0 " in new[1]
    rows = [row for row in reader.rows if len(row) == 4 + len(CUTOFFS)]
    assert len(rows) == len([row for row in plain.rows if len(row) == 4 + len(CUTOFFS)]) + 2 * (
        1 + len(RELIEF) + 1
    )
    (folder / "ablation.tsv").unlink()
    with pytest.raises(InputError, match=r"ablation\.tsv: no such file"):
        make_page(tmp_path / "results", both, tmp_path / "report.html")


def test_times_are_shown_when_they_are_asked_for(tree, page, tmp_path):
    results, comparison = tree
    first = comparison.model_copy(update={"datasets": comparison.datasets[:1]})
    shutil.copytree(results, tmp_path / "results")
    columns = ["dataset", "method", "stage", "owner", *SHOWN, "batch1_p50_ms", "batch1_p95_ms"]
    rows = [["demo_us", "catid2", "embed", "view title", 2.5, 3, 900, None, None, None, None, None]]
    rows += [["demo_us", "catid2", "retrieve", "catid2", 1.25, None, 800, None, None, None, 17.5, 21]]
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


def test_the_figure_of_times_is_to_scale():
    stages = {
        "fast": {"embed": 2.0, "retrieve": 1.0},
        "slow": {"embed": 2.0, "train": 43_200, "retrieve": 2.0},
    }
    times = Times("demo_us", stages, {"slow": [Wait(1, 5.0, 9.0), Wait(32, 50.0, 80.0)]})
    with styled("test"):
        [panel] = new_panels(times_height(times))
        draw_stages(panel, "stages", times)
        bars, texts = panel.figure.axes[0].patches, panel.figure.axes[0].texts
        assert [(bar.get_x(), bar.get_width()) for bar in bars] == [
            (0, 2),
            (2, 1),
            (0, 2),
            (2, 43_200),
            (43_202, 2),
        ]
        assert len({bar.get_facecolor() for bar in bars}) == 3  # one a stage
        assert bars[0].get_facecolor() == bars[2].get_facecolor()
        assert {"3 s", "43,204 s"} <= {text.get_text().strip() for text in texts}
        [other] = new_panels(times_height(times))
        draw_waits(other, "latency", times)
        lines = [line.get_xdata() for line in other.figure.axes[0].lines]
    assert [list(line) for line in lines] == [[5, 9], [5], [50, 80], [50]]


# --- locales.tsv ------------------------------------------------------------------------------------


def test_locales_table_holds_means_over_seeds(tree, tmp_path):
    results, comparison = tree
    path = tmp_path / "locales.tsv"
    write_locales(path, read_comparison(results, comparison))
    table = pl.read_csv(path, separator="\t", comment_prefix="#", infer_schema_length=None)
    assert table.height == 3 * 4 * 2
    keys = ["dataset", "method", "protocol", "labels"]
    assert not table.select(keys).is_duplicated().any()
    for row in table.iter_rows(named=True):
        seed = "0" if row["method"] == "bm25" else "mean"
        source = read_recall_table(results / row["dataset"] / "recall.tsv")
        [expected] = source.filter(method=row["method"], protocol=row["protocol"], seed=seed).to_dicts()
        assert row["seeds"] == (1 if seed == "0" else 2)
        assert {k: row[k] for k in expected if k.startswith("recall@")} == {
            k: v for k, v in expected.items() if k.startswith("recall@")
        }
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
        "corpus/stats.json",
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
    write_tree(tmp_path / "larger", products=170)
    shutil.copy(tmp_path / "larger/demo_us/tiger/seed0/docids.parquet", copy / "demo_us/tiger/seed0")
    with pytest.raises(InputError, match="170 DocIDs for 160 products"):
        make_page(copy, comparison, tmp_path / "report.html")
    unknown = comparison.datasets[0].methods[0].model_copy(update={"name": "unheard"})
    wrong = Comparison(datasets=(comparison.datasets[0].model_copy(update={"methods": (unknown,)}),))
    with pytest.raises(InputError, match="no row of method 'unheard'"):
        read_comparison(results, wrong)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"cutoff": 7}, "cutoff 7"), ({"category_level": 4}, "category_level 4, but the tree has 3 levels")],
)
def test_settings_that_the_tables_do_not_have_are_named(tree, tmp_path, settings, message):
    results, comparison = tree
    tables = read_comparison(results, comparison)
    with pytest.raises(InputError, match=message):
        write_page(tmp_path / "report.html", results, comparison, ReportConfig(**settings), tables)


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


def test_labels_are_spread_in_order():
    values = {"a": 0.5, "b": 0.51, "c": 0.99, "d": 1.0, "e": 0.0}
    places = spread(values, gap=0.1, low=0.0, high=1.0)
    ordered = sorted(values, key=values.__getitem__)
    heights = [places[name] for name in ordered]
    assert (np.diff(heights) >= 0.1 - 1e-9).all()
    assert max(heights) <= 1.0
    assert places["e"] == 0.0
    assert places["a"] == 0.5


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


def test_report_script_writes_both_or_names_what_is_wrong(script, tree, tmp_path):
    results, comparison = tree
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


def test_recall_figure_is_written_and_repeats(script, tree, tmp_path):
    recall = tree[0] / "demo_jp" / "recall.tsv"
    for copy in ("a.svg", "b.svg"):
        code, error = script("plot_recall", "--recall", recall, "--simulated", "--output", tmp_path / copy)
        assert code == 0, error
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    drawn = ElementTree.parse(tmp_path / "a.svg")
    texts = {element.text for element in drawn.iter("{http://www.w3.org/2000/svg}text")}
    assert {"demo_jp (simulated): seen, ES", "demo_jp (simulated): all, ES", "@5", "@100"} <= texts


def test_layers_figure_has_a_panel_per_method(script, tree, tmp_path):
    folder, layers = tree[0] / "demo_jp", tmp_path / "layers.svg"
    runs = [folder / method / "seed0" for method in RELIEF]
    docids = [f"{run.parent.name}:{run}/docids.parquet:{run}/docids.json" for run in runs]
    options = ["--config", "{}", "--corpus", folder / "corpus", "--output", layers]
    code, error = script("plot_layers", *options, *(value for text in docids for value in ("--docids", text)))
    assert code == 0, error
    drawn = ElementTree.parse(layers)
    texts = [element.text for element in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert set(RELIEF) <= set(texts)
    assert texts.count("ホーム&キッチン") == 2 * len(RELIEF)
    code, error = script("plot_layers", *options, "--docids", "x")
    assert code == 1
    assert error.startswith("error: --docids: 'x' is not NAME:PARQUET:JSON")
