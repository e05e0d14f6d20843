"""The frame of a script: its parser, its log, one-line errors, and a clean exit on TERM or Ctrl-C."""

import argparse
import contextlib
import ctypes
import functools
import json
import logging
import os
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from catid2.runtime.errors import REFUSED, InputError
from catid2.runtime.ranks import read_ranks
from catid2.runtime.writing import FULL, MAKE_ROOM

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
# Environment of a rank: torchrun sets the first two, scripts/torchrun.py the third, which is its own pid.
RUN_ID = "TORCHELASTIC_RUN_ID"
_ERROR_FILE = "TORCHELASTIC_ERROR_FILE"
AGENT_PID = "CATID2_AGENT_PID"
# Added to torch's content of the error file: the exact time, and whether the error looks like the loss of a peer.
SECONDS, KNOCK_ON = "seconds", "knock_on"
_LOST_PEER = re.compile(r"connection (closed|reset|refused)|broken pipe|gloo|nccl|c10d", re.IGNORECASE)
# Arguments of an option for a path that not every job has: without a value, or with an empty one, it is None.
OPTIONAL_PATH: dict[str, Any] = {"nargs": "?", "type": lambda value: Path(value) if value else None}


class _Parser(argparse.ArgumentParser):
    def convert_arg_line_to_args(self, arg_line: str) -> list[str]:
        """Return the option in a line of `@FILE`; an empty line, which a shell writes for no options, has none."""
        return [arg_line] if arg_line else []

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:
        """Return the options as argparse does; a file of options that is not UTF-8 becomes an InputError."""
        try:
            return super().parse_args(args, namespace)
        except UnicodeDecodeError as error:
            words = sys.argv[1:] if args is None else args
            files = [word[1:] for word in words if word.startswith("@")]
            raise InputError(" or ".join(files), f"not UTF-8 ({error.reason})", "save it as UTF-8") from None


def new_parser(description: str, long: bool = False) -> argparse.ArgumentParser:
    """Return a parser for a script's options.

    Args:
        description: the script's docstring, with which its help begins.
        long: the options may exceed a command line: `@FILE` reads them from a file, an option per line.
    """
    parser = _Parser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        fromfile_prefix_chars="@" if long else None,
    )
    parser.register("type", Path, _path)  # for every option with `type=Path`
    return parser


def _path(value: str) -> Path:
    if not value:
        raise argparse.ArgumentTypeError("empty; name a file or folder")  # Path("") is the working directory
    return Path(value)


def entry_point(main: Callable[[], None]) -> Callable[[], None]:
    """Decorate a script's `main`: an InputError or a full disk becomes one line on stderr and exit code 1.

    A wrong option ends as everywhere in argparse, with the usage and exit code 2: rules write correct options, so only
    a person who has just typed the option sees this.

    The script's log goes to stderr, each line with its time; of several ranks the first reports, the others only warn.

    A TERM (a time limit, a cancelled job) ends the script by an exception, so that temporary files are removed. A rank
    of torchrun passes its error to the agent, which prints only the first rank's failure; the rank ends with the agent.
    """

    @functools.wraps(main)
    def run() -> None:
        signal.signal(signal.SIGTERM, _end)
        if RUN_ID in os.environ:
            _end_with_agent()
        if not sys.stderr.isatty():  # keeps the bars of Transformers, too, out of logs
            os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        try:
            level = logging.WARNING if read_ranks().rank else logging.INFO
            logging.basicConfig(level=level, format="%(asctime)s %(message)s")
            with _whole_log_lines():
                main()
        except KeyboardInterrupt:
            sys.exit(128 + signal.SIGINT)
        except Exception as error:
            line = _one_line(error)
            text = traceback.format_exc() if line is None else f"error: {line}"
            if not _tell_agent(error, text):
                print(text.rstrip(), file=sys.stderr)
            sys.exit(1)
        finally:
            # While the interpreter shuts down, an exception could not be handled.
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    return run


def _whole_log_lines() -> contextlib.AbstractContextManager[None]:
    """Print log lines above a progress bar in a terminal, not in the middle of it."""
    if not sys.stderr.isatty():
        return contextlib.nullcontext()
    from tqdm.contrib.logging import logging_redirect_tqdm

    return logging_redirect_tqdm()


def _end(number: int, frame: object) -> NoReturn:
    # Slurm and torchrun both send a TERM: the second must not interrupt the clean-up.
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)


def _one_line(error: Exception) -> str | None:
    """Return the message of an error that the user can fix, None for other errors."""
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


def _tell_agent(error: Exception, text: str) -> bool:
    """Write `text`, the message of `error`, to the error file of a rank of torchrun; return whether that worked.

    It does not without an agent or on a full disk; the caller then prints the message.
    """
    path = os.environ.get(_ERROR_FILE) if RUN_ID in os.environ else None
    if not path:
        return False
    now = time.time()
    knock_on = isinstance(error, RuntimeError | ConnectionError) and bool(_LOST_PEER.search(str(error)))
    more = {"py_callstack": text, "timestamp": str(int(now)), SECONDS: now, KNOCK_ON: knock_on}
    content = json.dumps({"message": {"message": text.splitlines()[-1], "extraInfo": more}})
    aside = Path(f"{path}.tmp")
    try:
        aside.write_text(content, encoding="utf-8")  # the agent would fail on an incomplete file
        aside.replace(path)
    except OSError:
        return False
    return True


def _end_with_agent() -> None:
    """End this process when the agent, its parent, ends, even by a KILL, or has ended already.

    This does not cover processes that this one starts: they end when their pipe to it breaks.
    """
    signal_at_end_of_parent(signal.SIGTERM)
    parent = str(os.getppid())
    if os.environ.get(AGENT_PID, parent) != parent:
        sys.exit(128 + signal.SIGTERM)


def signal_at_end_of_parent(number: int) -> None:
    """Have the kernel send this process a signal when its parent ends; only Linux does."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
