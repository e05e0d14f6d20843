"""Beam search over DocIDs: fixed depth, all queries at once, only codes that exist.

Every DocID has the same number of positions, so there is no end token, no finished beam and no length penalty: the
score of a DocID is the sum of its codes' log-probabilities. Each step asks the scorer for the log-probabilities of the
K codes of a position, and looks up in the trie which codes extend a beam's prefix. All shapes are known before the
search starts, so nothing waits for the device.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import torch

from catid2.search.trie import Trie

NO_RESULT = float("-inf")


class CodeScorer(Protocol):
    """A decoder that scores the codes position by position, for Q queries at once.

    Log-probabilities are taken over all codes of the position, whether or not the trie allows them.
    """

    def start(self, batch: Any) -> torch.Tensor:
        """Encode the queries; return the log-probabilities of position 0, (Q, 1, sizes[0]) float32."""
        ...

    def advance(self, codes: torch.Tensor, origins: torch.Tensor) -> torch.Tensor:
        """Return the log-probabilities of the next position, (Q, B, sizes[position]) float32.

        Beam b of query q extends beam `origins[q, b]` of the step before by `codes[q, b]`; both (Q, B) int64.
        """
        ...


class Beams(NamedTuple):
    """The best prefixes of each query, best first; (Q, B), padded with node -1 and score -inf."""

    nodes: torch.Tensor  # int64: nodes of the trie at the searched depth
    scores: torch.Tensor  # float32: sums of log-probabilities


class Step(NamedTuple):
    """What a position of the search chooses from, and what it keeps.

    The C = B · width candidates of a query are in the order of their parents' ranks, then of their codes.
    """

    nodes: torch.Tensor  # (Q, C) int64: of the trie, one position deeper
    scores: torch.Tensor  # (Q, C) float32; -inf: the candidate does not exist, and its node means nothing
    kept: Beams


def beam_search(scorer: CodeScorer, trie: Trie, batch: Any, beams: int, depth: int | None = None) -> Beams:
    """Return the best DocIDs of every query in `batch`; with `depth`, the best prefixes of that many codes.

    B is `beams`, or the number of candidates that the widths of the trie allow if that is smaller. The result is exact
    (the best B of all DocIDs) if `beams` is at least the number of prefixes at every depth; otherwise it is that of
    beam search. Candidates of equal score are ordered by their parent's rank, then by code.
    """
    for step in beam_steps(scorer, trie, batch, beams, depth):
        found = step.kept
    return found


def beam_steps(
    scorer: CodeScorer, trie: Trie, batch: Any, beams: int, depth: int | None = None
) -> Iterator[Step]:
    """Yield each position of the search of `beam_search`."""
    depth = trie.depth if depth is None else depth
    log_probabilities = scorer.start(batch)  # (Q, 1, K)
    nodes = torch.zeros(log_probabilities.shape[:2], dtype=torch.long, device=log_probabilities.device)
    scores = torch.zeros_like(nodes, dtype=torch.float32)
    for position in range(depth):
        children = trie.children(nodes, position)  # each (Q, B, width)
        candidates = scores.unsqueeze(-1) + children.pick(log_probabilities)
        candidates = candidates.where(children.valid, NO_RESULT).flatten(1)  # (Q, B · width)
        width = children.valid.shape[-1]
        kept = min(beams, nodes.shape[1] * trie.widths[position])
        scores, chosen = _best(candidates, kept)
        below = children.nodes.flatten(1)
        nodes = below.gather(1, chosen)
        yield Step(below, candidates, Beams(nodes.masked_fill(scores == NO_RESULT, -1), scores))
        if position + 1 < depth:
            query = torch.arange(len(chosen), device=chosen.device).unsqueeze(1)
            origins = chosen // width
            log_probabilities = scorer.advance(children.codes[query, origins, chosen % width], origins)


def _best(candidates: torch.Tensor, beams: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return scores and indices of the best candidates per row; ties are in order of index."""
    found, chosen = candidates.topk(beams, dim=1, sorted=False)
    # Of the candidates that tie with the last one topk returns any: take the first of them.
    last = found.amin(dim=1, keepdim=True)
    at_cut = found == last
    nth = at_cut.cumsum(dim=1, dtype=torch.int32)
    first = torch.searchsorted((candidates == last).cumsum(dim=1, dtype=torch.int32), nth)
    chosen = torch.where(at_cut, first, chosen).sort(dim=1).values
    scores, order = candidates.gather(1, chosen).sort(dim=1, descending=True, stable=True)
    return scores, chosen.gather(1, order)
