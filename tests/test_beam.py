"""Beam search against scoring every DocID, and against beam search written with lists."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from retriever_case import random_codes

from catid2.search import trie as trie_module
from catid2.search.beam import beam_search, beam_steps
from catid2.search.trie import Trie


class TableScorer:
    """Scores a code by the whole prefix before it, from random tables: log-probabilities per (query, prefix)."""

    def __init__(self, queries: int, sizes: tuple[int, ...], seed: int = 0, levels: int | None = None):
        self.queries, self.sizes, self.seed, self.levels = queries, sizes, seed, levels
        self.prefixes = [[()] for _ in range(queries)]

    def table(self, query: int, prefix: tuple[int, ...]) -> torch.Tensor:
        """Return the log-probabilities of the codes after `prefix`; few distinct ones if `levels` is set."""
        rng = np.random.default_rng([self.seed, query, len(prefix), *prefix])
        logits = (
            rng.normal(size=self.sizes[len(prefix)])
            if self.levels is None
            else rng.integers(0, self.levels, self.sizes[len(prefix)])
        )
        return torch.from_numpy(2.0 * logits).float().log_softmax(0)

    def start(self, batch: None) -> torch.Tensor:
        """Score position 0."""
        self.prefixes = [[()] for _ in range(self.queries)]
        return self._scores()

    def advance(self, codes: torch.Tensor, origins: torch.Tensor) -> torch.Tensor:
        """Continue the beams `origins` by `codes`."""
        self.prefixes = [
            [
                (*before[origin], code)
                for origin, code in zip(origins[query].tolist(), codes[query].tolist(), strict=True)
            ]
            for query, before in enumerate(self.prefixes)
        ]
        return self._scores()

    def _scores(self) -> torch.Tensor:
        return torch.stack(
            [
                torch.stack([self.table(query, prefix) for prefix in beams])
                for query, beams in enumerate(self.prefixes)
            ]
        )

    def total(self, query: int, docid: tuple[int, ...]) -> float:
        """Return the log-probability of a whole DocID, or of a prefix."""
        return sum(self.table(query, docid[:position])[code] for position, code in enumerate(docid))


def listed_beam_search(scorer: TableScorer, query: int, codes: np.ndarray, beams: int, depth: int) -> list:
    """Return (score, prefix) of beam search written with lists."""
    found = [(0.0, ())]
    for length in range(1, depth + 1):
        allowed = {tuple(row[:length]) for row in codes.tolist()}
        found = [
            (score + float(value), (*prefix, code))
            for score, prefix in found
            for code, value in enumerate(scorer.table(query, prefix))
            if (*prefix, code) in allowed
        ]
        found = sorted(found, key=lambda entry: -entry[0])[:beams]
    return found


@pytest.mark.parametrize(
    ("documents", "sizes"), [(60, (4, 4, 4)), (30, (3, 3, 3, 6)), (1, (5, 5)), (9, (9,))]
)
def test_with_a_beam_per_prefix_the_result_is_that_of_scoring_every_docid(documents, sizes):
    codes = random_codes(documents, sizes)
    trie, scorer = Trie.from_codes(codes, sizes), TableScorer(3, sizes)
    found = beam_search(scorer, trie, None, beams=documents)
    for query in range(3):
        scores = torch.stack([scorer.total(query, tuple(row)) for row in codes.tolist()])
        best = scores.sort(descending=True, stable=True)
        assert trie.doc_ids[found.nodes[query]].tolist() == best.indices.tolist()
        torch.testing.assert_close(found.scores[query], best.values)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    documents=st.integers(1, 48),
    beams=st.integers(1, 12),
    depth=st.integers(1, 3),
)
def test_any_search_is_that_of_plain_lists(seed, documents, beams, depth):
    sizes = (4, 3, 4)
    codes = random_codes(documents, sizes, seed)
    trie, scorer = Trie.from_codes(codes, sizes), TableScorer(2, sizes, seed)
    found = beam_search(scorer, trie, None, beams, depth)
    nodes = sorted({tuple(row[:depth]) for row in codes.tolist()})
    for query in range(2):
        expected = listed_beam_search(scorer, query, codes, beams, depth)
        kept = found.nodes[query] >= 0
        assert [nodes[node] for node in found.nodes[query][kept].tolist()] == [
            prefix for _, prefix in expected
        ]
        np.testing.assert_allclose(found.scores[query][kept], [score for score, _ in expected], rtol=1e-5)
        assert (found.scores[query][~kept] == -torch.inf).all()


@given(
    st.integers(0, 10_000),
    st.integers(1, 60),
    st.integers(1, 12),
    st.sampled_from([(64,), (4, 4, 4), (9, 2, 6)]),
)
@settings(max_examples=40, deadline=None)
def test_tables_of_the_first_levels_change_nothing(seed, documents, beams, sizes):
    """With ties, and with fewer candidates than beams."""
    codes = random_codes(documents, sizes, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trie_module, "TABLE_ENTRIES", 0)
        without = Trie.from_codes(codes, sizes)
    tabled = Trie.from_codes(codes, sizes)
    assert not any(table is not None for table in without.tables)
    expected, found = (
        list(beam_steps(TableScorer(3, sizes, seed, levels=2), of, None, beams)) for of in (without, tabled)
    )
    for one, other in zip(expected, found, strict=True):
        assert torch.equal(one.kept.nodes, other.kept.nodes)
        assert torch.equal(one.kept.scores, other.kept.scores)


def test_fewer_docids_than_beams_give_fewer_results():
    sizes = (4, 4)
    trie = Trie.from_codes(np.array([[0, 1], [0, 2], [3, 0]]), sizes)
    found = beam_search(TableScorer(5, sizes), trie, None, beams=10)
    assert ((found.nodes >= 0).sum(1) == 3).all()
    assert torch.equal(found.nodes < 0, found.scores == -torch.inf)
    assert all(sorted(row[row >= 0].tolist()) == [0, 1, 2] for row in found.nodes)


def test_equal_scores_are_ordered_by_rank_of_the_parent_then_code():
    sizes = (3, 3)
    trie = Trie.from_codes(random_codes(9, sizes), sizes)
    found = beam_search(TableScorer(1, sizes, levels=1), trie, None, beams=9)  # every DocID is equally likely
    assert found.nodes[0].tolist() == list(range(9))


class FixedScorer:
    """Scores DocIDs of one position by a table, (Q, K)."""

    def __init__(self, table: torch.Tensor):
        self.table = table

    def start(self, batch: None) -> torch.Tensor:
        """Score position 0."""
        return self.table.unsqueeze(1)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 400), st.integers(1, 60), st.integers(1, 3))
def test_of_equal_scores_at_the_cut_the_first_are_kept(seed, documents, beams, levels):
    table = torch.from_numpy(np.random.default_rng(seed).integers(-levels, 0, (3, documents))).float()
    trie = Trie.from_codes(np.arange(documents)[:, None], (documents,))
    found = beam_search(FixedScorer(table), trie, None, beams)
    for query, scores in enumerate(table.tolist()):
        expected = sorted(range(documents), key=lambda code, scores=scores: (-scores[code], code))[:beams]
        assert found.nodes[query].tolist() == expected
        assert found.scores[query].tolist() == [scores[code] for code in expected]


def test_the_search_is_repeatable_with_ties():
    sizes = (6, 6, 6)
    trie = Trie.from_codes(random_codes(150, sizes), sizes)
    runs = [beam_search(TableScorer(4, sizes, levels=2), trie, None, beams=20) for _ in range(2)]
    assert torch.equal(runs[0].nodes, runs[1].nodes)
    assert torch.equal(runs[0].scores, runs[1].scores)
