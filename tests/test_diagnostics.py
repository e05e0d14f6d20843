"""Figures about codes, against their definitions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import normalized_mutual_info_score

from catid2.quantizer.diagnostics import (
    category_nmi,
    category_nmi_chance,
    collision_rate,
    dead_codes,
    nmi,
    perplexity,
    prefix_ids,
)

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


def test_nmi_of_unrelated_codes_is_its_chance_level() -> None:
    random = np.random.default_rng(3)
    categories = np.stack([random.integers(0, 4, 2000), random.integers(0, 30, 2000)], axis=1)
    codes = np.stack([random.integers(0, 256, 2000), np.arange(2000), categories[:, 0]], axis=1)
    found, chance = category_nmi(codes, categories), category_nmi_chance(codes, categories)
    assert found["codes"][1][0] > 0.2  # although random codes know no category
    for level in range(2):
        assert chance["codes"][level][0] == pytest.approx(found["codes"][level][0], abs=0.02)
        assert chance["codes"][level][1] == pytest.approx(found["codes"][level][1])  # every document a code
    assert found["codes"][0][2] == pytest.approx(1)
    assert chance["codes"][0][2] < 0.01
    assert np.shape(chance["prefixes"]) == np.shape(found["prefixes"]) == (2, 3)


def test_nmi_of_unique_codes_with_random_categories_is_as_documented() -> None:
    categories = np.arange(5000) % 30
    assert nmi(np.arange(5000), categories) == pytest.approx(0.57, abs=0.005)


@pytest.mark.parametrize("sizes", [(1, 1), (1, 5), (4, 7), (300, 5), (3000, 40), (4000, 3000)])
def test_nmi_equals_scikit_learn(sizes: tuple[int, int]) -> None:
    random = np.random.default_rng(sum(sizes))
    categories = random.integers(0, sizes[1], 4000)
    labels = np.where(random.random(4000) < 0.5, categories % sizes[0], random.integers(0, sizes[0], 4000))
    expected = normalized_mutual_info_score(categories, labels)
    assert nmi(labels, categories) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_nmi_ignores_names() -> None:
    labels = np.random.default_rng(0).integers(0, 4, 50)
    assert nmi(labels, 7 - labels) == pytest.approx(1)
