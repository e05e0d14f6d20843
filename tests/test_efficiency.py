"""Times: percentiles, Snakemake's benchmarks, the table and its plan."""

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from light_case import embed_case
from retriever_case import WORDS, Case, random_retriever, write_case

from catid2.config.bm25 import Bm25Config
from catid2.config.efficiency import EfficiencyConfig
from catid2.config.retrieve import RetrieveConfig
from catid2.docids.table import Docids
from catid2.plan.settings import Pipeline
from catid2.plan.stage_logs import StageLog, stage_logs
from catid2.retriever.retrieve import Corpus, retrieve
from catid2.retriever.tokenizer import train_tokenizer
from catid2.runtime.errors import InputError
from catid2.runtime.tables import RUN, read_table
from catid2.studies import latency
from catid2.studies.efficiency import (
    Latency,
    Percentiles,
    Stage,
    read_benchmark,
    read_latency,
    summarize,
    write_latency,
    write_table,
)
from workflow import EFFICIENCY, ROOT, TINY_CONFIG, Project, tiny_pipeline

BENCHMARK = (
    "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"
    "12.3456\t0:00:12\t512.25\t2048.00\t500.00\t501.00\t0.00\t1.50\t95.00\t11.50\n"
)
WITHOUT_SAMPLE = BENCHMARK.splitlines()[0] + "\n0.0500\t0:00:00" + 8 * "\tNA" + "\n"


# --- measures -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (BENCHMARK, {"wall_s": 12.3456, "cpu_s": 11.5, "peak_rss_mib": 512.25}),
        (WITHOUT_SAMPLE, {"wall_s": 0.05, "cpu_s": None, "peak_rss_mib": None}),
    ],
)
def test_reads_snakemakes_benchmark(tmp_path, text, expected):
    (tmp_path / "x.benchmark.tsv").write_text(text)
    assert read_benchmark(tmp_path / "x.benchmark.tsv") == expected


# --- latency ------------------------------------------------------------------------------------------


def test_percentiles_are_numpys_and_the_warm_up_does_not_count(monkeypatch):
    rng = np.random.default_rng(3)
    drawn = rng.gamma(2, 0.01, (2, 25))  # seconds of each search that counts, per batch size
    now = [0.0]
    seen: list[np.ndarray] = []

    def search(rows):
        seen.append(rows)
        batch, number = int(len(rows) == 4), (len(seen) - 1) % 28 - 3
        now[0] += 100.0 if number < 0 else drawn[batch, number]

    monkeypatch.setattr(latency.time, "perf_counter", lambda: now[0])
    found = latency.measure(search, 7, latency.Plan((1, 4), 25, 3))
    for row, batch in enumerate((1, 4)):
        expected = 1000 * np.quantile(drawn[row], [0.5, 0.95])
        assert [found[batch].p50_ms, found[batch].p95_ms] == pytest.approx(expected.tolist())
    assert [len(rows) for rows in seen] == [1] * 28 + [4] * 28
    # every query comes before any comes again, whatever the batch
    assert sorted(np.concatenate(seen[:7])) == list(range(7))
    assert np.bincount(np.concatenate(seen[28:])).tolist() == [16] * 7


def untrained(folder: Path, case: Case, sizes: tuple[int, ...]) -> Path:
    """Write an untrained retriever for the DocIDs of a case; return its folder."""
    retriever = random_retriever("t5", sizes)
    retriever.t5.config.query_prefix = "query: "
    retriever.t5.config.max_query_tokens = 16
    retriever.t5.config.docid_sha256 = Docids.read(case.docids).digest
    retriever.t5.save_pretrained(folder)
    train_tokenizer(WORDS, 300).save_pretrained(folder)
    return folder


def test_times_the_search_of_a_retriever_and_of_bm25(tmp_path):
    sizes = (4, 4, 8)
    case = write_case(tmp_path / "corpus", sizes=sizes)
    retriever = untrained(tmp_path / "retriever", case, sizes)
    corpus, plan = Corpus(case.docids, case.products, case.queries), latency.Plan((1, 4), 3, 1)
    found = latency.of_retriever(RetrieveConfig(beams=15, top_k=10), retriever, corpus, plan)
    lexical = latency.of_bm25(Bm25Config(template="{title}"), case.products, case.queries, plan)
    assert (found.documents, found.positions, found.beams) == (60, 3, 15)
    assert (lexical.documents, lexical.positions) == (60, None)
    for each in (found, lexical):
        assert set(each.batches) == {1, 4}
        assert all(0 < times.p50_ms <= times.p95_ms for times in each.batches.values())
        write_latency(tmp_path / "latency.json", each)
        assert read_latency(tmp_path / "latency.json", "") == each
    log = made(tmp_path, "a", "retrieve")
    write_latency(tmp_path / "latency.json", found)
    table, header = summarize("d", 0, [log], {"a": tmp_path / "latency.json"})
    assert table["batch4_p95_ms"].to_list() == [found.batches[4].p95_ms]
    assert any(line.startswith("latency of a: 15 beams, 3 positions, 60 documents") for line in header)


@pytest.mark.parametrize("level", [None, 2])
def test_what_is_timed_gives_the_documents_of_the_run(tmp_path, monkeypatch, level):
    sizes = (4, 4, 8)
    case = write_case(tmp_path / "corpus", sizes=sizes)
    retriever = untrained(tmp_path / "retriever", case, sizes)
    corpus = Corpus(case.docids, case.products, case.queries, embed_case(case, tmp_path / "view"))
    config = RetrieveConfig(beams=10, top_k=10, rank_below_level=level)
    timed_search = []

    def measured(search, queries, plan):
        timed_search.extend(search(np.arange(queries))[0].tolist())
        return {}

    monkeypatch.setattr(latency, "measure", measured)
    found = latency.of_retriever(config, retriever, corpus, latency.Plan((20,), 1, 0))
    assert found.positions == (level or 3)
    retrieve(config, retriever, corpus, tmp_path / "run.parquet", 20)
    run = read_table(tmp_path / "run.parquet", RUN).to_pandas()
    expected = [rows.doc_id.tolist() for _, rows in run.groupby("query_id")]
    assert [[doc_id for doc_id in row if doc_id >= 0] for row in timed_search] == expected


# --- the table ----------------------------------------------------------------------------------------


def made(folder, method, rule):
    """Write the measures of a stage and return it."""
    stage = Stage(method, rule, method, folder / "d" / method / "seed0" / rule)
    stage.log.parent.mkdir(parents=True, exist_ok=True)
    stage.benchmark.write_text(BENCHMARK)
    return stage


def test_a_row_has_what_its_stage_measured(tmp_path):
    stages = [made(tmp_path, *name) for name in (("a", "train_rqvae"), ("b", "search_dense"))]
    stages[1].benchmark.write_text(WITHOUT_SAMPLE)
    table, header = summarize("d", 0, stages, {})
    write_table(tmp_path / "efficiency.tsv", table, header)
    back = pl.read_csv(tmp_path / "efficiency.tsv", separator="\t", comment_prefix="#")
    assert back.select("stage", "wall_s", "cpu_s", "peak_rss_mib").rows() == [
        ("train_rqvae", 12.35, 11.5, 512.3),
        ("search_dense", 0.05, None, None),
    ]
    assert "# no latency of a, b" in (tmp_path / "efficiency.tsv").read_text()


def test_a_fused_method_says_that_its_searches_are_other_rows(tmp_path):
    stages = [made(tmp_path, *name) for name in (("a", "search_dense"), ("b", "fuse_runs"))]
    _, header = summarize("d", 0, stages, {})
    assert [line.partition(":")[0] for line in header[-2:]] == ["b", "no latency of a"]


def test_a_latency_stands_in_the_row_of_its_methods_search_alone(tmp_path):
    stages = [made(tmp_path, *name) for name in (("a", "embed"), ("a", "retrieve"), ("b", "search_bm25"))]
    paths = {method: tmp_path / f"{method}.json" for method in ("a", "b")}
    for method, p50 in (("a", 4.0), ("b", 1.5)):
        batches = {1: Percentiles(p50_ms=p50, p95_ms=2 * p50), 8: Percentiles(p50_ms=5 * p50, p95_ms=6 * p50)}
        latencies = Latency(
            batches=batches,
            searches=9,
            warm_up=1,
            documents=60,
            positions=None,
            beams=None,
            machine="a machine",
        )
        write_latency(paths[method], latencies)
    table, _ = summarize("d", 0, stages, paths)
    columns = [f"batch{batch}_{percentile}_ms" for batch in (1, 8) for percentile in ("p50", "p95")]
    assert table.select("method", "stage", *columns).rows() == [
        ("a", "embed", None, None, None, None),
        ("a", "retrieve", 4.0, 8.0, 20.0, 24.0),
        ("b", "search_bm25", 1.5, 3.0, 7.5, 9.0),
    ]


# --- in the workflow ----------------------------------------------------------------------------------


def test_stages_are_those_that_a_method_is_made_by():
    pipeline = tiny_pipeline()
    logs = {name: stage_logs(pipeline, "tiny_es", name, 0) for name in pipeline.config.methods}
    chain = ["train_rqvae", "assign_docids", "train_retriever", "retrieve"]
    assert [stage.rule for stage in logs["tiger"]] == ["embed", *chain]
    assert [stage.rule for stage in logs["light"]] == ["embed", "embed_queries", *chain]
    owners = ["view text", "view text", "catid2", "catid2", "light", "light"]
    assert [stage.owner for stage in logs["light"]] == owners
    assert logs["bm25"] == [StageLog("search_bm25", "bm25", "logs/tiny_es/bm25/seed0/search_bm25")]
    assert [stage.owner for stage in logs["dense"]] == ["view text", "view text", "dense"]
    assert {stage.owner for stage in logs["dpr"]} == {"dpr"}
    # those whose runs are fused have rows of their own
    assert logs["fused"] == [StageLog("fuse_runs", "fused", "logs/tiny_es/fused/seed0/fuse_runs")]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"efficiency": {"study": "none"}}, "efficiency.study names 'none', known are recall"),
        ({"studies": {"recall": {"methods": ["a"]}, "efficiency": {"methods": ["a"]}}}, "kept for the table"),
        ({"efficiency": {"batches": [32, 1]}}, "batches must rise"),
        ({"efficiency": {"searches": 0}}, "efficiency.searches"),
    ],
)
def test_a_wrong_setting_is_named(changes, says):
    config = {
        "sources": {"s": {"kind": "simulated"}},
        "datasets": {"d": {"source": "s", "locale": "us"}},
        "views": {"v": {"encoder": {"kind": "tfidf_svd"}}},
        "view": "v",
        "methods": {"a": {}},
        "studies": {"recall": {"methods": ["a"]}},
    }
    Pipeline(config, "here")
    with pytest.raises(InputError, match="here: ") as caught:
        Pipeline(config | changes, "here")
    assert says in str(caught.value)


@pytest.mark.slow
def test_the_table_is_planned_when_it_is_asked_for_and_a_lost_benchmark_then_alone(tmp_path):
    project = Project(tmp_path / "project", stub=True)
    shutil.copy(ROOT / "tests" / "tiny.yaml", project.folder / "config")
    project.snakemake(*TINY_CONFIG)
    lost = project.folder / "logs" / "tiny_es" / "tiger" / "seed0" / "retrieve.benchmark.tsv"
    lost.unlink()
    assert project.planned(*TINY_CONFIG) == set()
    generative = ("catid2", "tiger", "gradient", "light")
    assert project.planned(EFFICIENCY, *TINY_CONFIG) == {
        "retrieve dataset=tiny_es method=tiger seed=0",
        *(f"measure_latency dataset=tiny_es method={method} seed=0" for method in generative),
        "measure_latency_of_bm25 dataset=tiny_es method=bm25 seed=0",
        "summarize_efficiency dataset=tiny_es",
    }


def test_the_table_of_a_run(tiny_run):
    table = pl.read_csv(tiny_run.folder / EFFICIENCY, separator="\t", comment_prefix="#")
    assert (table["wall_s"] > 0).all()
    searched = table.filter(pl.col("stage").is_in(["retrieve", "search_bm25"]))
    assert len(searched) == 5
    for batch in (1, 4):
        p50, p95 = searched[f"batch{batch}_p50_ms"], searched[f"batch{batch}_p95_ms"]
        assert ((p50 > 0) & (p95 >= p50)).all()
    assert table.filter(stage="assign_docids", method="light")["owner"].to_list() == ["catid2"]
    assert EfficiencyConfig().study == "recall"
