"""What a benchmark yields: this project's figure next to that of an alternative; and how time and memory are taken."""

import argparse
import contextlib
import ctypes
import os
import re
import signal
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import torch

from catid2.studies.latency import processor

# tiny: seconds, to try the plumbing; short: what `make bench` runs; full: all sizes, hours.
Size = Literal["tiny", "short", "full"]


class Measured(NamedTuple):
    """One pair of figures; smaller is better unless the aim of its row says otherwise."""

    row: str  # the aim it belongs to, a key of aims.AIMS; "" if it has none
    what: str
    size: str
    ours: float
    unit: str
    alternative: str = ""
    theirs: float = float("nan")  # in the same unit


class Peak(NamedTuple):
    """What a call returned and how much memory it added at its peak."""

    result: Any
    gib: float


def in_own_process(function: Callable, *arguments: Any) -> Any:
    """Return `function(*arguments)`, computed by a fresh process: nothing of an earlier measurement is in memory."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def each_from_own_process(
    seconds: float, function: Callable[..., Iterable], *arguments: Any
) -> Iterator[Any]:
    """Yield what `function(*arguments)` yields in a fresh process, as soon as it does.

    Raises:
        TimeoutError: it lasts longer than `seconds`; it is killed, and the processes that it started.
        RuntimeError: it raised an exception, which it has printed.
    """
    context = get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_each, args=(sender, function, arguments))
    end = time.monotonic() + seconds
    process.start()
    sender.close()
    try:
        while receiver.poll(min(max(0.0, end - time.monotonic()), 1e6)):
            try:
                yield receiver.recv()
            except EOFError:
                process.join()
                break
        else:
            raise TimeoutError(f"longer than {seconds:.0f} s")
    finally:
        if process.is_alive():
            with contextlib.suppress(ProcessLookupError):  # it is still importing, and no group yet
                os.killpg(process.pid, signal.SIGKILL)
            process.kill()
            process.join()
    if process.exitcode:
        raise RuntimeError(f"exit code {process.exitcode}")


def _send_each(sender: Connection, function: Callable[..., Iterable], arguments: tuple) -> None:
    os.setsid()  # a group of its own
    for item in function(*arguments):
        sender.send(item)


def bfloat16_rate(side: int, rounds: int, device: str) -> float:
    """Return at how many TFLOP/s the device multiplies square matrices of bfloat16.

    Ten products in a row: a single one is over before a GPU has reached its rate.
    """
    a, b, c = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in "abc")

    def products() -> None:
        for _ in range(10):
            torch.mm(a, b, out=c)

    return 10 * 2 * side**3 / medians({"": products}, rounds, device)[""] / 1e12


def peak_memory(function: Callable, *arguments: Any) -> Peak:
    """Call a function and return by how much this process's resident memory rose above where it stood before.

    The kernel's high-water mark is reset first, and what the allocator has free is given back, so that the call
    pays for every page it touches. Linux with glibc.
    """
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    result = function(*arguments)
    return Peak(result, (_status("VmHWM") - before) / 2**20)


def _status(field: str) -> int:
    """Return a field of /proc/self/status, in KiB."""
    return int(re.search(rf"^{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.M)[1])


def medians(calls: Mapping[str, Callable[[], object]], rounds: int, device: str = "cpu") -> dict[str, float]:
    """Return the median seconds of each call.

    They are made in turn, round after round, so that a busy machine slows all of them alike; one round more comes
    first and does not count.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds + 1):
        for name, call in calls.items():
            seconds[name].append(timed(call, device).seconds)
    return {name: statistics.median(values[1:]) for name, values in seconds.items()}


class Timed(NamedTuple):
    """What a call returned and how long it took."""

    result: Any
    seconds: float


def timed(call: Callable[[], Any], device: str = "cpu") -> Timed:
    """Make a call against the clock; a GPU's work counts until it is done."""
    synchronize(device)
    start = time.perf_counter()
    result = call()
    synchronize(device)
    return Timed(result, time.perf_counter() - start)


def synchronize(device: str) -> None:
    """Wait for a GPU; a CPU has nothing to wait for."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def machine(device: str = "cpu") -> str:
    """Return the machine in words: processor, cores, memory, GPU."""
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    gpu = torch.cuda.get_device_name() if device.startswith("cuda") else "no GPU"
    return f"{processor()}, {gib:.0f} GiB, {gpu}"


def show(measured: Measured) -> str:
    """Return a line for the screen."""
    line = f"{measured.what}, {measured.size}: {measured.ours:.4g} {measured.unit}"
    if measured.alternative:
        ratio = measured.theirs / measured.ours if measured.ours else float("inf")
        line += f"; {measured.alternative}: {measured.theirs:.4g} {measured.unit} ({ratio:.2f} ×)"
    return line


def from_command_line(description: str, benchmark: Callable[[Size, str], Iterable[Measured]]) -> None:
    """Run a benchmark with the size and on the device that the command line names, and print its lines."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--size", default="short", choices=get_args(Size))
    arguments = parser.parse_args()
    for measured in benchmark(arguments.size, arguments.device):
        print(show(measured))
