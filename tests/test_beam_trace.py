"""The table of what a search loses: next to the run of the same method, and of which queries it is."""

import itertools
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from light_case import embed_case
from retriever_case import Case, write_case
from test_efficiency import untrained

from catid2.config.evaluate import EvaluateConfig
from catid2.config.retrieve import RetrieveConfig
from catid2.evaluation.per_query import PerQuery, in_turn, read_per_query, telling_queries
from catid2.evaluation.recall import Inputs, RunFile, evaluate
from catid2.evaluation.table import write_evaluation
from catid2.retriever.retrieve import Corpus, retrieve
from catid2.runtime.errors import InputError
from catid2.runtime.tables import TRACE, read_table
from catid2.studies.beam_trace import Shown, beam_trace

SIZES = (4, 4, 8)
METRIC = "recall@5"


class Searched:
    """Runs of 5 and of 15 beams, and their metrics by query."""

    def __init__(self, folder: Path):
        self.case: Case = write_case(folder / "corpus", sizes=SIZES)
        self.retriever = untrained(folder / "retriever", self.case, SIZES)
        view = embed_case(self.case, folder / "view")
        self.corpus = Corpus(self.case.docids, self.case.products, self.case.queries, view)
        self.config = {beams: RetrieveConfig(beams=beams, top_k=5) for beams in (5, 15)}
        self.runs = {beams: folder / f"{beams}.parquet" for beams in self.config}
        for beams, run in self.runs.items():
            retrieve(self.config[beams], self.retriever, self.corpus, run, 20)
        self.per_query = folder / "per_query.parquet"
        inputs = Inputs("d", self.case.judgements, self.case.queries, self.case.products)
        files = [
            *(RunFile("narrow", seed, self.runs[beams]) for seed, beams in ((1, 5), (2, 15), (3, 5))),
            RunFile("wide", 1, self.runs[15]),
        ]
        evaluation = evaluate(EvaluateConfig(metrics=(METRIC,), n_resamples=100), inputs, files, {})
        write_evaluation(evaluation, folder / "recall.tsv", self.per_query)

    def trace(self, config: RetrieveConfig, queries: int) -> pl.DataFrame:
        shown = Shown(self.case.judgements, self.per_query, METRIC, queries)
        return pl.from_arrow(beam_trace(config, self.retriever, self.corpus, shown))


@pytest.fixture(scope="module")
def searched(tmp_path_factory) -> Searched:
    return Searched(tmp_path_factory.mktemp("searched"))


def relevant(case: Case) -> pl.DataFrame:
    judged = pl.from_arrow(
        read_table(case.judgements, {"query_id": TRACE["query_id"], "doc_id": TRACE["doc_id"]})
    )
    labels = pl.read_parquet(case.judgements).select("label", "split")
    both = pl.concat([judged, labels], how="horizontal")
    return both.filter(pl.col("label").is_in(["E", "S"]), split="test").select("query_id", "doc_id")


def test_relevant_documents_that_stay_are_those_of_the_run(searched):
    pairs = relevant(searched.case)
    trace = searched.trace(searched.config[5], 1000)
    assert set(trace.select("query_id", "doc_id").iter_rows()) == set(pairs.iter_rows())
    ends = trace.group_by("query_id", "doc_id").last()
    stayed = ends.filter("kept").select("query_id", "doc_id", "rank", "score")
    run = pl.read_parquet(searched.runs[5]).join(pairs, on=["query_id", "doc_id"])
    assert (stayed["rank"].len(), ends.height) == (run.height, pairs.height)
    both = stayed.join(run, on=["query_id", "doc_id"])
    assert both["rank"].to_list() == both["rank_right"].to_list()
    np.testing.assert_allclose(both["score"], both["score_right"], atol=1e-5)
    assert set(ends.filter("kept")["position"]) == {3}
    assert (ends.filter(~pl.col("kept"))["rank"] > 5).all()


def test_a_search_that_ends_at_a_node_is_followed_to_there(searched):
    ranked = RetrieveConfig(beams=5, top_k=20, rank_below_level=2)
    whole, part = (searched.trace(config, 1000) for config in (searched.config[5], ranked))
    assert part.equals(whole.filter(pl.col("position") < 3))


def test_few_queries_are_the_most_telling(searched):
    every = read_per_query(searched.per_query, METRIC)
    trace = searched.trace(searched.config[5], 3)
    assert trace["query_id"].unique().sort().to_list() == sorted(telling_queries(every, 3))
    whole = searched.trace(searched.config[5], 1000)
    assert trace.equals(whole.filter(pl.col("query_id").is_in(telling_queries(every, 3))))


def test_metrics_by_query_are_means_over_seeds(searched):
    table = pl.read_parquet(searched.per_query)
    seen, every = read_per_query(searched.per_query, METRIC)
    assert [(one.protocol, one.labels) for one in (seen, every)] == [("seen", "ES"), ("all", "ES")]
    for one in (seen, every):
        assert list(one.values) == ["narrow", "wide"]
        for method, values in one.values.items():
            for query, count, value in zip(one.query_ids, one.n_relevant, values, strict=True):
                rows = table.filter(protocol=one.protocol, method=method, query_id=int(query))
                assert rows["n_relevant"].unique().to_list() == [count]
                assert value == pytest.approx(rows[METRIC].mean())
    [reference, other] = every.values.values()
    np.testing.assert_allclose(every.differences()[:, 0], reference - other, atol=1e-9)
    swapped = read_per_query(searched.per_query, METRIC, ["wide", "narrow"])[1]
    np.testing.assert_array_equal(swapped.differences(), -every.differences())


def test_tables_that_do_not_belong_together_are_refused(searched, tmp_path):
    table = pl.read_parquet(searched.per_query)
    path = tmp_path / "per_query.parquet"
    broken = {
        "no rows": table.clear(),
        "not the same queries of wide and narrow": table.filter(
            (pl.col("method") == "narrow") | (pl.col("query_id") > 100)
        ),
    }
    for message, content in broken.items():
        content.write_parquet(path, use_pyarrow=True)
        with pytest.raises(InputError, match=message):
            read_per_query(path, METRIC)
    with pytest.raises(InputError, match="column 'recall@7' is missing"):
        read_per_query(searched.per_query, "recall@7")
    with pytest.raises(InputError, match="not the same queries of other and narrow"):
        read_per_query(searched.per_query, METRIC, ["narrow", "other"])


# --- which queries tell most


def of(values: np.ndarray) -> PerQuery:
    """Return metrics of Q queries and M methods, (Q, M)."""
    ids = np.arange(100, 100 + len(values))
    return PerQuery("all", "ES", ids, ids, {f"m{place}": column for place, column in enumerate(values.T)})


@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(2, 4), st.integers(0, 14))
def test_telling_queries_are_the_biggest_wins_and_losses_in_turn(seed, queries, methods, n):
    values = np.random.default_rng(seed).integers(0, 4, (queries, methods)) / 4
    found = of(values).telling(n)
    expected: list[int] = []
    for turn, other, sign in itertools.product(range(queries), range(1, methods), (-1, 1)):
        differences = (values[:, 0] - values[:, other]).tolist()
        query = sorted(range(queries), key=lambda row, d=differences, s=sign: s * d[row])[turn]
        expected += [query] if query not in expected else []
    assert found == expected[:n]
    assert len(found) == min(n, queries)


def test_a_method_alone_has_no_wins():
    assert of(np.ones((3, 1))).telling(5) == []


@given(st.lists(st.lists(st.integers(0, 9)), max_size=4), st.integers(0, 12))
def test_lists_are_read_in_turn(lists, n):
    dealt = [own[turn] for turn in range(max(map(len, lists), default=0)) for own in lists if turn < len(own)]
    distinct = [number for place, number in enumerate(dealt) if number not in dealt[:place]]
    assert in_turn(lists, n) == distinct[:n]


def test_equal_means_of_seeds_are_level():
    thirds = np.mean([[0.1], [0.1], [0.1]], axis=0)
    assert of(np.array([[thirds[0], 0.1]])).differences().tolist() == [[0.0]]
