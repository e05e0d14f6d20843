"""Training of the RQ-VAE in plain PyTorch: autograd, torch.optim and its schedulers.

Only the encoder, the decoder, the division into blocks and the definitions of the losses are the package's. An
option of the settings is a line here, so that a run of `Training` has something to be compared with.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from rqvae_case import Catalogue
from torch import Tensor
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LinearLR, LRScheduler, SequentialLR

from catid2.config.rqvae import RqvaeConfig
from catid2.quantizer.blocks import block_bounds
from catid2.quantizer.losses import l_csc, l_dis, l_hcc
from catid2.quantizer.model import RQVAE

# Which terms of the loss make one gradient norm of the history.
GRADIENTS = {
    "gradient_rq": ("reconstruction", "commitment", "codebook"),
    "gradient_disl": ("disl",),
    "gradient_hccl": ("hccl",),
    "gradient_cscl": ("cscl",),
}


class Step(NamedTuple):
    """The losses of a batch before their weights, and what quantising it yields per layer."""

    terms: dict[str, Tensor]
    residuals: list[Tensor]  # (B, d)
    codes: list[Tensor]  # (B,)
    dropped: dict[str, int]  # documents without a positive or a negative, by level


def plain_step(model: RQVAE, case: Catalogue, batch: Tensor, config: RqvaeConfig, warmup: bool) -> Step:
    """Return the losses of docs/method.md §1."""
    x = torch.from_numpy(case.embeddings[batch]).float()
    if config.standardize == "center":
        x = x - torch.from_numpy(case.embeddings.mean(0, dtype=np.float64)).float()
    if config.standardize != "none":
        x = x / x.norm(dim=1, keepdim=True)
    z = model.encoder(x)
    width, depth = (x.shape[1], z.shape[1]) if config.error_reduction == "mean" else (1, 1)
    if warmup:
        return Step({"reconstruction": squares(x - model.decoder(z)) / width}, [], [], {})

    residual, residuals, codes, distances = z, [], [], []
    commitment = codebook = 0
    for book in model.quantizer.codebooks:
        residuals.append(residual)
        distances.append((residual[:, None] - book).square().sum(2))
        codes.append(distances[-1].argmin(1))
        chosen = book[codes[-1]]
        commitment = commitment + squares(residual - chosen.detach())
        codebook = codebook + squares(residual.detach() - chosen)
        residual = residual - chosen.detach()
    back = model.decoder(z - residual.detach())  # the sum of the codes; its gradient goes to z
    terms = {"reconstruction": squares(x - back) / width, "commitment": commitment / depth}
    if config.codebook_update == "gradient":
        terms["codebook"] = codebook / depth
    if config.alpha:
        terms["disl"] = plain_disl(back, x, config)
    dropped = {}
    if config.beta:
        terms["hccl"], dropped = plain_hccl(residuals, torch.from_numpy(case.categories[batch]), config)
    if config.gamma:
        terms["cscl"] = l_csc(distances, config.cscl_scaling, config.cscl_temperature)
    return Step(terms, residuals, codes, dropped)


def squares(error: Tensor) -> Tensor:
    return error.square().sum(1).mean()


def plain_disl(back: Tensor, x: Tensor, config: RqvaeConfig) -> Tensor:
    blocks = [slice(*ends) for ends in pairwise(block_bounds(len(x), config.disl_negatives))]
    kind = config.disl_similarity, config.disl_temperature
    each = torch.cat([l_dis(back[block], x[block], *kind) for block in blocks])
    return each.mean() if config.disl_reduction == "mean" else each.sum()


def plain_hccl(residuals: list[Tensor], labels: Tensor, config: RqvaeConfig) -> tuple[Tensor, dict[str, int]]:
    sizes = [end - start for start, end in pairwise(block_bounds(len(labels), config.hccl_negatives))]
    blocks = torch.repeat_interleave(torch.tensor(sizes))
    kind = config.hccl_similarity, config.hccl_temperature
    total, dropped = torch.zeros(()), {}
    for level, residual in enumerate(residuals[: config.levels]):
        above = labels[:, level - 1] if level and config.hccl_hard_negatives else blocks
        each = l_hcc(residual, labels[:, level], above, *kind)
        total = total + (each.mean() if config.hccl_reduction == "mean" else each.sum())
        dropped[f"dropped_{level + 1}"] = len(labels) - len(each)
    return total, dropped


def plain_schedule(optimizer: torch.optim.Optimizer, config: RqvaeConfig, steps: int) -> LRScheduler:
    rise = config.rise_steps
    constant = config.schedule == "constant"
    after = ConstantLR(optimizer, 1) if constant else CosineAnnealingLR(optimizer, steps - rise)
    if not rise:
        return after
    return SequentialLR(optimizer, [LinearLR(optimizer, 1 / rise, total_iters=rise - 1), after], [rise])


def plain_training(
    model: RQVAE, case: Catalogue, config: RqvaeConfig, epochs: list[list[Tensor]]
) -> Iterator[dict[str, float]]:
    """Train the model on the batches of each epoch, from codebooks just set by k-means; yield an epoch's figures."""
    weights = {"commitment": config.mu, "disl": config.alpha, "hccl": config.beta, "cscl": config.gamma}
    decayed = [part.weight for part in model.modules() if isinstance(part, torch.nn.Linear)]
    spared = [p for p in model.parameters() if p.requires_grad and all(p is not other for other in decayed)]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": spared, "weight_decay": 0}]
    optimizer = torch.optim.AdamW(groups, config.learning_rate)
    schedule = plain_schedule(optimizer, config, len(epochs[0]) * config.epochs)
    codebooks = model.quantizer.codebooks
    documents, size = len(case.embeddings), config.codebook_size
    counts = torch.full(codebooks.shape[:2], documents / len(epochs[0]) / size)
    sums = codebooks.detach() * counts.unsqueeze(2)
    for epoch, batches in enumerate(epochs):
        figures: dict[str, float] = {"epoch": epoch + 1, "loss": 0}
        for batch in batches:
            step = plain_step(model, case, batch, config, warmup=epoch < config.warmup_epochs)
            weighted = {name: weights.get(name, 1) * term for name, term in step.terms.items()}
            loss = sum(weighted.values())
            if batch is batches[0]:
                figures |= gradient_norms(weighted, list(model.encoder.parameters()))
            for name, value in {**step.terms, "loss": loss}.items():
                figures[name] = figures.get(name, 0) + value.item() * len(batch) / documents
            for name, number in step.dropped.items():
                figures[name] = figures.get(name, 0) + number
            figures["lr"] = optimizer.param_groups[0]["lr"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            if config.codebook_update == "ema":
                keep = config.ema_decay
                for layer, residual in enumerate(step.residuals):
                    one_hot = F.one_hot(step.codes[layer], size).float()
                    counts[layer] = keep * counts[layer] + (1 - keep) * one_hot.sum(0)
                    sums[layer] = keep * sums[layer] + (1 - keep) * (one_hot.T @ residual.detach())
                    codebooks.data[layer] = sums[layer] / counts[layer].unsqueeze(1)
        yield figures


def gradient_norms(weighted: dict[str, Tensor], parameters: list[Tensor]) -> dict[str, float]:
    norms = {}
    for name, members in GRADIENTS.items():
        sent = [weighted[member] for member in members if member in weighted]
        if sent:
            gradients = torch.autograd.grad(sum(sent), parameters, retain_graph=True)
            norms[name] = torch.cat([gradient.flatten() for gradient in gradients]).norm().item()
    return norms
