"""The table of times: what every stage of every method took, and how long a query waits.

Wall time, CPU time and memory are Snakemake's (`benchmark:`), the latency is what measure_latency wrote. Nothing here
is a result: the same files give the same table, another run gives other files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from catid2.runtime.errors import InputError
from catid2.runtime.tables import read_json, require_file, write_json
from catid2.runtime.tsv import write_tsv

BENCHMARK = {"s": "wall_s", "cpu_time": "cpu_s", "max_rss": "peak_rss_mib"}  # Snakemake's columns, and ours
SEARCHES = ("retrieve", "search_bm25", "search_dense")  # rules whose row has the latency
FUSION = "fuse_runs"  # the rule of methods that search by the runs of others
COLUMNS = {
    "dataset": pl.String,
    "method": pl.String,
    "seed": pl.Int64,
    "stage": pl.String,
    "owner": pl.String,
    **dict.fromkeys(BENCHMARK.values(), pl.Float64),
}
HEADER = (
    "times differ from run to run and from machine to machine: compare rows of one run on one machine, with nothing "
    "else running",
    "stage: rule; owner: the method or view in whose folder its result lies, which several methods can share",
    "wall_s, cpu_s, peak_rss_mib: Snakemake's benchmark of the stage, start-up included, all its processes on the "
    "node together; CPU time and memory are sampled, every 0.5 s at first and then every 30 s, so that short stages "
    "have none and cpu_s lacks what came after the last sample",
    "batchB_p50_ms, batchB_p95_ms: from the tokens of B queries (vectors, if a retriever reads these; for BM25 words, "
    "query by query) to their ranked documents: one process, one search after the other, queries in a drawn order",
    "a stage that was stopped and resumed from a checkpoint has the measures of its last run alone",
)


class Percentiles(BaseModel):
    """Of the searches of one batch size, in ms."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    p50_ms: Annotated[float, Field(ge=0)]
    p95_ms: Annotated[float, Field(ge=0)]


class Latency(BaseModel):
    """What measure_latency writes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    batches: dict[int, Percentiles]  # by queries searched at once
    searches: int  # timed per batch size
    warm_up: int
    documents: int
    positions: int | None  # decoded for a document; None: no DocIDs
    beams: int | None
    machine: str

    def columns(self) -> dict[str, float]:
        """Return the figures as columns of the table."""
        return {
            f"batch{batch}_{name}": value
            for batch, percentiles in self.batches.items()
            for name, value in percentiles
        }

    def note(self) -> str:
        """Return what was searched how."""
        how = f"{self.beams} beams, {self.positions} positions, " if self.beams else ""
        return (
            f"{how}{self.documents} documents, {self.searches} searches after {self.warm_up}, {self.machine}"
        )


class Stage(NamedTuple):
    """A stage of a method, and where its log is."""

    method: str
    rule: str
    owner: str
    log: Path  # without an ending

    @property
    def benchmark(self) -> Path:
        """Snakemake's measures, next to the log."""
        return self.log.with_name(f"{self.log.name}.benchmark.tsv")


def write_latency(path: Path, latency: Latency) -> None:
    """Write a latency as JSON that also says where it lies, so that one cannot be taken for another's."""
    write_json(path, {"of": _place(path)} | latency.model_dump())


def read_latency(path: Path, remedy: str) -> Latency:
    """Return what `write_latency` wrote to `path`.

    Raises:
        InputError: the file is missing, cut or holds no latency, or it was written to another place.
    """
    content = read_json(path)
    if (place := content.pop("of", None)) != _place(path):
        raise InputError(path, f"these are the measures of {place}", remedy)
    try:
        return Latency.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        raise InputError(path, f"key {key!r}: {first['msg']}", remedy) from None


def _place(path: Path) -> str:
    """Return what is the same wherever the project lies: dataset, method, seed and name of the file."""
    return "/".join(path.absolute().parts[-4:])


def summarize(
    dataset: str, seed: int, stages: Sequence[Stage], latencies: Mapping[str, Path]
) -> tuple[pl.DataFrame, list[str]]:
    """Return a row per method and stage, columns COLUMNS and the latencies', and the lines that go above them.

    Args:
        dataset: name for the table.
        seed: of the runs.
        stages: in the order of the rows.
        latencies: by method, what measure_latency wrote; methods that have none are named above the table.

    Raises:
        InputError: a file is missing, cut, of another stage or lacks a measure; a latency is of no such method.
    """
    methods = list(dict.fromkeys(stage.method for stage in stages))
    for method in latencies.keys() - set(methods):
        raise InputError("--latency", f"no stage of a method {method!r}", f"known are {', '.join(methods)}")
    measured = {
        method: read_latency(path, f"run measure_latency of {method} again")
        for method, path in latencies.items()
    }
    rows = []
    for stage in stages:
        row = {
            "dataset": dataset,
            "method": stage.method,
            "seed": seed,
            "stage": stage.rule,
            "owner": stage.owner,
        }
        row |= read_benchmark(stage.benchmark)
        if stage.rule in SEARCHES and stage.method in measured:
            row |= measured[stage.method].columns()
        rows.append(row)
    columns = dict.fromkeys(column for latency in measured.values() for column in latency.columns())
    header = [*HEADER, *(f"latency of {method}: {latency.note()}" for method, latency in measured.items())]
    fused = [stage.method for stage in stages if stage.rule == FUSION]
    if fused:
        header.append(
            f"{', '.join(fused)}: the fusion alone; the searches whose runs are fused are rows of their methods, "
            "where the study has them, and a query waits for the slowest of them"
        )
    if without := [method for method in methods if method not in measured and method not in fused]:
        header.append(
            f"no latency of {', '.join(without)}: exact search by vectors is built for ties, not for speed"
        )
    return pl.DataFrame(rows, schema=COLUMNS | dict.fromkeys(columns, pl.Float64)), header


def write_table(path: Path, table: pl.DataFrame, header: Sequence[str]) -> None:
    """Write efficiency.tsv, floats with four significant digits."""
    write_tsv(path, header, table, significant=4)


def read_benchmark(path: Path) -> dict[str, float | None]:
    """Return the figures of BENCHMARK of one run; None where it ended before Snakemake took a sample.

    Raises:
        InputError: the file is missing, cut or no benchmark of one run, or a figure is no number of 0 or more.
    """
    remedy = "run the stage again"
    text = require_file(path).read_text(encoding="utf-8", errors="replace")
    if not text.endswith("\n"):
        raise InputError(path, "cut short: its last line has no end", remedy)
    names, *runs = (line.split("\t") for line in text.splitlines())
    if len(runs) != 1 or len(runs[0]) != len(names):
        raise InputError(path, "not a benchmark of one run", remedy)
    found = dict(zip(names, runs[0], strict=True))
    figures: dict[str, float | None] = {}
    for name, column in BENCHMARK.items():
        if name not in found:
            raise InputError(path, f"column {name!r} is missing", remedy)
        try:
            figures[column] = None if found[name] == "NA" else float(found[name])
            if figures[column] is not None and not 0 <= figures[column] < math.inf:
                raise ValueError("no figure")
        except ValueError:
            raise InputError(
                path, f"column {name!r}: {found[name]} is not a number of 0 or more", remedy
            ) from None
    return figures
