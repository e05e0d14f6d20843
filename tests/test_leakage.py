"""Nothing of the test split, nor of the queries held out for validation, is in anything that is trained.

By experiment: the texts and labels of those queries are changed, and what training writes does not change by a byte.
"""

import hashlib
import itertools
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import test_dual_encoder as dual_encoder_case
from light_case import SMALL as LIGHT
from light_case import embed_case
from light_case import train as train_light
from retriever_case import TINY as T5
from retriever_case import Case, train, write_case
from test_corpus import SMALL, Raw, messy, outputs
from transformers import AutoTokenizer

from catid2.baselines.bm25 import search_bm25
from catid2.config.bm25 import Bm25Config
from catid2.config.corpus import CorpusConfig
from catid2.config.retriever import RetrieverConfig
from catid2.corpus.build import build_corpus
from catid2.embedding.vectors import read_vectors
from catid2.retriever.light_training import Inputs
from catid2.runtime.tables import JUDGEMENTS, QUERIES, read_table, write_table

MARKER = "zqxv"  # in no product; often enough in a query for a tokenizer to make one token of it
SHARE = T5.valid_share
# The last epoch is kept, whatever validation finds: choosing among epochs is what held-out queries are for.
SHORT = {"epochs": 1, "valid_every": 1, "select_by": "last"}
OTHER_LABEL = dict(zip("ESCI", "SICE", strict=True))  # relevant or not becomes the other way round, or stays


def held_out(text: str) -> bool:
    """Return whether a train query is kept for validation (these texts are their own keys)."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64 < SHARE


def is_unseen(row: dict) -> bool:
    return row["split"] == "test" or held_out(row["query"])


def is_taught(row: dict) -> bool:
    return not is_unseen(row)


def marked(out: bool) -> Iterator[str]:
    """Yield texts with the marker that are, as train queries, held out or not."""
    texts = (f"{MARKER} {MARKER} {number}" for number in itertools.count())
    return (text for text in texts if held_out(text) == out)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def cases(tmp_path_factory) -> dict[str, Case]:
    """A corpus as it is, with other texts and labels of the queries that no training may see, and of the others."""
    folders = {name: tmp_path_factory.mktemp(name) for name in ("as it is", "unseen", "taught")}
    found = {name: write_case(folder) for name, folder in folders.items()}
    change(found["unseen"], is_unseen)
    change(found["taught"], is_taught)
    return found


def change(case: Case, chosen: Callable[[dict], bool]) -> None:
    """Give the queries that are `chosen` other texts, with the marker, and other labels; each stays what it was."""
    rows = read_table(case.queries, QUERIES).to_pylist()
    changed = {row["query_id"] for row in rows if chosen(row)}
    assert "train" in {row["split"] for row in rows if chosen(row)}
    texts = {out: marked(out) for out in (True, False)}
    for row in rows:
        if row["query_id"] in changed:
            row["query"] = next(texts[held_out(row["query"])])
    judged = read_table(case.judgements, JUDGEMENTS).to_pylist()
    for row in judged:
        if row["query_id"] in changed:
            row["label"] = OTHER_LABEL[row["label"]]
    write_table(case.queries, pa.Table.from_pylist(rows, pa.schema(QUERIES)))
    write_table(case.judgements, pa.Table.from_pylist(judged, pa.schema(JUDGEMENTS)))


def t5(case: Case, folder: Path) -> Path:
    """Train T5, also on a search log in which every train query is; return its folder."""
    asked = [row["query"] for row in read_table(case.queries, QUERIES).to_pylist() if row["split"] == "train"]
    pairs = pa.table({"product_id": [f"P{row:03d}" for row in range(len(asked))], "text": asked})
    folder.mkdir()
    write_table(folder / "pairs.parquet", pairs)
    task = {"source": "pairs", "path": str(folder / "pairs.parquet")}
    tasks = [*T5.model_dump()["tasks"], task]
    return train(RetrieverConfig.model_validate(T5.model_dump() | SHORT | {"tasks": tasks}), case, folder)


def light(case: Case, folder: Path) -> Path:
    return train_light(LIGHT.model_copy(update=SHORT), Inputs(*case, embed_case(case, folder)), folder)


def dual_encoder(case: Case, folder: Path) -> Path:
    dual_encoder_case.train(case, folder, dual_encoder_case.TINY.model_copy(update=SHORT))
    return folder / "encoder"


@pytest.mark.parametrize("kind", [t5, light, dual_encoder])
def test_texts_and_labels_of_unseen_queries_change_no_byte_of_what_is_trained(cases, kind, tmp_path):
    folders = {name: kind(case, tmp_path / name) for name, case in cases.items()}
    as_it_is, unseen, taught = (learnt(folder) for folder in folders.values())
    assert unseen == as_it_is
    for name, content in taught.items():  # a change of what is taught shows
        assert content != as_it_is[name], name
    if "tokenizer.json" in as_it_is:
        words = [AutoTokenizer.from_pretrained(folder).tokenize(MARKER) for folder in folders.values()]
        letters = ["Ġ", *MARKER]
        assert words == [letters, letters, [f"Ġ{MARKER}"]]


def learnt(folder: Path) -> dict[str, bytes]:
    """Return the weights and the tokenizer of a folder; its config.json names the queries that it was made with."""
    names = ("model.safetensors", "tokenizer.json")
    return {name: (folder / name).read_bytes() for name in names if (folder / name).exists()}


def test_a_query_is_found_the_same_whatever_the_others_are(cases, tmp_path):
    """No statistic of BM25, and no dimension of TF-IDF with an SVD, is one of queries."""
    case = cases["as it is"]
    rows = read_table(case.queries, QUERIES).to_pylist()
    kept = next(row["query_id"] for row in rows if row["split"] == "test")
    other = write_case(tmp_path)
    change(other, lambda row: row["query_id"] != kept)
    runs = [
        search_bm25(Bm25Config(template="{title}"), each.products, each.queries) for each in (case, other)
    ]
    one, another = (run.filter(pc.equal(run["query_id"], kept)) for run in runs)
    assert one.num_rows > 0
    assert one.equals(another)
    vectors = [
        read_vectors(embed_case(each, tmp_path / str(number)), each.queries, 60)
        for number, each in enumerate((case, other))
    ]
    np.testing.assert_array_equal(*(each.documents for each in vectors))
    np.testing.assert_array_equal(*(each.of_queries(np.array([kept])) for each in vectors))
    assert not np.array_equal(*(each.queries for each in vectors))


def test_texts_and_labels_of_the_test_split_change_neither_products_nor_tree_nor_what_is_taught(tmp_path):
    """RQ-VAE, DocIDs, taxonomies and the vectors of documents are made from products and categories alone."""
    raw = messy(0)
    pairs = {(row["query_id"], row["product_id"]) for row in raw.examples}
    labels = dict(zip(sorted(pairs), random.Random(0).choices("ESCI", k=len(pairs)), strict=True))

    def changed(row: dict) -> dict:
        if row["split"] == "train":
            return row
        label = labels[row["query_id"], row["product_id"]]
        return row | {"query": f"{MARKER} {row['query']}", "esci_label": label}

    changed_raw = Raw([changed(row) for row in raw.examples], raw.products, raw.lines)
    out = [outputs(tmp_path / name) for name in ("as it is", "changed")]
    for rows, files in zip((raw, changed_raw), out, strict=True):
        build_corpus(rows.write(files.products.parent), "us", CorpusConfig(), files, SMALL)
    before, after = out
    assert before.products.read_bytes() == after.products.read_bytes()
    assert before.categories.read_bytes() == after.categories.read_bytes()
    for name in ("queries", "judgements"):
        tables = [pq.read_table(getattr(files, name)) for files in out]
        for split, same in (("train", True), ("test", False)):
            one, other = (table.filter(pc.equal(table["split"], split)) for table in tables)
            assert one.equals(other) == same, (name, split)
    seen = [pq.read_table(files.judgements, columns=["query_id", "doc_id", "seen"]) for files in out]
    assert seen[0].equals(seen[1])  # the train split decides which products are seen
