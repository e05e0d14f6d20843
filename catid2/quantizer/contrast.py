"""InfoNCE among the documents of a batch, computed only for the pairs that count.

Documents are sorted by parent and category, so an anchor's positives and negatives are one run of neighbouring rows.
The work is cut into tiles (a run of anchors × the run of columns they need) that stay in cache. Value and gradient of a
tile are computed together, and no similarity is kept for the backward pass.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

Similarity = Literal["cosine", "l2"]
Positives = Literal["all", "one", "one_or_self"]


class Features(NamedTuple):
    """Two feature matrices of the same points; their dot products are the similarities over the temperature."""

    anchors: Tensor  # (B, d')
    keys: Tensor  # (B, d')


def contrast_features(anchors: Tensor, keys: Tensor, similarity: Similarity, temperature: float) -> Features:
    """Return features of (B, d) anchors and (B', d) keys whose dot products are s_ij / temperature.

    "cosine" is s_ij = cos(a_i, k_j); "l2" is s_ij = 2 a_i·k_j - ‖k_j‖² = ‖a_i‖² - ‖a_i - k_j‖², whose constant
    ‖a_i‖² cancels between an anchor's positives and negatives.
    """
    if similarity == "cosine":
        return Features(F.normalize(anchors, dim=1) / temperature, F.normalize(keys, dim=1))
    one = torch.ones_like(anchors[:, :1])
    squares = keys.square().sum(1, keepdim=True)
    return Features(torch.cat([2 * anchors, -one], 1) / temperature, torch.cat([keys, squares], 1))


class Tile(NamedTuple):
    """A run of anchors and the runs of columns they need, as positions in sorted order."""

    rows: slice  # the anchors; those that do not count are included with weight 0
    columns: slice  # the documents under the anchors' parents: everything they are contrasted with
    inner: slice  # the part of `columns` in the anchors' categories: the candidates for positives
    pure: bool  # the anchors have one category
    mixed: bool  # the anchors have several parents


class ContrastPlan(NamedTuple):
    """Who is contrasted with whom at one level of the category tree. B counts the documents of the batch."""

    order: Tensor  # (B,) documents sorted by parent, then category; the next four are in this order
    categories: Tensor  # (B,) a number for each pair of parent and category
    parents: Tensor  # (B,) category one level up
    weights: Tensor  # (B, 1) weight of each positive of an anchor: 1 / their number, or 0 without any
    partners: Tensor | None  # (B,) position of the one positive drawn per anchor, or None for all positives
    own: bool  # an anchor is also contrasted with its own category: with all documents of its parent
    tiles: list[Tile]
    anchors: Tensor  # () documents with a positive and a negative; all of them with "one_or_self"
    dropped: int | Tensor  # () the other documents


def plan_contrast(
    categories: Tensor,
    parents: Tensor,
    positives: Positives,
    generator: torch.Generator,
    tile_rows: int = 128,
) -> ContrastPlan:
    """Plan the contrast of one level, on the CPU: only pairs that count are computed.

    Args:
        categories: (B,) int, on the CPU.
        parents: (B,) int, on the CPU; at level 1 the same number for all, or the number of a random block.
        positives: "all" documents of the anchor's category, or "one" of them, drawn at random. "one_or_self" takes
            the anchor itself if there is no other, and contrasts the anchor with all documents of its parent.
        generator: draws the positives, unless they are "all".
        tile_rows: most anchors per tile.
    """
    # NumPy: for a few thousand numbers PyTorch's threads cost more than they save.
    categories, parents = categories.numpy(), parents.numpy()
    order = np.lexsort((categories, parents))
    categories, parents = categories[order], parents[order]
    category_runs, parent_runs = _runs(parents, categories), _runs(parents)
    same = category_runs.ends - category_runs.starts
    own = positives == "one_or_self"
    contrasted = parent_runs.ends - parent_runs.starts > same
    valid = own | (contrasted & (same > 1))
    numbers = [order, category_runs.starts, parents]
    if positives != "all":
        rows = (valid & (same > 1)).nonzero()[0]
        # Stepping 1..n-1 places around the anchor's run reaches each other member with equal probability.
        drawn = torch.rand(len(rows), generator=generator, dtype=torch.float64).numpy()
        steps = (drawn * (same[rows] - 1)).astype(np.int64) + 1
        first = category_runs.starts[rows]
        partners = np.arange(len(order))
        partners[rows] = first + (rows - first + steps) % same[rows]
        numbers.append(partners)
    each = valid / np.maximum(same - 1, 1) if positives == "all" else valid.astype(np.float64)
    count = int(valid.sum())
    order, starts, parents, *partners = torch.from_numpy(np.stack(numbers))
    return ContrastPlan(
        order,
        starts,
        parents,
        torch.from_numpy(each).unsqueeze(1),
        partners[0] if partners else None,
        own,
        _cut(category_runs, parent_runs, tile_rows, own),
        torch.tensor(count),
        len(order) - count,
    )


def in_order(rows: Tensor, plan: ContrastPlan) -> Tensor:
    """Return the (B, d) rows in the plan's order, with gradient."""
    return _InOrder.apply(rows, plan.order)


class _InOrder(torch.autograd.Function):
    """rows[order] for a permutation: its gradient is a copy, where that of indexing would be a slower scatter-add."""

    @staticmethod
    def forward(ctx, rows: Tensor, order: Tensor) -> Tensor:
        ctx.save_for_backward(order)
        return rows[order]

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor):
        (order,) = ctx.saved_tensors
        back = torch.empty_like(gradient)
        back[order] = gradient
        return back, None


def contrast(features: Features, plan: ContrastPlan, tiles: list[Tile]) -> Tensor:
    """Return Σ_i mean_{p ∈ P(i)} -log( exp s_ip / (exp s_ip + Σ_{n ∈ N(i)} exp s_in) ) over the tiles' anchors.

    P(i) are the other documents of i's category (or the one drawn), N(i) those of its parent in another category. If
    an anchor is contrasted with its `own` category, the denominator is the sum over all documents of its parent.
    Features are in the plan's order (`in_order`). The result is a 0-d tensor with gradient to both features.
    """
    return _Contrast.apply(features.anchors, features.keys, plan, tiles)


class _Contrast(torch.autograd.Function):
    @staticmethod
    def forward(ctx, anchors: Tensor, keys: Tensor, plan: ContrastPlan, tiles: list[Tile]) -> Tensor:
        total = anchors.new_zeros(())
        to_anchors = torch.zeros_like(anchors)
        # Transposed, so that a tile adds whole rows.
        to_keys = torch.zeros_like(keys.T, memory_format=torch.contiguous_format)
        plan = plan._replace(weights=plan.weights.to(anchors.dtype))
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

    With ν_i = log Σ_n exp s_in, the loss of a pair is softplus(ν_i - s_ip). Its gradient is -sigmoid(ν_i - s_ip) at the
    positive's score; the negatives' scores share the opposite of it in proportion to their softmax. If the sum already
    contains the positive, the loss is ν_i - s_ip, and 1 replaces the sigmoid.
    """
    row, column, weight = anchors[tile.rows], keys[tile.columns], plan.weights[tile.rows]
    scores = row @ column.T  # (n, m)
    inner = scores[:, tile.inner.start - tile.columns.start : tile.inner.stop - tile.columns.start]
    other = None  # (n, inner) True where the pair is not in one category
    if not (tile.pure or plan.own):
        other = plan.categories[tile.rows, None] != plan.categories[tile.inner]
    if plan.partners is None:
        excess = inner.neg()
    else:
        partners = plan.partners[tile.rows]
        partner = keys[partners]
        excess = -(row * partner).sum(1, keepdim=True)
    # Finite, so that an anchor without a negative, whose weight is 0, has a finite loss; no share of others changes.
    none = torch.finfo(scores.dtype).min
    if tile.mixed:  # then `inner` is all columns
        apart = plan.parents[tile.rows, None] != plan.parents[tile.columns]
        scores.masked_fill_(apart if plan.own else apart | ~other, none)
    elif not plan.own:
        if other is None:
            inner.fill_(none)
        else:
            inner.masked_fill_(~other, none)
    # On a CPU softmax is several times faster than exp and sum; the sum follows from its largest entry.
    share = scores.softmax(dim=1)
    excess += scores.amax(1, keepdim=True) - share.amax(1, keepdim=True).log()  # ν - s

    if plan.partners is None:  # the other pairs get a loss and a gradient of 0
        if other is not None:
            excess.masked_fill_(other, none)
        excess.diagonal(tile.rows.start - tile.inner.start).fill_(none)  # no document is its own positive
    if plan.own:
        loss, pull = excess, torch.ones_like(excess)
    else:
        loss, pull = F.softplus(excess), excess.sigmoid_()
    pull *= weight
    share *= pull.sum(1, keepdim=True)
    if plan.partners is None:
        share[:, tile.inner.start - tile.columns.start : tile.inner.stop - tile.columns.start].sub_(pull)
    else:
        to_anchors[tile.rows].sub_(pull * partner)
        to_keys.index_add_(1, partners, -(pull * row).T)
    to_anchors[tile.rows].addmm_(share, column)
    to_keys[:, tile.columns].addmm_(row.T, share)
    return (loss.sum(1, keepdim=True) * weight).sum()


class Runs(NamedTuple):
    """The run of equal rows that each row belongs to."""

    starts: np.ndarray | Tensor  # (B,) where it begins
    ends: np.ndarray | Tensor  # (B,) where it ends, exclusive


def _runs(*columns: np.ndarray) -> Runs:
    """Return the run of equal rows that each row belongs to; rows are sorted by the columns."""
    fresh = np.ones(len(columns[0]), dtype=bool)
    fresh[1:] = np.logical_or.reduce([column[1:] != column[:-1] for column in columns])
    number = fresh.cumsum() - 1
    starts = fresh.nonzero()[0]
    ends = np.append(starts[1:], len(fresh))
    return Runs(starts[number], ends[number])


def _cut(category_runs: Runs, parent_runs: Runs, tile_rows: int, own: bool) -> list[Tile]:
    """Return tiles of at most `tile_rows` anchors, in order, that cover every anchor with something to contrast.

    Small parents share a tile, as do small categories of a large parent; a large category gets its own tiles.
    """
    tiles: list[Tile] = []
    for piece in _pieces(category_runs, parent_runs, tile_rows, own):
        last = tiles[-1] if tiles else None
        if last and _fit_together(last, piece, tile_rows):
            rows, columns, inner = (slice(a.start, b.stop) for a, b in zip(last[:3], piece[:3], strict=True))
            tiles[-1] = Tile(rows, columns, inner, pure=False, mixed=last.columns != piece.columns)
        else:
            tiles.append(piece)
    return tiles


def _fit_together(tile: Tile, piece: Tile, tile_rows: int) -> bool:
    """Return whether the tile can be extended by the piece that follows it."""
    adjacent = tile.rows.stop == piece.rows.start and piece.rows.stop - tile.rows.start <= tile_rows
    # Join categories of one parent, or complete parents; parts of several large parents would need all their columns.
    return adjacent and (
        tile.columns == piece.columns or (tile.rows == tile.columns and piece.rows == piece.columns)
    )


def _pieces(category_runs: Runs, parent_runs: Runs, tile_rows: int, own: bool) -> Iterator[Tile]:
    """Yield each parent that fits into a tile as one piece; of the others each category, in equal parts if needed.

    A parent with one category has nothing to contrast and is skipped, unless anchors are contrasted with their `own`.
    """
    starts = np.unique(category_runs.starts)
    ends, parent_starts, parent_ends = category_runs.ends[starts], *(run[starts] for run in parent_runs)
    for start, end, first, last in zip(
        *(run.tolist() for run in (starts, ends, parent_starts, parent_ends)), strict=True
    ):
        columns, inner = slice(first, last), slice(start, end)
        if inner == columns and not own:
            continue
        if last - first <= tile_rows:
            if start == first:
                yield Tile(columns, columns, columns, pure=False, mixed=False)
            continue
        parts = -(-(end - start) // tile_rows)
        for part in range(parts):
            rows = slice(start + (end - start) * part // parts, start + (end - start) * (part + 1) // parts)
            yield Tile(rows, columns, inner, pure=True, mixed=False)
