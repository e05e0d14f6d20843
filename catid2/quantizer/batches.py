"""The order of the documents in an epoch, and how it is dealt to batches."""

from typing import Literal

import torch
from torch import Tensor

Batches = Literal["random", "category"]
RUN = 8  # documents of one category that "category" keeps together


def epoch_order(categories: Tensor, batches: Batches, generator: torch.Generator) -> Tensor:
    """Return a permutation of the N documents, the order of an epoch.

    Args:
        categories: (N,) int, of the level at which "category" keeps documents together.
        batches: "random": in random order. "category": shuffled within their category, cut into runs of `RUN` (the
            last of a category may be shorter), and the runs shuffled.
        generator: draws the order.
    """
    order = torch.randperm(len(categories), generator=generator)
    if batches == "random":
        return order
    order = order[categories[order].argsort(stable=True)]
    sizes = categories.unique(return_counts=True)[1]
    places = torch.arange(len(order)) - (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
    runs = (places % RUN == 0).cumsum(0) - 1
    shuffled = torch.randperm(int(runs[-1]) + 1, generator=generator)
    return order[shuffled[runs].argsort(stable=True)]


def deal(order: Tensor, batches: int, one_size: bool) -> tuple[Tensor, ...]:
    """Return the batches of an epoch, parts of its order.

    Args:
        order: (N,) of `epoch_order`.
        batches: their number, at most N.
        one_size: all batches have ⌊N / batches⌋ documents, and the last N mod `batches` of the order are left out of
            this epoch; the next one has another order. Otherwise none is left out, and sizes differ by at most one.
    """
    return order[: len(order) // batches * batches if one_size else None].tensor_split(batches)
