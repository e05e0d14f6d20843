"""The place of this process among those that torchrun has started. Without torch, which takes seconds to import."""

import os
from typing import NamedTuple


class Ranks(NamedTuple):
    """The place of a process; one that is alone is rank 0 of 1."""

    rank: int
    world_size: int
    local: int  # its number on the node, and that of its GPU


def read_ranks() -> Ranks:
    """Return the place of this process, from the variables that torchrun sets."""
    names = {"RANK": 0, "WORLD_SIZE": 1, "LOCAL_RANK": 0}
    return Ranks(*(int(os.environ.get(name, default)) for name, default in names.items()))
