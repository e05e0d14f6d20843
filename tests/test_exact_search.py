"""Exact search: against integers that Python adds exactly, ties, block sizes, and vectors of any length."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from catid2.search.exact_search import nearest


def by_hand(queries: np.ndarray, documents: np.ndarray, k: int) -> list[list[tuple[int, int]]]:
    """Return (doc_id, inner product × 2^48) of the k best documents of each query, in integers of any size."""
    fixed = [
        [[int(value * 2**24) for value in row] for row in matrix.tolist()] for matrix in (queries, documents)
    ]
    found = []
    for query in fixed[0]:
        scores = [sum(a * b for a, b in zip(query, document, strict=True)) for document in fixed[1]]
        order = sorted(range(len(scores)), key=lambda doc_id: (-scores[doc_id], doc_id))
        found.append([(doc_id, scores[doc_id]) for doc_id in order[:k]] if any(query) else [])
    return found


def check(queries: np.ndarray, documents: np.ndarray, k: int, **blocks: int) -> None:
    found = nearest(queries, documents, k, **blocks)
    for doc_ids, scores, expected in zip(*found, by_hand(queries, documents, k), strict=True):
        assert doc_ids[doc_ids >= 0].tolist() == [doc_id for doc_id, _ in expected]
        assert scores[doc_ids >= 0].tolist() == [float(np.float32(score / 2**48)) for _, score in expected]
        assert np.isneginf(scores[doc_ids < 0]).all()


@settings(deadline=None, max_examples=50)
@given(
    arrays(np.float16, (3, 2), elements=st.sampled_from([-1, -0.1, 0, 0.1, 0.3, 1])),
    arrays(
        np.float16,
        st.tuples(st.integers(1, 30), st.just(2)),
        elements=st.sampled_from([-1, -0.1, 0, 0.1, 0.3]),
    ),
    st.integers(1, 12),
    st.integers(1, 9),
)
def test_ties_go_to_the_lower_doc_id_whatever_the_blocks(queries, documents, k, block):
    check(queries, documents, k, block=block, batch=2)


def test_unit_vectors_are_ranked_by_their_exact_inner_product():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(405, 96))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    vectors[100:300] = vectors[:5].repeat(40, axis=0)  # products of one text
    check(vectors[400:], vectors[:400], 60, block=64)


def test_equal_documents_come_in_their_order_whatever_the_block():
    """What exactness is for: sums in float32 may differ between equal documents, and between block sizes."""
    rng = np.random.default_rng(1)
    document = (rng.normal(size=768) / 28).astype(np.float16)
    documents = np.tile(document, (500, 1))
    queries = (rng.normal(size=(64, 768)) / 28).astype(np.float16)
    for block in (500, 37):
        doc_ids, _ = nearest(queries, documents, 500, block=block)
        assert (doc_ids == np.arange(500)).all()


def test_a_score_is_the_same_to_the_last_bit_whatever_the_blocks():
    """Also where the first block has short vectors and later ones long ones, which are scaled down and rounded."""
    rng = np.random.default_rng(1)

    def many_sizes(rows: int) -> np.ndarray:
        return (rng.normal(size=(rows, 48)) * 10.0 ** rng.uniform(-5, 1.5, (rows, 48))).astype(np.float16)

    short = (rng.normal(size=(40, 48)) / 7).astype(np.float16)
    documents, queries = np.concatenate([short, many_sizes(160)]), many_sizes(9)
    found = [
        nearest(queries, documents, 50, block=block, batch=batch)
        for block, batch in ((200, 9), (40, 2), (7, 9))
    ]
    for other in found[1:]:
        np.testing.assert_array_equal(other.doc_ids, found[0].doc_ids)
        np.testing.assert_array_equal(other.scores, found[0].scores)


@pytest.mark.parametrize("length", [1e-3, 30.0, 1000.0])
def test_vectors_of_any_length_are_ranked_as_in_float64(length):
    rng = np.random.default_rng(2)
    queries, documents = ((rng.normal(size=(n, 48)) * length / 7).astype(np.float16) for n in (5, 300))
    found = nearest(queries, documents, 20, block=128)
    scores = queries.astype(np.float64) @ documents.astype(np.float64).T
    np.testing.assert_array_equal(found.doc_ids, np.argsort(-scores, axis=1)[:, :20])
    np.testing.assert_allclose(found.scores, -np.sort(-scores, axis=1)[:, :20], rtol=1e-5)


def test_a_query_without_a_vector_finds_nothing_and_a_short_list_is_whole():
    documents = np.eye(3, dtype=np.float16)
    found = nearest(np.array([[0, 0, 0], [0, 2, 1]], np.float16), documents, 10)
    assert found.doc_ids.tolist() == [[-1, -1, -1], [1, 2, 0]]
    assert found.scores[1].tolist() == [2, 1, 0]
