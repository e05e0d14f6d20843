"""Random numbers by name and index: any row of any stream can be drawn again, alone, in any order.

A product's text can so be made chunk by chunk, or for one row, without state and without holding the others.
"""

import zlib
from dataclasses import dataclass

import numpy as np

# SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014).
_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


@dataclass(frozen=True)
class Draws:
    """The streams of one seed."""

    seed: int

    def uniform(self, stream: str, index: np.ndarray) -> np.ndarray:
        """Return one float64 in [0, 1) per entry of `index` (integers ≥ 0), of the same shape."""
        key = np.random.SeedSequence([self.seed, zlib.crc32(stream.encode())]).generate_state(1, np.uint64)[0]
        state = index.astype(np.uint64) * _GAMMA + key
        state = (state ^ (state >> np.uint64(30))) * _MIX_1
        state = (state ^ (state >> np.uint64(27))) * _MIX_2
        state ^= state >> np.uint64(31)
        return (state >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def happens(self, stream: str, index: np.ndarray, share: float) -> np.ndarray:
        """Return True for about a `share` of the entries of `index`."""
        return self.uniform(stream, index) < share

    def choice(self, stream: str, index: np.ndarray, n: int | np.ndarray) -> np.ndarray:
        """Return an int64 in [0, n) per entry of `index`, each with the same probability."""
        return (self.uniform(stream, index) * n).astype(np.int64)

    def weighted(self, stream: str, index: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Return an int64 in [0, len(weights)) per entry of `index`, with probability ∝ its weight."""
        bounds = np.cumsum(weights, dtype=np.float64)
        drawn = np.searchsorted(bounds, self.uniform(stream, index) * bounds[-1], side="right")
        return np.minimum(drawn, len(bounds) - 1)

    def permutation(self, stream: str, n: int) -> np.ndarray:
        """Return the numbers 0..n-1 in a random order."""
        return np.argsort(self.uniform(stream, np.arange(n)), kind="stable")


def zipf_weights(n: int, exponent: float) -> np.ndarray:
    """Return the weights rank^-exponent of the ranks 1..n."""
    return np.arange(1, n + 1, dtype=np.float64) ** -exponent
