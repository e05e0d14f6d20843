"""Time a training step with all four losses beside the same model's plain RQ-VAE step, and their peak memory.

    python benchmarks/rqvae_step.py [--device cuda] [--precision bfloat16]

Batch 4096, 768 dimensions, K 256, L 4, H 3 and a tree of 11/73/412 categories; everything else as by default. The
settings are measured in turn, round after round, so that a busy machine slows all of them alike.
"""

import argparse
import resource
import statistics
import time

import numpy as np
import torch

from catid2.config.rqvae import RqvaeConfig
from catid2.distributed import Group
from catid2.rqvae_training import Training

SETTINGS = {
    "plain": {"alpha": 0, "beta": 0, "gamma": 0},
    "+ DisL": {"beta": 0, "gamma": 0},
    "+ DisL, whole batch": {"beta": 0, "gamma": 0, "disl_negatives": None},
    "+ HCCL": {"alpha": 0, "gamma": 0},
    "+ HCCL, whole batch": {"alpha": 0, "gamma": 0, "hccl_negatives": None},
    "+ HCCL, one positive": {"alpha": 0, "gamma": 0, "hccl_positives": "one"},
    "+ CSCL": {"alpha": 0, "beta": 0},
    "all four": {},
}
TREE = (11, 73, 412)
BATCH, DIMENSIONS = 4096, 768


def catalogue(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return (B, D) clustered float16 embeddings and (B, 3) category ids of a skewed tree."""
    second = generator.integers(0, TREE[1], TREE[2])
    first = generator.choice(TREE[0], TREE[1], p=np.arange(TREE[0], 0, -1) / sum(range(TREE[0] + 1)))
    leaf = generator.choice(TREE[2], BATCH, p=generator.dirichlet(np.ones(TREE[2])))
    centres = generator.normal(size=(TREE[2], DIMENSIONS))
    embeddings = (centres[leaf] + generator.normal(size=(BATCH, DIMENSIONS))).astype(np.float16)
    return embeddings, np.stack([first[second[leaf]], 100 + second[leaf], 1000 + leaf], axis=1)


def main() -> None:
    """Print the median step of each setting and its ratio to the plain one."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    data = catalogue(np.random.default_rng(0))
    runs = {}
    for name, weights in SETTINGS.items():
        config = RqvaeConfig(precision=arguments.precision, **weights)
        runs[name] = Training(*data, config, seed=0, group=Group(device=device))
        runs[name].initialise_codebooks(epoch=0)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    memory: dict[str, float] = {}
    for _ in range(arguments.rounds):
        for name, run in runs.items():
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats()
            held = torch.cuda.memory_allocated() if device.type == "cuda" else 0
            started = time.perf_counter()
            step(run)
            if device.type == "cuda":
                torch.cuda.synchronize()
                memory[name] = (torch.cuda.max_memory_allocated() - held) / 1e6
            seconds[name].append(time.perf_counter() - started)
    plain = statistics.median(seconds["plain"])
    print(f"{device}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    for name, values in seconds.items():
        middle = statistics.median(values)
        peak = f"  peak {memory[name]:.0f} MB, ×{memory[name] / memory['plain']:.2f}" if memory else ""
        print(f"{name:22s} {1000 * middle:8.1f} ms  ×{middle / plain:.2f}{peak}")
    if not memory:
        print(f"peak memory of the process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f} MB")


def step(run: Training) -> None:
    """Take one training step on all documents, as an epoch does."""
    batch = torch.randperm(BATCH)
    terms, quantized = run.terms(batch, run.plans(batch, torch.Generator().manual_seed(0)))
    run.descend(terms, quantized, rate=1e-4)


if __name__ == "__main__":
    main()
