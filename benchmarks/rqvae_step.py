"""Time a training step with all four losses next to the same model's plain RQ-VAE step, and their peak memory.

    python benchmarks/rqvae_step.py [--device cuda]

Batch 4096, 768 dimensions, K 256, L 4, H 3 and a tree of 11/73/412 categories; everything else as by default. The
settings are measured in turn. "masked" computes DisL and HCCL by their definitions, from whole B × B
similarities and boolean masks by autograd; it is compared with our losses over the whole batch, whose values are
checked to be the same. Memory is what a step adds at its peak, after one that has made the optimiser's state.
"""

import argparse
from typing import NamedTuple

import numpy as np
import torch
from measured import Measured, Size, in_own_process, medians, peak_memory, show
from torch import Tensor

from catid2.config.rqvae import RqvaeConfig
from catid2.quantizer.codebooks import Quantized
from catid2.quantizer.contrast import ContrastPlan
from catid2.quantizer.losses import cscl, l_dis, l_hcc, quantisation_loss
from catid2.quantizer.training import Training
from catid2.training.distributed import Group

WHOLE = {"disl_negatives": None, "hccl_negatives": None, "hccl_similarity": "cosine"}
SETTINGS = {
    "plain": {"alpha": 0, "beta": 0, "gamma": 0},
    "all four": {},
    "DisL": {"beta": 0, "gamma": 0},
    "HCCL": {"alpha": 0, "gamma": 0},
    "HCCL, one positive": {"alpha": 0, "gamma": 0, "hccl_positives": "one"},
    "CSCL": {"alpha": 0, "beta": 0},
    "DisL, whole batch": {"beta": 0, "gamma": 0, **WHOLE},
    "HCCL, whole batch": {"alpha": 0, "gamma": 0, **WHOLE},
    "all four, whole batch": WHOLE,
}
MASKED = ("DisL, whole batch", "HCCL, whole batch", "all four, whole batch")
TREE = (11, 73, 412)
DIMENSIONS = 768


class Scale(NamedTuple):
    """How much is measured."""

    batch: int
    rounds: int


SCALES: dict[Size, Scale] = {"tiny": Scale(256, 1), "short": Scale(4096, 12), "full": Scale(4096, 40)}


def catalogue(batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (B, D) clustered float16 embeddings and (B, 3) category ids of a skewed tree."""
    generator = np.random.default_rng(0)
    second = generator.integers(0, TREE[1], TREE[2])
    first = generator.choice(TREE[0], TREE[1], p=np.arange(TREE[0], 0, -1) / sum(range(TREE[0] + 1)))
    leaf = generator.choice(TREE[2], batch, p=generator.dirichlet(np.ones(TREE[2])))
    centres = generator.normal(size=(TREE[2], DIMENSIONS))
    embeddings = (centres[leaf] + generator.normal(size=(batch, DIMENSIONS))).astype(np.float16)
    return embeddings, np.stack([first[second[leaf]], 100 + second[leaf], 1000 + leaf], axis=1)


class MaskedTraining(Training):
    """The same training, with DisL and HCCL by their definitions: whole B × B similarities and masks."""

    def terms(self, batch: Tensor, plans: list[ContrastPlan]) -> tuple[dict[str, Tensor], Quantized]:
        """Return the losses of the batch, as Training.terms does on one rank."""
        config, total = self.config, len(batch)
        with self._precision():
            done = self.model(self.matrix[batch.to(self.group.device)], distance_gradient=config.gamma > 0)
        quantisation = quantisation_loss(
            done.x, done.reconstruction, done.quantized, config.error_reduction, total
        )
        terms = {"reconstruction": quantisation.reconstruction, "commitment": quantisation.commitment}
        if config.alpha:
            terms["disl"] = l_dis(done.reconstruction, done.x, "cosine", config.disl_temperature).mean()
        if config.beta:
            labels = self.categories[batch].to(self.group.device)
            parents = torch.cat([torch.zeros_like(labels[:, :1]), labels[:, :-1]], dim=1)
            terms["hccl"] = sum(
                l_hcc(residual, labels[:, level], parents[:, level], "cosine", config.hccl_temperature).mean()
                for level, residual in enumerate(done.quantized.residuals[: config.levels])
            )
        if config.gamma:
            scaling, temperature = config.cscl_scaling, config.cscl_temperature
            terms["cscl"] = cscl(done.quantized.distances, scaling, temperature, self.group, total)
        return terms, done.quantized


def prepare(
    kind: type[Training], setting: str, batch: int, device: str = "cpu", precision: str = "float32"
) -> Training:
    """Return a training of the setting, its codebooks initialised."""
    config = RqvaeConfig(precision=precision, **SETTINGS[setting])
    training = kind(*catalogue(batch), config, seed=0, group=Group(device=torch.device(device)))
    training.initialise_codebooks(epoch=0)
    return training


def step(training: Training) -> dict[str, Tensor]:
    """Take one training step on all documents, as an epoch does, and return its losses."""
    batch = torch.arange(len(training.matrix))
    terms, quantized = training.terms(batch, training.plans(batch, torch.Generator().manual_seed(0)))
    training.descend(terms, quantized, rate=1e-4)
    return terms


def step_memory(kind: type[Training], setting: str, batch: int, device: str, precision: str) -> float:
    """Return how much a step adds to the memory in use at its peak, in GiB."""
    training = prepare(kind, setting, batch, device, precision)
    step(training)
    if device == "cpu":
        return peak_memory(step, training).gib
    torch.cuda.reset_peak_memory_stats()
    held = torch.cuda.memory_allocated()
    step(training)
    return (torch.cuda.max_memory_allocated() - held) / 2**30


def require_same_losses(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    """Raise AssertionError if two ways to compute the losses differ by more than rounding."""
    for name, term in theirs.items():
        torch.testing.assert_close(ours[name].detach(), term.detach(), rtol=2e-3, atol=1e-5, msg=name)


def benchmark(size: Size, device: str = "cpu", precision: str | None = None) -> list[Measured]:
    """Return time and peak memory of a step under every setting, beside the plain and the masked one.

    Without `precision` a GPU computes in bfloat16 and a CPU in float32.
    """
    scale, gpu = SCALES[size], "" if device == "cpu" else "_gpu"
    precision = precision or ("float32" if device == "cpu" else "bfloat16")
    ways = {(Training, name): f"{name} losses" for name in SETTINGS} | {
        (MaskedTraining, name): f"{name}, masked B × B" for name in MASKED
    }
    trainings = {way: prepare(*way, scale.batch, device, precision) for way in ways}
    for name in MASKED:
        require_same_losses(step(trainings[Training, name]), step(trainings[MaskedTraining, name]))
    calls = {way: lambda training=training: step(training) for way, training in trainings.items()}
    seconds = medians(calls, scale.rounds, device)
    del trainings, calls
    plain, measured = (Training, "plain"), []
    threads = f", {torch.get_num_threads()} threads" if device == "cpu" else f", {precision}"
    where = f"B {scale.batch}{threads}"
    for name in list(SETTINGS)[1:]:
        row = f"rqvae_time{gpu}" if name == "all four" else ""
        what = f"RQ-VAE step, {name}"
        measured.append(
            Measured(
                row, what, where, 1e3 * seconds[Training, name], "ms", "plain step", 1e3 * seconds[plain]
            )
        )
    for name in MASKED:
        theirs = 1e3 * seconds[MaskedTraining, name]
        what = f"RQ-VAE step, {name}"
        measured.append(
            Measured("", what, where, 1e3 * seconds[Training, name], "ms", "masked B × B", theirs)
        )
    gib = {
        way: in_own_process(step_memory, *way, scale.batch, device, precision)
        for way in [plain, (Training, "all four"), (Training, MASKED[-1]), (MaskedTraining, MASKED[-1])]
    }
    for name, alternative, other in (
        ("all four", "plain step", plain),
        (MASKED[-1], "plain step", plain),
        (MASKED[-1], "masked B × B", (MaskedTraining, MASKED[-1])),
    ):
        row = f"rqvae_memory{gpu}" if name == "all four" else ""
        what = f"peak memory of a step, {name}"
        ours, theirs = 1024 * gib[Training, name], 1024 * gib[other]
        measured.append(Measured(row, what, where, ours, "MiB", alternative, theirs))
    return measured


def main() -> None:
    """Print the comparison on the command line's device."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=["float32", "bfloat16"])
    parser.add_argument("--size", default="short", choices=SCALES)
    arguments = parser.parse_args()
    for measured in benchmark(arguments.size, arguments.device, arguments.precision):
        print(show(measured))


if __name__ == "__main__":
    main()
