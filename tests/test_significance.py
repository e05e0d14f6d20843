"""Intervals and tests against scipy's, and what must hold for any input."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from catid2.evaluation.significance import bootstrap_interval, holm, paired_t_test, randomization_test


def recalls(queries: int, columns: int, seed: int) -> np.ndarray:
    """Recall-like values: multiples of a quarter, many of them 0."""
    return np.random.default_rng(seed).choice([0, 0, 0.25, 0.5, 1], size=(queries, columns))


def test_bootstrap_is_the_percentile_bootstrap_of_scipy():
    values = recalls(80, 2, 0)
    low, high = bootstrap_interval(values, 0.9, 700, seed=1)
    reference = stats.bootstrap(
        (values,), np.mean, axis=0, confidence_level=0.9, n_resamples=700, method="percentile", rng=1
    ).confidence_interval
    np.testing.assert_allclose(low, reference.low, rtol=1e-13)
    np.testing.assert_allclose(high, reference.high, rtol=1e-13)


def test_an_interval_does_not_depend_on_the_columns_beside_it():
    values = recalls(50, 3, 1)
    low, high = bootstrap_interval(values, 0.95, 700, seed=3)
    alone_low, alone_high = bootstrap_interval(values[:, 1:2], 0.95, 700, seed=3)
    np.testing.assert_allclose([low[1], high[1]], [alone_low[0], alone_high[0]])


@given(st.integers(1, 30), st.integers(0, 99))
@settings(max_examples=20)
def test_the_interval_holds_between_the_extremes_and_shrinks_with_confidence(queries, seed):
    values = recalls(queries, 2, seed)
    low, high = bootstrap_interval(values, 0.95, 200, seed)
    inner_low, inner_high = bootstrap_interval(values, 0.5, 200, seed)
    assert (values.min(0) <= low + 1e-12).all()
    assert (low <= inner_low).all()
    assert (inner_high <= high).all()
    assert (high <= values.max(0) + 1e-12).all()


def test_randomization_test_approaches_the_exact_one():
    differences = recalls(9, 3, 4) - recalls(9, 3, 5)  # 2^9 flips: scipy takes them all
    p = randomization_test(differences, 40_000, seed=0)
    for column, value in enumerate(p):
        exact = stats.permutation_test(
            (differences[:, column],), np.mean, permutation_type="samples", n_resamples=np.inf
        )
        assert value == pytest.approx(exact.pvalue, abs=0.01)


def test_randomization_test_is_never_0_and_is_1_without_a_difference():
    differences = np.column_stack([np.full(60, 0.5), np.zeros(60)])
    np.testing.assert_allclose(randomization_test(differences, 999, seed=0), [1 / 1000, 1.0])


@pytest.mark.filterwarnings("error")
def test_paired_t_test_has_no_p_without_variance():
    equal = np.full(20, 0.1) + np.array([0.2, 0.2 + 1e-16] * 10)  # equal but for rounding
    assert np.isnan(paired_t_test(np.column_stack([np.full(20, 0.5), equal]))).all()
    np.testing.assert_array_equal(paired_t_test(np.array([[0.5, 0.0]])), [np.nan, 1.0])  # a single query


def test_paired_t_test_is_scipys_and_1_without_a_difference():
    left, right = recalls(40, 2, 6), recalls(40, 2, 7)
    left[:, 1] = right[:, 1]
    p = paired_t_test(left - right)
    assert p[0] == pytest.approx(stats.ttest_rel(left[:, 0], right[:, 0]).pvalue)
    assert p[1] == 1.0


@pytest.mark.parametrize(
    "resample",
    [
        lambda values, seed: bootstrap_interval(values, 0.95, 99, seed),
        lambda values, seed: randomization_test(values, 99, seed),
    ],
    ids=["bootstrap", "randomization"],
)
def test_another_seed_resamples_otherwise_and_the_same_one_alike(resample):
    values = np.random.default_rng(8).normal(0.1, 1, (40, 5))
    np.testing.assert_array_equal(resample(values, 3), resample(values, 3))
    assert (np.array(resample(values, 3)) != np.array(resample(values, 4))).any()


@pytest.mark.parametrize("seed", range(5))
def test_holm_is_the_closed_test_of_bonferronis(seed):
    p = np.random.default_rng(seed).choice([0.001, 0.01, 0.02, 0.3, 0.9], size=(4, 3))
    for column, corrected in zip(p.T, holm(p).T, strict=True):
        for i in range(4):
            subsets = [
                which for n in range(1, 5) for which in itertools.combinations(range(4), n) if i in which
            ]
            bonferroni = [min(1, len(which) * column[list(which)].min()) for which in subsets]
            assert corrected[i] == pytest.approx(max(bonferroni))


def test_holm_counts_a_comparison_without_p():
    corrected = holm(np.array([[0.01], [np.nan], [0.04]]))[:, 0]
    assert corrected[[0, 2]] == pytest.approx([0.03, 0.08])
    assert np.isnan(corrected[1])
