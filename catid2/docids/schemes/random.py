"""Random DocIDs, a baseline: they say nothing about the documents."""

from typing import TYPE_CHECKING

import numpy as np

from catid2.docids.schemes.coding import Documents, Unique
from catid2.runtime.errors import InputError

if TYPE_CHECKING:
    from catid2.config.schemes import RandomScheme

MOST_IDS = 2**63 - 1  # NumPy draws from int64


def random(documents: Documents, settings: "RandomScheme", seed: int) -> Unique:
    """Draw N distinct strings of L codes, uniformly (DSI, section 3.2: naive strings).

    Raises:
        InputError: there are fewer than N strings, or more than NumPy can draw from.
    """
    layers, size = settings.sizes()
    strings, total = size**layers, len(documents.order)
    if not total <= strings <= MOST_IDS:
        have = f"{layers} positions of {size} codes make {strings} DocIDs for {total} documents"
        raise InputError("DocIDs", have, f"choose sizes that make {total} to {MOST_IDS}")
    number = np.random.default_rng(seed).choice(strings, total, replace=False)
    codes = np.empty((total, layers), np.int32)
    for position in reversed(range(layers)):
        number, codes[documents.order, position] = np.divmod(number, size)
    return Unique(codes, (size,) * layers)
