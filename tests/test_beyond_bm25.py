"""What methods find and BM25 does not: against plain loops, and by hand."""

import numpy as np
import polars as pl
import pytest
from test_evaluate import random_case, write_corpus, write_run, write_run_of

from catid2.config.evaluate import EvaluateConfig
from catid2.evaluation.beyond_bm25 import beyond_bm25, write_beyond_bm25
from catid2.evaluation.recall import RunFile, evaluate
from catid2.evaluation.significance import bootstrap_interval
from catid2.report.inputs import read_tsv
from catid2.runtime.errors import InputError

CONFIG = EvaluateConfig(metrics=("recall@1", "ndcg@3", "recall@5"), labels=("ES", "E"), n_resamples=200)


def by_loop(pairs, protocol, labels, k, bm25, lists):
    """Return the averages over queries of what BM25 misses at k, and of what of it the lists have."""
    missed, found = [], []
    for query in {pair[0] for pair in pairs}:
        relevant = {
            doc
            for owner, doc, label, split, seen in pairs
            if owner == query and label in labels and split == "test" and (seen or protocol == "all")
        }
        if relevant:
            without = relevant - set(bm25.get(query, [])[:k])
            missed.append(len(without) / len(relevant))
            found.append(len(without & set(lists.get(query, [])[:k])) / len(relevant))
    return len(missed), np.mean(missed), np.mean(found)


@pytest.mark.parametrize("seed", range(3))
def test_it_is_what_a_loop_finds(seed, tmp_path):
    rng = np.random.default_rng(seed)
    pairs, bm25 = random_case(rng)
    runs = {("a", 0): random_case(rng)[1], ("a", 1): random_case(rng)[1], ("b", 0): random_case(rng)[1]}
    files = [RunFile("words", 0, write_run(tmp_path / "words.parquet", bm25))]
    files += [RunFile(*name, write_run(tmp_path / f"{name}.parquet", lists)) for name, lists in runs.items()]
    inputs = write_corpus(tmp_path, pairs)
    found, _ = beyond_bm25(CONFIG, inputs, files, {}, "words")
    assert found.select("method", "seed").unique(maintain_order=True).rows() == [
        ("a", "0"), ("a", "1"), ("a", "mean"), ("b", "0"),
    ]  # fmt: skip
    assert len(found) == 4 * 4
    for row in found.filter(pl.col("seed") != "mean").to_dicts():
        lists = runs[row["method"], int(row["seed"])]
        for k in (1, 3, 5):
            expected = by_loop(pairs, row["protocol"], row["labels"], k, bm25, lists)
            measured = [row[name] for name in ("n_queries", f"missed_by_bm25@{k}", f"beyond_bm25@{k}")]
            assert measured == pytest.approx(expected)
            assert row[f"beyond_bm25@{k}_low"] <= row[f"beyond_bm25@{k}"] <= row[f"beyond_bm25@{k}_high"]
    of_a = found.filter(method="a", protocol="all", labels="ES")
    single = of_a.filter(pl.col("seed") != "mean")["beyond_bm25@5"]
    assert of_a.filter(seed="mean")["beyond_bm25@5"].item() == pytest.approx(single.mean())

    recall = evaluate(CONFIG, inputs, files, {}).table
    keys = ["protocol", "labels"]
    of_bm25 = recall.filter(method="words").select(*keys, "recall@5")
    missed = found.join(of_bm25, on=keys).select(pl.col("missed_by_bm25@5") + pl.col("recall@5"))
    assert missed.to_series().to_list() == pytest.approx([1] * len(found))


def test_a_rows_interval_is_that_of_its_own_queries(tmp_path):
    """Of each row and cutoff as if it stood alone. BM25 finds nothing, the method one document in some queries."""
    rng = np.random.default_rng(3)
    pairs = [(query, query, "E", "test", True) for query in range(40)]
    ranks = rng.integers(1, 4, (2, 40))  # (seeds, queries)
    files = [RunFile("bm25", 0, write_run(tmp_path / "bm25.parquet", {0: [59]}))]
    for seed, own in enumerate(ranks.tolist()):
        lists = {query: [*(59, 58)[: rank - 1], query] for query, rank in enumerate(own)}
        files.append(RunFile("a", seed, write_run(tmp_path / f"a{seed}.parquet", lists)))
    config = EvaluateConfig(metrics=("recall@1", "recall@2"), protocols=("all",), n_resamples=600)
    table, _ = beyond_bm25(config, write_corpus(tmp_path, pairs), files, {}, "bm25")
    assert table["seed"].to_list() == ["0", "1", "mean"]
    for k in (1, 2):
        ends = table.select(f"beyond_bm25@{k}_low", f"beyond_bm25@{k}_high").rows()
        found = (ranks <= k).astype(float)
        for measured, own in zip(ends, [*found, found.mean(axis=0)], strict=True):
            low, high = bootstrap_interval(own[:, None], 0.95, 600, 0)
            assert measured == pytest.approx((low.item(), high.item()), abs=1e-12)
        assert len(set(ends)) == 3


def test_the_settings_are_those_that_it_reads():
    many = EvaluateConfig(metrics=("success@5", "ndcg@10", "recall@10"), significance="t_test")
    few = EvaluateConfig(metrics=("recall@5", "recall@10"))
    assert many.beyond_bm25() == few
    read = {"labels": ("E",), "protocols": ("all",), "confidence": 0.9, "n_resamples": 200}
    assert many.model_copy(update=read).beyond_bm25() == few.model_copy(update=read)


def test_by_hand_and_written(tmp_path):
    """BM25 has one of the two relevant documents of each query, a search both, one, or none of them."""
    pairs = [(query, 10 * query + place, "E", "test", True) for query in (1, 2, 3) for place in (0, 1)]
    inputs = write_corpus(tmp_path, pairs)
    bm25 = write_run(tmp_path / "bm25.parquet", {1: [10], 2: [20], 3: [30]})
    search = write_run(tmp_path / "search.parquet", {1: [5, 10, 11], 2: [20], 3: [1, 2, 3, 31]})
    runs = [RunFile("search", 7, search), RunFile("bm25", 7, bm25)]
    config = EvaluateConfig(metrics=("recall@3", "success@5"), protocols=("seen",), n_resamples=100)
    write_beyond_bm25(
        tmp_path / "beyond.tsv", *beyond_bm25(config, inputs, runs, {"bm25": "k1 1.2,\n b 0.75"}, "bm25")
    )
    assert "# bm25: k1 1.2, b 0.75\n" in (tmp_path / "beyond.tsv").read_text()
    [row] = read_tsv(tmp_path / "beyond.tsv", ("beyond_bm25@3",)).to_dicts()
    assert (row["dataset"], row["method"], row["seed"], row["n_queries"]) == ("toy", "search", 7, 3)
    assert (row["missed_by_bm25@3"], row["missed_by_bm25@5"]) == (0.5, 0.5)
    assert row["beyond_bm25@3"] == pytest.approx(1 / 6, abs=1e-6)
    assert row["beyond_bm25@5"] == pytest.approx(1 / 3, abs=1e-6)


def test_one_run_of_bm25_is_needed(tmp_path):
    inputs = write_corpus(tmp_path)
    runs = [RunFile("a", seed, write_run(tmp_path / f"{seed}.parquet", {1: [10]})) for seed in (0, 1)]
    for name, count in (("a", 2), ("bm25", 0)):
        with pytest.raises(InputError, match=f"--bm25: {count} runs of '{name}'"):
            beyond_bm25(CONFIG, inputs, runs, {}, name)


def test_a_comparison_with_nothing_is_refused(tmp_path):
    run = RunFile("bm25", 0, write_run(tmp_path / "run.parquet", {1: [10]}))
    with pytest.raises(InputError, match="--run: no run but that of bm25; give the runs that are compared"):
        beyond_bm25(CONFIG, write_corpus(tmp_path), [run], {}, "bm25")


def test_runs_and_notes_are_refused_as_evaluate_does(tmp_path):
    inputs = write_corpus(tmp_path)
    runs = [
        RunFile(kind, 0, write_run_of(tmp_path / f"{kind}.parquet", kind)) for kind in ("none", "t5", "light")
    ]
    with pytest.raises(InputError, match="--run: a method and seed are given twice"):
        beyond_bm25(CONFIG, inputs, [*runs, runs[1]], {}, "none")
    with pytest.raises(
        InputError, match=r"light.parquet: made by the retriever light, other seeds of t5 by t5"
    ):
        beyond_bm25(CONFIG, inputs, [*runs, RunFile("t5", 1, runs[2].path)], {}, "none")
    with pytest.raises(InputError, match="--note: no run of a method 'bm25'"):
        beyond_bm25(CONFIG, inputs, runs, {"bm25": "k1 1.2"}, "none")
    table, header = beyond_bm25(CONFIG, inputs, runs, {}, "none")
    assert table.select("method", "retriever").unique(maintain_order=True).rows() == [
        ("t5", "t5"),
        ("light", "light"),
    ]
    assert any(line.startswith("retriever: t5") for line in header)
