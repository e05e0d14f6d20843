"""Residual quantisation: L codebooks of K codes; each codes the residual that the ones before it leave.

    r_0 = z;  c_l = argmin_k ‖r_l - e_k^l‖²;  r_{l+1} = r_l - e^l_{c_l};  ẑ = Σ_l e^l_{c_l}

Codebooks are updated either by an exponential moving average of the residuals (van den Oord et al. 2017, appendix A.1)
or by the gradient of the codebook loss.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from catid2.training.distributed import Group, sum_over_ranks


class Quantized(NamedTuple):
    """A batch of B latents, quantised; tuples have one tensor per layer."""

    codes: Tensor  # (B, L) int64
    residuals: tuple[Tensor, ...]  # L × (B, d): r_l, the input of layer l; its gradient reaches z
    chosen: tuple[Tensor, ...]  # L × (B, d): the codeword that layer l chose
    distances: tuple[Tensor, ...]  # L × (B, K): ‖r_l - e_k‖²
    latents: Tensor  # (B, d): ẑ, the sum of the chosen codewords


def squared_distances(points: Tensor, centres: Tensor) -> Tensor:
    """Return ‖p_i - c_k‖² as (B, K), for (B, d) points and (K, d) centres."""
    products = torch.addmm(centres.square().sum(1), points, centres.T, alpha=-2)
    return products + points.square().sum(1, keepdim=True)


class ResidualQuantizer(nn.Module):
    """L codebooks of K codes in d dimensions.

    Args:
        layers: L.
        size: K.
        dimensions: d.
        update: with "ema" `follow` moves the codes; with "gradient" the codebooks are trainable parameters.
        decay: share of the old average that is kept in a step of "ema".
    """

    def __init__(
        self,
        layers: int,
        size: int,
        dimensions: int,
        update: Literal["ema", "gradient"] = "ema",
        decay: float = 0.99,
    ):
        super().__init__()
        self.decay = decay
        self.codebooks = nn.Parameter(
            torch.zeros(layers, size, dimensions), requires_grad=update == "gradient"
        )
        self.register_buffer("counts", torch.ones(layers, size))
        self.register_buffer("sums", torch.zeros(layers, size, dimensions))

    def forward(self, z: Tensor, distance_gradient: bool = False) -> Quantized:
        """Quantise (B, d) latents.

        The gradient of a residual reaches z but no codebook: each codebook learns only from its own layer. The
        distances have a gradient only with `distance_gradient`, because only CSCL needs it.
        """
        codes, residuals, chosen, distances = [], [], [], []
        residual = z
        for codebook in self.codebooks:
            with torch.set_grad_enabled(distance_gradient and torch.is_grad_enabled()):
                distance = squared_distances(residual, codebook)
            code = distance.argmin(dim=1)
            codeword = codebook[code]
            codes.append(code)
            residuals.append(residual)
            chosen.append(codeword)
            distances.append(distance)
            residual = residual - codeword.detach()
        latents = torch.stack(chosen).sum(0)
        return Quantized(torch.stack(codes, 1), tuple(residuals), tuple(chosen), tuple(distances), latents)

    @torch.no_grad()
    def follow(self, quantized: Quantized, group: Group) -> None:
        """Move every code towards the mean of the residuals that chose it, over the batch of all ranks."""
        layers, size, dimensions = self.codebooks.shape
        batch = self.sums.new_empty(layers, size, dimensions + 1)
        for layer, residual in enumerate(quantized.residuals):
            batch[layer] = _sum_by_code(residual, quantized.codes[:, layer], size)
        batch = sum_over_ranks(batch, group)
        self.counts.lerp_(batch[..., -1], 1 - self.decay)
        self.sums.lerp_(batch[..., :-1], 1 - self.decay)
        counts = self.counts.unsqueeze(-1)
        # The average of a code that was unused for thousands of steps has vanished: the code stays where it is.
        self.codebooks.copy_(torch.where(counts > 1e-9, self.sums / counts.clamp_min(1e-9), self.codebooks))

    @torch.no_grad()
    def place(self, layer: int, codes: Tensor, codewords: Tensor, count: float) -> None:
        """Set (n,) `codes` of a layer to (n, d) `codewords`, as if each were the average of `count` residuals."""
        self.codebooks[layer, codes] = codewords
        self.counts[layer, codes] = count
        self.sums[layer, codes] = codewords * count

    @torch.no_grad()
    def rename(self, names: Tensor) -> None:
        """Make code k of layer l the code names[l, k]; each row of `names` (L, K) is a permutation."""
        for tensor in (self.codebooks, self.counts, self.sums):
            for codes, own in zip(tensor, names, strict=True):
                codes[own] = codes.clone()

    @torch.no_grad()
    def initialise(self, z: Tensor, count: float, generator: torch.Generator) -> None:
        """Set the codebooks, layer by layer, by k-means on the residuals of (N, d) latents.

        `count` is the number of residuals per code in an average batch: the initial weight of a centre in the moving
        average.
        """
        every = torch.arange(self.codebooks.shape[1], device=z.device)
        for layer in range(len(self.codebooks)):
            self.place(layer, every, kmeans(z, len(every), generator), count)
            z = z - self.codebooks[layer, _nearest(z, self.codebooks[layer]).codes]

    @torch.no_grad()
    def revive(self, z: Tensor, unused: Tensor, count: float, generator: torch.Generator) -> None:
        """Move unused codes to residuals with a large error in their layer.

        Args:
            z: (N, d) latents of a sample of the corpus.
            unused: (L, K) bool.
            count: as in `initialise`.
            generator: draws residuals with probabilities proportional to their squared error (as k-means++ does), on
                the CPU, so that every device and rank draws the same.
        """
        for layer, codebook in enumerate(self.codebooks):
            dead = unused[layer].nonzero().flatten()[: len(z)]
            if len(dead):
                weights = _nearest(z, codebook).errors.clamp_min(0).double().cpu() + 1e-12
                drawn = torch.multinomial(weights, len(dead), generator=generator).to(z.device)
                self.place(layer, dead, z[drawn], count)
            z = z - codebook[_nearest(z, codebook).codes]


def _sum_by_code(rows: Tensor, codes: Tensor, size: int) -> Tensor:
    """Return (K, d + 1): for each code the sum of its (B, d) rows, and their number.

    Computed as a product with the one-hot codes, because the order of scattered adds varies on a GPU.
    """
    onehot = torch.zeros(len(rows), size, dtype=rows.dtype, device=rows.device).scatter_(
        1, codes.unsqueeze(1), 1
    )
    return onehot.T @ torch.cat([rows, rows.new_ones(len(rows), 1)], dim=1)


@torch.no_grad()
def kmeans(points: Tensor, k: int, generator: torch.Generator, iterations: int = 30) -> Tensor:
    """Return k centres of (N, d) points, (k, d): k-means++ seeds (Arthur & Vassilvitskii 2007), then Lloyd.

    The centre of an empty cluster moves to the point farthest from its own centre, so every centre is defined. With
    fewer than k distinct points some centres coincide. Deterministic for a given generator.
    """
    centres = _seeds(points, k, generator)
    for _ in range(iterations):
        nearest = _nearest(points, centres)
        totals = sum(_sum_by_code(rows, codes, k) for rows, codes in _chunks(points, nearest.codes))
        counts = totals[:, -1]
        moved = totals[:, :-1] / counts.clamp_min(1).unsqueeze(1)
        empty = (counts == 0).nonzero().flatten()
        if len(empty):
            farthest = nearest.errors.topk(min(len(empty), len(points))).indices
            moved[empty] = points[farthest.repeat(k)[: len(empty)]]
        if torch.equal(moved, centres):
            break
        centres = moved
    return centres


def _seeds(points: Tensor, k: int, generator: torch.Generator) -> Tensor:
    """Return k points, each drawn with probability proportional to its squared distance to those drawn before."""
    centres = points.new_empty(k, points.shape[1])
    error = points.new_ones(len(points))
    for index in range(k):
        draw = torch.rand((), generator=generator, dtype=torch.float64).to(points.device)
        mass = error.double().cumsum(0)
        chosen = torch.searchsorted(mass, draw * mass[-1]).clamp_max(len(points) - 1)
        centres[index] = points[chosen]
        distance = (points - centres[index]).square().sum(1)
        error = distance if index == 0 else torch.minimum(error, distance)
    return centres


class _Nearest(NamedTuple):
    errors: Tensor  # (N,) squared distance to the nearest centre
    codes: Tensor  # (N,) which centre that is


def _nearest(points: Tensor, centres: Tensor) -> _Nearest:
    parts = [squared_distances(rows, centres).min(dim=1) for (rows,) in _chunks(points)]
    return _Nearest(*(torch.cat(part) for part in zip(*parts, strict=True)))


def _chunks(*tensors: Tensor, rows: int = 65_536) -> Iterator[tuple[Tensor, ...]]:
    """Yield parts of at most `rows` rows of each tensor, so that an (n, K) matrix stays small."""
    return zip(*(tensor.split(rows) for tensor in tensors), strict=True)
