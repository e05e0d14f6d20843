"""The step of a GPU: every operation has a fixed shape and nothing is decided by the CPU, so a CUDA graph can hold it.

Each level of HCCL is computed over whole blocks of the batch, or over the whole batch, with masks made on the device.
Most of these pairs do not count, but a GPU computes them in less time than it takes to launch the tiles of a CPU.
"""

import os
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from catid2.quantizer.blocks import block_bounds
from catid2.quantizer.contrast import ContrastPlan, Positives, Runs, Tile
from catid2.quantizer.graph import SWITCH, CudaGraph
from catid2.quantizer.model import RQVAE
from catid2.quantizer.step import Step, Taken, block_numbers
from catid2.training.distributed import Group

if TYPE_CHECKING:
    from catid2.config.rqvae import RqvaeConfig

# Makes a function out of one that is called again and again, on tensors that stay where they are.
Capture = Callable[[Callable[[], Taken]], Callable[[], Taken]]


class DenseStep(Step):
    """A step on batches of one size, captured as a CUDA graph unless $CATID2_CUDA_GRAPH is 0; on a CPU it just runs.

    The losses are those of `Step`, to rounding. Positives are drawn on the device, so where one is drawn
    (`hccl_positives`), CPU and GPU draw others.

    Args:
        model, config, group: as in `Step`.
        batch_size: B.
        capture: instead of the CUDA graph.
    """

    batched = True

    def __init__(
        self,
        model: RQVAE,
        config: "RqvaeConfig",
        group: Group,
        batch_size: int,
        capture: Capture | None = None,
    ):
        device = group.device
        if capture is None and device.type == "cuda" and os.environ.get(SWITCH) != "0":
            capture = partial(CudaGraph, device=device)
        rate = torch.tensor(config.learning_rate, device=device)
        super().__init__(
            model, config, group, lr=rate, capturable=device.type == "cuda" and capture is not None
        )
        self._capture = capture or (lambda function: function)
        self._steps: dict[tuple[bool, bool], Callable[[], Taken]] = {}
        levels = min(config.levels, config.layers)
        # Every step reads its batch from these tensors.
        self._rows = torch.empty(batch_size, model.architecture.input_dim, dtype=torch.float16, device=device)
        self._labels = torch.empty(batch_size, config.levels, dtype=torch.long, device=device)
        self._draws = torch.empty(levels, batch_size, dtype=torch.float64, device=device)
        self._blocks = block_numbers(batch_size, config.hccl_negatives).to(device)

    def take(
        self,
        rows: Tensor,
        labels: Tensor,
        draws: torch.Generator,
        rate: float,
        warmup: bool,
        measured: bool = False,
    ) -> Taken:
        for parameters in self.optimizer.param_groups:
            parameters["lr"].fill_(rate)
        self._rows.copy_(rows)
        self._labels.copy_(labels[:, : self.config.levels])
        self._draws.uniform_(generator=draws)
        kind = warmup, measured
        if kind not in self._steps:
            self._steps[kind] = self._capture(partial(self._step, *kind))
        return self._steps[kind]()

    def _step(self, warmup: bool, measured: bool) -> Taken:
        plans = [] if warmup else self.plans(self._labels, self._draws)
        return self.train_on(self._rows, plans, warmup, measured)

    def close(self) -> None:
        super().close()
        self._steps.clear()

    def plans(self, labels: Tensor, draws: Tensor) -> list[ContrastPlan]:
        """As in `Step`; `draws` are (levels, B) numbers from 0 to 1."""
        config, total = self.config, len(labels)
        if not config.beta:
            return []
        plans = []
        for level, drawn in enumerate(draws):
            siblings = level > 0 and config.hccl_hard_negatives
            bounds = [0, total] if siblings else block_bounds(total, config.hccl_negatives)
            tiles = fixed_tiles(bounds, self.group.world_size, mixed=siblings)
            parents = labels[:, level - 1] if siblings else self._blocks
            plans.append(plan_dense(labels[:, level], parents, config.hccl_positives, drawn, tiles))
        return plans


def fixed_tiles(bounds: list[int], ranks: int, mixed: bool) -> list[Tile]:
    """Return tiles that cover blocks of a batch whatever its categories are; each rank gets a part of each block.

    Args:
        bounds: of the blocks.
        ranks: tile i is for rank i modulo `ranks`.
        mixed: whether a block can hold several parents; otherwise each parent is a block.
    """
    tiles = []
    for start, end in pairwise(bounds):
        block = slice(start, end)
        parts = [start + (end - start) * rank // ranks for rank in range(ranks + 1)]
        tiles += [Tile(slice(*rows), block, block, pure=False, mixed=mixed) for rows in pairwise(parts)]
    return tiles


def plan_dense(
    categories: Tensor, parents: Tensor, positives: Positives, draws: Tensor, tiles: list[Tile]
) -> ContrastPlan:
    """Plan the contrast of one level on the tensors' device; the same as `plan_contrast`, except for the tiles.

    Args:
        categories: (B,) int.
        parents: (B,) int, as in `plan_contrast`.
        positives: as in `plan_contrast`.
        draws: (B,) float64 from 0 to 1 that choose the positives, unless they are "all".
        tiles: of `fixed_tiles`.
    """
    order = categories.argsort(stable=True)
    order = order[parents[order].argsort(stable=True)]
    categories, parents = categories[order], parents[order]
    category_runs, parent_runs = _runs(parents, categories), _runs(parents)
    same = category_runs.ends - category_runs.starts
    own = positives == "one_or_self"
    contrasted = parent_runs.ends - parent_runs.starts > same
    valid = torch.ones_like(contrasted) if own else contrasted & (same > 1)
    partners = None
    if positives != "all":
        # As in plan_contrast; a document that is alone in its category gets itself.
        first = category_runs.starts
        steps = (draws * (same - 1)).long() + 1
        partners = first + (torch.arange(len(order), device=order.device) - first + steps) % same
    each = valid.double()
    if positives == "all":
        each = each / (same - 1).clamp_min(1)
    anchors = valid.sum()
    return ContrastPlan(
        order,
        category_runs.starts,
        parents,
        each.unsqueeze(1),
        partners,
        own,
        tiles,
        anchors,
        len(order) - anchors,
    )


def _runs(*columns: Tensor) -> Runs:
    """Return the run of equal rows that each row belongs to; rows are sorted by the columns."""
    fresh = torch.stack([column.diff() != 0 for column in columns]).any(0)
    numbers = F.pad(fresh.cumsum(0), (1, 0))
    return Runs(torch.searchsorted(numbers, numbers), torch.searchsorted(numbers, numbers, right=True))
