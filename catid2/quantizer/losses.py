"""The four losses of CAT-ID² (paper, section "Method"; docs/method.md §1 has them in one place).

Every function returns this rank's share of the loss over the global batch: the shares sum to it (see
catid2.training.distributed). B is the global batch, n this rank's part of it.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from catid2.quantizer.codebooks import Quantized
from catid2.quantizer.contrast import (
    ContrastPlan,
    Similarity,
    block_bounds,
    contrast,
    contrast_features,
    in_order,
    similarities,
)
from catid2.quantizer.transfer import send
from catid2.training.distributed import Group, gather_with_gradient, sum_over_ranks

Reduction = Literal["mean", "sum"]
IGNORED = -100  # as a positive: leave the anchor out


class QuantisationLoss(NamedTuple):
    """The terms of L_rq, each summed over the layers and averaged over the batch."""

    reconstruction: Tensor  # ‖d - d̂‖²
    codebook: Tensor  # Σ_l ‖sg[r_l] - e‖²
    commitment: Tensor  # Σ_l ‖r_l - sg[e]‖², not yet times μ


def quantisation_loss(
    x: Tensor, reconstruction: Tensor, quantized: Quantized, reduction: Reduction, total: int
) -> QuantisationLoss:
    """Return the terms of L_rq = ‖d - d̂‖² + Σ_l ( ‖sg[r_l] - e‖² + μ ‖r_l - sg[e]‖² ).

    Args:
        x: (n, D) inputs d.
        reconstruction: (n, D), d̂.
        quantized: the codes of this rank's n documents.
        reduction: "sum" takes squared errors over dimensions as the equation does, "mean" divides them by D or d.
        total: B.
    """
    pairs = list(zip(quantized.residuals, quantized.chosen, strict=True))
    commitment = sum(squared_error(residual, code.detach(), reduction, total) for residual, code in pairs)
    codebook = commitment.detach()  # the same number; codebooks that move by average take no gradient from it
    if any(code.requires_grad for _, code in pairs):
        codebook = sum(squared_error(residual.detach(), code, reduction, total) for residual, code in pairs)
    return QuantisationLoss(squared_error(x, reconstruction, reduction, total), codebook, commitment)


def squared_error(x: Tensor, y: Tensor, reduction: Reduction, total: int) -> Tensor:
    """Return this rank's share of the squared error of (n, D) tensors, averaged over a batch of `total`."""
    error = F.mse_loss(x, y, reduction="sum") / total
    return error / x.shape[1] if reduction == "mean" else error


def hccl(
    residual: Tensor,
    plan: ContrastPlan,
    similarity: Similarity,
    temperature: float,
    reduction: Reduction,
    group: Group,
) -> Tensor:
    """Hierarchical category contrastive loss of one level: InfoNCE on the residuals that layer h codes.

    Positives share the category at level h; negatives share the category above (at level 1: are any) and
    differ at h. An anchor without either drops out of the sum and of the mean.

    Args:
        residual: (n, d), r_{h-1}: level h shapes what layer h, counted from one, is about to code.
        plan: the level's contrast over all B documents of the batch, in rank order.
        similarity: see `contrast_features`.
        temperature: τ > 0.
        reduction: over the anchors.
        group: residuals are gathered with gradient, and the anchors shared out among the ranks.
    """
    residual = in_order(gather_with_gradient(residual, len(plan.order), group), plan)
    features = contrast_features(residual, residual, similarity, temperature)
    loss = contrast(features, plan, plan.tiles[group.rank :: group.world_size])
    return loss / max(plan.anchors, 1) if reduction == "mean" else loss


def cscl(
    distances: Sequence[Tensor],
    scaling: Literal["batch_mean", "literal"],
    temperature: float,
    group: Group,
    total: int,
) -> Tensor:
    """Code-space consistency loss: Σ_l KL(p̄_l ‖ u) + KL(u ‖ p̄_l), with p̄_l the batch's mean assignment.

    p = softmax(-‖r - e‖² / (τ s)), where s is the detached mean of all distances in the batch ("batch_mean") or 1
    ("literal", the paper's equation). Plain distances between small latents are so small that p is uniform
    whatever the codes are, and the loss then has no gradient.

    Args:
        distances: L × (n, K), with gradient.
        scaling: of the distances.
        temperature: τ > 0.
        group: p̄ is the mean over the batch of all ranks.
        total: B.
    """
    size = distances[0].shape[1]
    stacked, scale = torch.stack(list(distances)), 1.0  # (L, n, K): a GPU wants few large launches
    if scaling == "batch_mean":
        sums = torch.stack([distance.detach().sum() for distance in distances])
        scale = (sum_over_ranks(sums, group) / (total * size)).clamp_min(1e-12)[:, None, None]
    log_masses = (stacked / (-temperature * scale)).log_softmax(2).logsumexp(1)
    masses = gather_with_gradient(log_masses[None], group.world_size, group)  # (ranks, L, K)
    log_mean = masses.logsumexp(0) - math.log(total)
    # KL(p ‖ u) + KL(u ‖ p) = Σ_k (p_k - u_k) (log p_k - log u_k)
    divergence = (log_mean.exp() - 1 / size) * (log_mean + math.log(size))
    return divergence.sum() / group.world_size


def disl(
    reconstruction: Tensor,
    originals: Tensor,
    negatives: int | None,
    similarity: Similarity,
    temperature: float,
    reduction: Reduction,
    group: Group,
    batched: bool = False,
) -> Tensor:
    """Dispersion loss: InfoNCE of each reconstruction d̂_i against the original embeddings d_j of the batch.

    Args:
        reconstruction: (n, D), d̂ of this rank's documents.
        originals: (B, D), d of all documents of the batch; no gradient goes there.
        negatives: None contrasts with the B - 1 others, a number within blocks of the batch (`block_bounds`), which
            saves most of a B × B × D product.
        similarity: see `similarities`.
        temperature: τ > 0.
        reduction: over the documents.
        group: this process among its peers.
        batched: take all blocks in one product, which a GPU wants; without, one after another, which a CPU's cache
            wants.
    """
    total = len(originals)
    originals = originals.detach()
    blocks = _blocks(block_bounds(total, negatives), group.shard(total))
    if batched and len(blocks) > 1:
        contrasts = [_all_at_once(reconstruction, originals, tuple(blocks))]
    else:
        contrasts = (_one(reconstruction, originals, block) for block in blocks)
    loss = reconstruction.new_zeros(())
    for anchors, keys, positives, padding in contrasts:
        scores = similarities(anchors, keys, similarity, temperature)
        if padding is not None:
            scores = scores.masked_fill(padding, -torch.inf)
        each = F.cross_entropy(scores.flatten(0, -2), positives, reduction="sum", ignore_index=IGNORED)
        loss = loss + each
    return loss / total if reduction == "mean" else loss


class _Block(NamedTuple):
    """Documents that are contrasted with each other, and which of them this rank does."""

    anchors: range  # among this rank's documents
    keys: range  # among all documents of the batch
    first: int  # the key of the first anchor, counted within the block


class _Contrasted(NamedTuple):
    """The anchors of a block and their keys, or (b, …) of b blocks that are padded to one size."""

    anchors: Tensor  # (n, D) or (b, n, D)
    keys: Tensor  # (m, D) or (b, m, D)
    positives: Tensor  # (n,) or (b n,) the key of each anchor, IGNORED where the anchor is padding
    padding: Tensor | None  # (b, 1, m) which keys are


def _blocks(bounds: list[int], own: slice) -> list[_Block]:
    """Return the blocks of the batch that hold any of the documents `own` of this rank."""
    blocks = []
    for start, end in pairwise(bounds):
        first, last = max(start, own.start), min(end, own.stop)
        if first < last:
            anchors = range(first - own.start, last - own.start)
            blocks.append(_Block(anchors, range(start, end), first - start))
    return blocks


def _one(reconstruction: Tensor, originals: Tensor, block: _Block) -> _Contrasted:
    anchors, keys = (
        rows[part.start : part.stop]
        for rows, part in ((reconstruction, block.anchors), (originals, block.keys))
    )
    positives = torch.arange(block.first, block.first + len(anchors), device=anchors.device)
    return _Contrasted(anchors, keys, positives, None)


def _all_at_once(reconstruction: Tensor, originals: Tensor, blocks: tuple[_Block, ...]) -> _Contrasted:
    if (
        len(blocks) * len(blocks[0].keys) == len(originals) == len(reconstruction)
    ):  # all of one size, and on one rank
        anchors, keys = (rows.reshape(len(blocks), -1, rows.shape[1]) for rows in (reconstruction, originals))
        places = torch.arange(anchors.shape[1], device=anchors.device)
        return _Contrasted(anchors, keys, places.repeat(len(blocks)), None)
    numbers = _padded(blocks, reconstruction.device)
    anchors, keys = (
        rows.index_select(0, number.flatten()).view(*number.shape, -1)
        for rows, number in ((reconstruction, numbers.anchors), (originals, numbers.keys))
    )
    return _Contrasted(anchors, keys, numbers.positives, numbers.padding)


class _Padded(NamedTuple):
    anchors: Tensor  # (b, n) rows of this rank; padding repeats a block's last, and its gradient is zero
    keys: Tensor  # (b, m) rows of the batch, likewise
    positives: Tensor  # as in _Contrasted
    padding: Tensor


@lru_cache(maxsize=8)  # an epoch has batches of two sizes at most; nobody writes to what is kept
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
