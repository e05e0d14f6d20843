"""Where beams lose documents, against beam search written with lists; and against the run of real retrievers."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from light_case import random_light, random_vectors
from retriever_case import random_codes, random_retriever
from test_beam import TableScorer
from test_retrieval import some_queries

from catid2.search.beam import beam_search
from catid2.search.trace import trace
from catid2.search.trie import Trie


def expected_standings(
    scorer: TableScorer, query: int, codes: np.ndarray, beams: int, depth: int
) -> dict[tuple[int, int], tuple]:
    """Return (rank, candidates, kept, score) by row of `codes` and position, from lists of prefixes."""
    found = [(np.float32(0), ())]
    standings = {}
    for length in range(1, depth + 1):
        allowed = {tuple(row[:length]) for row in codes.tolist()}
        candidates = [
            (score + np.float32(value), (*prefix, code))
            for score, prefix in found
            for code, value in enumerate(scorer.table(query, prefix))
            if (*prefix, code) in allowed
        ]
        candidates.sort(key=lambda entry: -entry[0])  # stable
        found = candidates[:beams]
        ranks = {prefix: rank for rank, (_, prefix) in enumerate(candidates, start=1)}
        for row, docid in enumerate(codes.tolist()):
            if rank := ranks.get(tuple(docid[:length])):
                score = candidates[rank - 1][0]
                standings[row, length] = (rank, len(candidates), rank <= beams, score)
    return standings


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    documents=st.integers(1, 48),
    beams=st.integers(1, 12),
    depth=st.integers(1, 3),
    levels=st.sampled_from([None, 1, 2]),  # few: many candidates of equal score
)
def test_a_trace_is_that_of_plain_lists(seed, documents, beams, depth, levels):
    sizes = (4, 3, 4)
    codes = random_codes(documents, sizes, seed)
    scorer = TableScorer(2, sizes, seed, levels)
    followed = [codes, codes[: documents // 2]]  # the second query follows fewer
    found = list(trace(scorer, Trie.from_codes(codes, sizes), None, followed, beams, depth))
    for query, rows in enumerate(followed):
        expected = {
            key: value
            for key, value in expected_standings(scorer, query, codes, beams, depth).items()
            if key[0] < len(rows)
        }
        own = {(one.document, one.position): one for one in found if one.query == query}
        assert own.keys() == expected.keys()
        for key, one in own.items():
            *exact, score = expected[key]
            assert [one.rank, one.candidates, one.kept] == exact
            assert one.score == pytest.approx(score, rel=1e-5)
        for document in range(len(rows)):  # it is followed up to where it leaves, and no further
            kept = [
                own[document, position].kept
                for position in range(1, depth + 1)
                if (document, position) in own
            ]
            assert kept == [True] * depth or (kept[-1] is False and all(kept[:-1]))


@pytest.mark.parametrize("kind", ["t5", "mt5", "light"])
def test_what_is_never_lost_is_what_the_search_finds(kind):
    sizes = (5, 5, 6)
    codes = random_codes(90, sizes)
    trie = Trie.from_codes(codes, sizes)
    if kind == "light":
        retriever, batch = random_light(sizes), random_vectors(4)
    else:
        retriever = random_retriever(kind, sizes)
        batch = retriever.batch(some_queries(4), np.arange(4))
    with torch.inference_mode():
        found = beam_search(retriever.scorer(), trie, batch, beams=12)
        standings = list(trace(retriever.scorer(), trie, batch, [codes] * 4, beams=12))
    for query in range(4):
        last = {one.document: one for one in standings if one.query == query}
        assert last.keys() == set(range(90))
        kept = sorted((one.rank, document, one.score) for document, one in last.items() if one.kept)
        assert [rank for rank, _, _ in kept] == list(range(1, 13))
        assert [document for _, document, _ in kept] == trie.doc_ids[found.nodes[query]].tolist()
        np.testing.assert_array_equal([score for _, _, score in kept], found.scores[query].numpy())
        assert all(one.rank > 12 for one in last.values() if not one.kept)
