"""Deal products to queries like cards: the next query of a kind gets the next products."""

import numpy as np


class Deck:
    """Products by key, each key's in the order given, to be dealt round and round."""

    def __init__(self, products: np.ndarray, keys: np.ndarray):
        """`products` (n,) and the `keys` (n,) under which they are asked for; a product may be there twice."""
        order = np.argsort(keys, kind="stable")
        self._products, self._keys = products[order], keys[order]
        self._given = np.zeros(len(order) + 1, dtype=np.int64)  # dealt so far, at the first place of a key

    def size(self, key: np.ndarray) -> np.ndarray:
        """(h,) number of products of each key."""
        return np.searchsorted(self._keys, key, side="right") - np.searchsorted(self._keys, key)

    def deal(self, key: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Deal each of h hands up to `count` distinct products of its `key`.

        Returns:
            (pairs,) the hands, ascending, and (pairs,) their products.
        """
        first, size = np.searchsorted(self._keys, key), self.size(key)
        count = np.minimum(count, size)
        # A hand starts where the last one of its key stopped: running sums within the groups of equal keys.
        turn = np.argsort(first, kind="stable")
        before = np.cumsum(count[turn]) - count[turn]
        opens = np.where(np.diff(first[turn], prepend=-1) != 0, np.arange(len(key)), 0)
        start = np.empty(len(key), dtype=np.int64)
        start[turn] = before - before[np.maximum.accumulate(opens)]
        start += self._given[first]
        np.add.at(self._given, first, count)
        hand = np.repeat(np.arange(len(key)), count)
        within = np.arange(len(hand)) - np.repeat(np.cumsum(count) - count, count)
        return hand, self._products[first[hand] + (start[hand] + within) % size[hand]]
