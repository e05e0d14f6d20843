"""Where beam search loses a document: how its prefix ranks among the candidates, position by position."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from catid2.search.beam import NO_RESULT, CodeScorer, Step, beam_steps
from catid2.search.trie import Trie


class Standing(NamedTuple):
    """How the prefix of one document's DocID stands at one position of one query's search."""

    query: int  # row of the batch
    document: int  # row of the query's DocIDs
    position: int  # from 1
    rank: int  # among the candidates, from 1
    candidates: int
    kept: bool  # the prefix is among the beams
    score: float  # sum of the log-probabilities of its codes


def trace(
    scorer: CodeScorer,
    trie: Trie,
    batch: Any,
    docids: Sequence[np.ndarray],
    beams: int,
    depth: int | None = None,
) -> Iterator[Standing]:
    """Yield how documents stand at each position of `beam_search`, up to the one where they leave the beams.

    Until then the parent of a document's prefix is a beam, so that the prefix is among the candidates and has a rank.

    Args:
        scorer, trie, batch, beams, depth: of the search.
        docids: for each query the DocIDs of the documents to follow, (D, L); all of the trie.
    """
    nodes = [_nodes(trie, torch.from_numpy(codes).to(trie.doc_ids.device)) for codes in docids]
    for position, step in enumerate(beam_steps(scorer, trie, batch, beams, depth)):
        for query, paths in enumerate(nodes):
            for document, node in enumerate(paths[:, position]):
                yield from _standing(step, beams, query, document, position, node)


def _nodes(trie: Trie, codes: torch.Tensor) -> torch.Tensor:
    """Return the node of each prefix of the DocIDs, (D, L)."""
    node = torch.zeros(len(codes), dtype=torch.long, device=codes.device)
    path = []
    for position in range(trie.depth):
        node = trie.descend(node, codes[:, position], position)
        path.append(node)
    return torch.stack(path, dim=1)


def _standing(
    step: Step, beams: int, query: int, document: int, position: int, node: torch.Tensor
) -> Iterator[Standing]:
    """Yield the standing of a node, if it is among the candidates."""
    scores = step.scores[query]
    there = scores > NO_RESULT
    own = torch.nonzero(there & (step.nodes[query] == node)).flatten()
    for place in own.tolist():
        # as in the search, of equal scores the first candidate is the better
        better = int((scores > scores[place]).sum() + (scores[:place] == scores[place]).sum())
        kept = better < beams
        yield Standing(
            query, document, position + 1, better + 1, int(there.sum()), kept, float(scores[place])
        )
