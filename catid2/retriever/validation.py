"""Validation of a retriever on held-out train queries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from catid2.search.decode import Queries, Retriever, Search, search
from catid2.search.rankings import recall
from catid2.training.distributed import Group
from catid2.training.history import CUTOFFS

if TYPE_CHECKING:
    import numpy as np

    from catid2.search.trie import Trie

BATCH = 32  # queries decoded together


def validate(
    retriever: Retriever,
    trie: Trie,
    queries: Queries,
    pairs: tuple[np.ndarray, np.ndarray],
    beams: int,
    group: Group = Group(),  # noqa: B008 - immutable
) -> dict[int, float]:
    """Return recall over the whole corpus at the CUTOFFS up to `beams`; the same on every rank.

    Args:
        retriever: on the device of `group`, in eval mode.
        trie: DocIDs of all documents.
        queries: the held-out queries; if there are none, the result is empty.
        pairs: row of `queries`, sorted, and doc_id of each relevant pair; both (P,).
        beams: per query.
        group: this process and its peers.
    """
    if not len(queries.lengths):
        return {}
    found = search(retriever, trie, queries, Search(beams, beams, BATCH), group)
    return {k: recall(found.doc_ids, *pairs, k) for k in CUTOFFS if k <= beams}
