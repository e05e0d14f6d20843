"""What the settings of searches change: the documents that are found."""

import functools
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from effect_cases_retrievers import light
from effect_corpus import DIMS, corpus
from effects import Outputs, Table, row, stage

from catid2.baselines.bm25 import search_bm25
from catid2.baselines.dense import search_dense
from catid2.config.bm25 import Bm25Config
from catid2.config.dense import DenseConfig
from catid2.config.fuse import FuseConfig
from catid2.config.index import IndexSettings
from catid2.config.retrieve import RetrieveConfig
from catid2.evaluation.fusion import WeightedRun, fuse_runs
from catid2.index.export import Parts, export_index
from catid2.index.index import Index
from catid2.retriever.retrieve import Corpus, retrieve
from catid2.runtime.tables import QUERIES, read_table, write_table


def bm25_run(config: Bm25Config) -> pa.Table:
    """Search by words."""
    return search_bm25(config, corpus().products, corpus().queries)


def dense_run(config: DenseConfig) -> pa.Table:
    """Search by vectors."""
    files = corpus()
    return search_dense(config, files.embeddings, files.products, files.queries)


@stage(Bm25Config, {})
def bm25(config: Bm25Config, folder: Path, seed: int) -> Outputs:
    """Search by words."""
    return found(bm25_run(config))


@stage(DenseConfig, {})
def dense(config: DenseConfig, folder: Path, seed: int) -> Outputs:
    """Search by vectors."""
    return found(dense_run(config))


@stage(FuseConfig, {"top_k": 20})
def fused(config: FuseConfig, folder: Path, seed: int) -> Outputs:
    """Fuse a search by words and one by vectors."""
    tables = {"bm25": bm25_run(Bm25Config(template="{title}")), "dense": dense_run(DenseConfig())}
    for name, table in tables.items():
        write_table(folder / f"{name}.parquet", table)
    runs = [WeightedRun(1, folder / f"{name}.parquet") for name in tables]
    return found(fuse_runs(config, runs, corpus().products, corpus().queries))


@stage(RetrieveConfig, {"beams": 60, "top_k": 20})
def decoded(config: RetrieveConfig, folder: Path, seed: int) -> Outputs:
    """Search by a light retriever."""
    files = corpus()
    shutil.copytree(_retriever(), folder / "retriever")
    searched = Corpus(files.docids, files.products, files.queries, files.embeddings)
    retrieve(config, folder / "retriever", searched, folder / "run.parquet", batch_size=8)
    return found(pq.read_table(folder / "run.parquet"))


VIEW = {
    "template": "{title} {description}",
    "encoder": {"kind": "tfidf_svd", "dims": DIMS, "normalize": False},
}


@stage(
    IndexSettings,
    {
        "dataset": "toy",
        "method": "catid2",
        "seed": 0,
        "source": "simulated",
        "view": VIEW,
        "docids": {},
        "retrieve": {"beams": 60, "top_k": 20},
        "bm25": {"template": "{title}"},
        "fuse": {},
    },
)
def index(config: IndexSettings, folder: Path, seed: int) -> Outputs:
    """Export an index with a light retriever and search in it."""
    files = corpus()
    searched = Corpus(files.docids, files.products, files.queries, files.embeddings)
    export_index(config, Parts(_retriever(), None), searched, folder / "index")
    opened = Index(folder / "index")
    queries = read_table(files.queries, QUERIES)["query"].to_pylist()[:8]
    found = {
        "+".join(by): [[hit[:1] + hit[4:5] for hit in hits] for hits in opened.search(queries, by=by)]
        for by in (("docid",), ("bm25",), ("docid", "bm25"))
    }
    return found | {
        "card": (folder / "index" / "README.md").read_text("utf-8"),
        "settings": (folder / "index" / "index.json").read_text("utf-8"),
    }


@functools.cache
def _retriever() -> Path:
    folder = corpus().products.parent / "light"
    light.outputs({"epochs": 1}, folder)
    return folder / "retriever"


def found(run: pa.Table) -> Outputs:
    """Return a run and parts of it."""
    columns = {name: np.asarray(run[name]) for name in ("query_id", "doc_id", "rank", "score")}
    first = columns["rank"] <= 5
    return {
        "documents": np.stack([columns["query_id"], columns["doc_id"]]),
        "first documents": np.stack([columns["query_id"][first], columns["doc_id"][first]]),
        "scores": columns["score"],
        "listed": int(columns["rank"].max()),
    }


TABLES = [
    Table(
        Bm25Config,
        [
            row("template", "{title}", "{title} {color}", differs="documents, scores"),
            row("max_characters", 4000, 30, differs="documents, scores"),
            row("tokenizer", "words", "words_cjk_bigrams", differs="documents, scores"),
            row("method", "lucene", "robertson", "atire", differs="scores"),
            row("k1", 1.2, 0.4, differs="scores"),
            row("b", 0.75, 0.2, differs="scores"),
            row("top_k", 20, 10, differs="documents, listed", same="first documents"),
        ],
        bm25,
    ),
    Table(DenseConfig, [row("top_k", 20, 10, differs="documents, listed", same="first documents")], dense),
    Table(
        FuseConfig,
        [
            row("k", 60, 0, differs="documents, scores", same="listed"),
            row("top_k", 20, 10, differs="documents, listed", same="first documents"),
        ],
        fused,
    ),
    Table(
        RetrieveConfig,
        [
            row("beams", 60, 3, differs="documents", same="listed", rank_below_level=2, top_k=5),
            row("top_k", 20, 10, differs="documents, listed", same="first documents"),
            row("rank_below_level", None, 1, 2, differs="scores, documents", beams=20),
        ],
        decoded,
    ),
    Table(
        IndexSettings,
        [
            row("dataset", "toy", "other", differs="card, settings", same="docid"),
            row("method", "catid2", "tiger", differs="card, settings", same="docid"),
            row("seed", 0, 1, differs="card, settings", same="docid"),
            row("source", "simulated", "esci", "esci_sample", "catalogue", differs="card", same="docid"),
            row("view", VIEW, VIEW | {"query_prefix": "red "}, differs="docid", same="bm25"),
            row("clean_html", False, True, differs="settings", same="docid"),
            row("docids", {}, {"repair": "digit"}, differs="settings", same="docid"),
            row("retrieve", {"beams": 60}, {"rank_below_level": 1}, differs="docid", same="bm25"),
            row("bm25", {}, {"k1": 0.3}, differs="bm25", same="docid"),
            row("fuse", {}, {"k": 1}, differs="docid+bm25", same="docid, bm25"),
        ],
        index,
    ),
]
