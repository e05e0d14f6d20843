"""The four losses of CAT-ID² (paper, section "Method"; docs/method.md §1 has them in one place).

Every function returns this rank's share of the loss over the global batch: the shares sum to it (see
catid2.distributed). B is the global batch, n this rank's part of it.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from catid2.contrast import ContrastPlan, Similarity, block_bounds, contrast, contrast_features, similarities
from catid2.distributed import Group, gather_with_gradient, sum_over_ranks
from catid2.quantizer import Quantized

Reduction = Literal["mean", "sum"]


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
    return QuantisationLoss(
        squared_error(x, reconstruction, reduction, total),
        sum(squared_error(residual.detach(), code, reduction, total) for residual, code in pairs),
        sum(squared_error(residual, code.detach(), reduction, total) for residual, code in pairs),
    )


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
    residual = gather_with_gradient(residual, len(plan.order), group)
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
    log_masses = []
    for distance in distances:
        scale = torch.ones_like(distance[0, 0])
        if scaling == "batch_mean":
            scale = (sum_over_ranks(distance.sum(), group) / (total * size)).clamp_min(1e-12)
        log_masses.append((distance / (-temperature * scale)).log_softmax(1).logsumexp(0))
    masses = gather_with_gradient(torch.stack(log_masses)[None], group.world_size, group)  # (ranks, L, K)
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
    """
    total = len(originals)
    own = group.shard(total)
    originals = originals.detach()
    bounds = block_bounds(total, negatives)
    # This rank's part of every block, as (start, end) among all documents.
    parts = [(max(start, own.start), min(end, own.stop)) for start, end in pairwise(bounds)]
    anchors = reconstruction.split([max(0, end - start) for start, end in parts])
    loss = reconstruction.new_zeros(())
    for anchor, (first, last), (start, end) in zip(anchors, parts, pairwise(bounds), strict=True):
        if first < last:
            positives = torch.arange(first - start, last - start, device=anchor.device)
            scores = similarities(anchor, originals[start:end], similarity, temperature)
            loss = loss + F.cross_entropy(scores, positives, reduction="sum")
    return loss / total if reduction == "mean" else loss
