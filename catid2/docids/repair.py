"""Repairs of the collisions that greedy residual quantisation leaves: one DocID per document.

`transport` is ours: balanced optimal transport of documents to codes. A code at layer l holds at most as many documents
as there are IDs below it, K^(L-1-l); at the last layer that is one document. `sinkhorn` solves the last layer by
entropic transport, the post-processing that the paper (CAT-ID², section 3) names. Two simple alternatives are for
comparison: `extra_digit` as in TIGER, `sinkhorn_loop` as in LC-Rec and LETTER.

All functions take documents in canonical order (`catid2.docids.assign` sorts by product_id) and break ties by it.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from catid2.docids.sinkhorn import assign_by_plan
from catid2.quantizer.codes import (
    BLOCK,
    blocks,
    greedy_codes,
    rank_within,
    residuals,
    shared,
    squared_distances,
    tuple_ids,
)
from catid2.runtime.errors import InputError

# Takes the distances (m, K) of each group of documents to the last layer's codes, infinite where a code is taken.
# Returns codes (m,) for each group, distinct within the group.
Assign = Callable[[list[np.ndarray]], list[np.ndarray]]

# (L, K, d), or one array (K_l, d) per layer if the layers have different numbers of codes.
Codebooks = np.ndarray | Sequence[np.ndarray]


class Repaired(NamedTuple):
    """Distinct codes, and which documents had to leave a full prefix."""

    codes: np.ndarray  # (N, L) int32
    overflowed: np.ndarray  # (N,) bool: changed a code before the last layer


def transport(
    latents: np.ndarray, codebooks: np.ndarray, argmin: np.ndarray, taken: np.ndarray | None = None
) -> Repaired:
    """Give every document a unique DocID, with the least distortion under each prefix.

    A document whose argmin ID is already unique keeps it; only the others move.

    1. Layers 0 to L-2, from the top: if a code has more documents than IDs below it, the surplus moves to other codes
       under the same prefix that have room, cheapest moves first. The deeper layers of the moved documents are coded
       greedily again. Most corpora never need this step.
    2. Last layer: under each prefix the documents that may move and the free codes form a linear assignment problem
       (balanced transport with capacity one), which is solved exactly.
    3. Among documents with identical latents the IDs are dealt out nearest first, in canonical order.

    Args:
        latents: (N, d) in canonical order.
        codebooks: (L, K, d).
        argmin: (N, L), the `greedy_codes` of the latents.
        taken: (T, L) distinct DocIDs of other documents, which keep them.

    Raises:
        InputError: N + T > K^L, so there are not enough DocIDs.
    """
    return make_distinct(latents, codebooks, argmin, cheapest, taken)


def cheapest(costs: list[np.ndarray]) -> list[np.ndarray]:
    """Assign the last layer's codes at the least total distance (see Assign)."""
    return [linear_sum_assignment(cost)[1] for cost in costs]


def sinkhorn(
    latents: np.ndarray,
    codebooks: np.ndarray,
    argmin: np.ndarray,
    taken: np.ndarray | None = None,
    *,
    epsilon: float,
    iterations: int,
) -> Repaired:
    """Repair as `transport` does, but with entropic transport (POT's Sinkhorn, rounded) at the last layer.

    The rounded plan comes close to the least distortion; benchmarks/docid_repair.py compares the two.

    Args:
        latents: (N, d) in canonical order.
        codebooks: (L, K, d).
        argmin: (N, L), the `greedy_codes` of the latents.
        taken: as in `transport`.
        epsilon: entropic regularisation, in units of half the range of the distances under a prefix.
        iterations: Sinkhorn iterations per prefix.

    Raises:
        InputError: as `transport`.
    """
    return make_distinct(
        latents, codebooks, argmin, lambda costs: assign_by_plan(costs, epsilon, iterations), taken
    )


def make_distinct(
    latents: np.ndarray,
    codebooks: Codebooks,
    argmin: np.ndarray,
    assign: Assign,
    taken: np.ndarray | None = None,
) -> Repaired:
    """Give M documents distinct DocIDs that are not `taken`, in the steps of `transport`.

    Args:
        latents: (M, d) in canonical order.
        codebooks: of L layers.
        argmin: (M, L), the `greedy_codes` of the latents.
        assign: decides the last layer.
        taken: (N, L) distinct DocIDs of other documents, which keep them.

    Raises:
        InputError: there are fewer free DocIDs than documents.
    """
    taken = argmin[:0] if taken is None else taken
    free = math.prod(map(len, codebooks)) - len(taken)
    if len(argmin) > free:
        if len(taken):
            have = f"{len(argmin)} new documents, but only {free} DocIDs are free"
            raise InputError("DocIDs", have, "add fewer, or train again with all documents")
        have = f"{len(codebooks)} layers of {len(codebooks[0])} codes make only {free} DocIDs"
        raise InputError(
            "DocIDs", f"{len(argmin)} documents, but {have}", "use more layers or larger codebooks"
        )
    own = len(argmin)
    # The taken ones last: so row i of `latents` is row i of `codes`.
    codes = np.concatenate([argmin, taken])
    movable = np.flatnonzero(shared(codes)[:own])
    if len(movable):
        for layer in range(len(codebooks) - 1):
            _make_room(latents, codebooks, codes, movable, layer)
        _assign_last_layer(latents, codebooks, codes, movable, assign)
        _deal_to_duplicates(latents, codebooks, codes, movable)
    return Repaired(codes[:own], (codes[:own, :-1] != argmin[:, :-1]).any(axis=1))


def _make_room(
    latents: np.ndarray, codebooks: Codebooks, codes: np.ndarray, movable: np.ndarray, layer: int
) -> None:
    """Change `codes` so that no code of `layer` holds more documents than there are IDs below it.

    This is always possible: a prefix holds no more documents than IDs (because of the layers above), and the documents
    that may not move have distinct IDs, so they alone never overfill a code. Each pass of the loop ends the surplus or
    fills a code that had room, so there are at most K passes.
    """
    size = len(codebooks[layer])
    capacity = math.prod(map(len, codebooks[layer + 1 :]))
    if len(codes) <= capacity:
        return
    prefix = tuple_ids(codes[:, :layer])
    nodes, counts = np.unique(prefix * size + codes[:, layer], return_counts=True)
    crowded = np.unique(nodes[counts > capacity] // size)  # prefixes with an overfull code
    room = np.full((len(crowded), size), capacity)  # negative: surplus
    below = np.isin(nodes // size, crowded)
    room[np.searchsorted(crowded, nodes[below] // size), nodes[below] % size] -= counts[below]

    rows = movable[np.isin(prefix[movable], crowded)]
    group = np.searchsorted(crowded, prefix[rows])
    stays = room[group, codes[rows, layer]] >= 0
    rows, group = rows[~stays], group[~stays]
    left = []
    while len(rows):
        origin = codes[rows, layer]
        residual = residuals(latents[rows], codebooks, codes[rows, :layer])
        target, regret = _nearest_with_room(residual, codebooks[layer], room[group], origin)
        # Of equally cheap moves the later document goes first, so the first of several duplicates stays.
        turn = rank_within(group * size + origin, regret, -rows)
        leaves = np.flatnonzero(turn < -room[group, origin])
        turn = rank_within((group * size + target)[leaves], regret[leaves], -rows[leaves])
        goes = leaves[turn < room[group, target][leaves]]
        np.add.at(room, (group[goes], origin[goes]), 1)
        np.add.at(room, (group[goes], target[goes]), -1)
        codes[rows[goes], layer] = target[goes]
        left.append(rows[goes])
        waits = room[group, origin] < 0
        waits[goes] = False
        rows, group = rows[waits], group[waits]
    if left:
        rows = np.sort(np.concatenate(left))
        residual = residuals(latents[rows], codebooks, codes[rows, : layer + 1])
        codes[rows, layer + 1 :] = greedy_codes(residual, codebooks[layer + 1 :])


def _nearest_with_room(
    residual: np.ndarray, codebook: np.ndarray, room: np.ndarray, origin: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the nearest code with room (M,), and how much farther (M,) it is than the code `origin` (M,)."""
    target = np.empty(len(residual), np.int64)
    regret = np.empty(len(residual))
    for block in blocks(len(residual)):
        distance = squared_distances(residual[block], codebook)
        here = np.arange(len(distance))
        now = distance[here, origin[block]]
        distance[room[block] <= 0] = np.inf
        target[block] = distance.argmin(axis=1)
        regret[block] = distance[here, target[block]] - now
    return target, regret


def _assign_last_layer(
    latents: np.ndarray, codebooks: Codebooks, codes: np.ndarray, movable: np.ndarray, assign: Assign
) -> None:
    """Set the last code of the movable rows to what `assign` returns for the rows of each prefix."""
    prefix = tuple_ids(codes[:, :-1])
    rows = movable[np.argsort(prefix[movable], kind="stable")]
    groups, starts = np.unique(prefix[rows], return_index=True)
    ends = np.append(starts[1:], len(rows))
    # The codes that other documents under these prefixes hold, sorted by prefix like the groups.
    keeps = np.ones(len(codes), bool)
    keeps[rows] = False
    kept = np.flatnonzero(keeps & np.isin(prefix, groups))
    kept = kept[np.argsort(prefix[kept], kind="stable")]
    taken = codes[kept, -1]
    taken_starts, taken_ends = (np.searchsorted(prefix[kept], groups, side) for side in ("left", "right"))

    # Distances are computed in blocks of complete groups; a group has at most K documents.
    for chunk in np.split(np.arange(len(groups)), np.flatnonzero(np.diff(starts // BLOCK)) + 1):
        first = starts[chunk[0]]
        here = rows[first : ends[chunk[-1]]]
        residual = residuals(latents[here], codebooks, codes[here, :-1])
        costs = np.split(squared_distances(residual, codebooks[-1]), starts[chunk[1:]] - first)
        for cost, group in zip(costs, chunk, strict=True):
            cost[:, taken[taken_starts[group] : taken_ends[group]]] = np.inf
        codes[here, -1] = np.concatenate(assign(costs))


def _deal_to_duplicates(
    latents: np.ndarray, codebooks: Codebooks, codes: np.ndarray, movable: np.ndarray
) -> None:
    """Reorder `codes` among rows with identical latents: the first row gets the nearest ID, and so on."""
    vectors = np.ascontiguousarray(latents[movable])
    _, same = np.unique(
        vectors.view(np.dtype((np.void, vectors.dtype.itemsize * vectors.shape[1]))).ravel(),
        return_inverse=True,
    )
    error = residuals(vectors, codebooks, codes[movable])
    error = np.einsum("md,md->m", error, error)
    by_row = np.lexsort((movable, same))
    by_error = np.lexsort((tuple_ids(codes[movable]), error, same))
    codes[movable[by_row]] = codes[movable[by_error]]


def extra_digit(codes: np.ndarray, taken: np.ndarray | None = None) -> np.ndarray:
    """Return codes (N, L+1): the codes (N, L) and a position that numbers the documents with the same ID.

    As in TIGER (Rajput et al. 2023, section 3.1), every document gets this position; 0 if its ID is unique. It has as
    many codes as documents share one ID, be they more than K. Numbers that the DocIDs `taken` (T, L+1) of other
    documents have below the same codes are skipped.
    """
    digit = rank_within(tuple_ids(codes))
    if taken is not None and len(taken):
        ids, owners = np.split(tuple_ids(np.concatenate([codes, taken[:, :-1]])), [len(codes)])
        # Of the sorted numbers t_0, t_1, … that are taken below an ID, t_j - j free ones are smaller than t_j.
        smaller = taken[:, -1] - rank_within(owners, taken[:, -1])
        width = max(digit.max(initial=0), smaller.max()) + 1
        known = np.sort(owners * width + smaller)
        digit += np.searchsorted(known, ids * width + digit, "right") - np.searchsorted(known, ids * width)
    return np.column_stack([codes, digit.astype(codes.dtype)])


def sinkhorn_loop(
    latents: np.ndarray,
    codebooks: np.ndarray,
    argmin: np.ndarray,
    *,
    epsilon: float,
    iterations: int,
    rounds: int,
) -> np.ndarray:
    """Return codes (N, L) after spreading colliding documents as LC-Rec and LETTER do; collisions may remain.

    Each round gives every set of documents with the same ID new last codes: distances are centred and scaled by the
    extremes of the set, Sinkhorn's iterations balance exp(-distance / epsilon) over all K codes, and each document
    takes its largest entry. It is here for comparison, with its faults: codes that other documents of the prefix hold
    are not excluded, so new collisions arise; identical documents have identical rows and are never separated; the
    rounds end even if collisions are left. The published code also encodes each set again in every round; we do not.

    Args:
        latents: (N, d) in canonical order.
        codebooks: (L, K, d).
        argmin: (N, L), the `greedy_codes` of the latents.
        epsilon: entropic regularisation, in units of half the range of a set's distances.
        iterations: Sinkhorn iterations per set.
        rounds: passes over all sets that still collide.
    """
    codes = argmin.copy()
    for _ in range(rounds):
        ids = tuple_ids(codes)
        sizes = np.bincount(ids)
        if sizes.max(initial=0) <= 1:
            break
        rows = np.argsort(ids, kind="stable")
        ends = np.cumsum(sizes)
        for end, members in zip(ends[sizes > 1], sizes[sizes > 1], strict=True):
            colliding = rows[end - members : end]
            residual = residuals(latents[colliding], codebooks, codes[colliding, :-1])
            distance = squared_distances(residual, codebooks[-1])
            codes[colliding, -1] = _sinkhorn_plan(distance, epsilon, iterations).argmax(axis=1)
    return codes


def _sinkhorn_plan(distance: np.ndarray, epsilon: float, iterations: int) -> np.ndarray:
    """Return the plan (M, K) after alternately scaling rows to 1/M and columns to 1/K, as published."""
    middle = (distance.max() + distance.min()) / 2
    plan = np.exp(-(distance - middle) / (distance.max() - middle + 1e-5) / epsilon)
    plan /= plan.sum()
    for _ in range(iterations):
        plan /= plan.sum(axis=1, keepdims=True) * plan.shape[0]
        plan /= plan.sum(axis=0, keepdims=True) * plan.shape[1]
    return plan
