"""Cross-validation of methods: every query is searched once, without having been taught, and counted by hand."""

import sys

import numpy as np
import polars as pl
import pytest
from light_case import SMALL, embed_case
from retriever_case import TINY, write_case

from catid2.plan.settings import Pipeline
from catid2.retriever import light_training, t5_training
from catid2.retriever.light import LightRetriever
from catid2.retriever.t5 import DocIDRetriever
from catid2.runtime.tables import JUDGEMENTS, read_table
from workflow import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

from recipes import FOLDS, Recipes

CONFIG = {
    "sources": {"tiny": {"kind": "simulated", "seed": 1}},
    "datasets": {"tiny_us": {"source": "tiny", "locale": "us"}},
    "views": {"view": {"encoder": {"kind": "tfidf_svd", "dims": 6}}},
    "view": "view",
    "retriever": TINY.model_dump(mode="json") | {"epochs": 1},
    "variants": {"light": {"retriever": SMALL.model_dump(mode="json") | {"epochs": 1}}},
    "methods": {"random": {"docids": {"scheme": {"kind": "random", "layers": 3, "codebook_size": 8}}}},
    "studies": {"recall": {"methods": ["random"], "seeds": [0]}},
}


@pytest.fixture(scope="module")
def recipes(tmp_path_factory) -> Recipes:
    results = tmp_path_factory.mktemp("results") / "tiny_us"
    (results / "corpus").mkdir(parents=True)
    embed_case(write_case(results / "corpus"), results / "embeddings")
    return Recipes(Pipeline(CONFIG, "test"), "tiny_us", results)


@pytest.mark.parametrize("t5", [False, True])
def test_every_query_is_held_out_once_and_its_recall_is_that_of_its_list(t5, recipes, tmp_path, monkeypatch):
    recipes.kind = "t5" if t5 else "light"
    taught, listed = [], {}

    def search(model, trie, queries, *rest):
        assert isinstance(model, DocIDRetriever if t5 else LightRetriever)
        found = plain_search(model, trie, queries, *rest)
        listed[len(taught) - 1] = found.doc_ids
        return found

    def read_data(config, inputs, queries=None):
        data = plain_read(config, inputs, queries)
        if len(taught) == len(listed):
            taught.append(queries)
        return data

    def make_examples(config, tokenizer, queries, *rest):
        taught.append(queries)
        return plain_make(config, tokenizer, queries, *rest)

    import recipes as module

    plain_search, plain_read = module.search, light_training.read_data
    plain_make = t5_training.make_examples
    monkeypatch.setattr(t5_training, "make_examples", make_examples)
    monkeypatch.setattr(module, "search", search)
    monkeypatch.setattr(light_training, "read_data", read_data)
    parts = []
    for fold in range(FOLDS):
        (tmp_path / str(fold)).mkdir()
        parts.append(recipes.measure("random", fold, tmp_path / str(fold)))
    table = pl.concat(parts)
    relevant: dict[int, set[int]] = {}
    for row in read_table(recipes.judgements, JUDGEMENTS).to_pylist():
        if row["split"] == "train" and row["label"] in "ES":
            relevant.setdefault(row["query_id"], set()).add(row["doc_id"])
    assert sorted(table["query_id"]) == sorted(relevant)
    for fold, queries in enumerate(taught):
        own = table.filter(fold=fold)
        held = [int(query) for query in queries.ids[queries.held_out]]
        assert own["query_id"].to_list() == held
        others = set().union(*(docs for query, docs in relevant.items() if query not in held))
        for row, found in zip(own.iter_rows(named=True), listed[fold], strict=True):
            docs = relevant[row["query_id"]]
            for k in (10, 50):
                hits = set(found[:k].tolist())
                assert row[f"all@{k}"] == pytest.approx(len(docs & hits) / len(docs))
                seen = docs & others
                expected = len(seen & hits) / len(seen) if seen else None
                assert row[f"seen@{k}"] == (None if expected is None else pytest.approx(expected))
    assert np.isfinite(table["all@10"].to_numpy()).all()
