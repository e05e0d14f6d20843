"""How long a search takes: milliseconds from a query's tokens, vector or words to its ranked documents.

Every search is timed by itself, one after the other, in one process: that is the latency of an idle service. It ends
with the documents on the CPU, so it waits for what a GPU does.
"""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from catid2.baselines.bm25 import Bm25Index
from catid2.corpus.queries import read_queries
from catid2.corpus.text import DocumentTexts
from catid2.retriever.retrieve import Corpus, load
from catid2.runtime.errors import InputError
from catid2.runtime.progress import Progress
from catid2.runtime.tables import require_file
from catid2.search.decode import Search, rank_batch
from catid2.studies.efficiency import Latency, Percentiles
from catid2.training.distributed import process_group

if TYPE_CHECKING:
    from catid2.config.bm25 import Bm25Config
    from catid2.config.retrieve import RetrieveConfig

log = logging.getLogger(__name__)


class Plan(NamedTuple):
    """What is timed, as EfficiencyConfig says it."""

    batches: Sequence[int]  # queries searched at once
    searches: int  # timed per batch size
    warm_up: int  # searches before these


def of_retriever(config: RetrieveConfig, retriever: Path, corpus: Corpus, plan: Plan) -> Latency:
    """Return the latency of constrained beam search for the test queries.

    Raises:
        InputError: as `catid2.retriever.retrieve.retrieve`.
    """
    with process_group() as group, torch.inference_mode():
        loaded = load(config, retriever, corpus, group.device)
        how = Search(config.beams, config.top_k, max(plan.batches))
        scorer = loaded.retriever.scorer()

        def search(rows: np.ndarray) -> object:
            found = rank_batch(loaded.retriever, scorer, loaded.trie, loaded.queries, rows, how, loaded.dense)
            return [part.cpu() for part in found]

        return Latency(
            batches=measure(search, len(loaded.query_ids), plan),
            searches=plan.searches,
            warm_up=plan.warm_up,
            documents=len(loaded.trie),
            positions=config.rank_below_level or loaded.trie.depth,
            beams=config.beams,
            machine=machine(),
        )


def of_bm25(config: Bm25Config, products: Path, queries: Path, plan: Plan) -> Latency:
    """Return the latency of BM25 for the test queries; those of a batch are searched one by one.

    Raises:
        InputError: as `catid2.baselines.bm25.search_bm25`.
    """
    texts = read_queries(require_file(queries), "test").column("query").to_pylist()
    if not texts:
        raise InputError(queries, "no test query", "build the corpus with its test split")
    documents = DocumentTexts(products, config.template, config.max_characters)
    index = Bm25Index.build(documents, config)
    return Latency(
        batches=measure(lambda rows: [index.search(texts[row]) for row in rows], len(texts), plan),
        searches=plan.searches,
        warm_up=plan.warm_up,
        documents=len(documents),
        positions=None,
        beams=None,
        machine=machine(),
    )


def measure(search: Callable[[np.ndarray], object], queries: int, plan: Plan) -> dict[int, Percentiles]:
    """Return p50 and p95 for every batch size.

    The queries come in one drawn order, over and over, so that batches hold long and short ones as they come.

    Args:
        search: does the whole search for the rows (B,) of some queries.
        queries: how many there are.
        plan: batch sizes and numbers of searches.
    """
    order = np.random.default_rng(0).permutation(queries)
    found = {}
    for batch in plan.batches:
        milliseconds = []
        for number in Progress(range(-plan.warm_up, plan.searches), desc="search", unit=" batches"):
            rows = order.take(np.arange(batch) + (number + plan.warm_up) * batch, mode="wrap")
            started = time.perf_counter()
            search(rows)
            if number >= 0:
                milliseconds.append(1000 * (time.perf_counter() - started))
        p50, p95 = map(float, np.percentile(milliseconds, (50, 95)))
        found[batch] = Percentiles(p50_ms=p50, p95_ms=p95)
        log.info("batches of %d: p50 %.1f ms, p95 %.1f ms", batch, p50, p95)
    return found


def machine() -> str:
    """Return the processor, the cores this process may use and, if it has used one, the GPU."""
    return f"{processor()}, {torch.cuda.get_device_name()}" if torch.cuda.is_initialized() else processor()


def processor() -> str:
    """Return the processor and the cores this process may use."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(FileNotFoundError):  # Linux alone has it
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2]
                break
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{' '.join(model.split())}, {cores} cores"
