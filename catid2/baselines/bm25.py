"""BM25 over the products' text, with bm25s, an explicit tokeniser and explicit tie-breaking.

BM25's figures on a collection vary fourfold with the tokeniser, k1 and b (Kamphuis et al., "Which BM25 do you mean?",
ECIR 2020). `Bm25Config.note` lists them for the log and for every table of results.
"""

from __future__ import annotations

import logging
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import bm25s
import numpy as np
import pyarrow as pa

from catid2.corpus.queries import read_queries
from catid2.corpus.text import DocumentTexts, tokenize
from catid2.runtime.errors import InputError
from catid2.runtime.progress import Progress
from catid2.runtime.tables import RUN

if TYPE_CHECKING:
    from catid2.config.bm25 import Bm25Config

log = logging.getLogger(__name__)
# On import bm25s sets DEBUG, whatever a command wants to show.
logging.getLogger("bm25s").setLevel(logging.WARNING)


class Hits(NamedTuple):
    """The best documents of one query: doc_id (k,) int32 and score (k,) float32, best first."""

    doc_id: np.ndarray
    score: np.ndarray


class Bm25Index:
    """A BM25 index of documents.

    Args:
        bm25: the scores of words in documents.
        config: how they were made.
    """

    def __init__(self, bm25: bm25s.BM25, config: Bm25Config):
        self._bm25, self.config = bm25, config

    @classmethod
    def build(cls, texts: Sequence[str], config: Bm25Config) -> Bm25Index:
        """Index `texts`, the documents in their order.

        Raises:
            InputError: no document has a word.
        """
        vocabulary: dict[str, int] = {}
        # Numbers in arrays: a hundred million Python strings would fill the memory.
        documents = [
            array("i", (vocabulary.setdefault(word, len(vocabulary)) for word in _words(text, config)))
            for text in Progress(texts, desc="index", unit=" documents")
        ]
        if not vocabulary:
            raise InputError("texts of the products", "no word in any of them", "check the template")
        bm25 = bm25s.BM25(method=config.method, k1=config.k1, b=config.b, backend="numpy")
        bm25.index((documents, vocabulary), create_empty_token=False, show_progress=False)
        return cls(bm25, config)

    def save(self, folder: Path) -> None:
        """Write the index to `folder`, in bm25s's files."""
        self._bm25.save(folder, show_progress=False)

    @classmethod
    def load(cls, folder: Path, config: Bm25Config) -> Bm25Index:
        """Return the index that `save` wrote to `folder`; `config` is what it was built with."""
        return cls(bm25s.BM25.load(folder, show_progress=False), config)

    def search(self, query: str, k: int | None = None, allowed: np.ndarray | None = None) -> Hits:
        """Return the best `k` documents with a score above 0, by descending score, then ascending doc_id.

        Args:
            query: words.
            k: documents listed; default: top_k of the configuration.
            allowed: (N,) bool; if given, only these documents are listed.
        """
        words = self._bm25.get_tokens_ids(_words(query, self.config))
        if not words:
            return Hits(np.empty(0, np.int32), np.empty(0, np.float32))
        scores = self._bm25.get_scores_from_ids(words)
        return best(scores if allowed is None else np.where(allowed, scores, 0), k or self.config.top_k)


def _words(text: str, config: Bm25Config) -> Sequence[str]:
    return tokenize(text, config.tokenizer)


def best(scores: np.ndarray, k: int) -> Hits:
    """Return the k best documents with a score above 0; of equal scores the lower doc_id comes first."""
    found = np.flatnonzero(scores > 0)
    if len(found) > k:
        # Keep everything that ties with the k-th, so that the sort by doc_id decides.
        kth = np.partition(scores[found], len(found) - k)[len(found) - k]
        found = found[scores[found] >= kth]
    order = np.argsort(-scores[found], kind="stable")[:k]  # stable: `found` is ascending
    return Hits(found[order].astype(np.int32), scores[found[order]])


def search_bm25(config: Bm25Config, products: Path, queries: Path) -> pa.Table:
    """Return the run (RUN columns) of the test queries, in the order of their ids.

    A query that shares no word with any product has no rows.

    Raises:
        InputError: an input cannot be used, a query has no text, or there are no test queries.
    """
    test = read_queries(queries, "test")
    if test.num_rows == 0:
        raise InputError(queries, "no test query", "build the corpus with its test split")
    index = Bm25Index.build(DocumentTexts(products, config.template, config.max_characters), config)
    log.info("%s", config.note())
    query_ids = test.column("query_id").to_numpy()
    texts = test.column("query").to_pylist()
    hits = [index.search(query) for query in Progress(texts, desc="search", unit=" queries")]
    sizes = [len(found.doc_id) for found in hits]
    log.info("%d queries, %d of them without a result", len(hits), sizes.count(0))
    columns = {
        "query_id": np.repeat(query_ids, sizes),
        "doc_id": np.concatenate([found.doc_id for found in hits]),
        "rank": np.concatenate([np.arange(1, size + 1) for size in sizes]),
        "score": np.concatenate([found.score for found in hits]),
    }
    return pa.table(columns).cast(pa.schema(RUN))
