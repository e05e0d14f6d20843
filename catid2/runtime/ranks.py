"""The rank of this process among those that torchrun started, without torch, which takes seconds to import."""

import os
from typing import NamedTuple

from catid2.runtime.errors import InputError

_REMEDY = "start the script with torchrun, or unset RANK, WORLD_SIZE and LOCAL_RANK if another job left them"
_VARIABLES = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}


class Ranks(NamedTuple):
    """The rank of a process; a single process is rank 0 of 1."""

    rank: int
    world_size: int
    local: int  # its number on the node, and that of its GPU


def read_ranks() -> Ranks:
    """Return the rank of this process, from the variables that torchrun sets.

    Raises:
        InputError: a variable is not a whole number, or the rank is not below the number of ranks.
    """
    values = {name: os.environ.get(name, default) for name, default in _VARIABLES.items()}
    for name, value in values.items():
        if not value.isdecimal():
            raise InputError(name, f"{value!r} is not a whole number", _REMEDY)
    ranks = Ranks(*map(int, values.values()))
    if ranks.rank >= ranks.world_size:
        raise InputError("RANK", f"{ranks.rank}, of WORLD_SIZE {ranks.world_size}", _REMEDY)
    return ranks
