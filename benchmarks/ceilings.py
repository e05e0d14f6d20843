"""Measure what the machine can do at most: multiply matrices, and move memory. Other rows are read next to these.

python benchmarks/ceilings.py [--device cuda]
"""

import torch
from measured import Measured, Size, from_command_line, medians

SIDE: dict[Size, int] = {"tiny": 256, "short": 2048, "full": 4096}  # rows and columns of the matrices
MIB: dict[Size, int] = {"tiny": 8, "short": 512, "full": 1024}  # of the arrays: far beyond any cache
ROUNDS = 7


def benchmark(size: Size, device: str = "cpu") -> list[Measured]:
    """Return GFLOP/s of a product of square matrices, and GB/s of a sum of two arrays (the STREAM benchmark's add)."""
    side, numbers = SIDE[size], MIB[size] * 2**20 // 4
    kinds = {"float32": torch.float32} | (
        {"bfloat16": torch.bfloat16} if device != "cpu" else {"float64": torch.float64}
    )
    matrices = {name: torch.ones(side, side, dtype=kind, device=device) for name, kind in kinds.items()}
    first, second, added = (torch.ones(numbers, device=device) for _ in range(3))
    calls = {name: lambda m=matrix: m @ m for name, matrix in matrices.items()}
    calls["add"] = lambda: torch.add(first, second, out=added)
    seconds = medians(calls, ROUNDS, device)
    threads = f"{torch.get_num_threads()} threads" if device == "cpu" else "one GPU"
    rows = [
        Measured(
            "",
            f"ceiling: product of {name} matrices",
            f"{side} rows, {threads}",
            2 * side**3 / seconds[name] / 1e9,
            "GFLOP/s",
        )
        for name in matrices
    ]
    moved = 3 * 4 * numbers / seconds["add"] / 1e9
    return [*rows, Measured("", "ceiling: memory", f"{MIB[size]} MiB arrays, {threads}", moved, "GB/s")]


if __name__ == "__main__":
    from_command_line(__doc__, benchmark)
