"""A script's frame: its parser, its log, one line on a bad input, and a tidy end on a TERM or Ctrl-C."""

import argparse
import ctypes
import functools
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

from catid2.runtime.errors import REFUSED, InputError
from catid2.runtime.failures import LAUNCHER_PID, tell_launcher
from catid2.runtime.writing import FULL, MAKE_ROOM

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def new_parser(description: str) -> argparse.ArgumentParser:
    """Return a parser for a script's options; its help begins with `description`, the script's docstring, as it is."""
    return argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def keep_bars_out_of_logs() -> None:
    """Have transformers draw progress bars in a terminal alone. Imports it, which takes seconds."""
    from transformers.utils.logging import disable_progress_bar

    if not sys.stderr.isatty():
        disable_progress_bar()


def entry_point(main: Callable[[], None]) -> Callable[[], None]:
    """Decorate a script's `main`: an InputError, or a full disk, becomes one line on stderr and exit code 1.

    What the script logs goes to stderr, each line with its time.

    A TERM (a time limit, a cancelled job) ends the script by an exception, so that temporary files go away. One of
    several ranks leaves its error to the launcher, which prints that of the rank that failed first.
    """

    @functools.wraps(main)
    def run() -> None:
        signal.signal(signal.SIGTERM, _end)
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
        if LAUNCHER_PID in os.environ:
            _end_with(int(os.environ[LAUNCHER_PID]))
        try:
            main()
        except KeyboardInterrupt:
            sys.exit(128 + signal.SIGINT)
        except Exception as error:
            line = _one_line(error)
            text = traceback.format_exc() if line is None else f"error: {line}"
            if not tell_launcher(error, text):
                print(text.rstrip(), file=sys.stderr)
            sys.exit(1)
        finally:
            # While the interpreter shuts down there is no place for an exception.
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    return run


def _end(number: int, frame: object) -> NoReturn:
    # Slurm and the launcher both send one: the second must not break the clean-up.
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)


def _one_line(error: Exception) -> str | None:
    """Return what to say of an error that the user can mend, None if it is another."""
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, OSError) and error.errno in FULL:
        return str(InputError(error.filename or "disk", f"cannot be written ({error.strerror})", MAKE_ROOM))
    if isinstance(error, OSError) and error.errno in REFUSED and error.filename is not None:
        return str(
            InputError(
                error.filename, f"cannot be used ({error.strerror})", "make it accessible, or try again"
            )
        )
    return None


def _end_with(launcher: int) -> None:
    """End this process when its launcher, the parent, ends, be it by a KILL; also when that is gone already.

    Covers this process from here on. Not processes that it starts: they end when their pipe to it breaks.
    """
    signal_at_end_of_parent(signal.SIGTERM)
    if os.getppid() != launcher:
        sys.exit(128 + signal.SIGTERM)


def signal_at_end_of_parent(number: int) -> None:
    """Have the kernel send this process a signal when its parent ends; on another system than Linux do nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
