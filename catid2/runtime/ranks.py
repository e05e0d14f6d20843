"""The rank of this process among those that torchrun started, without torch, which takes seconds to import."""

import os
from typing import NamedTuple


class Ranks(NamedTuple):
    """The rank of a process; a single process is rank 0 of 1."""

    rank: int
    world_size: int
    local: int  # its number on the node, and that of its GPU


def read_ranks() -> Ranks:
    """Return the rank of this process, from the variables that torchrun sets."""
    names = {"RANK": 0, "WORLD_SIZE": 1, "LOCAL_RANK": 0}
    return Ranks(*(int(os.environ.get(name, default)) for name, default in names.items()))
