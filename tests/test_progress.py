"""Progress of long steps: whole lines of a log, few of them, and a bar in a terminal. The clock is made up."""

import itertools
import os
import pty
import re
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from catid2.runtime.progress import Progress

# A script whose every look at the clock is a second later than the one before. It logs in the middle of its step.
SCRIPT = """
import itertools, logging
import tqdm.std
from catid2.runtime.command import entry_point
from catid2.runtime.progress import Progress

@entry_point
def main():
    tqdm.std.time = itertools.count().__next__
    for number in Progress(range(200), desc="count", unit=" numbers"):
        if number == 100:
            logging.info("halfway")

main()
"""
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}


class Clock:
    """Seconds since the start of a step."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("tqdm.std.time", clock)
    return clock


@pytest.mark.parametrize("steps", [1, 7, 100, 5_000])
@pytest.mark.parametrize("seconds", [29.0, 45.0, 600.0, 259_200.0])
@pytest.mark.parametrize("loops", [True, False])
def test_lines_of_a_log_are_few(
    clock: Clock, caplog: pytest.LogCaptureFixture, steps: int, seconds: float, loops: bool
) -> None:
    caplog.set_level("INFO")
    said = []  # (second, step) of each line
    with Progress(range(steps), total=steps, desc="search", unit=" queries") as progress:
        for step, _ in enumerate(progress if loops else range(steps)):
            said += [(clock.now, step)] * (len(caplog.messages) - len(said))
            clock.now = (step + 1) / steps * seconds
            if not loops:
                progress.update()
    said += [(clock.now, steps)] * (len(caplog.messages) - len(said))
    assert (seconds >= 30) <= len(said) <= min(100, seconds / 30)
    for sooner, later in itertools.pairwise([(0, 0), *said]):
        assert later[0] - sooner[0] >= 30
        assert later[1] - sooner[1] >= steps / 100
    for line, (_, step) in zip(caplog.messages, said, strict=True):
        assert line.startswith(f"search: {step} of {steps} queries (")


def test_a_line_says_how_far_a_step_is(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with Progress(desc="train", initial=300, total=500, unit=" steps") as progress:
        clock.now = 60
        progress.update(50)
    # of a size that the server does not say
    with Progress(desc="file", unit="B", unit_scale=True) as progress:
        clock.now = 120
        progress.update(3_000_000)
    assert caplog.messages == [
        "train: 350 of 500 steps (70%), 01:00 passed, 03:00 left",
        "file: 3.00MB [01:00, 50.0kB/s]",
    ]


def test_of_several_ranks_the_first_reports(
    clock: Clock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setenv("WORLD_SIZE", "3")
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        for _ in Progress(range(2), desc=f"rank {rank}"):
            clock.now += 100
    assert {line[:6] for line in caplog.messages} == {"rank 0"}


def test_a_log_has_whole_lines() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=ENVIRONMENT, capture_output=True, check=True)
    lines = [line.partition(" ")[2].partition(" ")[2] for line in done.stderr.decode().split("\n")]
    assert "\r" not in done.stderr.decode()
    assert "halfway" in lines
    assert [re.sub(r"\d+", "N", line) for line in lines if line not in ("", "halfway")] == [
        "count: N of N numbers (N%), N:N passed, N:N left"
    ] * (len(lines) - 2)
    assert 3 <= len(lines) - 2 <= 7


def test_a_terminal_has_a_bar_and_whole_lines_above_it() -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    with subprocess.Popen([sys.executable, "-c", SCRIPT], env=ENVIRONMENT, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        try:
            while block := os.read(ours, 65_536):
                shown += block
        except OSError:  # on Linux the end of a terminal is an error
            pass
        os.close(ours)
    assert process.returncode == 0
    pieces = re.split(r"[\r\n]+|\x1b\[A", shown.decode())
    assert "count: 100%" in shown.decode()
    [line] = [piece for piece in pieces if "halfway" in piece]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d [\d:,]+ halfway", line)
