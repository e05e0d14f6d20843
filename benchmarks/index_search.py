"""Time a search in an index: opening it, a query, and a query with 1%, 10% or 90% of the products allowed.

    python benchmarks/index_search.py INDEX [--query TEXT]

Queries are searched one by one, as a person types them; filters are drawn at random, and cutting the prefix tree is
part of each search. Times are medians, in ms; the start-up is that of a new process with one query, in s.
"""

import argparse
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from measured import machine, timed

from catid2.index.index import Index

ROUNDS = 30


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("index", type=Path)
    parser.add_argument("--query", default="red dress for women")
    arguments = parser.parse_args()
    start = [sys.executable, "-m", "catid2", "search", str(arguments.index), arguments.query]
    seconds = [
        timed(lambda: subprocess.run(start, check=True, capture_output=True)).seconds for _ in range(5)
    ]
    index = Index(arguments.index)
    kind = index.retriever.kind
    print(f"{kind}, {len(index)} products, {torch.get_num_threads()} threads, {machine()}\n")
    print(
        f"| search | median | p95 |\n|---|---|---|\n| a new process | {statistics.median(seconds):.2f} s | |"
    )
    for by in (("docid",), ("bm25",), ("dense",), ("docid", "bm25", "dense")):
        show(" + ".join(by), lambda by=by: index.search([arguments.query], by=by))
    rng = np.random.default_rng(0)
    for share in (0.01, 0.1, 0.9):
        allowed = rng.random(len(index)) < share
        show(f"docid, {share:.0%} allowed", lambda a=allowed: index.search([arguments.query], allowed=a))
        show("… of which cutting the tree", lambda a=allowed: index.subtree(a))


def show(name: str, search: object) -> None:
    """Print the median and the 95th percentile of a call, after three that do not count."""
    times = [1000 * timed(search).seconds for _ in range(ROUNDS + 3)][3:]
    print(f"| {name} | {statistics.median(times):.1f} ms | {np.percentile(times, 95):.1f} ms |", flush=True)


if __name__ == "__main__":
    main()
