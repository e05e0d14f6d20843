"""Constrained beam search over many queries, in batches, in one process or on several ranks."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch.nn import functional

from catid2.runtime.errors import InputError
from catid2.runtime.progress import Progress
from catid2.search.beam import CodeScorer, beam_search
from catid2.search.below_node import DenseRanking
from catid2.search.rankings import Rankings
from catid2.search.trie import Trie
from catid2.training.distributed import Group, gather


class Queries(Protocol):
    """Q queries in the form that a kind of retriever reads."""

    @property
    def lengths(self) -> np.ndarray:
        """Length of each query, (Q,): queries of similar length are decoded together."""
        ...


class Retriever(Protocol):
    """A model that writes DocIDs, T5 or light, on one device and in eval mode."""

    kind: str  # t5 or light, as in the configuration and in tables
    sizes: tuple[int, ...]  # codes of each position
    docid_sha256: str | None  # of the DocIDs that the model was trained on (Docids.digest)

    def batch(self, queries: Any, rows: np.ndarray) -> Any:
        """Return the scorer's input for the queries `rows` (B,); it has a method `to(device)`."""
        ...

    def scorer(self) -> CodeScorer:
        """Return the CodeScorer for beam search."""
        ...


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
        queries: in the form that the retriever reads.
        how: beams, results and batches.
        group: this process and its peers.
        dense: if given, decoding ends at nodes of its depth, and it ranks the documents below them.

    Raises:
        InputError: the retriever's scores are NaN, as after a training that diverged.
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
        for start in Progress(range(0, len(own), how.batch_size), desc="search", unit=" batches"):
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
    """Return doc_ids (B, k) int32 and scores (B, k) of the queries `rows` (B,), best first, padded with -1 and -inf.

    To be called in inference mode; arguments as in `search`, all on the trie's device. k is top_k, or the number of
    documents if that is smaller.
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
