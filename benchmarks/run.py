"""Run the benchmarks one after another, each in a process of its own, and hold what they yield against the aims.

    python benchmarks/run.py                       # make bench: about 28 minutes on two cores
    python benchmarks/run.py --size full           # make bench-full: every size, hours
    python benchmarks/run.py --only rqvae_step     # one of them
    python benchmarks/run.py --gpu                 # the rows that need a GPU (benchmarks/gpu.sh)

Writes a line per measured pair as soon as it is there, the aims that were not measured among them, and at the end a
chart. No figure makes it fail.
"""

import argparse
import csv
import io
import sys
import time
from collections.abc import Iterable, Mapping
from importlib import import_module
from math import inf
from pathlib import Path

import torch
from aims import AIMS
from measured import Measured, Size, each_from_own_process, machine, show

from catid2.runtime.writing import atomic

CPU = (
    "ceilings",
    "rqvae_step",
    "residual_quantizer",
    "beam_search",
    "encoder_batches",
    "docid_repair",
    "start_up",
    "corpus_full_size",
)
# In order of worth, each with the seconds that it may take; what is left of them goes to the last.
GPU = {
    "ceilings": 40,
    "rqvae_step": 120,
    "retriever_training": 150,
    "beam_search": 100,
    "encoder_batches": 90,
    "rqvae_epochs": 600,
}
COLUMNS = (*Measured._fields, "theirs / ours", "aim", "judged", "reached", "machine")


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", default="short", choices=["tiny", "short", "full"])
    parser.add_argument("--gpu", action="store_true", help="the benchmarks with rows that need a GPU")
    parser.add_argument("--device", help="default: cuda with --gpu, else cpu")
    parser.add_argument(
        "--seconds", type=float, default=inf, help="with --gpu, for everything; the rest is left out"
    )
    parser.add_argument("--only", nargs="+", choices=sorted({*CPU, *GPU}), help="some of the benchmarks")
    parser.add_argument("--output", type=Path, default=Path("results/bench.tsv"))
    parser.add_argument("--chart", type=Path, help="SVG file (needs Matplotlib)")
    arguments = parser.parse_args()
    names = arguments.only or (GPU if arguments.gpu else CPU)
    device = arguments.device or ("cuda" if arguments.gpu else "cpu")
    measured: list[Measured] = []
    ended: dict[str, str] = {}  # benchmarks that did not get to their end, and why
    end = time.monotonic() + arguments.seconds
    for name in names:
        print(f"== {name}", flush=True)
        started = time.monotonic()
        seconds = min(end - started, GPU.get(name, inf)) if end < inf else inf
        try:
            for line in each_from_own_process(seconds, _benchmark, name, arguments.size, device):
                print(show(line), flush=True)
                measured.append(line)
                write_table(arguments.output, measured, ended, device)
        except (TimeoutError, RuntimeError) as error:
            ended[name] = "time" if isinstance(error, TimeoutError) else "failed"
            print(f"   {error}", flush=True)
        print(f"   {time.monotonic() - started:.0f} s", flush=True)
    write_table(arguments.output, measured, ended, device)
    if arguments.chart:
        from chart import write_chart

        write_chart(arguments.chart, measured)
    print(summary(measured, ended))
    failed = [name for name, why in ended.items() if why == "failed"]
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def _benchmark(name: str, size: Size, device: str) -> Iterable[Measured]:
    return import_module(name).benchmark(size, device)


def write_table(path: Path, measured: list[Measured], ended: Mapping[str, str], device: str) -> None:
    """Write results/bench.tsv: measured pairs in the order of their aims, then the others; complete or not at all."""
    here = machine(device)
    rows = [
        [
            *line,
            line.theirs / line.ours if line.ours else "",
            aim,
            aim.figure(line),
            reached(aim.reached(line)),
            here,
        ]
        for key, aim in AIMS.items()
        for line in (_of(key, measured) or [None])
        if line is not None
    ]
    rows += [
        [key, aim.what, "", "", "", "", "", "", aim, "", unmeasured(key, ended), ""]
        for key, aim in AIMS.items()
        if not _of(key, measured)
    ]
    rows += [
        [*line, line.theirs / line.ours if line.ours else "", "", "", "", here]
        for line in measured
        if not line.row
    ]
    text = io.StringIO()
    table = csv.writer(text, delimiter="\t", lineterminator="\n")
    table.writerow(COLUMNS)
    table.writerows([[_cell(value) for value in row] for row in rows])
    with atomic(path) as aside:
        aside.write_text(text.getvalue(), encoding="utf-8")


def summary(measured: list[Measured], ended: Mapping[str, str]) -> str:
    """Return every aim with the figure that was reached, or why there is none."""
    lines = [f"{'aim':<78}{'condition':<24}{'figure':>10}  reached"]
    for key, aim in AIMS.items():
        for line in _of(key, measured):
            what = f"{aim.what} ({line.size})"
            lines.append(f"{what:<78}{aim!s:<24}{aim.figure(line):>10.3g}  {reached(aim.reached(line))}")
        if not _of(key, measured):
            lines.append(f"{aim.what:<78}{aim!s:<24}{'':>10}  {unmeasured(key, ended)}")
    return "\n".join(lines)


def reached(yes: bool) -> str:
    """Return the word for whether an aim is reached."""
    return "yes" if yes else "no"


def unmeasured(key: str, ended: Mapping[str, str]) -> str:
    """Return why an aim has no figure; `ended` says of benchmarks why they did not get to their end."""
    gpu = AIMS[key].gpu
    if gpu and not torch.cuda.is_available():
        return "not measured (no GPU)"
    return f"not measured ({ended.get(gpu, 'not part of this run')})"


def _of(key: str, measured: list[Measured]) -> list[Measured]:
    return [line for line in measured if line.row == key]


def _cell(value: object) -> str:
    """Return a figure with four digits, NaN as nothing."""
    if isinstance(value, float):
        return "" if value != value else f"{value:.4g}"
    return str(value)


if __name__ == "__main__":
    main()
