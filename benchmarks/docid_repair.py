"""Compare the repairs of DocID collisions on simulated latents, side by side in one run.

    python benchmarks/docid_repair.py --documents 386000
    python benchmarks/docid_repair.py --documents 5000000 --only transport

Latents are drawn from a tree of clusters (categories, product lines, variants) with some exact duplicates,
codebooks are fitted by residual k-means, so that about a tenth of the documents collide as after training.
Every repair runs in a process of its own, which gives its peak memory. `sinkhorn_loop` is the 20-round loop of
LC-Rec and LETTER without its encoder passes; `entropic` solves the same problems as `transport` with POT's
batched log-domain Sinkhorn and rounds its plans, which shows why transport solves them exactly instead.
"""

import argparse
import itertools
import multiprocessing
import resource
import time
from typing import NamedTuple

import numpy as np

from catid2.codes import collisions, distortion, greedy_codes, residuals, shared, squared_distances, tuple_ids
from catid2.repair import sinkhorn_loop, transport

LAYERS, SIZE, DIMENSIONS = 4, 256, 32
LEVELS = ((12, 1.0), (400, 0.6), (8_000, 0.4))  # clusters of each level and their spread
LINES, LINE_SPREAD, VARIANT_SPREAD = 6, 0.25, 0.2  # documents a product line; spread of lines and variants
DUPLICATES = 0.02  # share of documents with the latent of another one


class Outcome(NamedTuple):
    """One repair of one corpus."""

    seconds: float
    collisions_left: int  # documents
    moved: float  # share
    distortion: float
    peak_gib: float


def simulate(documents: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return latents (N, d) float32 and codebooks (L, K, d) float32 fitted to a sample of them."""
    rng = np.random.default_rng(seed)
    centres = np.zeros((1, DIMENSIONS), np.float32)
    for clusters, spread in (*LEVELS, (max(documents // LINES, 1), LINE_SPREAD)):
        parents = np.sort((len(centres) * rng.random(clusters) ** 1.5).astype(int))  # uneven sizes
        centres = centres[parents] + spread * rng.standard_normal((clusters, DIMENSIONS), np.float32)
    latents = centres[rng.integers(0, len(centres), documents)]
    latents += VARIANT_SPREAD * rng.standard_normal((documents, DIMENSIONS), np.float32)
    copies = rng.integers(0, documents, int(DUPLICATES * documents))
    latents[rng.integers(0, documents, len(copies))] = latents[copies]
    return latents, _fit(latents[rng.integers(0, documents, min(documents, 50_000))], rng)


def _fit(sample: np.ndarray, rng: np.random.Generator, iterations: int = 5) -> np.ndarray:
    """Return codebooks (L, K, d) by k-means on the residuals of `sample` (M, d), layer by layer."""
    codebooks = np.empty((LAYERS, SIZE, DIMENSIONS), np.float32)
    residual = sample.astype(np.float64)
    for codebook in codebooks:
        codebook[:] = residual[rng.choice(len(residual), SIZE, replace=False)]
        for _ in range(iterations):
            code = greedy_codes(residual, codebook[None])[:, 0]
            count = np.bincount(code, minlength=SIZE)
            onehot_sum = np.zeros((SIZE, DIMENSIONS))
            np.add.at(onehot_sum, code, residual)
            codebook[count > 0] = onehot_sum[count > 0] / count[count > 0, None]
        residual -= codebook[greedy_codes(residual, codebook[None])[:, 0]]
    return codebooks


def entropic(latents: np.ndarray, codebooks: np.ndarray, argmin: np.ndarray, batch: int = 64) -> np.ndarray:
    """Return codes (N, L): transport's last layer by POT's batched log-domain Sinkhorn, rounded on the plan.

    Groups of a size are solved together: their documents and one dummy that takes what is left over of the K
    codes; taken codes cost too much to be chosen. An assignment on the log of the plan makes codes distinct.
    """
    from ot.batch import solve_batch
    from scipy.optimize import linear_sum_assignment

    codes = argmin.copy()
    movable = shared(argmin)
    prefix = tuple_ids(argmin[:, :-1])
    rows = np.argsort(prefix, kind="stable")
    bounds = np.append(np.flatnonzero(np.diff(prefix[rows], prepend=-1)), len(rows))
    groups = [rows[a:b] for a, b in itertools.pairwise(bounds) if movable[rows[a:b]].any()]
    groups.sort(key=lambda group: int(movable[group].sum()))
    for start in range(0, len(groups), batch):
        chunk = groups[start : start + batch]
        moving = [group[movable[group]] for group in chunk]
        most = max(len(members) for members in moving)
        cost = np.zeros((len(chunk), most + 1, SIZE))
        mass = np.full((len(chunk), most + 1), 1e-9)
        for place, (group, members) in enumerate(zip(chunk, moving, strict=True)):
            residual = residuals(latents[members], codebooks, argmin[members, :-1])
            distance = squared_distances(residual, codebooks[-1])
            distance /= distance.mean()
            distance[:, argmin[group[~movable[group]], -1]] = 1e3
            cost[place, : len(members)] = distance
            mass[place, : len(members)] = 1
            mass[place, -1] = SIZE - len(members)
        plan = solve_batch(
            cost,
            0.01,
            a=mass,
            b=mass.sum(1, keepdims=True) * np.full((1, SIZE), 1 / SIZE),
            max_iter=100,
            grad="detach",
        ).plan
        for place, members in enumerate(moving):
            score = np.log(plan[place, : len(members)] + 1e-300)
            codes[members, -1] = linear_sum_assignment(score, maximize=True)[1]
    return codes


REPAIRS = {
    "transport": lambda *arrays: transport(*arrays).codes,
    "sinkhorn_loop": lambda *arrays: sinkhorn_loop(*arrays, epsilon=0.003, iterations=50, rounds=20),
    "entropic": entropic,
}


def measure(name: str, documents: int, seed: int) -> Outcome:
    """Simulate a corpus and repair it; the time is the repair's alone, the memory the process's peak."""
    latents, codebooks = simulate(documents, seed)
    argmin = greedy_codes(latents, codebooks)
    start = time.perf_counter()
    codes = REPAIRS[name](latents, codebooks, argmin)
    seconds = time.perf_counter() - start
    return Outcome(
        seconds,
        collisions(codes).documents,
        float((codes != argmin).any(axis=1).mean()),
        distortion(latents, codebooks, codes),
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    )


def main() -> None:
    """Print one line a repair and the ratios to the 20-round loop."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--documents", type=int, default=386_000)
    parser.add_argument(
        "--only", nargs="*", choices=list(REPAIRS), default=list(REPAIRS), help="repairs to run"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    latents, codebooks = simulate(options.documents, options.seed)
    start = time.perf_counter()
    argmin = greedy_codes(latents, codebooks)
    seconds = time.perf_counter() - start
    found, error = collisions(argmin), distortion(latents, codebooks, argmin)
    print(
        f"{options.documents} documents, L {LAYERS}, K {SIZE}, d {DIMENSIONS}; greedy codes in {seconds:.1f} s:"
    )
    print(
        f"collision rate {found.rate:.4f}, {found.documents} documents collide, largest {found.largest}, "
        f"distortion {error:.5f}"
    )
    del latents, argmin

    print(f"{'repair':14} {'seconds':>8} {'left':>8} {'moved':>7} {'distortion added':>17} {'peak GiB':>9}")
    outcomes = {}
    for name in options.only:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            outcomes[name] = outcome = pool.apply(measure, (name, options.documents, options.seed))
        print(
            f"{name:14} {outcome.seconds:8.1f} {outcome.collisions_left:8} {outcome.moved:7.4f} "
            f"{outcome.distortion / error - 1:17.4%} {outcome.peak_gib:9.2f}",
            flush=True,
        )
    if {"transport", "sinkhorn_loop"} <= outcomes.keys():
        ratio = outcomes["sinkhorn_loop"].seconds / outcomes["transport"].seconds
        print(f"transport is {ratio:.0f} × faster than the 20-round loop")


if __name__ == "__main__":
    main()
