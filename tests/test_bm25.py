"""BM25: the formula by hand, bm25s' own ranking, ties, Japanese, and the script's run."""

import json
import logging
import math
import runpy
from pathlib import Path

import bm25s
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from catid2.baselines.bm25 import Bm25Index, best, search_bm25
from catid2.config.base import validate
from catid2.config.bm25 import Bm25Config
from catid2.runtime.errors import InputError
from catid2.runtime.tables import QUERIES, RUN, TEXT_FIELDS, read_table

SCRIPT = Path(__file__).parent.parent / "scripts" / "search_bm25.py"
VOCABULARY = [f"w{i}" for i in range(40)]


def random_texts(n: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(VOCABULARY, rng.integers(1, 12))) for _ in range(n)]


def write_corpus(folder, titles: list[str], queries: list[tuple[str, str]]):
    """products.parquet with titles alone, queries.parquet from (query, split)."""
    columns = {name: pa.nulls(len(titles), pa.string()) for name in (*TEXT_FIELDS, "category_1")}
    columns["title"] = pa.array(titles, pa.string())
    products, query_file = folder / "products.parquet", folder / "queries.parquet"
    pq.write_table(pa.table({"doc_id": pa.array(range(len(titles)), pa.int32())} | columns), products)
    rows = [{"query_id": 100 + i, "query": query, "split": split} for i, (query, split) in enumerate(queries)]
    pq.write_table(pa.Table.from_pylist(rows, pa.schema(QUERIES)), query_file)
    return products, query_file


def test_scores_by_hand():
    # Lucene's formula: log(1 + (N - df + .5) / (df + .5)) · tf / (tf + k1 (1 - b + b · length / mean length))
    index = Bm25Index.build(["red shoe", "red red hat box", "blue shoe"], Bm25Config(k1=1.2, b=0.75))
    hits = index.search("red")
    mean = 8 / 3
    idf = math.log(1 + (3 - 2 + 0.5) / (2 + 0.5))
    short = idf * 1 / (1 + 1.2 * (0.25 + 0.75 * 2 / mean))
    long = idf * 2 / (2 + 1.2 * (0.25 + 0.75 * 4 / mean))
    assert long > short
    np.testing.assert_array_equal(hits.doc_id, [1, 0])
    np.testing.assert_allclose(hits.score, [long, short], rtol=1e-6)


@pytest.mark.parametrize("method", ["lucene", "robertson", "atire"])
def test_the_same_ranking_as_bm25s_with_its_own_tokenizer(method):
    texts, queries = random_texts(200, 0), random_texts(20, 1)
    index = Bm25Index.build(texts, Bm25Config(method=method, k1=0.9, b=0.4, top_k=10))
    oracle = bm25s.BM25(method=method, k1=0.9, b=0.4)
    oracle.index(bm25s.tokenize(texts, stopwords=None, show_progress=False), show_progress=False)
    words = bm25s.tokenize(queries, stopwords=None, return_ids=False, show_progress=False)
    _, scores = oracle.retrieve(words, k=10, show_progress=False)
    for query, tokens, expected in zip(queries, words, scores, strict=True):
        hits = index.search(query)
        np.testing.assert_allclose(hits.score, expected[: len(hits.score)], rtol=1e-5)
        np.testing.assert_allclose(oracle.get_scores(tokens)[hits.doc_id], hits.score, rtol=1e-5)


@given(
    arrays(np.float32, st.integers(1, 30), elements=st.sampled_from([0.0, 0.5, 1.0, 2.0])), st.integers(1, 12)
)
def test_best_is_a_full_sort_by_score_then_doc_id(scores, k):
    expected = [i for i in sorted(range(len(scores)), key=lambda i: (-scores[i], i)) if scores[i] > 0][:k]
    hits = best(scores, k)
    assert hits.doc_id.tolist() == expected
    assert hits.score.tolist() == scores[expected].tolist()


def test_words_behind_the_last_character_that_is_read_are_not_found(tmp_path):
    products, queries = write_corpus(
        tmp_path, ["red shoe lamp", "lamp"], [("lamp", "test"), ("shoe", "test")]
    )
    config = Bm25Config(template="{title}", max_characters=len("red shoe"))
    run = search_bm25(config, products, queries)
    assert list(zip(run["query_id"].to_pylist(), run["doc_id"].to_pylist(), strict=True)) == [
        (100, 1),
        (101, 0),
    ]


def test_japanese_is_found_without_spaces_and_full_width_letters_match():
    texts = ["レディース 靴下 5足セット", "iPhone用ケース 赤", "メンズ靴 黒"]
    index = Bm25Index.build(texts, Bm25Config())
    assert index.search("靴下").doc_id.tolist() == [0]
    assert index.search("ＩＰＨＯＮＥ").doc_id.tolist() == [1]
    assert index.search("女性用").doc_id.tolist() == []
    assert Bm25Index.build(texts, Bm25Config(tokenizer="words")).search("ケース").doc_id.tolist() == []


def test_hindi_is_found_by_its_words_and_not_by_their_letters():
    texts = ["हिन्दी किताब", "लाल जूता", "कल तक बता दो हम"]  # the last has each consonant of the first
    index = Bm25Index.build(texts, Bm25Config())
    assert index.search("किताब").doc_id.tolist() == [0]
    assert index.search("जूता").doc_id.tolist() == [1]


def test_queries_without_any_hit_give_an_empty_run(tmp_path):
    products, queries = write_corpus(tmp_path, ["red shoe"], [("unheard", "test"), ("of", "test")])
    run = search_bm25(Bm25Config(), products, queries)
    assert run.num_rows == 0
    assert run.schema.equals(pa.schema(RUN))


def test_the_run_ranks_the_test_queries_alone(tmp_path, caplog):
    queries = [("red hat", "test"), ("red", "train"), ("unheard", "test"), ("hat", "test")]
    products, query_file = write_corpus(tmp_path, ["red shoe", "red hat", "hat"], queries)
    with caplog.at_level(logging.INFO):
        run = search_bm25(Bm25Config(top_k=2, k1=0.3, b=0.6), products, query_file)
    assert run.schema.equals(pa.schema(RUN))
    assert run.column("query_id").to_pylist() == [100, 100, 103, 103]
    assert run.column("rank").to_pylist() == [1, 2, 1, 2]
    assert run.column("doc_id").to_pylist() == [1, 2, 2, 1]
    assert "words_cjk_bigrams, k1 0.3, b 0.6" in caplog.text
    assert "1 of them without a result" in caplog.text


def test_the_script_writes_the_run(tmp_path, monkeypatch):
    products, queries = write_corpus(tmp_path, ["red shoe", "red hat"], [("red", "test")])
    output = tmp_path / "run.parquet"
    arguments = [
        "--config",
        json.dumps({"k1": 0.9}),
        "--products",
        products,
        "--queries",
        queries,
        "--output",
        output,
    ]
    monkeypatch.setattr("sys.argv", ["search_bm25.py", *map(str, arguments)])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    assert read_table(output, RUN).column("doc_id").to_pylist() == [0, 1]


@pytest.mark.parametrize(
    ("titles", "queries", "message"),
    [
        (["shoe"], [("shoe", "train")], "no test query"),
        (["…"], [("shoe", "test")], "no word in any"),
        ([], [("shoe", "test")], "no products"),
        (["shoe"], [("shoe", "test"), (None, "test")], "query 101 has no text"),
    ],
)
def test_inputs_without_anything_to_search_are_refused(tmp_path, titles, queries, message):
    with pytest.raises(InputError, match=message):
        search_bm25(Bm25Config(), *write_corpus(tmp_path, titles, queries))


@pytest.mark.parametrize(
    "values", [{"b": 1.5}, {"k1": -1}, {"method": "bm25+"}, {"template": "{x}"}, {"k_1": 1}]
)
def test_impossible_settings_are_refused(values):
    with pytest.raises(InputError):
        validate(Bm25Config, values, "bm25")


def test_a_saved_index_finds_the_same_and_a_filter_leaves_documents_out(tmp_path):
    rng = np.random.default_rng(5)
    texts = [" ".join(rng.choice(["red", "blue", "shoe", "hat", "box"], 4)) for _ in range(40)]
    index = Bm25Index.build(texts, Bm25Config())
    index.save(tmp_path / "index")
    loaded = Bm25Index.load(tmp_path / "index", Bm25Config())
    allowed = rng.random(40) < 0.5
    every = index.search("red hat", k=40)
    for found in (loaded.search("red hat", k=40), index.search("red hat", k=40, allowed=np.ones(40, bool))):
        assert found.doc_id.tolist() == every.doc_id.tolist()
        assert found.score.tolist() == every.score.tolist()
    narrowed = loaded.search("red hat", k=3, allowed=allowed)
    assert narrowed.doc_id.tolist() == [doc for doc in every.doc_id.tolist() if allowed[doc]][:3]
