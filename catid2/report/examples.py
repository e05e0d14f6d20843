"""Products whose DocIDs begin alike: what a shared prefix means, read by eye."""

from typing import NamedTuple

import numpy as np


class PrefixExample(NamedTuple):
    """One prefix and some of the products below it."""

    prefix: tuple[int, ...]
    n_documents: int  # all documents below the prefix
    documents: list[int]  # doc_ids of those shown, in the order of their DocIDs


def prefix_examples(docids: np.ndarray, length: int, examples: int, products: int) -> list[PrefixExample]:
    """Choose prefixes of `length` codes to show, the same ones each time.

    They are the fullest ones that differ in their first code, equally full ones in the order of their codes.
    A prefix of one document is no example.

    Args:
        docids: (N, positions) int, row = doc_id.
    """
    prefixes, group, size = np.unique(docids[:, :length], axis=0, return_inverse=True, return_counts=True)
    group = group.reshape(-1)
    fullest_first = np.argsort(
        -size, kind="stable"
    )  # np.unique has put the prefixes in the order of their codes
    shared = fullest_first[size[fullest_first] > 1]
    _, first = np.unique(prefixes[shared, 0], return_index=True)
    chosen = []
    for row in shared[np.sort(first)][:examples]:
        documents = np.flatnonzero(group == row)
        in_order = documents[np.lexsort(docids[documents].T[::-1])]
        chosen.append(
            PrefixExample(tuple(prefixes[row].tolist()), int(size[row]), in_order[:products].tolist())
        )
    return chosen
