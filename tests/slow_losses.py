"""The losses of the RQ-VAE as loops over documents, independent of their definitions, for autograd to derive.

Each returns one loss per document that counts, or their sum; tests average them.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def similarities(a: Tensor, b: Tensor, kind: str, temperature: float) -> Tensor:
    """Return the scores (A, B) of every pair: a cosine or a negative squared distance."""
    pairs = a[:, None], b[None]
    if kind == "cosine":
        return F.cosine_similarity(*pairs, dim=2) / temperature
    return -(pairs[0] - pairs[1]).square().sum(2) / temperature


def info_nce(positive: Tensor, negatives: Tensor) -> Tensor:
    return -(positive.exp() / (positive.exp() + negatives.exp().sum())).log()


def slow_hccl(r: Tensor, categories: Tensor, parents: Tensor, kind: str, temperature: float) -> Tensor:
    """Return one loss per anchor that has a positive and a negative."""
    scores = similarities(r, r, kind, temperature)
    losses = []
    for i, row in enumerate(scores):
        same = categories == categories[i]
        positives = row[same & (parents == parents[i]) & (torch.arange(len(r)) != i)]
        negatives = row[~same & (parents == parents[i])]
        if len(positives) and len(negatives):
            losses.append(torch.stack([info_nce(positive, negatives) for positive in positives]).mean())
    return torch.stack(losses)


def slow_hccl_drawn(r: Tensor, partners: Tensor, parents: Tensor, kind: str, temperature: float) -> Tensor:
    """Return one loss per anchor: its partner against all documents of its parent, itself included."""
    scores = similarities(r, r, kind, temperature).exp()
    losses = []
    for i, row in enumerate(scores):
        whole = sum(row[j] for j in range(len(r)) if parents[j] == parents[i])
        losses.append(-(row[partners[i]] / whole).log())
    return torch.stack(losses)


def slow_cscl(distances: list[Tensor], literal: bool, temperature: float) -> Tensor:
    """Return the loss summed over the layers."""
    total = torch.zeros(())
    for distance in distances:
        scale = 1.0 if literal else distance.mean().item()
        p = torch.stack([torch.softmax(-row / (temperature * scale), 0) for row in distance])
        mean = sum(p) / len(p)
        for share in mean:
            uniform = 1 / len(mean)
            total = total + share * (share / uniform).log() + uniform * (uniform / share).log()
    return total


def slow_disl(reconstruction: Tensor, originals: Tensor, kind: str, temperature: float) -> Tensor:
    """Return one loss per document; nothing pulls the originals."""
    scores = similarities(reconstruction, originals.detach(), kind, temperature)
    others = ~torch.eye(len(scores), dtype=torch.bool)
    return torch.stack([info_nce(row[i], row[others[i]]) for i, row in enumerate(scores)])
