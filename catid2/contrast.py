"""InfoNCE among the documents of a batch, computed only where it is not masked away.

Documents are sorted by parent and category, so an anchor meets its positives and negatives in one run of
neighbouring rows. The work is cut into tiles (a few anchors × the run of columns they need) that stay in
cache; value and gradient of a tile are computed together and no similarity is kept for the backward pass.
"""

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

Similarity = Literal["cosine", "l2"]
Positives = Literal["all", "one"]


class Features(NamedTuple):
    """Two views of the same points whose dot product is the similarity over the temperature."""

    anchors: Tensor  # (B, d')
    keys: Tensor  # (B, d')


def contrast_features(anchors: Tensor, keys: Tensor, similarity: Similarity, temperature: float) -> Features:
    """Return features of (B, d) anchors and (B', d) keys such that their dot product is s_ij / temperature.

    "cosine" is s_ij = cos(a_i, k_j); "l2" is s_ij = 2 a_i·k_j - ‖k_j‖² = ‖a_i‖² - ‖a_i - k_j‖², whose constant
    ‖a_i‖² cancels between an anchor's positives and negatives.
    """
    if similarity == "cosine":
        return Features(F.normalize(anchors, dim=1) / temperature, F.normalize(keys, dim=1))
    one = torch.ones_like(anchors[:, :1])
    squares = keys.square().sum(1, keepdim=True)
    return Features(torch.cat([2 * anchors, -one], 1) / temperature, torch.cat([keys, squares], 1))


def block_bounds(total: int, negatives: int | None) -> list[int]:
    """Return the bounds of equal blocks that leave each of `total` documents at least `negatives` others.

    None is one block. A batch is in random order, so its blocks are random samples.
    """
    count = 1 if negatives is None else max(1, total // (negatives + 1))
    return [total * block // count for block in range(count + 1)]


class Tile(NamedTuple):
    """Some anchors and the runs of columns they need; places and runs are in sorted order."""

    rows: Tensor  # (n,) places of the anchors
    columns: slice  # the documents of their parents: all that they are contrasted with
    inner: slice  # those of them in the anchors' categories: positives of one anchor or another
    mixed: bool  # whether the anchors have several parents
    partners: Tensor | None  # (n,) places of the one positive drawn per anchor, or None for all positives


class ContrastPlan(NamedTuple):
    """Who is contrasted with whom at one level of the category tree. B counts the documents of the batch."""

    order: Tensor  # (B,) documents sorted by parent, then category
    categories: Tensor  # (B,) a number for the category of each document below its parent, in that order
    parents: Tensor  # (B,) category one level up, in that order
    tiles: list[Tile]
    anchors: int  # documents with at least one positive and one negative
    dropped: int  # the other documents


def plan_contrast(
    categories: Tensor,
    parents: Tensor,
    positives: Positives,
    generator: torch.Generator,
    device: torch.device,
    tile_rows: int = 128,
) -> ContrastPlan:
    """Plan the contrast of one level; everything is decided on the CPU, so that a GPU is never waited for.

    Args:
        categories: (B,) int, on the CPU.
        parents: (B,) int, on the CPU; at level 1 the same number for all, or that of a random block of them.
        positives: "all" documents of the anchor's category, or "one" of them, drawn.
        generator: draws the positives for "one".
        device: where the plan's tensors are used.
        tile_rows: anchors a tile aims at.
    """
    order = _lexicographic_order(parents, categories)
    categories, parents = categories[order], parents[order]
    category_runs, parent_runs = _runs(parents, categories), _runs(parents)
    same = category_runs.ends - category_runs.starts
    valid = (same > 1) & (parent_runs.ends - parent_runs.starts > same)
    rows = valid.nonzero().flatten()
    partners = None
    if positives == "one":
        # Going round the anchor's run by 1..n-1 places ends at any other member with equal chance.
        steps = (
            torch.rand(len(rows), generator=generator, dtype=torch.float64) * (same[rows] - 1)
        ).long() + 1
        first = category_runs.starts[rows]
        partners = first + (rows - first + steps) % same[rows]
    tiles = []
    for part in _cut(parent_runs.starts[rows], tile_rows):
        members, first, last = rows[part], rows[part[0]], rows[part[-1]]
        columns = slice(int(parent_runs.starts[first]), int(parent_runs.ends[last]))
        inner = slice(int(category_runs.starts[first]), int(category_runs.ends[last]))
        mixed = bool(parent_runs.starts[first] != parent_runs.starts[last])
        drawn = None if partners is None else partners[part].to(device)
        tiles.append(Tile(members.to(device), columns, inner, mixed, drawn))
    return ContrastPlan(
        order.to(device),
        category_runs.starts.to(device),
        parents.to(device),
        tiles,
        len(rows),
        len(order) - len(rows),
    )


def contrast(features: Features, plan: ContrastPlan, tiles: list[Tile]) -> Tensor:
    """Return Σ_i mean_{p ∈ P(i)} -log( exp s_ip / (exp s_ip + Σ_{n ∈ N(i)} exp s_in) ) over the tiles' anchors.

    P(i) are the documents of i's category (or the one drawn), N(i) those of its parent in another category.
    The result is a 0-d tensor with gradient to both features.
    """
    return _Contrast.apply(features.anchors[plan.order], features.keys[plan.order], plan, tiles)


class _Contrast(torch.autograd.Function):
    @staticmethod
    def forward(ctx, anchors: Tensor, keys: Tensor, plan: ContrastPlan, tiles: list[Tile]) -> Tensor:
        total = anchors.new_zeros(())
        to_anchors = torch.zeros_like(anchors)
        to_keys = torch.zeros_like(
            keys.T, memory_format=torch.contiguous_format
        )  # so that a tile adds whole rows
        for tile in tiles:
            total += _contrast_tile(anchors, keys, plan, tile, to_anchors, to_keys)
        ctx.save_for_backward(to_anchors, to_keys.T)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor):
        to_anchors, to_keys = ctx.saved_tensors
        return gradient * to_anchors, gradient * to_keys, None, None


def _contrast_tile(
    anchors: Tensor, keys: Tensor, plan: ContrastPlan, tile: Tile, to_anchors: Tensor, to_keys: Tensor
) -> Tensor:
    """Return the tile's loss and add its gradient to `to_anchors` (B, d) and `to_keys` (d, B).

    With ν_i = log Σ_n exp s_in, a pair costs softplus(ν_i - s_ip), and its derivative sigmoid(ν_i - s_ip)
    pulls at the positive as much as it pushes at the negatives together.
    """
    row, column = anchors[tile.rows], keys[tile.columns]  # (n, d), (m, d)
    scores = row @ column.T  # (n, m)
    inner = slice(tile.inner.start - tile.columns.start, tile.inner.stop - tile.columns.start)
    same = plan.categories[tile.rows, None] == plan.categories[tile.inner]  # (n, inner)
    if tile.partners is None:
        positives = scores[:, inner].clone()
    else:
        partner = keys[tile.partners]
        positives = (row * partner).sum(1, keepdim=True)
    scores[:, inner].masked_fill_(same, -torch.inf)
    if tile.mixed:
        scores.masked_fill_(plan.parents[tile.rows, None] != plan.parents[tile.columns], -torch.inf)
    # softmax is several times faster than exp and sum on a CPU; its largest entry gives the sum back.
    share = scores.softmax(dim=1)
    level = scores.amax(1, keepdim=True) - share.amax(1, keepdim=True).log()  # ν
    excess = level - positives

    if tile.partners is None:
        places = torch.arange(tile.inner.start, tile.inner.stop, device=row.device)
        weights = (same & (tile.rows[:, None] != places)).to(row.dtype)
        weights /= weights.sum(1, keepdim=True)
        pull = excess.sigmoid() * weights
        share *= pull.sum(1, keepdim=True)
        share[:, inner] -= pull
        to_anchors[tile.rows] += share @ column
        loss = (F.softplus(excess) * weights).sum()
    else:
        pull = excess.sigmoid()
        share *= pull
        to_anchors[tile.rows] += share @ column - pull * partner
        to_keys.index_add_(1, tile.partners, -(pull * row).T)
        loss = F.softplus(excess).sum()
    to_keys[:, tile.columns].addmm_(row.T, share)
    return loss


class _Runs(NamedTuple):
    starts: Tensor  # (B,) place where the run of this row begins
    ends: Tensor  # (B,) place after its end


def _runs(*columns: Tensor) -> _Runs:
    """Return, for rows sorted by the columns, the run of equal rows that each belongs to."""
    places = torch.arange(len(columns[0]))
    fresh = torch.ones(len(places), dtype=torch.bool)
    for column in columns:
        fresh[1:] = fresh[1:] & (column[1:] == column[:-1])
    fresh[1:] = ~fresh[1:]
    number = fresh.cumsum(0) - 1
    starts = places[fresh]
    ends = torch.cat([starts[1:], torch.tensor([len(places)])])
    return _Runs(starts[number], ends[number])


def _lexicographic_order(first: Tensor, second: Tensor) -> Tensor:
    order = second.argsort(stable=True)
    return order[first[order].argsort(stable=True)]


def _cut(groups: Tensor, tile_rows: int) -> list[Tensor]:
    """Cut 0..n-1 into tiles of at most `tile_rows`, that hold whole groups where a group fits.

    `groups` (n,) is sorted. Small groups share a tile; a large one is spread over several of its own.
    """
    tiles: list[Tensor] = []
    open_tile: list[Tensor] = []
    held = 0
    for group in torch.arange(len(groups)).split(
        torch.unique_consecutive(groups, return_counts=True)[1].tolist()
    ):
        if held + len(group) > tile_rows and open_tile:
            tiles.append(torch.cat(open_tile))
            open_tile, held = [], 0
        if len(group) > tile_rows:
            tiles.extend(group.split(tile_rows))
        else:
            open_tile.append(group)
            held += len(group)
    if open_tile:
        tiles.append(torch.cat(open_tile))
    return tiles
