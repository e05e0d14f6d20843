"""Time a training step with all four losses next to the same model's plain RQ-VAE step, and their peak memory.

    python benchmarks/rqvae_step.py [--device cuda]

Batch 4096, 768 dimensions, K 256, L 4, H 3 and a tree of 11/73/412 categories; everything else as by default. The
settings are measured in turn. "masked" computes DisL and HCCL by their definitions, from whole B × B
similarities and boolean masks by autograd; it is compared with our losses over the whole batch, whose values are
checked to be the same. Memory is what a step adds at its peak, after one that has made the optimiser's state.
"""

import argparse
from typing import Literal, NamedTuple

import numpy as np
import torch
from measured import Measured, Size, in_own_process, medians, peak_memory, show
from torch import Tensor

from catid2.config.rqvae import RqvaeConfig
from catid2.quantizer.codebooks import Quantized
from catid2.quantizer.contrast import ContrastPlan
from catid2.quantizer.dense import DenseStep
from catid2.quantizer.losses import cscl, l_dis, l_hcc, quantisation_loss
from catid2.quantizer.step import Step, autocast
from catid2.quantizer.training import Training
from catid2.runtime.gpu import send
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
# "ours": as in training; "masked": MaskedStep; "launched": on a GPU, without a CUDA graph.
Way = Literal["ours", "masked", "launched"]
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


class MaskedStep(Step):
    """The same step, with DisL and HCCL by their definitions: whole B × B similarities and masks."""

    def plans(self, labels: Tensor, draws: torch.Generator) -> list[ContrastPlan]:
        """Plan nothing; remember the labels."""
        self.labels = labels
        return []

    def terms(self, rows: Tensor, plans: list[ContrastPlan]) -> tuple[dict[str, Tensor], Quantized]:
        """Return the losses of the batch, as Step.terms does on one rank."""
        config, total = self.config, len(rows)
        with autocast(config, self.group):
            done = self.model(rows, distance_gradient=config.gamma > 0)
        quantisation = quantisation_loss(
            done.x, done.reconstruction, done.quantized, config.error_reduction, total
        )
        terms = {"reconstruction": quantisation.reconstruction, "commitment": quantisation.commitment}
        if config.alpha:
            terms["disl"] = l_dis(done.reconstruction, done.x, "cosine", config.disl_temperature).mean()
        if config.beta:
            labels = self.labels
            parents = torch.cat([torch.zeros_like(labels[:, :1]), labels[:, :-1]], dim=1)
            terms["hccl"] = sum(
                l_hcc(residual, labels[:, level], parents[:, level], "cosine", config.hccl_temperature).mean()
                for level, residual in enumerate(done.quantized.residuals[: config.levels])
            )
        if config.gamma:
            scaling, temperature = config.cscl_scaling, config.cscl_temperature
            terms["cscl"] = cscl(done.quantized.distances, scaling, temperature, self.group, total)
        return terms, done.quantized


def prepare(way: Way, setting: str, batch: int, device: str = "cpu", precision: str = "float32") -> Training:
    """Return a training of the setting, its codebooks initialised."""
    config = RqvaeConfig(precision=precision, **SETTINGS[setting])
    training = Training(*catalogue(batch), config, seed=0, group=Group(device=torch.device(device)))
    training.initialise_codebooks(epoch=0)
    if way == "masked":
        training.step = MaskedStep(training.model, config, training.group)
    if way == "launched":
        training.step = DenseStep(training.model, config, training.group, batch, capture=lambda step: step)
    return training


def step(training: Training) -> dict[str, Tensor]:
    """Take one training step on all documents, as an epoch does, and return its losses."""
    device = training.group.device
    batch = send(torch.arange(len(training.matrix)), device)
    draws = torch.Generator(device).manual_seed(0)
    return training.step.take(training.matrix[batch], training.labels[batch], draws, 1e-4, warmup=False).terms


def step_memory(way: Way, setting: str, batch: int) -> float:
    """Return how much a step on a CPU adds to the memory in use at its peak, in MiB."""
    training = prepare(way, setting, batch)
    step(training)
    return 1024 * peak_memory(step, training).gib


def require_same_losses(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    """Raise AssertionError if two ways to compute the losses differ by more than rounding."""
    for name, term in theirs.items():
        torch.testing.assert_close(ours[name].detach(), term.detach(), rtol=2e-3, atol=1e-5, msg=name)


def benchmark(size: Size, device: str = "cpu", precision: str | None = None) -> list[Measured]:
    """Return the time of a step under every setting beside the plain and the masked one; on a CPU also its memory.

    Without `precision` a GPU computes in bfloat16 and a CPU in float32. On a GPU a step is one CUDA graph, and also
    measured with its kernels launched one by one. What it takes of memory is measured by rqvae_epochs.py.
    """
    scale, gpu = SCALES[size], device != "cpu"
    precision = precision or ("bfloat16" if gpu else "float32")
    ways: list[tuple[Way, str]] = [("ours", name) for name in SETTINGS] + [
        ("masked", name) for name in MASKED
    ]
    if gpu:
        ways += [("launched", "plain"), ("launched", "all four")]
    trainings = {way: prepare(*way, scale.batch, device, precision) for way in ways}
    for name in MASKED:
        require_same_losses(step(trainings["ours", name]), step(trainings["masked", name]))
    calls = {way: lambda training=training: step(training) for way, training in trainings.items()}
    milliseconds = {way: 1e3 * seconds for way, seconds in medians(calls, scale.rounds, device).items()}
    del trainings, calls
    where = f"B {scale.batch}, {precision if gpu else f'{torch.get_num_threads()} threads'}"

    def compared(row: str, name: str, alternative: str, other: tuple[Way, str]) -> Measured:
        what = f"RQ-VAE step, {name}"
        return Measured(row, what, where, milliseconds["ours", name], "ms", alternative, milliseconds[other])

    ratio = "rqvae_time_gpu" if gpu else "rqvae_time"
    measured = [
        compared(ratio if name == "all four" else "", name, "plain step", ("ours", "plain"))
        for name in list(SETTINGS)[1:]
    ]
    measured += [compared("", name, "masked B × B", ("masked", name)) for name in MASKED]
    if gpu:
        one_by_one = "its kernels launched one by one"
        measured += [
            compared(row, name, one_by_one, ("launched", name))
            for row, name in (("rqvae_step_gpu", "all four"), ("", "plain"))
        ]
        return measured
    plain, masked = ("ours", "plain"), ("masked", MASKED[-1])
    mib = {
        way: in_own_process(step_memory, *way, scale.batch)
        for way in [plain, ("ours", "all four"), ("ours", MASKED[-1]), masked]
    }
    for row, name, alternative, other in (
        ("rqvae_memory", "all four", "plain step", plain),
        ("", MASKED[-1], "plain step", plain),
        ("", MASKED[-1], "masked B × B", masked),
    ):
        what = f"peak memory of a step, {name}"
        measured.append(Measured(row, what, where, mib["ours", name], "MiB", alternative, mib[other]))
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
