"""Uncertainty of means over queries: bootstrap intervals and paired tests, for many columns at once.

A column is a run at a cutoff. All columns use the same resamples, so their intervals and p values are comparable, and
adding a run does not change those of other runs.
"""

from collections.abc import Iterator

import numpy as np

# Resamples at a time: 36 MB of weights for 9,000 queries.
CHUNK = 500


def bootstrap_interval(
    values: np.ndarray, confidence: float, n_resamples: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the percentile bootstrap interval of the mean over rows (queries) of each column.

    `values` is (queries, M); low and high are (M,). scipy.stats.bootstrap gives the same with the same draws, but takes
    ten times as long: it gathers all values of every resample. Here the counts of drawn rows need one matrix product.
    """
    rng = np.random.default_rng(seed)
    n = len(values)
    means = []
    for size in _chunks(n_resamples):
        drawn = np.stack([np.bincount(rng.integers(n, size=n), minlength=n) for _ in range(size)])
        means.append(drawn.astype(float) @ values / n)  # (size, M)
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail], axis=0)
    return low, high


def randomization_test(differences: np.ndarray, n_resamples: int, seed: int) -> np.ndarray:
    """Return the two-sided p of the mean paired difference of each column, by random flips of the signs.

    `differences` is (queries, M), p is (M,). p = (1 + flips at least as far from 0) / (1 + flips), so it is
    never 0 (Phipson & Smyth 2010).
    """
    rng = np.random.default_rng(seed)
    n = len(differences)
    observed = np.abs(differences.sum(0))
    # Sums that are mathematically equal can differ by rounding, and must count as equally far.
    threshold = observed - 1e-9 * np.maximum(observed, 1)
    extreme = np.zeros(differences.shape[1], np.int64)
    for size in _chunks(n_resamples):
        signs = 1.0 - 2.0 * rng.integers(2, size=(size, n))
        extreme += (np.abs(signs @ differences) >= threshold).sum(0)
    return (1 + extreme) / (1 + n_resamples)


def paired_t_test(differences: np.ndarray) -> np.ndarray:
    """Return the two-sided p of the mean paired difference of each column; 1 where all are 0.

    `differences` is (queries, M), p is (M,). It is NaN if all queries (or the only one) differ by the same amount other
    than 0: t is undefined without variance.
    """
    p = np.full(differences.shape[1], np.nan)
    p[~differences.any(axis=0)] = 1
    # Differences that are mathematically equal can differ by rounding.
    varied = np.ptp(differences, axis=0) > 1e-9 * np.abs(differences).max(axis=0)
    if not varied.any():
        return p
    from scipy.stats import ttest_1samp  # takes a second, and only this test needs it

    p[varied] = ttest_1samp(differences[:, varied], 0).pvalue
    return p


def holm(p: np.ndarray) -> np.ndarray:
    """Return p values corrected for their number by Holm's step-down procedure (1979), along the first axis.

    `p` is (m, M), m comparisons in each of M columns. Among the corrected values below 0.05 there is a false one with a
    probability of at most 5%, whatever the comparisons have in common. A NaN stays one, and counts as a comparison.
    """
    count = len(p)
    order = np.argsort(p, axis=0)
    remaining = (count - np.arange(count))[:, None]
    stepped = np.maximum.accumulate(remaining * np.take_along_axis(p, order, 0), axis=0)
    corrected = np.empty_like(p)
    np.put_along_axis(corrected, order, np.minimum(stepped, 1), axis=0)
    return corrected


def _chunks(total: int) -> Iterator[int]:
    for start in range(0, total, CHUNK):
        yield min(CHUNK, total - start)
