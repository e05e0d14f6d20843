"""A step of training on one batch: the losses, their gradients, the optimiser and the codebooks."""

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from catid2.quantizer.blocks import block_bounds
from catid2.quantizer.codebooks import Quantized
from catid2.quantizer.contrast import ContrastPlan, plan_contrast
from catid2.quantizer.history import gradient_norms
from catid2.quantizer.losses import cscl, disl, hccl, quantisation_loss, squared_error
from catid2.quantizer.model import RQVAE
from catid2.training.distributed import Group, sum_gradients

if TYPE_CHECKING:
    from catid2.config.rqvae import RqvaeConfig

Terms = dict[str, Tensor]


class Taken(NamedTuple):
    """The figures of a step, on the device; the next step may write to the same tensors."""

    terms: Terms  # this rank's share of each loss in use, before its weight
    dropped: list[int] | list[Tensor]  # documents without a contrast, by level; [] if nothing is contrasted
    norms: dict[str, Tensor | float]  # of `gradient_norms`; {} unless they were asked for


class Step:
    """The step of a CPU: contrasts are planned for each batch and computed in tiles that stay in its cache.

    Args:
        model: is trained in place.
        config: the stage's settings.
        group: this process among its peers; each rank computes a share of every batch.
        adamw: further arguments of the optimiser.
    """

    batched = False  # DisL computes its blocks one after another

    def __init__(self, model: RQVAE, config: "RqvaeConfig", group: Group, **adamw: Any):
        self.model, self.config, self.group = model, config, group
        weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
        matrices = [parameter for parameter in weights if parameter.ndim == 2]
        others = [parameter for parameter in weights if parameter.ndim != 2]  # biases, scales and codebooks
        self.parameters = matrices + others
        self.optimizer = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": config.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            **{"lr": config.learning_rate, "fused": True} | adamw,
        )

    def take(
        self,
        rows: Tensor,
        labels: Tensor,
        draws: torch.Generator,
        rate: float,
        warmup: bool,
        measured: bool = False,
    ) -> Taken:
        """Train on a batch.

        Args:
            rows: (B, D) float16 embeddings of all ranks.
            labels: (B, ≥ H) their categories.
            draws: draws the positives, in the same way on every rank; on the device.
            rate: learning rate.
            warmup: train a plain auto-encoder, without codes.
            measured: also return the norms of the losses' gradients.
        """
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = rate
        plans = [] if warmup else self.plans(labels, draws)
        return self.train_on(rows, plans, warmup, measured)

    def train_on(self, rows: Tensor, plans: list[ContrastPlan], warmup: bool, measured: bool) -> Taken:
        """Train on a batch whose contrasts are planned, at the optimiser's learning rate; otherwise as `take`."""
        terms, quantized = (self.warmup_terms(rows), None) if warmup else self.terms(rows, plans)
        norms: dict[str, Tensor | float] = {}
        if measured:
            weighted = {name: self.weight(name) * term for name, term in terms.items()}
            norms = gradient_norms(weighted, self.model.encoder.parameters(), self.group)
        self.descend(terms, quantized)
        values = {name: term.detach() for name, term in terms.items()}
        return Taken(values, [plan.dropped for plan in plans], norms)

    def descend(self, terms: Terms, quantized: Quantized | None) -> None:
        """Take one step of the optimiser and, with `codebook_update: ema`, of the codebooks."""
        self.optimizer.zero_grad(set_to_none=True)
        sum(self.weight(name) * term for name, term in terms.items()).backward()
        sum_gradients(self.parameters, self.group)
        self.optimizer.step()
        if quantized is not None and self.config.codebook_update == "ema":
            self.model.quantizer.follow(quantized, self.group)

    def close(self) -> None:
        """Give back what the step holds besides the model; NCCL cannot be left while a graph holds a call of it."""
        self.optimizer.zero_grad()

    def weight(self, term: str) -> float:
        """Return the weight of a term in the loss."""
        config = self.config
        weights = {"commitment": config.mu, "disl": config.alpha, "hccl": config.beta, "cscl": config.gamma}
        return weights.get(term, 1.0)

    def warmup_terms(self, rows: Tensor) -> Terms:
        """Return this rank's share of the loss of a plain auto-encoder on (B, D) rows."""
        with autocast(self.config, self.group):
            x = self.model.standardize(rows[self.group.shard(len(rows))])
            reconstruction = self.model.decode(self.model.encoder(x))
        return {
            "reconstruction": squared_error(x, reconstruction, self.config.error_reduction, len(rows)),
        }

    def terms(self, rows: Tensor, plans: list[ContrastPlan]) -> tuple[Terms, Quantized]:
        """Return this rank's share of every loss with a weight above 0, and the codes that it was computed with.

        Args:
            rows: (B, D) of all ranks, because DisL contrasts with all of them.
            plans: of `plans`.
        """
        config, group, total = self.config, self.group, len(rows)
        with autocast(config, group):
            done = self.model(rows[group.shard(total)], distance_gradient=config.gamma > 0)
        quantisation = quantisation_loss(
            done.x, done.reconstruction, done.quantized, config.error_reduction, total
        )
        terms = {"reconstruction": quantisation.reconstruction, "commitment": quantisation.commitment}
        if config.codebook_update == "gradient":
            terms["codebook"] = quantisation.codebook
        if config.alpha:
            originals = done.x if group.world_size == 1 else self.model.standardize(rows)
            terms["disl"] = disl(
                done.reconstruction,
                originals,
                config.disl_negatives,
                config.disl_similarity,
                config.disl_temperature,
                config.disl_reduction,
                group,
                self.batched,
            )
        if config.beta:
            terms["hccl"] = sum(
                hccl(
                    residual,
                    plan,
                    config.hccl_similarity,
                    config.hccl_temperature,
                    config.hccl_reduction,
                    group,
                )
                for residual, plan in zip(done.quantized.residuals, plans, strict=False)
            )
        if config.gamma:
            terms["cscl"] = cscl(
                done.quantized.distances, config.cscl_scaling, config.cscl_temperature, group, total
            )
        return terms, done.quantized

    def plans(self, labels: Tensor, draws: torch.Generator) -> list[ContrastPlan]:
        """Return a contrast plan of (B, ≥ H) labels for each level that has a layer; none if β is 0."""
        config = self.config
        if not config.beta:
            return []
        blocks = block_numbers(len(labels), config.hccl_negatives)
        return [
            plan_contrast(
                labels[:, level],
                labels[:, level - 1] if level and config.hccl_hard_negatives else blocks,
                config.hccl_positives,
                draws,
            )
            for level in range(min(config.levels, config.layers))
        ]


def block_numbers(total: int, negatives: int | None) -> Tensor:
    """Return the number of each document's block, (total,): 0 0 … 1 1 … See `block_bounds`."""
    return torch.repeat_interleave(torch.tensor(block_bounds(total, negatives)).diff())


def autocast(config: "RqvaeConfig", group: Group) -> torch.autocast:
    """Return the context in which encoder and decoder have the precision of the settings."""
    return torch.autocast(group.device.type, dtype=torch.bfloat16, enabled=config.precision == "bfloat16")
