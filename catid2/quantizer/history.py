"""The figures of each epoch of RQ-VAE training, and which of them stop the run.

A row of the history holds the losses, the norms of their gradients at the encoder, and figures of the corpus's codes
(perplexity, dead codes, collisions). The latents have the precision of training, so under bfloat16 these figures
differ slightly from docids.json, which is computed in float32.
"""

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from catid2.quantizer.diagnostics import collision_rate, dead_codes, perplexity
from catid2.training.distributed import Group, sum_over_ranks

if TYPE_CHECKING:
    from catid2.config.rqvae import RqvaeConfig

NAN = math.nan
STARVED_SHARE = 0.5  # of the documents: if more drop out of a level's HCCL, most learn nothing there
TERMS = ("reconstruction", "codebook", "commitment", "disl", "hccl", "cscl")
GRADIENTS = {"rq": TERMS[:3], "disl": ("disl",), "hccl": ("hccl",), "cscl": ("cscl",)}
Row = dict[str, float]


class Problem(NamedTuple):
    """What is wrong with an epoch, how to fix it, and whether the run must stop."""

    text: str
    remedy: str
    fatal: bool


def suitable_size(points: int) -> int:
    """Return a codebook size that works for `points` different embeddings: a quarter of them (tried with 10 to 300).

    With as many codes as points the first layer leaves no residual, and the other layers collapse.
    """
    return max(2, points // 4)


def find_problem(row: Row, config: "RqvaeConfig", points: int) -> Problem | None:
    """Return what is wrong with an epoch: a loss that is not finite, or a collapsed layer after the grace period.

    `points` is the number of different embeddings; a count capped at 4 times the codebook size is enough.
    """
    if not math.isfinite(row["loss"]):
        return Problem("the loss is not a finite number", "lower learning_rate or the loss weights", True)
    if row["epoch"] <= config.warmup_epochs + config.collapse_grace_epochs:
        return None
    values = [row[f"perplexity_{layer}"] for layer in range(config.layers)]
    layer = int(np.argmin(values))
    if values[layer] >= config.collapse_perplexity * config.codebook_size:
        return None
    text = f"layer {layer} has collapsed: perplexity {values[layer]:.1f} of {config.codebook_size} codes"
    remedy = "lower beta or gamma" if config.beta or config.gamma else "lower codebook_size"
    if config.codebook_size > suitable_size(points):
        remedy = f"set rqvae.codebook_size to {suitable_size(points)} or less"
    return Problem(text, f"{remedy}, or set on_collapse: report", config.on_collapse == "stop")


def dropped_shares(row: Row, documents: int) -> list[float]:
    """Return, per level, the share of all documents that dropped out of HCCL in an epoch; [] without HCCL.

    A document drops out if its batch holds no other document of its category, or none of a sibling category. Levels
    without a layer are skipped.
    """
    counts = [value for name, value in row.items() if name.startswith("dropped_")]
    return [count / documents for count in counts if not math.isnan(count)]


def starved_levels(shares: list[float], config: "RqvaeConfig", categories: np.ndarray) -> list[Problem]:
    """Return a Problem for each level of the (N, H) categories at which most documents drop out of HCCL."""
    found = []
    for level, (share, nodes) in enumerate(zip(shares, categories.T, strict=False), start=1):
        if share <= STARVED_SHARE:
            continue
        what = f"{share:.0%} of the documents drop out of HCCL at level {level} of the category tree"
        remedy = "lower rqvae.levels" if level > 1 else "set rqvae.beta to 0"
        if len(np.unique(nodes)) == 1:
            what += ", which has one node"
            remedy = "build the corpus with a tree that branches there, or set rqvae.beta to 0"
        elif config.batch_size < len(nodes):
            remedy = f"raise rqvae.batch_size, or {remedy}"
            better = "category" if level > 2 else "random"  # docs/method.md has the shares with both
            if level > 1 and config.batches != better:
                remedy = f"set rqvae.batches: {better}, {remedy}"
        found.append(Problem(what, remedy, False))
    return found


def gradient_norms(
    weighted: Mapping[str, Tensor], parameters: Iterable[nn.Parameter], group: Group
) -> dict[str, Tensor | float]:
    """Return the norm of each loss's gradient at `parameters`, under the names of GRADIENTS; nan for an unused loss.

    Args:
        weighted: this rank's share of each loss times its weight, under the names of TERMS.
        parameters: usually the encoder's.
        group: gradients are summed over its ranks.
    """
    parameters = list(parameters)
    norms: dict[str, Tensor | float] = dict.fromkeys(GRADIENTS, NAN)
    for name, members in GRADIENTS.items():
        sent = [weighted[member] for member in members if member in weighted]
        if sent:
            parts = torch.autograd.grad(sum(sent), parameters, retain_graph=True, materialize_grads=True)
            flat = sum_over_ranks(torch.cat([part.flatten() for part in parts]), group)
            norms[name] = flat.norm()
    return norms


def coding_figures(codes: np.ndarray | None, config: "RqvaeConfig") -> Row:
    """Return perplexity and dead codes of each layer and the collision rate of (N, L) codes; all nan for None."""
    figures: Row = {}
    for name, figure in (("perplexity", perplexity), ("dead", dead_codes)):
        for layer in range(config.layers):
            column = None if codes is None else codes[:, layer]
            figures[f"{name}_{layer}"] = NAN if column is None else figure(column, config.codebook_size)
    figures["collision_rate"] = NAN if codes is None else collision_rate(codes)
    return figures


def format_history(history: list[Row]) -> str:
    """Return the history as TSV: a header, then a line per epoch; a missing figure is nan."""
    lines = ["\t".join(history[0])]
    lines += ["\t".join(f"{value:.6g}" for value in row.values()) for row in history]
    return "\n".join(lines) + "\n"


def summary(row: Row) -> str:
    """Return an epoch's figures for the log, without the missing ones."""
    shown = [name for name in row if name not in ("epoch", "warmup") and not math.isnan(row[name])]
    return " ".join(f"{name}={row[name]:.4g}" for name in shown)
