"""Decoding all queries: rankings, the run's table, and what must fit together."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from in_process import run_here
from retriever_case import (
    WORDS,
    Case,
    random_codes,
    random_retriever,
    without_text,
    write_case,
    write_docids,
)

from catid2.config.embed import ViewConfig
from catid2.config.retrieve import RetrieveConfig
from catid2.docids.table import Docids
from catid2.embedding.documents import Outputs, embed
from catid2.embedding.queries import Corpus as QueryCorpus
from catid2.embedding.queries import Outputs as QueryOutputs
from catid2.embedding.queries import embed_queries
from catid2.retriever.retrieve import Corpus, load, retrieve
from catid2.retriever.t5 import load_retriever
from catid2.retriever.tokenizer import train_tokenizer
from catid2.runtime.errors import InputError
from catid2.runtime.tables import MADE_BY, QUERIES, RUN, read_table
from catid2.search.beam import beam_search
from catid2.search.below_node import DenseRanking
from catid2.search.decode import Search, search
from catid2.search.rankings import recall
from catid2.search.trie import Trie
from catid2.training.tokens import TokenTable, tokenize

ROOT = Path(__file__).parents[1]
SIZES = (4, 4, 8)
CONFIG = RetrieveConfig(beams=15, top_k=10)


@pytest.fixture(scope="module")
def case(tmp_path_factory) -> Case:
    """Return a tiny corpus with DocIDs."""
    return write_case(tmp_path_factory.mktemp("corpus"), sizes=SIZES)


@pytest.fixture(scope="module")
def folder(case, tmp_path_factory) -> Path:
    """Return the folder of an untrained retriever."""
    folder = tmp_path_factory.mktemp("retriever")
    retriever = random_retriever("t5", SIZES)
    retriever.t5.config.query_prefix = "query: "
    retriever.t5.config.max_query_tokens = 16
    retriever.t5.config.docid_sha256 = Docids.read(case.docids).digest
    retriever.t5.save_pretrained(folder)
    train_tokenizer(WORDS, 300).save_pretrained(folder)
    return folder


def corpus_of(case: Case, embeddings: Path | None = None) -> Corpus:
    """Return the files that `retrieve` reads."""
    return Corpus(case.docids, case.products, case.queries, embeddings)


def some_queries(n: int) -> TokenTable:
    """Return tokens of queries of different lengths."""
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, rng.integers(1, 6))) for _ in range(n)]
    return tokenize(train_tokenizer(WORDS, 300), texts, "query: ", 16)


def test_results_do_not_depend_on_the_batch_size():
    retriever, trie = random_retriever("t5", SIZES), Trie.from_codes(random_codes(100, SIZES), SIZES)
    queries = some_queries(11)
    one, many = (search(retriever, trie, queries, Search(20, 20, batch_size)) for batch_size in (1, 4))
    np.testing.assert_allclose(one.scores, many.scores, atol=1e-4)
    assert (
        one.doc_ids == many.doc_ids
    ).mean() > 0.98  # neighbours whose scores are equal up to rounding may swap
    assert all(len(set(row)) == 20 for row in many.doc_ids.tolist())


def test_fewer_documents_than_asked_for():
    retriever, trie = random_retriever("t5", SIZES), Trie.from_codes(random_codes(3, SIZES), SIZES)
    found = search(retriever, trie, some_queries(5), Search(20, 10, 2))
    assert found.doc_ids.shape == (5, 3)
    assert all(sorted(row) == [0, 1, 2] for row in found.doc_ids.tolist())


def test_the_run_ranks_each_test_query_by_falling_score(case, folder, tmp_path):
    retrieve(CONFIG, folder, corpus_of(case), tmp_path / "run.parquet", 8)
    assert pq.read_schema(tmp_path / "run.parquet").metadata[MADE_BY.encode()] == b"t5"
    run = read_table(tmp_path / "run.parquet", RUN).to_pandas()
    asked = pq.read_table(case.queries).to_pylist()
    test = [row["query_id"] for row in asked if row["split"] == "test"]
    assert sorted(test) == run.query_id.drop_duplicates().tolist()
    for _, rows in run.groupby("query_id"):
        assert rows["rank"].tolist() == list(range(1, 11))
        assert rows.score.is_monotonic_decreasing
        assert rows.doc_id.is_unique


def test_all_that_a_search_takes_lies_on_its_device(case, folder):
    loaded = load(CONFIG, folder, corpus_of(case), torch.device("meta"))
    retriever, trie = loaded.retriever, loaded.trie
    tensors = [*retriever.parameters(), *retriever.buffers(), *trie.codes, *trie.offsets, trie.doc_ids]
    assert {tensor.device.type for tensor in tensors} == {"meta"}


@pytest.mark.slow
def test_two_ranks_write_what_one_writes(case, folder, tmp_path):
    retrieve(CONFIG, folder, corpus_of(case), tmp_path / "one.parquet", 8)
    files = ["--docids", case.docids, "--products", case.products, "--queries", case.queries]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    script = [ROOT / "scripts/retrieve.py", "--config", CONFIG.model_dump_json(), "--retriever", folder]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run(
        [*launcher, *script, *files, "--output", tmp_path / "two.parquet"], env=environment, check=True
    )
    one, two = (pq.read_table(tmp_path / f"{name}.parquet").to_pandas() for name in ("one", "two"))
    assert one.query_id.equals(two.query_id)
    np.testing.assert_allclose(one.score, two.score, atol=1e-4)
    assert (one.doc_id == two.doc_id).mean() > 0.98


def test_docids_of_another_retriever_or_corpus_are_refused(case, folder, tmp_path):
    names = [f"P{row:03d}" for row in range(60)]
    output = tmp_path / "run.parquet"
    other = corpus_of(case)._replace(docids=tmp_path / "docids.parquet")
    for sizes in ((4, 4, 9), (4, 4, 8, 3)):
        write_docids(tmp_path / "docids.parquet", np.array(sizes) - 1 - random_codes(60, sizes), names)
        with pytest.raises(InputError, match=r"the retriever in .* knows"):
            retrieve(CONFIG, folder, other, output, 8)
    write_docids(tmp_path / "docids.parquet", random_codes(60, SIZES, seed=1), names)
    assert Docids.read(other.docids).sizes == SIZES, "sizes must not differ"
    with pytest.raises(InputError, match="not the DocIDs that the retriever in"):
        retrieve(CONFIG, folder, other, output, 8)
    write_docids(tmp_path / "docids.parquet", random_codes(59, SIZES), names[:59])
    with pytest.raises(InputError, match="not the DocIDs of the documents"):
        retrieve(CONFIG, folder, other, output, 8)
    assert not output.exists()


def test_a_test_query_without_text_is_named(case, folder, tmp_path):
    queries = without_text(case.queries, 104, tmp_path / "queries.parquet")
    with pytest.raises(InputError, match="query 104 has no text"):
        retrieve(CONFIG, folder, corpus_of(case)._replace(queries=queries), tmp_path / "run.parquet", 8)


def test_scores_that_are_not_numbers_are_refused():
    retriever, trie = random_retriever("t5", SIZES), Trie.from_codes(random_codes(100, SIZES), SIZES)
    with torch.no_grad():
        retriever.t5.decoder.final_layer_norm.weight[0] = torch.nan
    with pytest.raises(InputError, match=r"scores are NaN.*lower learning_rate"):
        search(retriever, trie, some_queries(5), Search(10, 10, 2))


def test_an_impossible_batch_size_is_one_line(case, folder, tmp_path):
    files = ["--docids", case.docids, "--products", case.products, "--queries", case.queries]
    places = ["--output", tmp_path / "run.parquet", "--batch-size", "0"]
    done = run_here("retrieve", ["--config", "{}", "--retriever", folder, *files, *places])
    assert done == (1, "error: --batch-size: 0 is not a number of 1 or more; give 1 or more\n")


@pytest.mark.parametrize("depth", [1, 2])
def test_documents_below_the_best_nodes_are_ranked_by_cosine(depth):
    retriever, codes = random_retriever("t5", SIZES), random_codes(100, SIZES)
    trie, queries = Trie.from_codes(codes, SIZES), some_queries(7)
    # Unit vectors whose cosines are exact, and many of them equal: of these the lower doc_id comes first.
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randint(0, 2, (107, 4), generator=generator) - 0.5
    dense = DenseRanking(depth, vectors[:7], vectors[7:])
    found = search(retriever, trie, queries, Search(3, 10, 4), dense=dense)
    nodes = sorted({tuple(row[:depth]) for row in codes.tolist()})
    for query in range(7):
        batch = queries.batch(np.array([query]), 0)
        with torch.inference_mode():
            best = beam_search(retriever.scorer(), trie, batch, 3, depth).nodes[0].tolist()
        below = [
            doc
            for doc, row in enumerate(codes.tolist())
            if tuple(row[:depth]) in [nodes[node] for node in best]
        ]
        cosines = (vectors[7:] @ vectors[query]).numpy()
        expected = sorted(below, key=lambda doc: (-cosines[doc], doc))[:10]
        assert found.doc_ids[query][: len(expected)].tolist() == expected
        np.testing.assert_allclose(found.scores[query][: len(expected)], cosines[expected], rtol=1e-5)
        assert (found.doc_ids[query][len(expected) :] == -1).all()


def test_a_run_below_a_level_is_ranked_by_the_vectors_of_the_view(case, folder, tmp_path):
    view = ViewConfig.model_validate({"template": "{title}", "encoder": {"kind": "tfidf_svd", "dims": 6}})
    matrix = tmp_path / "view.npy"
    embed(view, case.products, Outputs(matrix, tmp_path / "view.json", tmp_path / "shards"))
    beside = QueryOutputs(tmp_path / "view_queries.npy", tmp_path / "view_queries.json")
    embed_queries("", QueryCorpus(matrix, case.products, case.queries), beside)

    config = CONFIG.model_copy(update={"rank_below_level": 2})
    retrieve(config, folder, corpus_of(case, matrix), tmp_path / "run.parquet", 8)
    run = read_table(tmp_path / "run.parquet", RUN)
    everything = read_table(case.queries, QUERIES).to_pylist()
    asked = sorted((row["query_id"], i) for i, row in enumerate(everything) if row["split"] == "test")
    documents, queries = (
        torch.nn.functional.normalize(torch.from_numpy(np.load(path)).float(), dim=1)
        for path in (matrix, beside.matrix)
    )
    codes = Docids.read(case.docids).codes
    model, tokenizer = load_retriever(folder)
    expected = search(
        model,
        Trie.from_codes(codes, SIZES),
        tokenize(tokenizer, [everything[i]["query"] for _, i in asked], "query: ", 16),
        Search(config.beams, config.top_k, 8),
        dense=DenseRanking(2, queries[[i for _, i in asked]], documents),
    )
    assert run.column("doc_id").to_numpy().tolist() == expected.doc_ids.flatten().tolist()
    np.testing.assert_allclose(run.column("score").to_numpy(), expected.scores.flatten(), rtol=1e-5)
    for level, embeddings, message in ((2, None, "pass --embeddings"), (3, matrix, "have 3 positions")):
        wrong = CONFIG.model_copy(update={"rank_below_level": level})
        with pytest.raises(InputError, match=message):  # before a model is loaded
            retrieve(wrong, tmp_path / "none", corpus_of(case, embeddings), tmp_path / "none.parquet", 8)


def test_more_documents_than_beams_are_refused():
    with pytest.raises(ValueError, match="cannot give top_k"):
        RetrieveConfig(beams=10, top_k=20)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9)), min_size=1, unique=True), st.integers(1, 6))
def test_recall_is_the_mean_share_of_a_querys_relevant_documents(pairs, k):
    pairs = sorted(pairs)
    found = np.stack([np.random.default_rng(query).permutation(10)[:6] for query in range(5)])
    shares = []
    for query in {query for query, _ in pairs}:
        relevant = {doc for other, doc in pairs if other == query}
        shares.append(len(relevant & set(found[query, :k].tolist())) / len(relevant))
    query, doc = np.array(pairs).T
    assert recall(found, query, doc, k) == pytest.approx(np.mean(shares))
