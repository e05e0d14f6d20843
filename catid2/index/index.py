"""Search in an index, without the pipeline and its corpus: `catid2.open_index(folder).search(["red dress"])`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

import numpy as np
import pyarrow as pa
import torch

from catid2.config.base import require_at_least
from catid2.corpus.cleaning import name_key
from catid2.corpus.products import read_products
from catid2.corpus.text import PATH_SEPARATOR
from catid2.docids.table import Docids
from catid2.index.encoder import IndexEncoder
from catid2.index.folder import BM25, DOCIDS, PRODUCTS, RETRIEVER, VECTORS, read_settings
from catid2.retriever.light import LightRetriever, QueryVectors, is_light, load_light
from catid2.runtime.errors import InputError, did_you_mean
from catid2.runtime.tables import read_embeddings, read_table
from catid2.search.below_node import DenseRanking, require_depth, unit
from catid2.search.decode import Queries, Retriever, Search, search
from catid2.search.exact_search import nearest
from catid2.search.rankings import Rankings, run_table
from catid2.search.trie import Trie
from catid2.training.distributed import Group
from catid2.training.tokens import tokenize

if TYPE_CHECKING:
    from catid2.baselines.bm25 import Bm25Index

BATCH_SIZE = 32  # queries decoded together, as `retrieve` does it
Way = Literal["docid", "bm25", "dense"]


class Hit(NamedTuple):
    """A product that was found."""

    product_id: str
    title: str  # empty if it has none
    category: tuple[str, ...]  # names, coarse to fine
    docid: tuple[int, ...]  # (L,) its codes
    score: float  # log p(DocID | query), below a level the cosine; of BM25, an inner product, or fused
    doc_id: int  # row of products.parquet


class Index:
    """An index on one device; `catid2.open_index` makes it.

    Attributes:
        settings: those that it was made with.
        product_ids: (N,), row = doc_id; so are titles, categories (names, coarse to fine), category_ids (N, H).
        codes: (N, L) the DocIDs.
        retriever, trie: what finds DocIDs.
    """

    def __init__(self, folder: str | Path, device: str | torch.device = "cpu"):
        """Load the index in `folder`.

        Raises:
            InputError: the folder is damaged, is no index, or was written by another version; there is no such device.
        """
        self.folder, self.device = Path(folder).absolute(), _usable(device)
        self.settings = read_settings(self.folder)
        self._encoded: tuple[tuple[str, ...], np.ndarray] = ((), np.empty(0))
        ids, self.category_ids = read_products(self.folder / PRODUCTS)
        self.product_ids: list[str] = ids.to_pylist()
        levels = self.category_ids.shape[1]
        names = ["title", *(f"category_{level}" for level in range(1, levels + 1))]
        table = read_table(self.folder / PRODUCTS, dict.fromkeys(names, pa.string()))
        self.titles, *categories = (table[name].to_pylist() for name in names)
        self.categories: list[tuple[str, ...]] = [
            tuple(filter(None, path)) for path in zip(*categories, strict=True)
        ] or [()] * len(ids)
        docids = Docids.read(self.folder / DOCIDS)
        docids.require_documents(self.folder / PRODUCTS)
        self.codes = docids.codes
        self.retriever = self._load_retriever().to(self.device)
        self.trie = Trie.from_codes(self.codes, self.retriever.sizes, docids.doc_ids).to(self.device)

    def __len__(self) -> int:
        """Return the number of products."""
        return len(self.product_ids)

    @cached_property
    def encoder(self) -> IndexEncoder:
        """What makes vectors of texts."""
        return IndexEncoder(self.folder, self.settings.view, self.device)

    @cached_property
    def vectors(self) -> np.ndarray:
        """(N, d) float16: the documents' vectors."""
        return read_embeddings(self.folder / VECTORS, rows=len(self))

    @cached_property
    def rows(self) -> dict[str, int]:
        """The doc_id of each product."""
        return {name: row for row, name in enumerate(self.product_ids)}

    def search(
        self,
        queries: Sequence[str],
        k: int = 10,
        *,
        allowed: np.ndarray | None = None,
        by: Sequence[Way] = ("docid",),
        beams: int | None = None,
        below: int | None = None,
    ) -> list[list[Hit]]:
        """Return the best `k` products of each query, best first, or fewer if there are fewer; of a blank query none.

        Args:
            queries: texts.
            k: products per query.
            allowed: (N,) bool by doc_id, such as `allowed_products` gives; if given, only these are found.
            by: the search: the retriever's DocIDs, BM25, or the vectors' inner product. The lists of several, each of
                top_k products as the method's settings have it or of `k` if that is more, are fused by reciprocal rank,
                as rule fuse_runs does it.
            beams: DocID prefixes kept at each position, default: the method's setting; at least one per product of the
                list.
            below: decode only this many positions, and rank the products below the beams by the cosine of their vectors
                (`retrieve.rank_below_level`); finds products that were added after training. 0: decode complete DocIDs.
                Default: the method's setting.

        Raises:
            InputError: an argument cannot be used.
        """
        self.check(queries, k, allowed, by, below)
        asked = [row for row, text in enumerate(queries) if text.strip()]
        found: list[list[Hit]] = [[] for _ in queries]
        if not asked or (allowed is not None and not allowed.any()):
            return found
        rankings = self._rankings([queries[row] for row in asked], k, allowed, by, beams, below)
        for row, docs, scores in zip(asked, *(part.tolist() for part in rankings), strict=True):
            found[row] = [self._hit(doc, score) for doc, score in zip(docs, scores, strict=True) if doc >= 0]
        return found

    def check(
        self,
        queries: Sequence[str],
        k: int = 1,
        allowed: np.ndarray | None = None,
        by: Sequence[Way] = ("docid",),
        below: int | None = None,
    ) -> None:
        """Raise InputError naming the argument of `search` that cannot be used."""
        if isinstance(queries, str):
            raise InputError("queries", "one text", "give a list of texts")
        for text in queries:
            try:
                text.encode("utf-8")
            except UnicodeEncodeError:
                raise InputError(f"query {text!r}", "not UTF-8", "write it as UTF-8") from None
        require_at_least("k", k, 1)
        require_at_least("below", below or 0, 0)
        if below:
            require_depth(below, self.trie.depth, "below")
        if not by or not set(by) <= set(get_args(Way)):
            raise InputError("by", f"{by!r}", f"name some of {', '.join(get_args(Way))}")
        if allowed is not None and (np.shape(allowed), getattr(allowed, "dtype", None)) != (
            (len(self),),
            bool,
        ):
            raise InputError("allowed", "not a flag per product", f"give an array of {len(self)} bool")

    def level(self, below: int | None) -> int | None:
        """Return how many positions a search decodes if not all, from its argument `below`."""
        return self.settings.retrieve.rank_below_level if below is None else below or None

    def beams(self, k: int, beams: int | None, below: int | None, by: Sequence[Way] = ("docid",)) -> int:
        """Return how many beams a search with these arguments has."""
        least = 1 if self.level(below) else k if len(by) == 1 else max(k, self.settings.retrieve.top_k)
        return max(beams or self.settings.retrieve.beams, least)

    def allowed_products(
        self, product_ids: Sequence[str] | None = None, category: str | None = None
    ) -> np.ndarray:
        """Return which documents to search, (N,) bool: those of `product_ids`, those of `category`, or of both.

        Args:
            product_ids: products of the index.
            category: the names of a node of the category tree from the top, such as "Home & Kitchen > Furniture".

        Raises:
            InputError: a product or the category is not in the index.
        """
        allowed = np.ones(len(self), bool)
        if product_ids is not None:
            allowed[:] = False
            allowed[self.require(product_ids)] = True
        if category is not None:
            allowed &= self._in_category(category)
        return allowed

    def require(self, product_ids: Sequence[str], where: str | Path | None = None) -> list[int]:
        """Return the doc_ids of products.

        Args:
            product_ids: ids of products.
            where: what names them, for the message; default: the index.

        Raises:
            InputError: the index does not hold one.
        """
        for name in product_ids:
            if name not in self.rows:
                what = f"product {name!r} is not in the index {self.folder.name}"
                raise InputError(where or self.folder, what, "take it out, or name one of products.parquet")
        return [self.rows[name] for name in product_ids]

    def encoded(self, queries: Sequence[str]) -> Queries:
        """Return queries in the form that the retriever reads."""
        if isinstance(self.retriever, LightRetriever):
            return QueryVectors(self._query_vectors(tuple(queries)))
        settings = self.retriever.t5.config
        return tokenize(self._tokenizer, queries, settings.query_prefix, settings.max_query_tokens)

    def subtree(self, allowed: np.ndarray | None) -> Trie:
        """Return the DocIDs of the allowed documents."""
        return self.trie if allowed is None else self.trie.subtree(torch.from_numpy(allowed).to(self.device))

    def _load_retriever(self) -> Retriever:
        folder = self.folder / RETRIEVER
        if is_light(folder):
            return load_light(folder)
        from catid2.retriever.t5 import load_retriever  # transformers takes a second

        model, self._tokenizer = load_retriever(folder)
        return model

    def _in_category(self, category: str) -> np.ndarray:
        """Return which documents are in a category, (N,) bool."""
        key = _category_key(category)
        if key not in self._nodes:
            known = {
                PATH_SEPARATOR.join(path[:depth])
                for path in set(self.categories)
                for depth in range(1, len(path) + 1)
            }
            remedy = f"{did_you_mean(key, known)}give the names from the top, as 'Home > Lamps'"
            raise InputError(self.folder, f"no category {category!r} in this index", remedy)
        level, node = self._nodes[key]
        return self.category_ids[:, level] == node

    @cached_property
    def _nodes(self) -> dict[str, tuple[int, int]]:
        """Level and node of each category, by the key of its path; spellings are one where build_corpus says so."""
        return {
            _category_key(PATH_SEPARATOR.join(self.categories[row][: level + 1])): (level, int(node))
            for row in np.unique(self.category_ids, axis=0, return_index=True)[1]
            for level, node in enumerate(self.category_ids[row][: len(self.categories[row])])
        }

    def _hit(self, doc: int, score: float) -> Hit:
        return Hit(
            self.product_ids[doc],
            self.titles[doc] or "",
            self.categories[doc],
            tuple(self.codes[doc].tolist()),
            score,
            doc,
        )

    def _rankings(
        self,
        queries: Sequence[str],
        k: int,
        allowed: np.ndarray | None,
        by: Sequence[Way],
        beams: int | None,
        below: int | None,
    ) -> Rankings:
        ways = {
            "docid": lambda depth: self._by_docid(queries, depth, allowed, beams, below),
            "bm25": lambda depth: self._by_bm25(queries, depth, allowed),
            "dense": lambda depth: self._by_dense(queries, depth, allowed),
        }
        by = tuple(dict.fromkeys(by))
        if len(by) == 1:
            return ways[by[0]](k)
        import polars as pl  # takes a while, as what imports it

        from catid2.evaluation.fusion import fused

        lengths = {"bm25": self.settings.bm25.top_k}
        found = [ways[way](max(k, lengths.get(way, self.settings.retrieve.top_k))) for way in by]
        query_ids = np.arange(len(queries))
        runs = [(1.0, pl.DataFrame(pl.from_arrow(run_table(query_ids, lists)))) for lists in found]
        table = fused(runs, self.settings.fuse.k, k)
        rows = table["query_id"].to_numpy(), table["rank"].to_numpy() - 1
        merged = _no_rankings(len(queries), k)
        merged.doc_ids[rows], merged.scores[rows] = table["doc_id"].to_numpy(), table["score"].to_numpy()
        return merged

    def _by_docid(
        self,
        queries: Sequence[str],
        k: int,
        allowed: np.ndarray | None,
        beams: int | None,
        below: int | None,
    ) -> Rankings:
        level, dense = self.level(below), None
        if level:
            vectors = unit(self._query_vectors(tuple(queries))).to(self.device)
            dense = DenseRanking(level, vectors, self._unit_vectors)
        how = Search(self.beams(k, beams, below), k, BATCH_SIZE)
        trie = self.subtree(allowed)
        return search(self.retriever, trie, self.encoded(queries), how, Group(device=self.device), dense)

    def _query_vectors(self, queries: tuple[str, ...]) -> np.ndarray:
        """Return the vectors of queries; those of the last call are kept for a search by several."""
        if self._encoded[0] != queries:
            self._encoded = queries, self.encoder.queries(queries)
        return self._encoded[1]

    @cached_property
    def _unit_vectors(self) -> torch.Tensor:
        return unit(self.vectors).to(self.device)

    def _by_dense(self, queries: Sequence[str], k: int, allowed: np.ndarray | None) -> Rankings:
        rows = np.arange(len(self)) if allowed is None else np.flatnonzero(allowed)
        documents = self.vectors if allowed is None else self.vectors[rows]
        found = nearest(self._query_vectors(tuple(queries)), documents, k, self.device)
        return Rankings(np.where(found.doc_ids >= 0, rows[found.doc_ids], -1).astype(np.int32), found.scores)

    def _by_bm25(self, queries: Sequence[str], k: int, allowed: np.ndarray | None) -> Rankings:
        found = _no_rankings(len(queries), k)
        for row, query in enumerate(queries):
            hits = self._bm25.search(query, k, allowed)
            found.doc_ids[row, : len(hits.doc_id)], found.scores[row, : len(hits.score)] = hits
        return found

    @cached_property
    def _bm25(self) -> Bm25Index:
        try:
            from catid2.baselines.bm25 import Bm25Index
        except ImportError:
            raise InputError("bm25s", "not installed", "pip install 'catid2[baselines]'") from None
        return Bm25Index.load(self.folder / BM25, self.settings.bm25)


def _category_key(path: str) -> str:
    return re.sub(r"\s*>\s*", PATH_SEPARATOR, name_key(path))


def _no_rankings(queries: int, k: int) -> Rankings:
    return Rankings(np.full((queries, k), -1, np.int32), np.full((queries, k), -np.inf, np.float32))


def _usable(device: str | torch.device) -> torch.device:
    """Return the device; InputError if this machine has none of that name."""
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:  # a build without CUDA asserts
        what = f"{device} cannot be used ({str(error).splitlines()[0]})"
        raise InputError("device", what, "name another, such as cpu") from None
