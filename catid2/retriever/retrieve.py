"""Constrained beam search over the test queries of a corpus, in one process or on several ranks."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from catid2.corpus.queries import read_queries
from catid2.docids.table import Docids
from catid2.embedding.vectors import ViewVectors, read_vectors
from catid2.retriever.light import QueryVectors, is_light, load_light
from catid2.retriever.t5 import load_retriever
from catid2.runtime.errors import InputError
from catid2.runtime.tables import MADE_BY, write_table
from catid2.search.below_node import DenseRanking, dense_ranking, require_depth
from catid2.search.decode import Queries, Retriever, Search, search
from catid2.search.rankings import run_table
from catid2.search.trie import Trie
from catid2.training.distributed import process_group, report_peak_memory
from catid2.training.tokens import tokenize

if TYPE_CHECKING:
    from catid2.config.retrieve import RetrieveConfig

log = logging.getLogger(__name__)


class Corpus(NamedTuple):
    """The files that `retrieve` reads; `embeddings` (VIEW.npy) only if the retriever or the ranking needs vectors."""

    docids: Path
    products: Path
    queries: Path
    embeddings: Path | None = None


class Loaded(NamedTuple):
    """Everything that a search of the test queries needs, on one device."""

    retriever: Retriever
    trie: Trie
    queries: Queries
    query_ids: np.ndarray  # (Q,) int64
    dense: DenseRanking | None


def retrieve(config: RetrieveConfig, retriever: Path, corpus: Corpus, output: Path, batch_size: int) -> None:
    """Decode all test queries and write run.parquet (columns RUN, sorted by query and rank).

    Args:
        config: beams and how many documents to keep.
        retriever: folder that train_retriever wrote.
        corpus: DocIDs of the same method, and the products and queries of their corpus.
        output: run.parquet.
        batch_size: queries decoded together; more need more memory.

    Raises:
        InputError: a file cannot be used, or the files do not belong together.
    """
    with process_group() as group:
        model, trie, queries, query_ids, dense = load(config, retriever, corpus, group.device)
        log.info("%d test queries, %d documents, %d beams", len(query_ids), len(trie), config.beams)
        how = Search(config.beams, config.top_k, batch_size)
        found = search(model, trie, queries, how, group, dense)
        if group.is_first:
            run = run_table(query_ids, found).replace_schema_metadata({MADE_BY: model.kind})
            write_table(output, run)
        report_peak_memory(group)


def load(config: RetrieveConfig, retriever: Path, corpus: Corpus, device: torch.device) -> Loaded:
    """Load everything that a search of the test queries needs; arguments and errors as in `retrieve`."""
    docids = Docids.read(corpus.docids)
    docids.require_documents(corpus.products)
    level = config.rank_below_level
    if level is not None:
        require_depth(level, docids.codes.shape[1])
    vectors = _vectors(level, retriever, corpus, len(docids.codes))
    table = read_queries(corpus.queries, "test")
    if not len(table):
        raise InputError(corpus.queries, "no test queries", "build the corpus with some")
    query_ids, texts = table.column("query_id").to_numpy(), table.column("query").to_pylist()
    model, queries = _load(retriever, vectors, query_ids, texts)
    require_taught(docids, model, retriever)
    trie = Trie.from_codes(docids.codes, model.sizes, docids.doc_ids)
    dense = None if level is None else dense_ranking(level, vectors, query_ids, device)
    return Loaded(model.to(device), trie.to(device), queries, query_ids, dense)


def _vectors(level: int | None, retriever: Path, corpus: Corpus, documents: int) -> ViewVectors | None:
    """Return the vectors of documents and queries if the retriever or `rank_below_level` needs them."""
    if level is None and not is_light(retriever):
        return None
    if corpus.embeddings is None:
        what = retriever if level is None else "rank_below_level"
        raise InputError(what, "needs the vectors of documents and queries", "pass --embeddings VIEW.npy")
    return read_vectors(corpus.embeddings, corpus.queries, documents)


def _load(
    retriever: Path, vectors: ViewVectors | None, query_ids: np.ndarray, texts: list[str]
) -> tuple[Retriever, Queries]:
    """Return the retriever of a folder, and the test queries in the form that it reads."""
    if not is_light(retriever):
        t5, tokenizer = load_retriever(retriever)
        settings = t5.t5.config
        return t5, tokenize(tokenizer, texts, settings.query_prefix, settings.max_query_tokens)
    light = load_light(retriever)
    if light.trained_on["vectors_sha256"] != vectors.sha256:
        what = "was trained on other vectors than these"
        raise InputError(retriever, what, "give the view that it was trained on, or train it again")
    return light, QueryVectors(vectors.of_queries(query_ids))


def require_taught(docids: Docids, retriever: Retriever, folder: Path) -> None:
    """Raise InputError unless the retriever in `folder` was trained on these DocIDs."""
    codes, sizes = docids.codes, retriever.sizes
    remedy = "give the DocIDs that the retriever was trained on, or train it again"
    if codes.shape[1] != len(sizes) or (codes.max(axis=0) >= sizes).any():
        what = f"codes per position {list(docids.sizes)}, the retriever in {folder} knows {list(sizes)}"
        raise InputError(docids.path, what, remedy)
    if docids.digest != retriever.docid_sha256:
        what = f"not the DocIDs that the retriever in {folder} was trained on"
        raise InputError(docids.path, what, remedy)
