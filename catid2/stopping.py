"""Ending a training loop when asked to: at a place where its state can be saved.

A time limit, a preemption or a cancelled job sends TERM, Ctrl-C sends INT, and a KILL follows when grace is over.
A loop under `deferred_stop` only notes the signal, saves at its next boundary, and then ends as the signal asked.
"""

import contextlib
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
        """Handle a signal: keep the first; launchers send TERM to workers that had it from elsewhere."""
        self.signal = self.signal or signal.Signals(number)


@contextlib.contextmanager
def deferred_stop() -> Iterator[Stop]:
    """Yield a Stop that TERM and INT set while the block runs; the handlers of before come back at its end.

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
