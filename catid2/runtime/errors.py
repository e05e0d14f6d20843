"""What a user can mend: an input, a setting or a place that cannot be used, or that is probably not as meant."""

import contextlib
import difflib
import errno
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

# Errors of a file that exists but cannot be used: because of its mode, its disk or server, or a loop of links.
REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ELOOP)
ERROR = "error: "  # how the line of an error starts
WARNING = "warning: "  # how the line of a warning starts


class InputError(Exception):
    """An input that cannot be used. Its text is one line: where, what is wrong, what to do."""

    def __init__(self, where: str | Path, what: str, remedy: str):
        super().__init__(" ".join(f"{where}: {what}; {remedy}".split()))


@contextlib.contextmanager
def readable(path: str | Path) -> Iterator[None]:
    """Turn an error of the block that is in REFUSED into one line, and leave those of damaged content."""
    try:
        yield
    except OSError as error:
        if error.errno not in REFUSED:
            raise
        raise unreadable(error.filename or path, error) from None


def unreadable(path: str | Path, error: OSError) -> InputError:
    """Return the error of a file or folder that exists and cannot be read, because of its mode or its disk."""
    return InputError(path, f"cannot be read ({error.strerror or error})", "make it readable, or try again")


def warn(where: str | Path, what: str, remedy: str) -> None:
    """Print a warning to stderr, one line in the form of an InputError; the script continues.

    Snakemake shows the warnings of each job on the screen (catid2.runtime.job_lines).
    """
    print(f"{WARNING}{InputError(where, what, remedy)}", file=sys.stderr, flush=True)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return "did you mean 'x'? " with the known name that is closest to `name`, whatever its case; or nothing."""
    names = {one.casefold(): one for one in known}
    close = difflib.get_close_matches(name.casefold(), names, n=1)
    return f"did you mean {names[close[0]]!r}? " if close else ""
