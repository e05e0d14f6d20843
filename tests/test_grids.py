"""Grids and variants of a study: the methods they stand for, their table and their figure."""

import polars as pl
import pytest
import yaml
from bad_inputs import GRIDS
from plan import plan
from svg_reader import Picture, read_svg

from catid2.config.grids import Grid, GridPoints, GridSummary
from catid2.evaluation.table import ENDS, KEYS, Evaluation, write_evaluation
from catid2.plan import tables
from catid2.plan.settings import Pipeline
from catid2.report.grid_figures import write_grids_figure
from catid2.report.grids import Quality, read_grids, summarize_grids
from catid2.runtime.errors import InputError
from workflow import ROOT


def pipeline(**studies) -> Pipeline:
    """Return the demo's configuration with other studies next to `recall`."""
    values = yaml.safe_load((ROOT / "config" / "demo.yaml").read_text())
    values["variants"] = {"wide": {"retrieve": {"beams": 200}}}
    values["studies"] |= studies
    return Pipeline(values, "demo.yaml")


def test_points_are_all_combinations():
    grid = Grid(method="m", over={"rqvae.alpha": [0, 0.5], "docids.repair": ["digit", "transport"]})
    assert grid.points() == {
        "m-alpha0-repairdigit": {"rqvae.alpha": 0, "docids.repair": "digit"},
        "m-alpha0-repairtransport": {"rqvae.alpha": 0, "docids.repair": "transport"},
        "m-alpha0.5-repairdigit": {"rqvae.alpha": 0.5, "docids.repair": "digit"},
        "m-alpha0.5-repairtransport": {"rqvae.alpha": 0.5, "docids.repair": "transport"},
    }
    same_end = Grid(method="m", over={"rqvae.levels": [1], "taxonomy.levels": [2]})
    assert list(same_end.points()) == ["m-rqvae.levels1-taxonomy.levels2"]


@pytest.mark.parametrize("values", [[], [1, 1], ["a b", "ab"]])
def test_values_of_a_key_differ(values):
    with pytest.raises(ValueError, match="each once"):
        Grid(method="m", over={"rqvae.alpha": values})


def test_a_point_is_a_method_that_shares_what_it_does_not_change():
    found = pipeline(
        grid={"methods": ["catid2"], "grids": [{"method": "catid2", "over": {"retrieve.beams": [150, 300]}}]},
        loss={"methods": ["tiger"], "grids": [{"method": "catid2", "over": {"rqvae.beta": [0.03, 0.4]}}]},
    )
    assert found.config.studies["grid"].methods == ["catid2", "catid2-beams150", "catid2-beams300"]
    assert found.stage("retrieve", "demo_us", "catid2-beams300").beams == 300
    assert found.owner("retriever", "demo_us", "catid2-beams300") == "catid2"
    assert found.owner("rqvae", "demo_us", "catid2-beta0.03") == "catid2"  # its own value
    assert found.owner("rqvae", "demo_us", "catid2-beta0.4") == "catid2-beta0.4"


def test_a_variant_changes_generative_methods_of_its_study_alone():
    found = pipeline(
        wide={
            "methods": ["catid2", "bm25"],
            "variant": "wide",
            "grids": [{"method": "tiger", "over": {"rqvae.mu": [0.1]}}],
        }
    )
    assert found.config.studies["wide"].methods == ["catid2-wide", "bm25", "tiger-wide-mu0.1"]
    assert found.config.studies["recall"].methods == ["catid2", "tiger", "bm25"]
    for method, beams in {"catid2": 100, "catid2-wide": 200, "tiger-wide-mu0.1": 200}.items():
        assert found.stage("retrieve", "demo_us", method).beams == beams
    assert found.stage("rqvae", "demo_us", "tiger-wide-mu0.1").mu == 0.1


@pytest.mark.parametrize(
    ("study", "says"),
    [
        ({"methods": ["catid2"], "variant": "none"}, "studies.s.variant names 'none', known are wide"),
        (
            {"methods": ["catid2"], "grids": [{"method": "x", "over": {"rqvae.mu": [1]}}]},
            "studies.s.grids names 'x'",
        ),
        (
            {"methods": ["catid2"], "grids": [{"method": "catid2", "over": {"rqvae.muh": [1]}}]},
            "did you mean 'mu'",
        ),
        (
            {"methods": ["catid2"], "grids": [{"method": "bm25", "over": {"rqvae.mu": [1]}}]},
            "unknown key 'rqvae'",
        ),
        ({"methods": ["catid2"], "grids": [{"method": "catid2", "over": {"rqvae.mu": []}}]}, "each once"),
    ],
)
def test_what_is_wrong_is_named(study, says):
    with pytest.raises(InputError, match=says):
        pipeline(s=study)


@pytest.mark.parametrize("name", ["layers", "recall_grids", "recall_geometry"])
def test_names_of_figures_are_kept(name):
    with pytest.raises(InputError, match=rf"studies\.{name}"):
        pipeline(**{name: {"methods": ["catid2"]}})


@pytest.mark.parametrize("over", [{"rqvae": [1]}, {"docids.scheme": [1], "docids.scheme.kind": ["random"]}])
def test_keys_are_apart_and_below_a_stage(over):
    with pytest.raises(ValueError, match=r"is a whole stage|holds another key"):
        Grid(method="m", over=over)


def test_lists_have_names_that_differ():
    grid = Grid(method="m", over={"rqvae.hidden": [[256, 128], [25, 6128]]})
    assert list(grid.points()) == ["m-hidden256_128", "m-hidden25_6128"]


def test_what_only_a_variant_or_a_grid_runs_is_checked_on_the_studys_datasets_alone():
    values = yaml.safe_load((ROOT / "config" / "demo.yaml").read_text())
    values["datasets"]["demo_es"]["corpus"] = {"levels": 4}
    values["methods"]["deep"] = {"rqvae": {"levels": 4, "layers": 5}}
    values["variants"] = {"wide": {"retrieve": {"beams": 200}}}
    study = {"methods": ["deep"], "variant": "wide", "datasets": ["demo_es"]}
    study["grids"] = [{"method": "deep", "over": {"rqvae.mu": [0.1]}}]
    values["studies"]["deep"] = study
    assert Pipeline(values, "demo.yaml").config.studies["deep"].methods == ["deep-wide", "deep-wide-mu0.1"]
    study["datasets"] = ["demo_us"]
    with pytest.raises(InputError, match="levels of deep-wide is 4, but the corpus has 3"):
        Pipeline(values, "demo.yaml")


LONGEST_ARGUMENT = 128 * 1024  # bytes, on Linux


def test_a_study_of_216_points_in_three_datasets_needs_no_long_argument(tmp_path):
    """Not of the jobs that get lists of its points: those that the lists name are there already."""
    over = {
        "retriever.epochs": range(1, 7),
        "retrieve.beams": range(100, 106),
        "retrieve.top_k": range(90, 96),
    }
    grid = {"method": "catid2", "over": {key: list(values) for key, values in over.items()}}
    values = yaml.safe_load((ROOT / "config" / "demo.yaml").read_text())
    values["studies"] = {"recall": {"methods": ["catid2"], "grids": [grid]}}
    values["geometry"] = {"studies": ["recall"]}
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(values, sort_keys=False))
    points = Pipeline(values, "")
    datasets = ("demo_us", "demo_es", "demo_jp")
    there = tables.of_datasets(
        tables.reported(points),
        *(f"corpus/{name}.parquet" for name in ("products", "queries", "judgements", "categories")),
        *("corpus/stats.json", "catid2/seed0/rqvae/history.tsv", "embeddings/text.json"),
    )
    there += tables.of_methods(tables.reported(points), "retriever", "retriever")
    there += tables.traces(tables.reported(points), points.config.report.queries)
    for dataset in datasets:
        of_study = [f(points, dataset, "recall") for f in (tables.runs, tables.docids, tables.geometry)]
        there += [path for paths in of_study for path in paths]
        there += tables.latencies(points, dataset) + tables.benchmarks(points, dataset)
    for path in there:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    ends = ("recall_grids.tsv", "recall_geometry.tsv", "efficiency.tsv", "figures/layers.svg")
    wanted = [f"results/demo_us/{end}" for end in ends] + ["results/locales.tsv"]
    rules = (
        "evaluate",
        "summarize_grids",
        "compare_geometry",
        "summarize_efficiency",
        "plot_layers",
        "report_locales",
    )
    jobs = plan(config, tmp_path, rules, wanted)
    assert {job.rule for job in jobs} == set(rules)
    for job in jobs:
        arguments = set(job.command) - set(job.fed)
        assert max(len(argument.encode()) for argument in arguments) < 4096, job.rule
        assert sum(len(argument.encode()) for argument in arguments) < LONGEST_ARGUMENT, job.rule
    [fed] = [job.fed for job in jobs if job.rule == "report_locales"]
    assert len(fed[0].encode()) > LONGEST_ARGUMENT


# --- table and figure


@pytest.fixture
def recall(tmp_path):
    """A table of recall: m-a0-b1 .. over two settings, .20 where a is 0 and up to .40 elsewhere."""
    figures = {"m-a0-b1": 0.2, "m-a0-b2": 0.2, "m-a1-b1": 0.37, "m-a1-b2": 0.4}
    rows = [
        {
            "dataset": "d", "method": name, "retriever": "light", "seed": "0", "protocol": protocol, "labels": "ES",
            "n_queries": 10, "n_docs": 50, "recall@10": value, "recall@10_low": value - 0.1,
            "recall@10_high": value + 0.1, "recall@10_std": None, "recall@10_p": None, "recall@10_p_holm": None,
            "recall@10_ceiling": 1.0,
        }
        for protocol in ("seen", "all")
        for name, value in figures.items()
    ]  # fmt: skip
    extras = {f"recall@10{end}": pl.Float64 for end in ("", *ENDS)}
    table = pl.DataFrame(rows, schema=KEYS | extras)
    write_evaluation(
        Evaluation(table, ["a header"], pl.DataFrame({"x": [1]})), tmp_path / "r.tsv", tmp_path / "q"
    )
    return tmp_path / "r.tsv"


def config(keys, points) -> GridSummary:
    """Return a summary of one grid."""
    return GridSummary(grids=[GridPoints(keys=keys, points=points)])


TWO = config(("x.a", "x.b"), {f"m-a{a}-b{b}": (a, b) for a in (0, 1) for b in (1, 2)})


def test_stable_and_collapsed_points_are_told(recall):
    quality = {
        "m-a0-b1": Quality(0.5, 0.04, [0.1, 0.2]),
        "m-a1-b1": Quality(0.1, 0.6, [0.7]),
        "m-a1-b2": Quality(0.1, 0.6, [0.8, 0.6]),
    }
    table = summarize_grids(TWO, recall, quality).filter(protocol="all")
    assert dict(table.select("method", "stable").iter_rows()) == {
        "m-a0-b1": False,
        "m-a0-b2": False,
        "m-a1-b1": True,  # .37 is more than 90% of .40
        "m-a1-b2": True,
    }
    assert table["collapsed"].to_list() == [True, None, False, False]
    assert table["nmi_2"].to_list() == [0.2, None, None, 0.6]
    assert table.select("x.a", "x.b").rows() == [("0", "1"), ("0", "2"), ("1", "1"), ("1", "2")]


def test_a_collapsed_point_is_neither_stable_nor_the_best(recall):
    collapsed = {"m-a1-b2": Quality(0.5, 0.04, [0.1])}
    table = summarize_grids(TWO, recall, collapsed).filter(protocol="all")
    assert table["stable"].to_list() == [False, False, True, False]  # .37 is the best of the others


def test_a_point_without_a_row_is_named(recall):
    with pytest.raises(InputError, match=r"r\.tsv: no recall@10 of other .*evaluate the study again"):
        summarize_grids(config(("x.a",), {"other": (1,)}), recall, {})


def test_how_much_of_the_best_recall_is_stable_can_be_set(recall):
    strict = TWO.model_copy(update={"stable_share": 0.95})
    table = summarize_grids(strict, recall, {}).filter(protocol="all")
    assert table.filter("stable")["method"].to_list() == ["m-a1-b2"]  # .37 is less than 95% of .40


def figure(recall, summary, tmp_path) -> Picture:
    """Write the table and the figure; return the figure."""
    table = summarize_grids(summary, recall, {"m-a0-b1": Quality(0.5, 0.01, [0.1])})
    (tmp_path / "grids.tsv").write_text("# header\n" + table.write_csv(separator="\t"))
    assert read_grids(tmp_path / "grids.tsv").height == table.height
    write_grids_figure(tmp_path / "f.svg", tmp_path / "grids.tsv", "recall@10", "all", True)
    return read_svg((tmp_path / "f.svg").read_text())


def test_two_numbers_make_a_map(recall, tmp_path):
    picture = figure(recall, TWO, tmp_path)
    [plot] = picture.plots
    *numbers, what, signs = plot.texts
    assert what.text == "recall@10, %, all, ES, retriever light; d (simulated)"
    assert signs.text == "shade: value; framed: stable; ×: collapsed"
    cells = {(plot.y.label(text.y), plot.x.label(text.x)): text.text for text in numbers}
    assert cells == {("0", "1"): "20.0 ×", ("0", "2"): "20.0", ("1", "1"): "37.0", ("1", "2"): "40.0"}
    framed = {
        (plot.y.label((box.top + box.bottom) / 2), plot.x.label((box.left + box.right) / 2))
        for box in plot.boxes
        if "stroke: #1a1c20" in box.style
    }
    assert framed == {("1", "1"), ("1", "2")}  # the stable ones
    [[[first, second], [third, last]]] = plot.images
    assert first == second < third < last


def test_a_word_makes_a_line_of_each_of_its_values(recall, tmp_path):
    words = {f"m-a{a}-b{b}": ("no" if a == 0 else "yes", b) for a in (0, 1) for b in (1, 2)}
    picture = figure(recall, config(("x.a", "x.b"), words), tmp_path)
    [plot] = picture.plots
    names = {text.colour: text.text for text in picture.texts if not text.bold}
    assert set(names.values()) == {"no", "yes"}
    found = {}
    for mark in plot.marks:
        [interval] = [
            line
            for line in plot.curves()
            if line.points[:, 0] == pytest.approx(mark.x) and line.colour == mark.colour
        ]
        low, high = plot.values(interval)[:, 1]
        place = names[mark.colour], plot.x.label(mark.x)
        found[place] = (plot.y.value(mark.y), low, high, mark.fill == mark.colour)
    expected = {("no", "1"): 20, ("no", "2"): 20, ("yes", "1"): 37, ("yes", "2"): 40}
    assert found == {
        place: (pytest.approx(value), pytest.approx(value - 10), pytest.approx(value + 10), stable)
        for (place, value), stable in zip(expected.items(), (False, False, True, True), strict=True)
    }


def test_the_figure_is_of_three_settings_at_most(recall, tmp_path):
    four = config(tuple("abcd"), {"m-a0-b1": (1, 2, 3, 4), "m-a1-b2": (2, 2, 3, 4)})
    with pytest.raises(InputError, match="varies 4 settings"):
        figure(recall, four, tmp_path)
    with pytest.raises(InputError, match="no recall@7"):
        write_grids_figure(tmp_path / "f.svg", tmp_path / "grids.tsv", "recall@7", "all", False)


def test_the_tiny_study_has_a_row_per_point_and_protocol(tiny_run):
    table = read_grids(tiny_run.folder / GRIDS)
    assert table["taxonomy.share"].to_list() == [0.2, 0.4] * 2
    assert table["method"].unique().sort().to_list() == ["noisy-share0.2", "noisy-share0.4"]
    assert table["retriever"].unique().to_list() == ["light"]
