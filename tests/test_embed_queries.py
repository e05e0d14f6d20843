"""Queries in the space of a view's documents: equal to documents of the same text, and tied to what they are of."""

import shutil

import numpy as np
import pyarrow as pa
import pytest
import torch
from retriever_case import WORDS, write_case
from test_embed import save_tokenizer, t5_config
from transformers import T5EncoderModel

from catid2.config.base import validate
from catid2.config.embed import View, ViewConfig
from catid2.embedding.documents import Outputs, embed
from catid2.embedding.queries import Corpus, embed_queries
from catid2.embedding.queries import Outputs as QueryOutputs
from catid2.embedding.vectors import read_vectors
from catid2.runtime.errors import InputError
from catid2.runtime.tables import QUERIES, read_embeddings, read_json, read_table, write_json, write_table

DOCUMENTS = 60
KINDS = ("tfidf_svd", "hf")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> str:
    """Return the folder of a tiny random T5 encoder."""
    folder = tmp_path_factory.mktemp("t5")
    torch.manual_seed(0)
    T5EncoderModel(t5_config(save_tokenizer(folder))).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def corpus(tmp_path) -> Corpus:
    """Return a corpus whose last queries, of both splits, are the titles of documents 0 and 1; no vectors yet."""
    case = write_case(tmp_path, documents=DOCUMENTS)
    titles = read_table(case.products, {"title": pa.string()}).column("title").to_pylist()
    rows = read_table(case.queries, QUERIES).to_pylist()[::-1]  # the order of the file is no order of ids
    rows += [
        {"query_id": 7 + i, "query": titles[i], "split": split} for i, split in enumerate(["train", "test"])
    ]
    write_table(case.queries, pa.Table.from_pylist(rows, pa.schema(list(QUERIES.items()))))
    return Corpus(tmp_path / "view.npy", case.products, case.queries)


def embedded(
    corpus: Corpus, encoder: str, kind: str, query_prefix: str = "", seed: int = 0, **settings
) -> np.ndarray:
    """Embed documents and queries; return the queries' matrix."""
    folder = corpus.embeddings.parent
    own = {"dims": 6} if kind == "tfidf_svd" else {"model": encoder, "max_tokens": 32}
    values = {"template": "{title}", "encoder": {"kind": kind} | own | settings}
    view = validate(ViewConfig, values, "view")
    embed(view, corpus.products, Outputs(corpus.embeddings, folder / "view.json", folder / "shards"), seed)
    beside = QueryOutputs(folder / "view_queries.npy", folder / "view_queries.json")
    embed_queries(query_prefix, corpus, beside)
    return np.asarray(read_embeddings(beside.matrix), np.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_a_query_that_is_a_title_has_the_vector_of_its_document(corpus, encoder, kind):
    queries = embedded(corpus, encoder, kind)
    documents = np.asarray(read_embeddings(corpus.embeddings, rows=DOCUMENTS), np.float32)
    np.testing.assert_allclose(queries[-2:], documents[:2], atol=2e-3)
    assert np.abs(queries[-2] - documents[1]).max() > 0.02
    vectors = read_vectors(corpus.embeddings, corpus.queries, DOCUMENTS)
    ids = np.array([8, 7, 100])
    first = read_table(corpus.queries, QUERIES).column("query_id").to_pylist().index(100)
    np.testing.assert_array_equal(vectors.of_queries(ids), queries[[-1, -2, first]].astype(np.float16))


def test_what_was_fitted_with_a_seed_is_fitted_again_with_it(corpus, encoder):
    views = []
    for seed in (0, 5):  # which documents the encoder is fitted to
        queries = embedded(corpus, encoder, "tfidf_svd", seed=seed, fit_documents=20)
        views.append(np.asarray(read_embeddings(corpus.embeddings, rows=DOCUMENTS), np.float32))
        np.testing.assert_allclose(queries[-2:], views[-1][:2], atol=2e-3)
    assert np.abs(views[0] - views[1]).max() > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_the_prefix_of_queries_stands_in_place_of_that_of_documents(corpus, encoder, kind):
    settings = {"prefix": "acme box "} if kind == "hf" else {}
    plain = embedded(corpus, encoder, kind, **settings)
    first = read_table(corpus.queries, QUERIES).column("query").to_pylist()[0]
    table = read_table(corpus.queries, QUERIES).to_pylist()
    word = WORDS[0]
    prefixed = embedded(corpus, encoder, kind, f"{word} ", **settings)
    write_table(
        corpus.queries,
        pa.Table.from_pylist(
            [table[0] | {"query": f"{word} {first}"}, *table[1:]], pa.schema(list(QUERIES.items()))
        ),
    )
    written_out = embedded(corpus, encoder, kind, **settings)
    np.testing.assert_allclose(prefixed[0], written_out[0], atol=2e-3)
    assert np.abs(prefixed[0] - plain[0]).max() > 0.02


def test_words_that_no_document_has_do_not_count(corpus, encoder):
    rows = read_table(corpus.queries, QUERIES).to_pylist()
    title = rows[-1]["query"]
    rows[0] |= {"query": f"{title} zzyzx"}
    rows[1] |= {"query": "zzyzx"}
    write_table(corpus.queries, pa.Table.from_pylist(rows, pa.schema(list(QUERIES.items()))))
    queries = embedded(corpus, encoder, "tfidf_svd")
    np.testing.assert_allclose(queries[0], queries[-1], atol=2e-3)
    assert not queries[1].any()


def test_an_encoder_that_has_changed_is_refused(corpus, encoder, tmp_path):
    copy = tmp_path / "encoder"
    shutil.copytree(encoder, copy)
    embedded(corpus, str(copy), "hf")
    model = T5EncoderModel.from_pretrained(copy)
    model.shared.weight.data += 1
    model.save_pretrained(copy)
    with pytest.raises(InputError, match=r"view.json: made with .* which now is .*run embed again"):
        embed_queries("", corpus, QueryOutputs(tmp_path / "again.npy", tmp_path / "again.json"))
    assert not (tmp_path / "again.npy").exists()


def test_documents_that_have_changed_are_refused(corpus, encoder, tmp_path):
    embedded(corpus, encoder, "tfidf_svd")
    table = read_table(corpus.products, {"doc_id": pa.int32(), "title": pa.string()}).to_pylist()
    other = pa.Table.from_pylist([row | {"title": f"{row['title']} {row['doc_id'] % 7}"} for row in table])
    nulls = {name: pa.nulls(DOCUMENTS, pa.string()) for name in ("brand", "color", "bullets", "description")}
    columns = {"doc_id": other["doc_id"].cast(pa.int32()), "title": other["title"]} | nulls
    write_table(corpus.products, pa.table(columns))
    with pytest.raises(InputError, match=r"view.npy: not the vectors that its encoder now gives"):
        embed_queries("", corpus, QueryOutputs(tmp_path / "again.npy", tmp_path / "again.json"))


def test_vectors_of_something_else_are_refused(corpus, encoder, tmp_path):
    embedded(corpus, encoder, "tfidf_svd")

    def refused() -> str:
        with pytest.raises(InputError) as caught:
            read_vectors(corpus.embeddings, corpus.queries, DOCUMENTS)
        return str(caught.value)

    description = tmp_path / "view_queries.json"
    content = read_json(description)
    write_json(description, content | {"documents": content["documents"] | {"seed": 1}})
    assert "view_queries.json: of another view or other documents" in refused()
    write_json(description, content)
    matrix = np.array(read_embeddings(tmp_path / "view_queries.npy"))
    np.save(tmp_path / "view_queries.npy", matrix[:, :-1])
    assert "view_queries.npy: 5 dimensions, those of documents have 6" in refused()
    matrix[3, 0] = np.nan
    np.save(tmp_path / "view_queries.npy", matrix)
    assert "view_queries.npy: row 3: a value is not finite" in refused()
    rows = read_table(corpus.queries, QUERIES)
    write_table(corpus.queries, rows.slice(1))
    assert "view_queries.json: not of the queries in" in refused()


def test_what_embed_runs_with_does_not_hang_on_the_prefix_of_queries():
    one, other = (View.model_validate({"query_prefix": prefix}) for prefix in ("", "query: "))
    assert one != other
    assert one.of_documents() == other.of_documents() == ViewConfig()
