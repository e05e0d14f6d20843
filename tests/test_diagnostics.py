"""Figures about codes, against their definitions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from catid2.diagnostics import category_nmi, collision_rate, dead_codes, nmi, perplexity, prefix_ids

CODES = arrays(np.int64, st.tuples(st.integers(1, 30), st.integers(1, 5)), elements=st.integers(0, 3))


@settings(deadline=None)
@given(CODES)
def test_prefix_ids_number_the_prefixes(codes: np.ndarray) -> None:
    ids = prefix_ids(codes)
    for length in range(1, codes.shape[1] + 1):
        prefixes = [tuple(row[:length]) for row in codes]
        order = {prefix: number for number, prefix in enumerate(sorted(set(prefixes)))}
        assert ids[:, length - 1].tolist() == [order[prefix] for prefix in prefixes]


@settings(deadline=None)
@given(CODES)
def test_collision_rate_counts_documents_without_an_id_of_their_own(codes: np.ndarray) -> None:
    distinct = {tuple(row) for row in codes}
    assert collision_rate(codes) == pytest.approx((len(codes) - len(distinct)) / len(codes))


def test_more_codes_than_an_integer_can_number() -> None:
    codes = np.full((4, 9), 2**14)
    codes[1:3, 0] = 0
    assert collision_rate(codes) == 0.5
    assert prefix_ids(codes)[:, -1].tolist() == [1, 0, 0, 1]


def test_perplexity_between_one_code_and_all() -> None:
    assert perplexity(np.zeros(10, dtype=int), 8) == 1
    assert perplexity(np.arange(8), 8) == pytest.approx(8)
    assert perplexity(np.array([0, 0, 0, 1]), 8) == pytest.approx(2**0.8112781244591328)  # entropy in bits


def test_dead_codes() -> None:
    assert dead_codes(np.array([0, 0, 5]), 8) == 6


def test_nmi_of_codes_and_prefixes_with_categories() -> None:
    categories = np.repeat([[0, 0], [0, 1], [1, 2], [1, 3]], 5, axis=0)
    codes = np.stack([categories[:, 0] * 3, categories[:, 1] % 2], axis=1)
    found = category_nmi(codes, categories)
    assert found["codes"][0][0] == pytest.approx(1)
    assert found["codes"][0][1] == pytest.approx(0, abs=1e-9)
    assert found["codes"][1] == pytest.approx([2 / 3, 2 / 3])
    assert found["prefixes"][1][1] == pytest.approx(1)


def test_nmi_ignores_names() -> None:
    labels = np.random.default_rng(0).integers(0, 4, 50)
    assert nmi(labels, 7 - labels) == pytest.approx(1)
