"""Metrics by hand and against plain numpy, protocols, seeds, bad runs, and the files that are written."""

import runpy
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import stats

from catid2.config.base import LARGEST_SEED, validate
from catid2.config.corpus import CorpusConfig
from catid2.config.evaluate import EvaluateConfig
from catid2.evaluation.recall import Inputs, RunFile, evaluate
from catid2.evaluation.table import read_recall, write_evaluation
from catid2.runtime.errors import InputError
from catid2.runtime.tables import JUDGEMENTS, MADE_BY, QUERIES, RUN

SCRIPT = Path(__file__).parent.parent / "scripts" / "evaluate.py"
N_DOCS = 60
METRICS = tuple(f"{kind}@{k}" for kind in ("recall", "ndcg", "success") for k in (1, 3, 5))
CONFIG = EvaluateConfig(metrics=METRICS, labels=("ES", "E"), n_resamples=200)

# Query 1: documents 10 (E, seen), 11 (S), 12 (C); query 2: 20 (S, seen), 21 (E, seen); query 3: 30 (I);
# query 4: 40 (E). Query 9 is of the training split.
PAIRS = [
    (1, 10, "E", "test", True),
    (1, 11, "S", "test", False),
    (1, 12, "C", "test", True),
    (2, 20, "S", "test", True),
    (2, 21, "E", "test", True),
    (3, 30, "I", "test", True),
    (4, 40, "E", "test", False),
    (9, 10, "E", "train", True),
]


def table(rows: list[tuple], columns: dict) -> pa.Table:
    return pa.table(dict(zip(columns, zip(*rows, strict=True), strict=True)), pa.schema(columns))


def write_corpus(folder: Path, pairs: list[tuple] = PAIRS) -> Inputs:
    inputs = Inputs(
        "toy", folder / "judgements.parquet", folder / "queries.parquet", folder / "products.parquet"
    )
    splits = sorted({(query_id, split) for query_id, _, _, split, _ in pairs})
    pq.write_table(table(pairs, JUDGEMENTS), inputs.judgements)
    pq.write_table(table([(query_id, "text", split) for query_id, split in splits], QUERIES), inputs.queries)
    pq.write_table(pa.table({"doc_id": pa.array(range(N_DOCS), pa.int32())}), inputs.products)
    return inputs


def write_run(path: Path, lists: dict[int, list[int]]) -> Path:
    """A run from query_id → doc_ids, best first; its scores RISE with the rank, for the rank has to decide."""
    rows = [
        (query_id, doc_id, rank, float(rank))
        for query_id, doc_ids in lists.items()
        for rank, doc_id in enumerate(doc_ids, 1)
    ]
    pq.write_table(table(rows, RUN), path)
    return path


def figures(evaluation, protocol: str, labels: str) -> dict:
    row = evaluation.table.filter(protocol=protocol, labels=labels)
    assert len(row) == 1
    return row.row(0, named=True)


def test_metrics_by_hand(tmp_path):
    run = write_run(tmp_path / "run.parquet", {1: [10, 5, 11], 2: [1, 2, 3, 20, 21]})
    evaluation = evaluate(CONFIG, write_corpus(tmp_path), [RunFile("a", 0, run)], {})
    everything = figures(evaluation, "all", "ES")  # queries 1, 2 and 4; 4 has no result and counts 0
    assert everything["n_queries"] == 3
    assert everything["n_docs"] == N_DOCS
    assert everything["recall@1"] == pytest.approx((1 / 2 + 0 + 0) / 3)
    assert everything["recall@3"] == pytest.approx((1 + 0 + 0) / 3)
    assert everything["recall@5"] == pytest.approx((1 + 1 + 0) / 3)
    seen = figures(evaluation, "seen", "ES")  # query 1 keeps document 10 alone, query 4 drops out
    assert seen["n_queries"] == 2
    assert seen["recall@1"] == pytest.approx((1 + 0) / 2)
    exact = figures(evaluation, "all", "E")
    assert exact["recall@5"] == pytest.approx((1 + 1 + 0) / 3)
    # Query 1 has E, - and S in places 1 to 3, and its C is not found; query 2 has S and E in places 4 and 5.
    first = (1 + 0.1 / 2) / (1 + 0.1 / np.log2(3) + 0.01 / 2)
    second = (0.1 / np.log2(5) + 1 / np.log2(6)) / (1 + 0.1 / np.log2(3))
    assert everything["ndcg@5"] == pytest.approx((first + second + 0) / 3)
    assert exact["ndcg@5"] == everything["ndcg@5"]  # of the same queries, and gains are the labels'
    assert seen["ndcg@3"] == pytest.approx((1 / (1 + 0.01 / np.log2(3)) + 0) / 2)  # query 1's S is not seen
    assert [everything[f"success@{k}"] for k in (1, 3, 5)] == pytest.approx([1 / 3, 1 / 3, 2 / 3])
    ceilings = [everything[f"recall@{k}_ceiling"] for k in (1, 3, 5)]  # 2, 2 and 1 are relevant
    assert ceilings == pytest.approx([(1 / 2 + 1 / 2 + 1) / 3, 1, 1])
    assert {everything[f"{kind}@1_ceiling"] for kind in ("ndcg", "success")} == {1}
    assert everything["recall@1_p"] is None
    assert everything["recall@1_std"] is None
    single = evaluation.per_query.filter(protocol="all", labels="ES")
    assert single["query_id"].to_list() == [1, 2, 4]
    assert single["n_relevant"].to_list() == [2, 2, 1]
    assert single["recall@3"].to_list() == [1.0, 0.0, 0.0]
    assert single["success@5"].to_list() == [1.0, 1.0, 0.0]


def test_a_search_that_found_nothing_counts_0(tmp_path):
    pq.write_table(pa.schema(RUN).empty_table(), tmp_path / "bm25.parquet")
    found = write_run(tmp_path / "found.parquet", {1: [10], 4: [40]})
    runs = [RunFile("a", 0, found), RunFile("bm25", 0, tmp_path / "bm25.parquet")]
    evaluation = evaluate(CONFIG, write_corpus(tmp_path), runs, {})
    rows = evaluation.table.filter(method="bm25", protocol="all", labels="ES")
    assert rows.select("n_queries", "recall@5", "recall@5_low", "recall@5_high").row(0) == (3, 0, 0, 0)
    assert (
        evaluation.per_query.filter(method="bm25", protocol="all", labels="ES")["recall@5"].to_list()
        == [0] * 3
    )
    assert "bm25, seed 0: at most 0 documents a query, deeper recall stops there" in evaluation.header


def random_case(rng: np.random.Generator) -> tuple[list[tuple], dict[int, list[int]]]:
    pairs = [
        (int(query_id), int(doc_id), str(rng.choice(list("ESCI"))), "test", bool(rng.integers(2)))
        for query_id in range(20)
        for doc_id in rng.choice(N_DOCS, rng.integers(1, 9), replace=False)
    ]
    lists = {
        query_id: rng.choice(N_DOCS, rng.integers(1, N_DOCS), replace=False).tolist()
        for query_id in range(20)
        if rng.random() < 0.9
    }
    return pairs, lists


def gain_of(found: list[float], k: int) -> float:
    return sum(gain / np.log2(rank + 1) for rank, gain in enumerate(found[:k], 1))


@pytest.mark.parametrize("seed", range(5))
def test_the_same_as_a_plain_count(tmp_path, seed):
    pairs, lists = random_case(np.random.default_rng(seed))
    run = RunFile("a", 0, write_run(tmp_path / "run.parquet", lists))
    evaluation = evaluate(CONFIG, write_corpus(tmp_path, pairs), [run], {})
    for protocol in ("seen", "all"):
        for labels in ("ES", "E"):
            relevant: dict[int, set[int]] = {}
            gains: dict[int, dict[int, float]] = {}
            for query_id, doc_id, label, _, seen in pairs:
                if seen or protocol == "all":
                    gains.setdefault(query_id, {})[doc_id] = {"E": 1, "S": 0.1, "C": 0.01, "I": 0}[label]
                    if label in labels:
                        relevant.setdefault(query_id, set()).add(doc_id)
            row = figures(evaluation, protocol, labels)
            for k in (1, 3, 5):
                expected = {"recall": [], "ndcg": [], "success": []}
                for query_id, docs in relevant.items():
                    found, own = lists.get(query_id, [])[:k], gains[query_id]
                    best = gain_of(sorted(own.values(), reverse=True), k)
                    expected["recall"].append(len(docs & set(found)) / len(docs))
                    expected["ndcg"].append(gain_of([own.get(doc, 0) for doc in found], k) / best)
                    expected["success"].append(bool(docs & set(found)))
                assert {kind: row[f"{kind}@{k}"] for kind in expected} == {
                    kind: pytest.approx(np.mean(values)) for kind, values in expected.items()
                }


@pytest.mark.parametrize("seed", range(3))
def test_the_best_run_reaches_the_ceiling(tmp_path, seed):
    pairs, _ = random_case(np.random.default_rng(seed))
    best: dict[int, list[int]] = {}
    for query_id, doc_id, *_ in sorted(pairs, key=lambda pair: "ESCI".index(pair[2])):
        best.setdefault(query_id, []).append(doc_id)
    run = RunFile("a", 0, write_run(tmp_path / "run.parquet", best))
    config = CONFIG.model_copy(update={"protocols": ("all",)})
    table = evaluate(config, write_corpus(tmp_path, pairs), [run], {}).table
    for metric in METRICS:
        assert table[metric].to_list() == pytest.approx(table[f"{metric}_ceiling"].to_list())
    assert (table["recall@1"] < 1).all()


def test_a_query_without_a_gain_lowers_the_ceiling_of_ndcg(tmp_path):
    """Of query 3 irrelevant documents alone are judged: where I counts as relevant, its nDCG is 0 in any order."""
    run = RunFile("a", 0, write_run(tmp_path / "run.parquet", {1: [10, 11, 12], 3: [30]}))
    config = EvaluateConfig(metrics=("ndcg@3", "success@3"), labels=("I", "CI"), n_resamples=100)
    evaluation = evaluate(config, write_corpus(tmp_path), [run], {})
    for labels, ndcg in (("I", 0), ("CI", 0.5)):
        row = figures(evaluation, "all", labels)
        assert (row["ndcg@3"], row["ndcg@3_ceiling"]) == (ndcg, ndcg)
        assert row["success@3_ceiling"] == 1


def test_the_largest_seed_is_written_and_read(tmp_path):
    run = RunFile("a", LARGEST_SEED, write_run(tmp_path / "run.parquet", {1: [10]}))
    output, per_query = tmp_path / "recall.tsv", tmp_path / "per_query.parquet"
    write_evaluation(evaluate(CONFIG, write_corpus(tmp_path), [run], {}), output, per_query)
    assert set(read_recall(output)["seed"]) == {str(LARGEST_SEED)}
    assert set(pq.read_table(per_query)["seed"].to_pylist()) == {LARGEST_SEED}


def test_several_seeds_get_a_mean_row_and_p_against_the_first_method(tmp_path):
    rng = np.random.default_rng(0)
    pairs, _ = random_case(rng)
    config = EvaluateConfig(metrics=("recall@5", "recall@20"), protocols=("all",), n_resamples=200)
    lists = [{q: rng.permutation(N_DOCS).tolist() for q in range(20)} for _ in range(3)]
    perfect = {q: [p[1] for p in pairs if p[0] == q and p[2] in "ES"] or [0] for q in range(20)}
    runs = [
        RunFile("base", 1, write_run(tmp_path / "b1.parquet", lists[0])),
        RunFile("base", 0, write_run(tmp_path / "b0.parquet", lists[1])),
        RunFile("same", 0, write_run(tmp_path / "s0.parquet", lists[1])),
        RunFile("best", 0, write_run(tmp_path / "p0.parquet", perfect)),
    ]
    result = evaluate(config, write_corpus(tmp_path, pairs), runs, {}).table
    assert result.select("method", "seed").rows() == [
        ("base", "0"),
        ("base", "1"),
        ("base", "mean"),
        ("same", "0"),
        ("best", "0"),
    ]
    rows = {row["method"] + row["seed"]: row for row in result.iter_rows(named=True)}
    seeds = [rows["base0"]["recall@20"], rows["base1"]["recall@20"]]
    assert rows["basemean"]["recall@20"] == pytest.approx(np.mean(seeds))
    assert rows["basemean"]["recall@20_std"] == pytest.approx(np.std(seeds, ddof=1))
    assert [rows[name]["recall@20_p"] for name in ("base0", "base1", "basemean")] == [None] * 3
    assert rows["best0"]["recall@20"] == 1.0
    assert rows["best0"]["recall@20_p"] == pytest.approx(1 / 201)
    assert rows["same0"]["recall@20_p"] > 0.05
    assert [rows[name]["recall@20_p_holm"] for name in ("base0", "base1", "basemean")] == [None] * 3
    assert rows["best0"]["recall@20_p_holm"] == pytest.approx(2 / 201)  # the smaller of two
    assert rows["same0"]["recall@20_p_holm"] == rows["same0"]["recall@20_p"]
    for row in rows.values():
        assert row["recall@20_low"] <= row["recall@20"] <= row["recall@20_high"]


def random_runs(folder: Path, rng: np.random.Generator) -> list[RunFile]:
    """Two seeds of a method and one of another, documents in a drawn order."""
    names = [("base", 4), ("base", 7), ("other", 4)]
    lists = [{query: rng.permutation(N_DOCS).tolist() for query in range(20)} for _ in names]
    return [
        RunFile(*name, write_run(folder / f"{name[0]}{name[1]}.parquet", found))
        for name, found in zip(names, lists, strict=True)
    ]


def test_p_is_against_the_mean_of_the_first_methods_seeds(tmp_path):
    rng = np.random.default_rng(1)
    pairs, _ = random_case(rng)
    config = EvaluateConfig(
        metrics=("recall@20",), protocols=("all",), n_resamples=100, significance="t_test"
    )
    found = evaluate(config, write_corpus(tmp_path, pairs), random_runs(tmp_path, rng), {})
    single = {key: part["recall@20"].to_numpy() for key, part in found.per_query.group_by("method", "seed")}
    reference = (single["base", 4] + single["base", 7]) / 2
    [p] = found.table.filter(method="other")["recall@20_p"].to_list()
    assert p == pytest.approx(stats.ttest_rel(single["other", 4], reference).pvalue)


def test_another_seed_of_the_resampling_changes_intervals_and_p_alone(tmp_path):
    rng = np.random.default_rng(2)
    pairs, _ = random_case(rng)
    inputs, runs = write_corpus(tmp_path, pairs), random_runs(tmp_path, rng)
    config = EvaluateConfig(metrics=("recall@20",), protocols=("all",), n_resamples=100)
    first, again, other = (evaluate(config, inputs, runs, {}, seed).table for seed in (0, 0, 1))
    assert first.equals(again)
    changed = {name for name in first.columns if not first[name].equals(other[name])}
    assert changed == {"recall@20_low", "recall@20_high", "recall@20_p", "recall@20_p_holm"}


def test_the_header_says_which_pairs_are_seen(tmp_path):
    run = write_run(tmp_path / "run.parquet", {1: [10]})
    config = EvaluateConfig(metrics=("recall@5",), n_resamples=100, protocols=("seen",))
    evaluation = evaluate(config, write_corpus(tmp_path), [RunFile("a", 0, run)], {})
    [line] = [line for line in evaluation.header if line.startswith("protocol ")]
    assert "seen_labels (E, S, C unless" in line
    assert CorpusConfig().seen_labels == ("E", "S", "C")
    assert "holds out for validation included" in line


def test_significance_can_be_a_t_test(tmp_path):
    run = write_run(tmp_path / "run.parquet", {1: [10, 5, 11], 2: [1, 2, 3, 20, 21]})
    config = EvaluateConfig(metrics=("recall@5",), n_resamples=100, significance="t_test")
    evaluation = evaluate(config, write_corpus(tmp_path), [RunFile("a", 0, run), RunFile("b", 0, run)], {})
    assert evaluation.table["recall@5_p"].to_list() == [None, 1.0] * 2
    assert any("t-test" in line for line in evaluation.header)


GOOD = [(1, 10, 1, 2.0), (1, 11, 2, 1.0), (2, 20, 1, 3.0)]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ((7, 10, 1, 1.0), "query_id 7.*not a test query"),
        ((9, 10, 1, 1.0), "query_id 9.*not a test query"),  # a training query
        ((2, N_DOCS, 2, 1.0), "doc_id outside"),
        ((2, -1, 2, 1.0), "doc_id outside"),
        ((2, 21, 2, float("nan")), "not finite"),
        ((2, 21, 2, float("inf")), "not finite"),
        ((1, 10, 3, 0.5), "row 0 .*listed twice"),
        ((2, 21, 3, 0.5), "row 3 .*ranks are not 1..n"),
        ((2, 21, 1, 0.5), "ranks are not 1..n"),
        ((2, 21, 0, 0.5), "ranks are not 1..n"),
    ],
)
def test_runs_that_cannot_be_right_are_refused(tmp_path, row, message):
    inputs = write_corpus(tmp_path)
    pq.write_table(table([*GOOD, row], RUN), tmp_path / "run.parquet")
    with pytest.raises(InputError, match=message):
        evaluate(CONFIG, inputs, [RunFile("a", 0, tmp_path / "run.parquet")], {})


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ((1, 13, "X", "test", True), "column .label., row 8: .X.; allowed are E, S, C, I"),
        ((9, 13, "E", "test", True), "not a test query"),
        ((1, N_DOCS, "E", "test", True), "doc_id outside"),
        ((1, 10, "S", "test", True), "query_id 1, doc_id 10 is there twice"),
    ],
)
def test_judgements_that_cannot_be_right_are_refused(tmp_path, pair, message):
    inputs = write_corpus(tmp_path)
    pq.write_table(table([*PAIRS, pair], JUDGEMENTS), inputs.judgements)
    run = write_run(tmp_path / "run.parquet", {1: [10]})
    with pytest.raises(InputError, match=message):
        evaluate(CONFIG, inputs, [RunFile("a", 0, run)], {})


def test_other_mistakes_are_named(tmp_path):
    inputs = write_corpus(tmp_path)
    run = RunFile("a", 0, write_run(tmp_path / "run.parquet", {1: [10]}))
    with pytest.raises(InputError, match="given twice"):
        evaluate(CONFIG, inputs, [run, run], {})
    with pytest.raises(InputError, match="no run of a method 'bm25'"):
        evaluate(CONFIG, inputs, [run], {"bm25": "k1 1.2"})
    with pytest.raises(InputError, match="no such file"):
        evaluate(CONFIG, inputs, [run._replace(path=tmp_path / "missing.parquet")], {})
    made_by_t5 = pa.schema(RUN, metadata={MADE_BY: "t5"})
    pq.write_table(made_by_t5.empty_table(), tmp_path / "empty.parquet")
    with pytest.raises(InputError, match="no row"):
        evaluate(CONFIG, inputs, [run._replace(path=tmp_path / "empty.parquet")], {})
    complements = write_corpus(tmp_path, [pair for pair in PAIRS if pair[2] in "CI"] + [PAIRS[-1]])
    with pytest.raises(InputError, match="no test pair is relevant"):
        evaluate(CONFIG, complements, [run], {})


def test_files_are_written_and_read_back(tmp_path, monkeypatch):
    inputs = write_corpus(tmp_path)
    runs = {"a": {1: [10, 5, 11]}, "bm25": {1: [11], 4: [40]}}
    paths = {method: write_run(tmp_path / f"{method}.parquet", lists) for method, lists in runs.items()}
    output, per_query = tmp_path / "recall.tsv", tmp_path / "recall_per_query.parquet"
    arguments = ["--config", CONFIG.model_dump_json(), "--dataset", "toy", "--note", "bm25=k1 1.2,\n b 0.75"]
    for name in ("judgements", "queries", "products"):
        arguments += [f"--{name}", str(getattr(inputs, name))]
    for method, path in paths.items():
        arguments += ["--run", f"{method}:0:{path}"]
    arguments += ["--output", str(output), "--per-query", str(per_query)]
    monkeypatch.setattr("sys.argv", ["evaluate.py", *arguments])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    text = output.read_text()
    assert "# bm25: k1 1.2, b 0.75\n" in text
    assert "# a, seed 0: at most 3 documents a query" in text  # recall@5 of this run is recall@3
    evaluation = evaluate(
        CONFIG, inputs, [RunFile(m, 0, p) for m, p in paths.items()], {"bm25": "k1 1.2, b 0.75"}
    )
    table_read = read_recall(output)
    assert table_read.schema == evaluation.table.schema
    for column in table_read.columns:
        if table_read.schema[column] == pl.Float64:
            kept = evaluation.table[column].to_list()
            assert table_read[column].to_list() == [
                x if x is None else pytest.approx(x, rel=1e-5) for x in kept
            ]
        else:
            assert table_read[column].to_list() == evaluation.table[column].to_list()
    stored = pq.read_table(per_query)
    assert stored.column_names[:7] == [
        "dataset",
        "method",
        "seed",
        "protocol",
        "labels",
        "query_id",
        "n_relevant",
    ]
    assert pl.from_arrow(stored).equals(evaluation.per_query)
    first = output.read_bytes(), per_query.read_bytes()
    write_evaluation(evaluation, output, per_query)
    assert (output.read_bytes(), per_query.read_bytes()) == first


def write_run_of(path: Path, kind: str) -> Path:
    """A run that says which kind of retriever made it."""
    write_run(path, {1: [10, 11, 12]})
    pq.write_table(pq.read_table(path).replace_schema_metadata({"retriever": kind}), path)
    return path


def test_every_row_says_which_retriever_made_it(tmp_path):
    runs = [RunFile("a", seed, write_run_of(tmp_path / f"a{seed}.parquet", "t5")) for seed in (0, 1)]
    runs.append(RunFile("b", 0, write_run_of(tmp_path / "b.parquet", "light")))
    runs.append(RunFile("c", 0, write_run(tmp_path / "c.parquet", {1: [10, 11, 12]})))
    table = evaluate(CONFIG, write_corpus(tmp_path), runs, {}).table
    assert table.columns[:3] == ["dataset", "method", "retriever"]
    rows = table.filter(protocol="all", labels="ES").select("method", "seed", "retriever").rows()
    made_by_t5 = [("a", seed, "t5") for seed in ("0", "1", "mean")]
    assert rows == [*made_by_t5, ("b", "0", "light"), ("c", "0", "none")]


def test_seeds_of_a_method_made_by_different_retrievers_are_refused(tmp_path):
    runs = [
        RunFile("a", seed, write_run_of(tmp_path / f"{kind}.parquet", kind))
        for seed, kind in enumerate(("t5", "light"))
    ]
    with pytest.raises(
        InputError, match=r"light.parquet: made by the retriever light, other seeds of a by t5"
    ):
        evaluate(CONFIG, write_corpus(tmp_path), runs, {})


@pytest.mark.parametrize("argument", ["a", "a:0", "a:x:run.parquet", ":0:run.parquet", "a:0:"])
def test_a_run_argument_has_three_parts(tmp_path, monkeypatch, capsys, argument):
    named = [
        f"--{name}=x" for name in ("dataset", "judgements", "queries", "products", "output", "per-query")
    ]
    monkeypatch.setattr("sys.argv", ["evaluate.py", "--config={}", *named, f"--run={argument}"])
    with pytest.raises(SystemExit, match="1"):
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert "is not METHOD:SEED:PATH" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--run=a:0:x", "--seed=-1"], "--seed: -1"),
        ([f"--run=a:{LARGEST_SEED + 1}:x"], f"--run: {LARGEST_SEED + 1}"),
    ],
)
def test_a_seed_out_of_range_is_one_line(tmp_path, monkeypatch, capsys, options, line):
    named = [
        f"--{name}=x" for name in ("dataset", "judgements", "queries", "products", "output", "per-query")
    ]
    monkeypatch.setattr("sys.argv", ["evaluate.py", "--config={}", *named, *options])
    with pytest.raises(SystemExit, match="1"):
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert capsys.readouterr().err == f"error: {line} is not in 0..4294967295; give 0 or more, below 2^32\n"


def test_read_recall_refuses_other_files(tmp_path):
    for content in ("# only a comment\n", "method\tseed\na\t0\n"):
        (tmp_path / "recall.tsv").write_text(content)
        with pytest.raises(InputError, match="not a table of recall"):
            read_recall(tmp_path / "recall.tsv")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"metrics": ["recall@5", "recall@5"]}, "repeated"),
        ({"metrics": ["recall@0"]}, "pattern"),
        ({"metrics": ["mrr@10"]}, r"evaluate: key 'metrics.0'.*recall\|ndcg\|success.*got 'mrr@10'"),
        ({"labels": ["SE"]}, "in the order ESCI"),
        ({"labels": ["EX"]}, "pattern"),
        ({"protocols": ["unseen"]}, "'seen' or 'all'"),
        ({"confidence": 95}, "less than 1"),
        ({"resamples": 10}, "did you mean 'n_resamples'"),
    ],
)
def test_impossible_settings_are_refused(values, message):
    with pytest.raises(InputError, match=message):
        validate(EvaluateConfig, values, "evaluate")
