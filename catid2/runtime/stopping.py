"""Stopping a training loop on TERM or INT, at a point where its state can be saved.

A time limit, a preemption or a cancelled job sends TERM, Ctrl-C sends INT; a KILL follows after the grace period. A
loop under `deferred_stop` records the signal, saves at its next boundary and then exits. A second Ctrl-C ends it at
once.
"""

import contextlib
import os
import signal
from collections.abc import Iterator
from typing import NoReturn

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stop:
    """Whether this process has been asked to stop, and by which signal."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    @property
    def requested(self) -> bool:
        """Whether a signal has arrived."""
        return self.signal is not None

    @property
    def cause(self) -> str:
        """Description of the signal for the log; it may have reached only another rank."""
        return self.signal.name if self.signal else "a signal to another rank"

    def exit(self) -> NoReturn:
        """Exit like a program ended by the signal: 130 after INT, 143 after TERM or a signal to another rank."""
        raise SystemExit(128 + (self.signal or signal.SIGTERM))

    def note(self, number: int, frame: object) -> None:
        """Record the first signal; torchrun sends a second TERM to ranks that already had one.

        Raises:
            KeyboardInterrupt: this is the second INT.
        """
        if self.signal is None:
            self.signal = signal.Signals(number)
            _say(f"{self.signal.name}: saving at the next boundary")
        elif number == self.signal == signal.SIGINT:
            raise KeyboardInterrupt


def _say(line: str) -> None:
    """Write a line to stderr without its buffer: the handler may have interrupted a buffered write."""
    # A closed terminal, or a full disk under the log, must not prevent saving the state.
    with contextlib.suppress(OSError):
        os.write(2, f"{line}\n".encode())


@contextlib.contextmanager
def deferred_stop() -> Iterator[Stop]:
    """Yield a Stop that TERM and INT set while the block runs; afterwards the previous handlers are restored.

    The first signal is reported on stderr; a second INT raises KeyboardInterrupt in the block. A signal that is ignored
    (INT in a job under nohup or in a shell's background) stays ignored.

    Raises:
        ValueError: not called from the main thread; Python handles signals only there.
    """
    stop = Stop()
    before = {number: signal.getsignal(number) for number in SIGNALS}
    deferred = [number for number in SIGNALS if before[number] != signal.SIG_IGN]
    try:
        for number in deferred:
            signal.signal(number, stop.note)
        yield stop
    finally:
        for number in deferred:
            signal.signal(number, before[number])
