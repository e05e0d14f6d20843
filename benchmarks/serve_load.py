"""Put load on a served index: latency and rate at 1, 8 and 64 clients, each of which asks again when it has an answer.

    python benchmarks/serve_load.py results/demo_us/catid2/seed0/index

The server is a process of its own on the loopback address; the clients share the cores with it. Queries are the first
words of products' titles. Printed is a row per number of clients: median and 95th percentile of the time from request
to answer, answers per second, answers other than 200, and the server's processor time per answer, which other programs
on the machine do not change. The row of 0 clients is `Index.search` without a server, in batches of 32.
"""

import argparse
import asyncio
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np
import psutil

import catid2
from catid2.studies.latency import processor

WORDS = 4  # of a title, as a query
BATCH = 32
COLUMNS = ("clients", "p50 ms", "p95 ms", "answers/s", "refused", "CPU ms/answer")


class Load(NamedTuple):
    """What a number of clients measured."""

    seconds: list[float]  # from request to answer
    refused: int
    elapsed: float


async def load(url: str, queries: list[str], clients: int, by: list[str]) -> Load:
    """Ask for each of `queries` once, `clients` at a time."""
    left = iter(queries)
    seconds, refused = [], 0

    async def client(http: httpx.AsyncClient) -> None:
        nonlocal refused
        for query in left:
            started = time.perf_counter()
            answer = await http.get("/search", params={"q": query, "by": by})
            seconds.append(time.perf_counter() - started)
            refused += answer.status_code != 200

    async with httpx.AsyncClient(
        base_url=url, timeout=60, limits=httpx.Limits(max_connections=clients)
    ) as http:
        started = time.perf_counter()
        await asyncio.gather(*(client(http) for _ in range(clients)))
        return Load(seconds, refused, time.perf_counter() - started)


def row(clients: int, measured: Load, cpu: float) -> str:
    """Return a line of the table."""
    p50, p95 = 1000 * np.percentile(measured.seconds, (50, 95))
    answers = len(measured.seconds)
    figures = (f"{p50:.0f}", f"{p95:.0f}", f"{answers / measured.elapsed:.0f}", measured.refused)
    return "| " + " | ".join(map(str, (clients, *figures, f"{1000 * cpu / answers:.1f}"))) + " |"


def alone(folder: Path, queries: list[str], by: list[str]) -> str:
    """Return the line of `Index.search` in this process."""
    index = catid2.open_index(folder)
    index.search(queries[:1], by=by)
    seconds, started, cpu = [], time.perf_counter(), time.process_time()
    for start in range(0, len(queries), BATCH):
        before = time.perf_counter()
        found = index.search(queries[start : start + BATCH], by=by)
        seconds += [time.perf_counter() - before] * len(found)
    return row(0, Load(seconds, 0, time.perf_counter() - started), time.process_time() - cpu)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("index", type=Path, help="folder written by rule export_index")
    parser.add_argument("--by", nargs="+", default=["docid"], choices=["docid", "bm25", "dense"])
    parser.add_argument("--clients", nargs="+", type=int, default=[1, 8, 64])
    parser.add_argument("--queries", type=int, default=640, help="per number of clients (default 640)")
    arguments = parser.parse_args()
    titles = [title for title in catid2.open_index(arguments.index).titles if title]
    chosen = np.random.default_rng(0).choice(len(titles), arguments.queries)
    queries = [" ".join(titles[row].split()[:WORDS]) for row in chosen]
    print(processor())
    print("| " + " | ".join(COLUMNS) + " |\n|" + "---|" * len(COLUMNS), flush=True)
    print(alone(arguments.index, queries, arguments.by), flush=True)
    command = [sys.executable, "-m", "catid2", "serve", arguments.index, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        url = server.stdout.readline().split()[0]
        process = psutil.Process(server.pid)
        for clients in arguments.clients:
            asyncio.run(load(url, queries[:BATCH], clients, arguments.by))
            before = process.cpu_times()
            measured = asyncio.run(load(url, queries, clients, arguments.by))
            after = process.cpu_times()
            cpu = after.user + after.system - before.user - before.system
            print(row(clients, measured, cpu), flush=True)
        server.terminate()


if __name__ == "__main__":
    main()
