"""What ended a rank: how the rank tells its launcher, and which of several ranks' failures is the cause.

A rank that fails breaks its peers' connections, so that soon all of them have failed. Only the first is worth reading.
"""

import json
import os
import re
import signal
import socket
import tempfile
import time
from collections.abc import Iterable
from typing import IO, NamedTuple

# In a rank's environment: the descriptor of the file where it writes what ended it, and its parent, while that lives.
FAILURE_FILE = "CATID2_FAILURE_FILE"
LAUNCHER_PID = "CATID2_LAUNCHER_PID"
_END = b"\n"  # JSON has no line break of its own
# Exit codes of a rank that a TERM has ended, or a Ctrl-C at its very start, before it ignored that
STOPPED = (128 + signal.SIGTERM, -signal.SIGTERM, -signal.SIGINT)
_LOST_PEER = re.compile(r"connection (closed|reset|refused)|broken pipe|gloo|nccl|c10d", re.IGNORECASE)
_ABORTS = (-signal.SIGABRT, -signal.SIGPIPE)  # NCCL's watchdog aborts a rank whose peer is gone


class Failure(NamedTuple):
    """Why a rank has ended: `text` is what the user reads, `seconds` the time of it since the epoch."""

    rank: int
    host: str
    text: str
    seconds: float
    knock_on: bool  # it looks like what the loss of a peer leads to

    @property
    def last_line(self) -> str:
        """The line of `text` that names the error."""
        return self.text.strip().splitlines()[-1].removeprefix("error: ")


def first(failures: Iterable[Failure]) -> Failure | None:
    """Return the failure that has led to the others, None if there is none."""
    return min(failures, key=lambda failure: (failure.knock_on, failure.seconds), default=None)


def failure_file() -> IO[bytes]:
    """In the launcher: return an empty file for one rank, without a name that a KILL could leave behind.

    On Linux it needs no disk, which may be what has failed.
    """
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("failure"), "rb")
    return tempfile.TemporaryFile()


def tell_launcher(error: Exception, text: str) -> bool:
    """In a rank: leave `text`, of `error`, for the launcher to print; False where that cannot be.

    Without a launcher, or when the file cannot hold it all, the rank has to print it itself.
    """
    if FAILURE_FILE not in os.environ:
        return False
    knock_on = isinstance(error, RuntimeError | ConnectionError) and bool(_LOST_PEER.search(str(error)))
    content = json.dumps({"text": text, "seconds": time.time(), "knock_on": knock_on}).encode() + _END
    try:
        return os.pwrite(int(os.environ[FAILURE_FILE]), content, 0) == len(content)
    except OSError:
        return False


def told(rank: int, file: IO[bytes]) -> Failure | None:
    """In the launcher: return what the rank has told, None if nothing (or not all: it may be writing)."""
    content = os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0)
    return Failure(rank, socket.gethostname(), **json.loads(content)) if content.endswith(_END) else None


def died(rank: int, pid: int, code: int, seconds: float) -> Failure:
    """In the launcher: return the failure of a rank that has told nothing.

    Args:
        rank: in the whole job.
        pid: on this host.
        code: exit code, or minus the signal that killed it.
        seconds: when it was last seen alive, since the epoch.
    """
    host = socket.gethostname()
    if code < 0:
        name = signal.Signals(-code).name
        memory = "; out of memory?" if code == -signal.SIGKILL else ";"
        reason = f"killed by signal {-code} ({name}){memory} see the log; run again to go on from the last checkpoint"
    else:
        reason = f"ended with exit code {code}; its own message is above"
    return Failure(rank, host, f"error: rank {rank} ({host}, pid {pid}): {reason}", seconds, code in _ABORTS)
