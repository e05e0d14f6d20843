"""Compare the repairs of DocID collisions on simulated latents, side by side in one run.

    python benchmarks/docid_repair.py --documents 386000
    python benchmarks/docid_repair.py --documents 5000000 --only transport

    python benchmarks/docid_repair.py --size short      # the sizes of `make bench`

Latents are drawn from a tree of clusters (categories, product lines, variants) with some exact duplicates,
codebooks are fitted by residual k-means, so that about a tenth of the documents collide as after training.
Every repair runs in a process of its own; memory is what it adds at its peak. `sinkhorn_loop` is the 20-round loop
of LC-Rec and LETTER without its encoder passes, `one_round` its first round, which is less than the loop takes;
`sinkhorn` is the repair of that name, which shows why transport, which solves the same problems exactly, is the
default.
"""

import argparse
from typing import NamedTuple

import numpy as np
import ot.batch  # noqa: F401 - so that the first repair with it is not measured with this import
from measured import Measured, Size, in_own_process, peak_memory, show, timed

from catid2.docids.repair import sinkhorn, sinkhorn_loop, transport
from catid2.quantizer.codes import collisions, distortion, greedy_codes

LAYERS, SIZE, DIMENSIONS = 4, 256, 32
LEVELS = ((12, 1.0), (400, 0.6), (8_000, 0.4))  # clusters of each level and their spread
LINES, LINE_SPREAD, VARIANT_SPREAD = 6, 0.25, 0.2  # documents a product line; spread of lines and variants
DUPLICATES = 0.02  # share of documents with the latent of another one


class Outcome(NamedTuple):
    """One repair of one corpus."""

    seconds: float
    collided: int  # documents, before
    left: int  # documents that still collide
    moved: float  # share
    distortion_added: float  # share of that of the greedy codes
    gib: float


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


SETTINGS = {"epsilon": 0.003, "iterations": 50}
REPAIRS = {
    "transport": lambda *arrays: transport(*arrays).codes,
    "sinkhorn": lambda *arrays: sinkhorn(*arrays, **SETTINGS).codes,
    "sinkhorn_loop": lambda *arrays: sinkhorn_loop(*arrays, **SETTINGS, rounds=20),
    "one_round": lambda *arrays: sinkhorn_loop(*arrays, **SETTINGS, rounds=1),
}
NAMES = {
    "sinkhorn_loop": "20-round Sinkhorn loop",
    "one_round": "one round of the Sinkhorn loop",
    "sinkhorn": "Sinkhorn, rounded",
}
# Documents, and the alternatives. Of 5 million even one round of the loop takes many minutes, 20 take hours.
PLANS: dict[Size, dict[int, tuple[str, ...]]] = {
    "tiny": {500: ("sinkhorn_loop", "sinkhorn"), 1_000: ("sinkhorn_loop",), 2_000: ()},
    "short": {131_935: ("sinkhorn_loop", "sinkhorn"), 386_000: ("sinkhorn_loop", "sinkhorn"), 5_000_000: ()},
    "full": {
        131_935: ("sinkhorn_loop", "sinkhorn"),
        386_000: ("sinkhorn_loop", "sinkhorn"),
        5_000_000: ("one_round",),
    },
}


def measure(name: str, documents: int, seed: int) -> Outcome:
    """Simulate a corpus and repair it; time and memory are the repair's alone."""
    latents, codebooks = simulate(documents, seed)
    argmin = greedy_codes(latents, codebooks)
    peak = peak_memory(timed, lambda: REPAIRS[name](latents, codebooks, argmin))
    codes, seconds = peak.result
    return Outcome(
        seconds,
        collisions(argmin).documents,
        collisions(codes).documents,
        float((codes != argmin).any(axis=1).mean()),
        distortion(latents, codebooks, codes) / distortion(latents, codebooks, argmin) - 1,
        peak.gib,
    )


def benchmark(size: Size, device: str = "cpu") -> list[Measured]:
    """Return time, documents left, distortion and memory of the repair at every size, beside the alternatives'."""
    measured, bytes_each = [], {}
    for documents, alternatives in PLANS[size].items():
        ours = in_own_process(measure, "transport", documents, 0)
        bytes_each[documents] = ours.gib * 2**30 / documents
        where = f"{documents} documents, {ours.collided} collide"
        if not alternatives:
            measured += [
                Measured("", "repair of DocIDs", where, ours.seconds, "s"),
                Measured("repair_left", "documents that still collide", where, ours.left, "documents"),
            ]
        for name in alternatives:
            theirs = in_own_process(measure, name, documents, 0)
            pairs = {
                "repair_time": ("repair of DocIDs", ours.seconds, "s", theirs.seconds),
                "repair_left": ("documents that still collide", ours.left, "documents", theirs.left),
                "repair_distortion": (
                    "distortion added by the repair",
                    100 * ours.distortion_added,
                    "%",
                    100 * theirs.distortion_added,
                ),
                "": ("memory of the repair", 1024 * ours.gib, "MiB", 1024 * theirs.gib),
            }
            # One round leaves more collisions than the loop: its time alone says something.
            names = ["repair_time", "repair_left"] if name == "one_round" else pairs
            judged = documents > min(PLANS[size]) and name != "sinkhorn"
            for row in names:
                what, own, unit, other = pairs[row]
                measured.append(Measured(row if judged else "", what, where, own, unit, NAMES[name], other))
    (middle, own), (most, other) = list(bytes_each.items())[-2:]
    pair = (other, "bytes", f"{middle} documents", own)
    measured.append(
        Measured("repair_memory", "memory of the repair per document", f"{most} documents", *pair)
    )
    return measured


def main() -> None:
    """Print one line a repair, or the measurements of a size."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=PLANS, help="the sizes and repairs of PLANS instead of the rest")
    parser.add_argument("--documents", type=int, default=386_000)
    parser.add_argument(
        "--only", nargs="*", choices=list(REPAIRS), default=list(REPAIRS), help="repairs to run"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.size:
        print(*map(show, benchmark(options.size)), sep="\n")
        return
    print(f"{options.documents} documents, L {LAYERS}, K {SIZE}, d {DIMENSIONS}")
    print(
        f"{'repair':14} {'seconds':>8} {'collided':>9} {'left':>8} {'moved':>7} {'distortion added':>17} {'GiB':>6}"
    )
    for name in options.only:
        outcome = in_own_process(measure, name, options.documents, options.seed)
        print(
            f"{name:14} {outcome.seconds:8.1f} {outcome.collided:9} {outcome.left:8} {outcome.moved:7.4f} "
            f"{outcome.distortion_added:17.4%} {outcome.gib:6.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
