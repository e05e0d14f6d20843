"""From queries to ranked documents: constrained beam search over all queries, alone or on several ranks."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import torch
from torch.nn import functional

from catid2.corpus.queries import read_queries
from catid2.embedding.vectors import ViewVectors, read_vectors
from catid2.retriever.light import LightRetriever, QueryVectors, load_light
from catid2.retriever.t5 import load_retriever
from catid2.runtime.checkpoint import fingerprint
from catid2.runtime.complete import require_complete
from catid2.runtime.errors import InputError
from catid2.runtime.tables import MADE_BY, read_json, read_table, write_table
from catid2.search.beam import CodeScorer, beam_search
from catid2.search.below_node import DenseRanking, dense_ranking, require_depth
from catid2.search.rankings import Rankings, run_table
from catid2.search.trie import Trie, read_docids
from catid2.training.distributed import Group, gather, process_group
from catid2.training.tokens import tokenize

if TYPE_CHECKING:
    from catid2.config.retrieve import RetrieveConfig

log = logging.getLogger(__name__)


class Queries(Protocol):
    """Q queries in the form that a kind of retriever takes."""

    @property
    def lengths(self) -> np.ndarray:
        """How long each is, (Q,): those of similar length are decoded together."""
        ...


class Retriever(Protocol):
    """A model that writes DocIDs, T5 or light: on one device, in eval mode."""

    kind: str  # t5 or light, as in the configuration and in tables
    sizes: tuple[int, ...]  # codes of each position
    docid_sha256: str | None  # of the DocIDs that it was trained on (docids_digest)

    def batch(self, queries: Any, rows: np.ndarray) -> Any:
        """Return what the scorer takes of the queries `rows` (B,); it has a method `to(device)`."""
        ...

    def scorer(self) -> CodeScorer:
        """Return what beam search asks for scores."""
        ...


class Corpus(NamedTuple):
    """The files that `retrieve` searches; `embeddings` (VIEW.npy) only for what compares or reads vectors."""

    docids: Path
    products: Path
    queries: Path
    embeddings: Path | None = None


class Loaded(NamedTuple):
    """All that a search of the test queries takes, on one device."""

    retriever: Retriever
    trie: Trie
    queries: Queries
    query_ids: np.ndarray  # (Q,) int64
    dense: DenseRanking | None


class Search(NamedTuple):
    """How queries are decoded."""

    beams: int  # per query
    top_k: int  # documents kept per query
    batch_size: int  # queries decoded together; changes scores only by rounding


def search(
    retriever: Retriever,
    trie: Trie,
    queries: Queries,
    how: Search,
    group: Group = Group(),  # noqa: B008 - immutable
    dense: DenseRanking | None = None,
) -> Rankings:
    """Return the best documents of every query, on every rank.

    Queries of similar length are decoded together; each rank decodes its share.

    Args:
        retriever: on the device of `group`, in eval mode.
        trie: DocIDs of the documents to find.
        queries: as the retriever takes them.
        how: beams, results and batches.
        group: this process among its peers.
        dense: decode no whole DocIDs, and rank the documents below the nodes in this way.

    Raises:
        InputError: the retriever's scores are not numbers, as after a training that diverged.
    """
    trie = trie.to(group.device)
    total = len(queries.lengths)
    by_length = np.argsort(queries.lengths, kind="stable")
    # Every rank gets long and short queries alike.
    order = np.concatenate([by_length[rank :: group.world_size] for rank in range(group.world_size)])
    own = order[group.shard(total)]
    width = min(how.top_k, len(trie))
    doc_ids = torch.full((len(own), width), -1, dtype=torch.int32, device=group.device)
    scores = torch.full((len(own), width), float("-inf"), device=group.device)
    scorer = retriever.scorer()
    with torch.inference_mode():
        for start in range(0, len(own), how.batch_size):
            rows = slice(start, start + how.batch_size)
            doc_ids[rows], scores[rows] = rank_batch(retriever, scorer, trie, queries, own[rows], how, dense)
    place = np.argsort(order)
    found = Rankings(
        gather(doc_ids, total, group).cpu().numpy()[place], gather(scores, total, group).cpu().numpy()[place]
    )
    if np.isnan(found.scores).any():
        raise InputError("retriever", "its scores are NaN", "train it again, with a lower learning_rate")
    return found


def rank_batch(
    retriever: Retriever,
    scorer: CodeScorer,
    trie: Trie,
    queries: Queries,
    rows: np.ndarray,
    how: Search,
    dense: DenseRanking | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Search for the queries `rows` (B,) at once, in inference mode; arguments as `search`, all on the trie's device.

    Returns doc_ids (B, k) int32 and scores (B, k), best first, padded with -1 and -inf; k is top_k, or the number
    of documents if there are fewer.
    """
    width = min(how.top_k, len(trie))
    batch = retriever.batch(queries, rows).to(trie.doc_ids.device)
    found = beam_search(scorer, trie, batch, how.beams, dense.depth if dense else None)
    if dense:
        return dense.rank(trie, found, rows, width)
    padding = (0, max(0, width - found.nodes.shape[1]))
    nodes = functional.pad(found.nodes[:, :width], padding, value=-1)
    scores = functional.pad(found.scores[:, :width], padding, value=float("-inf"))
    return trie.doc_ids[nodes.clamp(min=0)].masked_fill(nodes < 0, -1), scores


def retrieve(config: RetrieveConfig, retriever: Path, corpus: Corpus, output: Path, batch_size: int) -> None:
    """Decode all test queries and write run.parquet (columns RUN, sorted by query and rank).

    Args:
        config: beams and how many documents to keep.
        retriever: folder that train_retriever wrote.
        corpus: DocIDs of the same method, and the products and queries they are of.
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
            if group.device.type == "cuda":
                log.info("peak GPU memory %.1f GiB", torch.cuda.max_memory_allocated() / 2**30)


def load(config: RetrieveConfig, retriever: Path, corpus: Corpus, device: torch.device) -> Loaded:
    """Return what a search of the test queries takes, on `device`; errors and other arguments as `retrieve`."""
    doc_ids, codes = read_docids(corpus.docids)
    require_same_documents(corpus.docids, corpus.products)
    level = config.rank_below_level
    if level is not None:
        require_depth(level, codes.shape[1])
    vectors = _vectors(level, retriever, corpus, len(codes))
    table = read_queries(corpus.queries, "test")
    if not len(table):
        raise InputError(corpus.queries, "no test queries", "build the corpus with some")
    query_ids, texts = table.column("query_id").to_numpy(), table.column("query").to_pylist()
    model, queries = _load(retriever, vectors, query_ids, texts)
    trie = Trie.from_codes(codes, require_fitting_codes(codes, model, corpus.docids, retriever), doc_ids)
    dense = None if level is None else dense_ranking(level, vectors, query_ids, device)
    return Loaded(model.to(device), trie.to(device), queries, query_ids, dense)


def _vectors(level: int | None, retriever: Path, corpus: Corpus, documents: int) -> ViewVectors | None:
    """Return the vectors of documents and queries if the retriever, or ranking below a level, needs any."""
    if level is None and not is_light(retriever):
        return None
    if corpus.embeddings is None:
        what = retriever if level is None else "rank_below_level"
        raise InputError(what, "needs the vectors of documents and queries", "pass --embeddings VIEW.npy")
    return read_vectors(corpus.embeddings, corpus.queries, documents)


def is_light(retriever: Path) -> bool:
    """Return whether a folder holds a light retriever; T5 otherwise, or what load_retriever refuses."""
    if not retriever.is_dir():
        raise InputError(retriever, "no such folder", "run train_retriever first")
    require_complete(retriever)
    return read_json(retriever / "config.json").get("model_type") == LightRetriever.kind


def _load(
    retriever: Path, vectors: ViewVectors | None, query_ids: np.ndarray, texts: list[str]
) -> tuple[Retriever, Queries]:
    """Return the retriever of a folder, and the test queries as it takes them."""
    if not is_light(retriever):
        t5, tokenizer = load_retriever(retriever)
        settings = t5.t5.config
        return t5, tokenize(tokenizer, texts, settings.query_prefix, settings.max_query_tokens)
    light = load_light(retriever)
    if light.trained_on["vectors_sha256"] != vectors.sha256:
        what = "was trained on other vectors than these"
        raise InputError(retriever, what, "give the view that it was trained on, or train it again")
    return light, QueryVectors(vectors.of_queries(query_ids))


def require_same_documents(docids: Path, products: Path) -> None:
    """Check that the DocIDs are those of the products.

    Raises:
        InputError: a row has another doc_id or product_id, or their numbers differ.
    """
    columns = {"doc_id": pa.int32(), "product_id": pa.string()}
    if not read_table(docids, columns).equals(read_table(products, columns)):
        raise InputError(
            docids, f"not the DocIDs of the documents in {products}", "run assign_docids on this corpus"
        )


def docids_digest(docids: Path) -> str:
    """Return a sha256 of the DocIDs and the product_ids that they belong to, in the order of docids.parquet."""
    names = read_table(docids, {"product_id": pa.string()}).column("product_id")
    # Hashed by pieces, each a JSON list: millions of names need no list of them all.
    pieces = (names.slice(start, 65_536).to_pylist() for start in range(0, len(names), 65_536))
    digests = [fingerprint({"product_id": piece}) for piece in pieces]
    return fingerprint({"product_id": digests}, read_docids(docids)[1])


def require_fitting_codes(
    codes: np.ndarray, retriever: Retriever, docids: Path, folder: Path
) -> tuple[int, ...]:
    """Return the codes per position that the retriever knows.

    Raises:
        InputError: the DocIDs are not those that the retriever was trained on.
    """
    sizes = retriever.sizes
    remedy = "give the DocIDs that the retriever was trained on, or train it again"
    if codes.shape[1] != len(sizes) or (codes.max(axis=0) >= sizes).any():
        found = (codes.max(axis=0) + 1).tolist()
        what = f"codes per position {found}, the retriever in {folder} knows {list(sizes)}"
        raise InputError(docids, what, remedy)
    if docids_digest(docids) != retriever.docid_sha256:
        raise InputError(docids, f"not the DocIDs that the retriever in {folder} was trained on", remedy)
    return sizes
