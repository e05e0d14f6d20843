"""The four losses of CAT-ID² (paper, section "Method"; summarised in docs/method.md §1), each in two versions.

`l_rq`, `l_hcc` (and `l_hcc_drawn`), `l_csc` and `l_dis` are the definitions: the equation in plain PyTorch, over the
whole batch in one process. Each is followed by the faster version that training uses. It returns this rank's share of
the same loss over the global batch; the shares sum to the loss (see catid2.training.distributed). B is the size of the
global batch, n that of this rank's part.
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from catid2.quantizer.blocks import contrasts
from catid2.quantizer.codebooks import Quantized, squared_distances
from catid2.quantizer.contrast import (
    ContrastPlan,
    Similarity,
    contrast,
    contrast_features,
    in_order,
)
from catid2.quantizer.dispersion import dispersion
from catid2.training.distributed import Group, gather_with_gradient, sum_over_ranks

Reduction = Literal["mean", "sum"]
Scaling = Literal["batch_mean", "literal"]


def l_rq(
    x: Tensor, reconstruction: Tensor, residuals: Sequence[Tensor], chosen: Sequence[Tensor], mu: float
) -> Tensor:
    """Return L_rq = ‖d - d̂‖² + Σ_l ( ‖sg[r_l] - e‖² + μ ‖r_l - sg[e]‖² ), the mean over the batch.

    Args:
        x: (B, D), d.
        reconstruction: (B, D), d̂.
        residuals: L × (B, d), r_l: the input of layer l.
        chosen: L × (B, d), e: the code that layer l chose.
        mu: μ.
    """
    each = (x - reconstruction).square().sum(1)
    for r, e in zip(residuals, chosen, strict=True):
        each = each + (r.detach() - e).square().sum(1) + mu * (r - e.detach()).square().sum(1)
    return each.mean()


class QuantisationLoss(NamedTuple):
    """The terms of L_rq, each summed over the layers and averaged over the batch."""

    reconstruction: Tensor  # ‖d - d̂‖²
    codebook: Tensor  # Σ_l ‖sg[r_l] - e‖²
    commitment: Tensor  # Σ_l ‖r_l - sg[e]‖², not yet times μ


def quantisation_loss(
    x: Tensor, reconstruction: Tensor, quantized: Quantized, reduction: Reduction, total: int
) -> QuantisationLoss:
    """Return the terms of `l_rq`.

    Args:
        x: (n, D) inputs d.
        reconstruction: (n, D), d̂.
        quantized: the codes of this rank's n documents.
        reduction: "sum" adds squared errors over dimensions, as the equation does; "mean" divides the sum by D or d.
        total: B.
    """
    pairs = list(zip(quantized.residuals, quantized.chosen, strict=True))
    commitment = sum(squared_error(residual, code.detach(), reduction, total) for residual, code in pairs)
    codebook = commitment.detach()  # the same value; codebooks that move by average need no gradient
    if any(code.requires_grad for _, code in pairs):
        codebook = sum(squared_error(residual.detach(), code, reduction, total) for residual, code in pairs)
    return QuantisationLoss(squared_error(x, reconstruction, reduction, total), codebook, commitment)


def squared_error(x: Tensor, y: Tensor, reduction: Reduction, total: int) -> Tensor:
    """Return this rank's share of the squared error of (n, D) tensors, averaged over a batch of `total`."""
    error = F.mse_loss(x, y, reduction="sum") / total
    return error / x.shape[1] if reduction == "mean" else error


def l_hcc(
    residual: Tensor, categories: Tensor, parents: Tensor, similarity: Similarity, temperature: float
) -> Tensor:
    """Return L_HCC at one level, (A,): one loss for each anchor i that has a positive and a negative.

    The loss is the mean over p ∈ P(i) of -log( exp s_ip / (exp s_ip + Σ_{n ∈ N(i)} exp s_in) ): P(i) are the other
    documents of i's category, N(i) those of its parent in another category.

    Args:
        residual: (B, d), r_{h-1} at level h.
        categories: (B,), c_h.
        parents: (B,), c_{h-1}; at level 1 the same number for all.
        similarity: s is the cosine, or the negative squared distance.
        temperature: τ > 0 divides s.
    """
    scores = _scores(residual, residual, similarity, temperature)
    related, same = parents[:, None] == parents, categories[:, None] == categories
    positive = related & same & ~torch.eye(len(same), dtype=torch.bool, device=same.device)
    negative = related & ~same
    anchors = positive.any(1) & negative.any(1)
    scores, positive, negative = scores[anchors], positive[anchors], negative[anchors]
    negatives = scores.masked_fill(~negative, -torch.inf).logsumexp(1, keepdim=True)
    losses = -F.logsigmoid(scores - negatives).masked_fill(~positive, 0)
    return losses.sum(1) / positive.sum(1)


def l_hcc_drawn(
    residual: Tensor, partners: Tensor, parents: Tensor, similarity: Similarity, temperature: float
) -> Tensor:
    """Return L_HCC at one level with `hccl_positives: one_or_self`, (B,): MACRec's reading (arXiv 2511.15122, code).

    The loss is -log( exp s_ip / Σ_j exp s_ij ): j are all documents of i's parent, including i and its category.

    Args:
        residual: (B, d), r_{h-1} at level h.
        partners: (B,), p: another document of i's category, drawn at random, or i if there is none.
        parents: as in `l_hcc`.
        similarity: as in `l_hcc`.
        temperature: τ > 0 divides s.
    """
    scores = _scores(residual, residual, similarity, temperature)
    scores = scores.masked_fill(parents[:, None] != parents, -torch.inf)
    return -scores.log_softmax(1).gather(1, partners[:, None]).squeeze(1)


def _scores(anchors: Tensor, keys: Tensor, similarity: Similarity, temperature: float) -> Tensor:
    """Return s / τ of every pair, (B, B)."""
    if similarity == "cosine":
        return F.normalize(anchors, dim=1) @ F.normalize(keys, dim=1).T / temperature
    return -squared_distances(anchors, keys) / temperature


def hccl(
    residual: Tensor,
    plan: ContrastPlan,
    similarity: Similarity,
    temperature: float,
    reduction: Reduction,
    group: Group,
) -> Tensor:
    """Hierarchical category contrastive loss of level h: `l_hcc` on the input of layer h (counted from 1).

    An anchor without a positive or a negative does not count, in the sum or in the mean. With positives of
    "one_or_self" the loss is `l_hcc_drawn`, and every anchor counts.

    Args:
        residual: (n, d), r_{h-1}.
        plan: the level's contrast over all B documents of the batch, in rank order.
        similarity: see `contrast_features`.
        temperature: τ > 0.
        reduction: over the anchors.
        group: residuals are gathered with gradient, and each rank computes a share of the anchors.
    """
    residual = in_order(gather_with_gradient(residual, len(plan.order), group), plan)
    features = contrast_features(residual, residual, similarity, temperature)
    loss = contrast(features, plan, plan.tiles[group.rank :: group.world_size])
    return loss / plan.anchors.clamp_min(1) if reduction == "mean" else loss


def l_csc(distances: Sequence[Tensor], scaling: Scaling, temperature: float) -> Tensor:
    """Return L_CSC = Σ_l KL(p̄_l ‖ u) + KL(u ‖ p̄_l): p̄_l is the batch's mean assignment, u uniform over the K codes.

    p = softmax(-‖r - e‖² / (τ s)), where s is the detached mean of all distances in the batch ("batch_mean") or 1
    ("literal", the paper's equation). With "literal", distances between small latents are so small that p is uniform
    whatever the codes are, and the gradient vanishes.

    Args:
        distances: L × (B, K), ‖r - e‖² with gradient.
        scaling: s.
        temperature: τ > 0.
    """
    loss = distances[0].new_zeros(())
    for distance in distances:
        scale = distance.detach().mean() if scaling == "batch_mean" else 1
        p = (-distance / (temperature * scale)).softmax(1).mean(0)
        u = torch.full_like(p, 1 / len(p))
        loss = loss + (p * (p / u).log()).sum() + (u * (u / p).log()).sum()
    return loss


def cscl(
    distances: Sequence[Tensor], scaling: Scaling, temperature: float, group: Group, total: int
) -> Tensor:
    """Code-space consistency loss: `l_csc`, computed from log p̄.

    Args:
        distances: L × (n, K), with gradient.
        scaling: as in `l_csc`.
        temperature: τ > 0.
        group: p̄ is the mean over the batch of all ranks.
        total: B.
    """
    size = distances[0].shape[1]
    scales = distances[0].new_ones(len(distances))
    if scaling == "batch_mean":
        sums = torch.stack([distance.detach().sum() for distance in distances])
        scales = (sum_over_ranks(sums, group) / (total * size)).clamp_min(1e-12)
    # Layer by layer: an (L, n, K) tensor would be new memory from the system in every step.
    log_masses = torch.stack(
        [
            (distance * factor).log_softmax(1).logsumexp(0)
            for distance, factor in zip(distances, -1 / (temperature * scales), strict=True)
        ]
    )
    masses = gather_with_gradient(log_masses[None], group.world_size, group)  # (ranks, L, K)
    log_mean = masses.logsumexp(0) - math.log(total)
    # KL(p ‖ u) + KL(u ‖ p) = Σ_k (p_k - u_k) (log p_k - log u_k)
    divergence = (log_mean.exp() - 1 / size) * (log_mean + math.log(size))
    return divergence.sum() / group.world_size


def l_dis(reconstruction: Tensor, originals: Tensor, similarity: Similarity, temperature: float) -> Tensor:
    """Return L_Dis, (B,): -log( exp s_ii / Σ_j exp s_ij ) for each reconstruction d̂_i and the originals d_j.

    Args:
        reconstruction: (B, D), d̂.
        originals: (B, D), d; they get no gradient.
        similarity: as in `l_hcc`.
        temperature: τ > 0 divides s.
    """
    scores = _scores(reconstruction, originals.detach(), similarity, temperature)
    return -scores.log_softmax(1).diagonal()


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
    """Dispersion loss: `l_dis` over the batch or within blocks of it.

    Args:
        reconstruction: (n, D), d̂ of this rank's documents.
        originals: (B, D), d of all documents of the batch; they get no gradient.
        negatives: None contrasts with the B - 1 others; a number contrasts within blocks of the batch
            (`block_bounds`), which saves most of a B × B × D product.
        similarity: as in `l_hcc`.
        temperature: τ > 0.
        reduction: over the documents.
        group: this process and its peers.
        batched: compute all blocks in one product, faster on a GPU; otherwise one after another, faster on a CPU.
    """
    total = len(originals)
    loss = reconstruction.new_zeros(())
    for block in contrasts(reconstruction, originals.detach(), negatives, group, batched):
        loss = loss + dispersion(block, similarity, temperature)
    return loss / total if reduction == "mean" else loss
