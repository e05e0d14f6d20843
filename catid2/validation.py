"""Validation of a retriever on queries held out of training, and the history of a training run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from catid2.distributed import Group
from catid2.retrieval import Queries, Retriever, Search, recall, search

if TYPE_CHECKING:
    import numpy as np

    from catid2.trie import Trie

CUTOFFS = (10, 50, 100)  # recall is measured at these
BATCH = 32  # queries decoded together


def validate(
    retriever: Retriever,
    trie: Trie,
    queries: Queries,
    pairs: tuple[np.ndarray, np.ndarray],
    beams: int,
    group: Group = Group(),  # noqa: B008 - immutable
) -> dict[int, float]:
    """Return recall over the whole corpus at those CUTOFFS that the beams reach; the same on every rank.

    Args:
        retriever: on the device of `group`, in eval mode.
        trie: DocIDs of all documents.
        queries: the held-out queries; without any there is no recall.
        pairs: row of `queries`, sorted, and doc_id of each relevant pair; both (P,).
        beams: per query.
        group: this process among its peers.
    """
    if not len(queries.lengths):
        return {}
    found = search(retriever, trie, queries, Search(beams, beams, BATCH), group)
    return {k: recall(found.doc_ids, *pairs, k) for k in CUTOFFS if k <= beams}


def history(epochs: Iterable[Mapping[str, Any]], best_step: int | None) -> str:
    """Return history.tsv: one line per epoch, recall where it was measured, `kept` 1 for the model that is kept.

    Args:
        epochs: epoch, step, loss, learning_rate, and recall@k where it was measured.
        best_step: that of the model that is kept.
    """
    names = [f"recall@{k}" for k in CUTOFFS]
    lines = ["\t".join(["epoch", "step", "loss", "learning_rate", *names, "kept"])]
    for row in epochs:
        values = [str(row["epoch"]), str(row["step"]), f"{row['loss']:.6f}", f"{row['learning_rate']:.6e}"]
        recalls = [f"{row[name]:.6f}" if name in row else "" for name in names]
        lines.append("\t".join([*values, *recalls, str(int(row["step"] == best_step))]))
    return "\n".join(lines) + "\n"
