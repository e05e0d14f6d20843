"""What a stage measures of itself: seconds of named parts and GPU memory, in a file beside its log.

Times differ from run to run and results must not, so no result holds any. Like a log, the record is one of the process:
`timed` notes into it wherever it stands, and `record_timings` writes it, if the script was asked to.
"""

import contextlib
import os
import platform
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from catid2.runtime.errors import InputError
from catid2.runtime.tables import read_json, write_json

MIB = 2**20
Amount = Annotated[float, Field(ge=0)]


class Measures(BaseModel):
    """What a file of measures holds."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Part(Measures):
    """A part of a stage that was timed once or more, in seconds."""

    times: int
    sum: Amount
    median: Amount


class Timings(Measures):
    """What a stage measures of itself, without its start-up."""

    seconds: Annotated[float, Field(gt=0)]
    parts: dict[str, Part]
    peak_gpu_mib: Amount | None  # of tensors; None without a GPU
    processes: int
    machine: str


Kind = TypeVar("Kind", bound=Measures)
_parts: dict[str, list[float]] = {}  # of this process: seconds by name


@contextlib.contextmanager
def timed(part: str, steps: int = 1) -> Iterator[None]:
    """Note under `part` how long the block takes, in seconds for one of the `steps` alike that it consists of.

    A block with work on a GPU ends by waiting for it, as one that reads a result does.
    """
    started = time.perf_counter()
    yield
    _parts.setdefault(part, []).append((time.perf_counter() - started) / steps)


@contextlib.contextmanager
def record_timings(path: Path | None) -> Iterator[None]:
    """Write what the block and its parts took to `path`, once it has succeeded; nothing if that is None.

    Under scripts/launch.py the first rank writes, and speaks for itself.
    """
    _parts.clear()
    started = time.perf_counter()
    yield
    if path is not None and os.environ.get("RANK", "0") == "0":
        measured = Timings(
            seconds=time.perf_counter() - started,
            parts={
                part: Part(times=len(seconds), sum=sum(seconds), median=statistics.median(seconds))
                for part, seconds in _parts.items()
            },
            peak_gpu_mib=_peak_gpu_mib(),
            processes=int(os.environ.get("WORLD_SIZE", "1")),
            machine=machine(),
        )
        write_measures(path, measured)


def write_measures(path: Path, measures: Measures) -> None:
    """Write measures as JSON that also says where it lies, so that one cannot be taken for another's."""
    write_json(path, {"of": _place(path)} | measures.model_dump())


def read_measures(path: Path, kind: type[Kind], remedy: str) -> Kind:
    """Return what `write_measures` wrote to `path`.

    Raises:
        InputError: the file is missing, cut or holds no such measures, or they were written to another place.
    """
    content = read_json(path)
    if (place := content.pop("of", None)) != _place(path):
        raise InputError(path, f"these are the measures of {place}", remedy)
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        raise InputError(path, f"key {key!r}: {first['msg']}", remedy) from None


def _place(path: Path) -> str:
    """Return what is the same wherever the project lies: dataset, method, seed and name of the file."""
    return "/".join(path.absolute().parts[-4:])


def machine() -> str:
    """Return the processor, the cores this process may use and, if it has used one, the GPU."""
    torch = _torch_with_gpu()
    return f"{processor()}, {torch.cuda.get_device_name()}" if torch else processor()


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


def _peak_gpu_mib() -> float | None:
    """Return the most memory that tensors of this process have held on a GPU, in MiB; None if it has used none."""
    if torch := _torch_with_gpu():
        devices = range(torch.cuda.device_count())
        return max(torch.cuda.max_memory_allocated(device) for device in devices) / MIB
    return None


def _torch_with_gpu() -> Any:
    """Return torch if this process has loaded it and used a GPU: a lexical search need not wait for its import."""
    torch = sys.modules.get("torch")
    return torch if torch and torch.cuda.is_initialized() else None
