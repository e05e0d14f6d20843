"""Cutting a batch into blocks, so that documents are contrasted within a block instead of in a B × B product."""

from collections.abc import Iterable
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from catid2.runtime.gpu import send
from catid2.training.distributed import Group

IGNORED = -100  # as a positive: skip the anchor


def block_bounds(total: int, negatives: int | None) -> list[int]:
    """Return the bounds of the most equal blocks in which each of `total` documents has at least `negatives` others.

    None gives one block. With `batches: random` the blocks are random samples; with `category` they hold runs of one
    category.
    """
    count = 1 if negatives is None else max(1, total // (negatives + 1))
    return [total * block // count for block in range(count + 1)]


class Contrasted(NamedTuple):
    """The anchors of a block and their keys, or (b, …) those of b blocks, padded to the same size."""

    anchors: Tensor  # (n, D) or (b, n, D)
    keys: Tensor  # (m, D) or (b, m, D)
    positives: Tensor  # (n,) or (b n,) the key of each anchor; IGNORED if the anchor is padding
    padding: Tensor | None  # (b, 1, m) True for keys that are padding


def contrasts(
    reconstruction: Tensor, originals: Tensor, negatives: int | None, group: Group, batched: bool
) -> Iterable[Contrasted]:
    """Return this rank's anchors in each block of the batch, with the keys that they are contrasted with.

    Args:
        reconstruction: (n, D) of this rank's documents, the anchors.
        originals: (B, D) of all documents of the batch, the keys.
        negatives: as in `block_bounds`.
        group: this process and its peers.
        batched: return all blocks as one, padded.
    """
    total = len(originals)
    blocks = _blocks(block_bounds(total, negatives), group.shard(total))
    if batched and len(blocks) > 1:
        return [_all_at_once(reconstruction, originals, tuple(blocks))]
    # Parts of `split` have one gradient, put together from theirs; each slice would send a gradient of (n, D).
    anchors = reconstruction.split([len(block.anchors) for block in blocks])
    return map(_one, anchors, (originals[block.keys.start : block.keys.stop] for block in blocks), blocks)


class _Block(NamedTuple):
    """Documents that are contrasted with each other; the anchors are those of this rank."""

    anchors: range  # among this rank's documents
    keys: range  # among all documents of the batch
    first: int  # index of the first anchor's key within the block


def _blocks(bounds: list[int], own: slice) -> list[_Block]:
    """Return the blocks of the batch that hold any of this rank's documents `own`."""
    blocks = []
    for start, end in pairwise(bounds):
        first, last = max(start, own.start), min(end, own.stop)
        if first < last:
            anchors = range(first - own.start, last - own.start)
            blocks.append(_Block(anchors, range(start, end), first - start))
    return blocks


def _one(anchors: Tensor, keys: Tensor, block: _Block) -> Contrasted:
    positives = torch.arange(block.first, block.first + len(anchors), device=anchors.device)
    return Contrasted(anchors, keys, positives, None)


def _all_at_once(reconstruction: Tensor, originals: Tensor, blocks: tuple[_Block, ...]) -> Contrasted:
    # All blocks have one size, and there is one rank.
    if len(blocks) * len(blocks[0].keys) == len(originals) == len(reconstruction):
        anchors, keys = (rows.reshape(len(blocks), -1, rows.shape[1]) for rows in (reconstruction, originals))
        places = torch.arange(anchors.shape[1], device=anchors.device)
        return Contrasted(anchors, keys, places.repeat(len(blocks)), None)
    numbers = _padded(blocks, reconstruction.device)
    anchors, keys = (
        rows.index_select(0, number.flatten()).view(*number.shape, -1)
        for rows, number in ((reconstruction, numbers.anchors), (originals, numbers.keys))
    )
    return Contrasted(anchors, keys, numbers.positives, numbers.padding)


class _Padded(NamedTuple):
    anchors: Tensor  # (b, n) rows of this rank; padding repeats the block's last row, with zero gradient
    keys: Tensor  # (b, m) rows of the batch, padded in the same way
    positives: Tensor  # as in Contrasted
    padding: Tensor


@lru_cache(maxsize=8)  # an epoch has batches of at most two sizes; the cached tensors are never written to
def _padded(blocks: tuple[_Block, ...], device: torch.device) -> _Padded:
    def numbered(parts: list[range]) -> tuple[Tensor, Tensor]:
        starts, ends = (torch.tensor([getattr(part, end) for part in parts]) for end in ("start", "stop"))
        numbers = starts[:, None] + torch.arange(int((ends - starts).max()))
        return numbers.clamp_max(ends[:, None] - 1), numbers >= ends[:, None]

    anchors, repeated = numbered([block.anchors for block in blocks])
    keys, padding = numbered([block.keys for block in blocks])
    positives = torch.tensor([block.first for block in blocks])[:, None] + torch.arange(anchors.shape[1])
    positives = positives.masked_fill(repeated, IGNORED).flatten()
    return _Padded(*(send(tensor, device) for tensor in (anchors, keys, positives, padding.unsqueeze(1))))
