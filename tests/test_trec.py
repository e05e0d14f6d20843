"""The files that trec_eval reads: its figures, computed from the files alone, are those of the table."""

import runpy
from pathlib import Path
from typing import NamedTuple

import ir_measures
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import pytrec_eval
from plan import plan

from catid2.config.evaluate import EvaluateConfig
from catid2.evaluation.recall import Inputs, RunFile, evaluate
from catid2.evaluation.trec import write_trec_qrels, write_trec_run
from catid2.runtime.errors import InputError
from catid2.runtime.tables import JUDGEMENTS, QUERIES, RUN
from workflow import ROOT

N_DOCS, N_QUERIES = 60, 25
CONFIG = EvaluateConfig(labels=("ES", "E", "SI"), n_resamples=100)
NAMES = [f"B{(7 * doc) % N_DOCS:02d}" for doc in range(N_DOCS)]  # in another order than the doc_ids


class Case(NamedTuple):
    """A corpus and a run."""

    inputs: Inputs
    run: Path


def write(path: Path, rows: list[tuple], columns: dict[str, pa.DataType]) -> None:
    pq.write_table(pa.table(list(map(list, zip(*rows, strict=True))), pa.schema(columns)), path)


def write_products(path: Path, names: list[str]) -> None:
    columns = {"doc_id": pa.int32(), "product_id": pa.string(), "category_id_1": pa.int32()}
    write(path, [(doc, name, 0) for doc, name in enumerate(names)], columns)


@pytest.fixture
def case(tmp_path) -> Case:
    """Judgements of all labels, and a run that ranks unlike its scores, with ties; some queries have no result."""
    random = np.random.default_rng(0)
    inputs = Inputs("toy", *(tmp_path / f"{name}.parquet" for name in ("judgements", "queries", "products")))
    write_products(inputs.products, NAMES)
    write(inputs.queries, [(query, "text", "test") for query in range(N_QUERIES)], QUERIES)
    pairs = [
        (query, int(doc), str(random.choice(list("ESCI"))), "test", bool(random.integers(2)))
        for query in range(N_QUERIES)
        for doc in random.choice(N_DOCS, random.integers(1, 20), replace=False)
    ]
    write(inputs.judgements, pairs, JUDGEMENTS)
    rows = [
        (query, int(doc), rank, float(random.integers(3)))
        for query in range(N_QUERIES)
        if random.random() < 0.5
        for rank, doc in enumerate(random.permutation(N_DOCS)[: random.integers(1, N_DOCS)], 1)
    ]
    write(tmp_path / "run.parquet", [rows[i] for i in random.permutation(len(rows))], RUN)
    return Case(inputs, tmp_path / "run.parquet")


def export(case: Case, folder: Path, protocol: str, labels: str) -> tuple[Path, Path, Path]:
    """Write the files; return those of the run, of relevance and of gains."""
    paths = folder / "run.trec", folder / "relevant.trec", folder / "gains.trec"
    inputs = case.inputs
    write_trec_run(paths[0], case.run, inputs.queries, inputs.products, "toy-seed0")
    read = (inputs.judgements, inputs.queries, inputs.products)
    write_trec_qrels(*paths[1:], *read, protocol, labels)
    return paths


@pytest.mark.parametrize("protocol", ["seen", "all"])
@pytest.mark.parametrize("labels", CONFIG.labels)
def test_trec_evals_figures_of_the_files_are_those_of_the_table(case, tmp_path, protocol, labels):
    table = evaluate(CONFIG, case.inputs, [RunFile("toy", 0, case.run)], {}).table
    [row] = table.filter(protocol=protocol, labels=labels).to_dicts()
    paths = export(case, tmp_path, protocol, labels)
    run, relevant, gains = (path.read_text().splitlines() for path in paths)
    run = pytrec_eval.parse_run(run)
    relevant, gains = pytrec_eval.parse_qrel(relevant), pytrec_eval.parse_qrel(gains)
    assert len(relevant) == len(gains) == row["n_queries"] > len(run.keys() & relevant.keys())
    for metric in CONFIG.metrics:
        kind, _, k = metric.partition("@")
        name = {"recall": "recall", "ndcg": "ndcg_cut", "success": "success"}[kind] + f"_{k}"
        qrels = gains if kind == "ndcg" else relevant
        found = pytrec_eval.RelevanceEvaluator(qrels, [name]).evaluate(run)
        mean = sum(own[name] for own in found.values()) / len(qrels)  # trec_eval -c: no result counts 0
        assert row[metric] == pytest.approx(mean, abs=1e-12), metric


def test_ir_measures_figures_of_the_files_are_those_of_the_table(case, tmp_path):
    table = evaluate(CONFIG, case.inputs, [RunFile("toy", 0, case.run)], {}).table
    [row] = table.filter(protocol="all", labels="ES").to_dicts()
    run, *qrels = export(case, tmp_path, "all", "ES")
    for metrics, path in ((("R", "Success"), qrels[0]), (("nDCG",), qrels[1])):
        measures = [ir_measures.parse_measure(f"{name}@10") for name in metrics]
        found = ir_measures.calc_aggregate(
            measures, ir_measures.read_trec_qrels(str(path)), ir_measures.read_trec_run(str(run))
        )
        names = {"R": "recall@10", "Success": "success@10", "nDCG": "ndcg@10"}
        assert {names[measure.NAME]: value for measure, value in found.items()} == {
            names[name]: pytest.approx(row[names[name]], abs=1e-12) for name in metrics
        }


def test_lines_hold_what_the_tables_hold(case, tmp_path):
    run, relevant, gains = (path.read_text() for path in export(case, tmp_path, "all", "E"))
    listed = sorted(pq.read_table(case.run).to_pylist(), key=lambda row: (row["query_id"], row["rank"]))
    expected = [
        f"{row['query_id']} Q0 {NAMES[row['doc_id']]} {row['rank']} -{row['rank']} toy-seed0\n"
        for row in listed
    ]
    assert run == "".join(expected)
    judged = pq.read_table(case.inputs.judgements).to_pylist()
    wanted = {row["query_id"] for row in judged if row["label"] == "E"}
    judged = sorted(
        (row["query_id"], row["doc_id"], row["label"]) for row in judged if row["query_id"] in wanted
    )
    assert relevant == "".join(f"{q} 0 {NAMES[d]} {int(label == 'E')}\n" for q, d, label in judged)
    gain = {"E": 100, "S": 10, "C": 1, "I": 0}
    assert gains == "".join(f"{q} 0 {NAMES[d]} {gain[label]}\n" for q, d, label in judged)


def test_a_search_that_found_nothing_is_a_file_without_lines(case, tmp_path):
    pq.write_table(pa.schema(RUN).empty_table(), case.run)
    assert export(case, tmp_path, "all", "ES")[0].read_text() == ""


@pytest.mark.parametrize("name", ["B 1", "B\t1", "B1\n", "B\u20281", "", None])
def test_a_product_id_that_would_part_the_columns_is_named(case, tmp_path, name):
    write_products(case.inputs.products, [*NAMES[:3], name, *NAMES[4:]])
    with pytest.raises(InputError, match=r"products\.parquet: row 3: the product_id .* white space"):
        export(case, tmp_path, "all", "ES")
    assert not list(tmp_path.glob("*.trec"))


@pytest.mark.parametrize("tag", ["a b", "a\n", "\u2028", ""])
def test_a_tag_that_would_part_the_columns_is_named(case, tmp_path, tag):
    with pytest.raises(InputError, match=r"^--tag: .* is empty or holds white space"):
        write_trec_run(tmp_path / "run.trec", case.run, case.inputs.queries, case.inputs.products, tag)
    assert not list(tmp_path.glob("*.trec"))


def test_the_scripts_write_the_same(case, tmp_path, monkeypatch):
    (tmp_path / "own").mkdir()
    paths = export(case, tmp_path, "seen", "ES")
    own = [tmp_path / "own" / path.name for path in paths]
    inputs = case.inputs
    read = ["--queries", inputs.queries, "--products", inputs.products]
    judged = ["--judgements", inputs.judgements, "--protocol", "seen", "--labels", "ES"]
    for script, options in (
        ("export_run", ["--run", case.run, "--tag", "toy-seed0", "--output", own[0]]),
        ("export_qrels", [*judged, "--relevant", own[1], "--gains", own[2]]),
    ):
        monkeypatch.setattr("sys.argv", [f"{script}.py", *map(str, [*read, *options])])
        runpy.run_path(str(ROOT / "scripts" / f"{script}.py"), run_name="__main__")
    assert [path.read_bytes() for path in own] == [path.read_bytes() for path in paths]


def test_files_of_runs_and_protocols_are_made_on_request(tmp_path):
    runs = [f"results/own/{method}/seed8/run" for method in ("catid2", "bm25", "tiger-mu0.1")]
    corpus = [f"results/own/corpus/{name}.parquet" for name in ("products", "queries", "judgements")]
    for path in (*corpus, *(f"{run}.parquet" for run in runs)):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    qrels = [f"results/own/qrels/seen_ES/{name}.trec" for name in ("relevant", "gains")]
    wanted = [*(f"{run}.trec" for run in runs), *qrels]
    jobs = plan(ROOT / "tests" / "plan.yaml", tmp_path, ["export_run", "export_qrels"], wanted)
    exported = [job for job in jobs if job.rule == "export_run"]
    assert sorted(job.options("--run") + job.options("--output") for job in exported) == sorted(
        [f"{run}.parquet", f"{run}.trec"] for run in runs
    )
    assert sorted(job.options("--tag")[0] for job in exported) == [
        "bm25-seed8",
        "catid2-seed8",
        "tiger-mu0.1-seed8",
    ]
    [judged] = [job for job in jobs if job.rule == "export_qrels"]
    options = ("--protocol", "--labels", "--relevant", "--gains")
    assert [judged.options(option) for option in options] == [["seen"], ["ES"], [qrels[0]], [qrels[1]]]
