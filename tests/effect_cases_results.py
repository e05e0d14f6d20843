"""What the settings of tables, measures and the page change."""

import functools
from collections.abc import Callable
from pathlib import Path

import polars as pl
from effect_cases_docids import assigned
from effect_cases_search import bm25_run, dense_run
from effect_corpus import FOLDER, corpus
from effects import Outputs, Row, Seed, Settings, Table, planned, row, stage
from report_tree import write_tree

from catid2.config import grids, report
from catid2.config.bm25 import Bm25Config
from catid2.config.dense import DenseConfig
from catid2.config.docids import DocidsConfig
from catid2.config.evaluate import EvaluateConfig
from catid2.config.geometry import Geometry
from catid2.docids.table import docids_table
from catid2.evaluation.recall import Inputs, RunFile, evaluate
from catid2.evaluation.table import ENDS, KEYS, Evaluation, metrics_among, write_evaluation
from catid2.report.grids import Quality, header, summarize_grids
from catid2.report.inputs import read_comparison
from catid2.report.page import write_page
from catid2.report.tables import write_locales
from catid2.runtime.tables import write_table
from catid2.studies.geometry import Inputs as Measured
from catid2.studies.geometry import measure

# --- recall


@functools.cache
def runs() -> list[RunFile]:
    """Write a run of BM25 and one of dense search."""
    folder = FOLDER / "runs"
    found = {
        "bm25": bm25_run(Bm25Config(template="{title}", top_k=20)),
        "dense": dense_run(DenseConfig(top_k=20)),
    }
    for name, table in found.items():
        write_table(folder / f"{name}.parquet", table)
    return [RunFile(name, 0, folder / f"{name}.parquet") for name in found]


@stage(EvaluateConfig, {"metrics": ["recall@5", "ndcg@10"], "n_resamples": 100})
def evaluated(config: EvaluateConfig, folder: Path, seed: int) -> Outputs:
    """Evaluate the runs."""
    files = corpus()
    table = evaluate(
        config, Inputs("d", files.judgements, files.queries, files.products), runs(), {}, seed
    ).table
    ends = {"p": ("_p", "_p_holm"), "interval": ("_low", "_high"), "ceiling": ("_ceiling",)}
    return {
        "rows": table.select("method", "protocol", "labels").rows(),
        "columns": table.columns,
        "figures": table.select(metrics_among(table.columns)).rows(),
        **{
            what: table.select(name for name in table.columns if name.endswith(end)).rows()
            for what, end in ends.items()
        },
    }


TABLES = [
    Table(
        EvaluateConfig,
        [
            row(
                "metrics",
                ["recall@5", "ndcg@10"],
                ["recall@10", "success@10"],
                differs="columns, figures, ceiling",
                same="rows",
            ),
            row("labels", ["ES"], ["E"], differs="rows, figures, ceiling", same="columns"),
            row("protocols", ["seen"], ["all"], differs="rows, figures, ceiling", same="columns"),
            row("confidence", 0.95, 0.5, differs="interval", same="rows, columns, figures, ceiling, p"),
            row("n_resamples", 100, 200, differs="interval, p", same="rows, columns, figures, ceiling"),
            row(
                "significance",
                "randomization",
                "t_test",
                differs="p",
                same="rows, columns, figures, ceiling, interval",
            ),
        ],
        evaluated,
    )
]
SEEDS = [Seed("bootstrap and randomization", evaluated, differs="interval", script="evaluate")]

# --- geometry


@stage(Geometry, {"documents": 80})
def geometry(config: Geometry, folder: Path, seed: int) -> Outputs:
    """Measure what vectors and codes know of the categories."""
    assignment, product_ids = assigned(DocidsConfig(), 0)
    write_table(folder / "docids.parquet", docids_table(product_ids, assignment))
    files = corpus()
    found = measure(
        config.of_method(), Measured(files.embeddings, files.products, folder / "docids.parquet", files.rqvae)
    )
    return {
        "sampled": found.sampled,
        "held out": found.held_out,
        "accuracy": [level.accuracy for level in found.levels],
        "codes": [level.accuracy["prefix_3"] for level in found.levels],
        "distances": [(level.within, level.between) for level in found.levels],
    }


TABLES += [
    Table(
        Geometry,
        [
            row("documents", 80, 60, differs="sampled, accuracy, distances"),
            row("held_out", 0.2, 0.5, differs="held out, accuracy", same="sampled, distances"),
            row("seed", 0, 1, differs="accuracy, distances", same="sampled, held out"),
            row("ridge", 0.01, 10.0, differs="accuracy", same="codes, distances, sampled, held out"),
            planned("studies", "compare_geometry dataset=first study=recall", "--geometry=main:5:"),
        ],
        geometry,
    )
]

# --- grids

POINTS = {"m-a0": [0], "m-a1": [1], "m-a2": [2]}
GRID = {"keys": ["x.a"], "points": POINTS}


@stage(grids.GridSummary, {"grids": [GRID]})
def summary(config: grids.GridSummary, folder: Path, seed: int) -> Outputs:
    """Summarise a study over grids, whose points reach recalls of .2, .37 and .4, and nDCGs of .5."""
    recall = {"m-a0": 0.2, "m-a1": 0.37, "m-a2": 0.4}
    quality = {
        "m-a0": Quality(0.5, 0.1, [0.1]),
        "m-a1": Quality(0.1, 0.6, [0.7]),
        "m-a2": Quality(0.1, 0.6, [0.8]),
    }
    described = {"dataset": "d", "retriever": "light", "seed": "0", "protocol": "all", "labels": "ES"}
    sizes, whole = {"n_queries": 10, "n_docs": 50}, ("", "_low", "_high", "_ceiling")
    rows = [
        described | sizes | {"method": name}
        | {f"{metric}{end}": value for metric, value in (("recall@10", own), ("ndcg@10", 0.5)) for end in whole}
        for name, own in recall.items()
    ]  # fmt: skip
    figures = {f"{metric}{end}": pl.Float64 for metric in ("recall@10", "ndcg@10") for end in ("", *ENDS)}
    table = Evaluation(pl.DataFrame(rows, schema=KEYS | figures), [], pl.DataFrame({"x": [1]}))
    write_evaluation(table, folder / "r.tsv", folder / "q.parquet")
    found = summarize_grids(config, folder / "r.tsv", quality)
    return {
        "header": header(config),
        "points": found["method"].to_list(),
        "settings": found.select(name for name in found.columns if name.startswith("x.")).to_dict(
            as_series=False
        ),
        "collapsed": found["collapsed"].to_list(),
        "stable": found["stable"].to_list(),
    }


TABLES += [
    Table(
        grids.GridSummary,
        [
            row("grids", [GRID], [GRID, GRID], differs="points", same="header"),
            row(
                "metric", "recall@10", "ndcg@10", differs="stable, header", same="points, settings, collapsed"
            ),
            row("stable_share", 0.9, 0.99, differs="stable, header", same="points, settings, collapsed"),
        ],
        summary,
    ),
    Table(
        grids.GridPoints,
        [
            row("keys", ["x.a"], ["x.b"], differs="settings", same="points, stable, collapsed"),
            row("points", POINTS, {"m-a1": [1]}, differs="points, settings", same="header"),
            row(
                "collapse_perplexity",
                0.05,
                0.15,
                differs="collapsed, stable",
                same="points, settings",
                metric="ndcg@10",
            ),
        ],
        summary,
        lambda changes: {"grids": [GRID | changes]},
    ),
]

# --- the page


US = {"name": "demo_us", "locale": "us", "simulated": False}
METHODS = (
    {
        "name": "catid2",
        "seeds": [0],
        "view": "title",
        "rqvae": "catid2",
        "docids": "catid2",
        "retriever": "catid2",
    },
    {"name": "bm25", "seeds": [0], "changes": {"bm25.k1": 1.2}},
)
DATASET = US | {"methods": [METHODS[0]]}
STUDY = {"name": "recall", "datasets": [US]}


@functools.cache
def results() -> Path:
    """Write a small tree of results."""
    write_tree(FOLDER / "results", products=60)
    return FOLDER / "results"


@stage(report.ReportConfig, {"categories": 4}, "comparison", "dataset", "method")
def page(config: report.ReportConfig, folder: Path, seed: int, **changes: Settings) -> Outputs:
    """Write page and table; `comparison`, `dataset` and `method` change what is compared, the first of each."""
    method = METHODS[0] | changes.get("method", {})
    dataset = DATASET | {"methods": [method, METHODS[1]]} | changes.get("dataset", {})
    described = {"datasets": [dataset], "defaults": {"bm25.k1": 0.9}} | changes.get("comparison", {})
    comparison = report.Comparison.model_validate(described)
    tables = read_comparison(results(), comparison)
    write_page(folder / "report.html", results(), comparison, config, tables)
    write_locales(folder / "locales.tsv", tables)
    return {name: (folder / name).read_text("utf-8") for name in ("report.html", "locales.tsv")}


def of_page(key: str, *values: object, **given: object) -> Row:
    """Return the row of a setting of the page alone."""
    return row(key, *values, differs="report.html", same="locales.tsv", **given)


def part(name: str) -> Callable[[Settings], Settings]:
    """Return where the keys of the comparison, of its first dataset, or of the first method stand."""
    return lambda changes: {name: changes}


TABLES += [
    Table(
        report.ReportConfig,
        [
            of_page("metric", "recall@10", "ndcg@10"),
            planned("stable_share", "summarize_grids dataset=third study=grid", '"stable_share":0.74'),
            of_page("category_level", 1, 2),
            of_page("categories", 4, 5),
            of_page("prefix_length", 1, 2),
            of_page("examples", 1, 2),
            of_page("example_products", 2, 3),
            of_page("queries", 2, 3),
            of_page("query_documents", 1, 2),
            of_page("query_rows", 3, 4),
            of_page("curve_points", 5, 10),
            planned("folder", "report_locales", "results/of739/report.html"),
            row("efficiency", False, True, differs="error"),  # the tree has no table of times
        ],
        page,
    ),
    Table(
        report.Comparison,
        [
            row("study", "recall", "other", differs="error"),  # of which there is no table
            row("datasets", [DATASET], [DATASET | {"name": "demo_jp"}], differs="report.html, locales.tsv"),
            of_page("studies", [], [STUDY]),
            of_page("defaults", {"bm25.k1": 0.9}, {"bm25.k1": 0.8}),
        ],
        page,
        part("comparison"),
    ),
    Table(
        report.ReportDataset,
        [
            row("name", "demo_us", "elsewhere", differs="error"),
            row("locale", "us", "es", differs="report.html, locales.tsv"),
            row("simulated", False, True, differs="report.html, locales.tsv"),
            row("sample", False, True, differs="report.html", same="locales.tsv"),
            row("methods", METHODS[:1], METHODS, differs="report.html, locales.tsv"),
            of_page("inputs", {}, {"a.parquet": "sha256 of it"}),
        ],
        page,
        part("dataset"),
    ),
    Table(
        report.ReportMethod,
        [
            row("name", "catid2", "unknown", differs="error"),
            row("seeds", [0], [0, 1], differs="report.html, locales.tsv"),
            of_page("view", "title", None),
            of_page("rqvae", "catid2", "tiger"),
            row("docids", "catid2", "tiger", differs="report.html, locales.tsv"),
            of_page("retriever", "catid2", "tiger"),
            of_page("changes", {}, {"rqvae.losses.hccl": 0.77}),
        ],
        page,
        part("method"),
    ),
    Table(
        report.ReportStudy,
        [
            row("name", "recall", "second", differs="error"),  # of which there is no table
            of_page("datasets", [US], [US | {"name": "demo_jp"}]),
            row("grids", False, True, differs="error"),
        ],
        page,
        lambda changes: {"comparison": {"studies": [STUDY | changes]}},
    ),
]
