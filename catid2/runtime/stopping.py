"""Ending a training loop when asked to: at a place where its state can be saved.

A time limit, a preemption or a cancelled job sends TERM, Ctrl-C sends INT, and a KILL follows when grace is over.
A loop under `deferred_stop` only notes the signal, saves at its next boundary, and then ends as the signal asked.
Who presses Ctrl-C a second time does not want to wait for that.
"""

import contextlib
import os
import signal
from collections.abc import Iterator
from typing import NoReturn

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stop:
    """Whether this process has been asked to end, and by which signal."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    @property
    def requested(self) -> bool:
        """Whether a signal has come."""
        return self.signal is not None

    @property
    def cause(self) -> str:
        """What the log should say of it; only another rank may have had the signal."""
        return self.signal.name if self.signal else "a signal to another rank"

    def exit(self) -> NoReturn:
        """End the program with the status of one that the signal ended: 143 for TERM, 130 for INT.

        A rank that got none itself ends as after a TERM.
        """
        raise SystemExit(128 + (self.signal or signal.SIGTERM))

    def note(self, number: int, frame: object) -> None:
        """Handle a signal: keep the first; torchrun sends TERM to ranks that had it from elsewhere.

        Raises:
            KeyboardInterrupt: this is the second INT.
        """
        if self.signal is None:
            self.signal = signal.Signals(number)
            _say(f"{self.signal.name}: saving at the next boundary")
        elif number == self.signal == signal.SIGINT:
            raise KeyboardInterrupt


def _say(line: str) -> None:
    """Write a line to stderr, past its buffer: the handler may have interrupted a write to that."""
    # A terminal that is gone, or a full disk under the log, must not keep the state from being saved.
    with contextlib.suppress(OSError):
        os.write(2, f"{line}\n".encode())


@contextlib.contextmanager
def deferred_stop() -> Iterator[Stop]:
    """Yield a Stop that TERM and INT set while the block runs; the handlers of before come back at its end.

    The first signal is reported on stderr; a second INT raises KeyboardInterrupt where the block is.

    A signal that is ignored (INT in a job under nohup or in a shell's background) stays ignored.

    Raises:
        ValueError: not called from the main thread, the only one that Python lets handle signals.
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
