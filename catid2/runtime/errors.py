"""Errors and warnings that the user can fix: an input, a setting or a path that cannot be used."""

import contextlib
import difflib
import errno
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

# Errors of a file that exists but cannot be used, because of its mode, its disk or server, or a loop of links.
REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ELOOP)
ERROR = "error: "  # prefix of an error's line
WARNING = "warning: "  # prefix of a warning's line


class InputError(Exception):
    """An input that cannot be used. Its text is one line: the place, the fault, the remedy."""

    def __init__(self, where: str | Path, what: str, remedy: str):
        super().__init__(" ".join(f"{where}: {what}; {remedy}".split()))


@contextlib.contextmanager
def readable(path: str | Path) -> Iterator[None]:
    """Turn an OSError of the block into an InputError if its number is in REFUSED; errors of damaged content pass."""
    try:
        yield
    except OSError as error:
        if error.errno not in REFUSED:
            raise
        raise unreadable(error.filename or path, error) from None


def unreadable(path: str | Path, error: OSError) -> InputError:
    """Return the error of a file or folder that exists but cannot be read, because of its mode or its disk."""
    return InputError(path, f"cannot be read ({error.strerror or error})", "make it readable, or try again")


def warn(where: str | Path, what: str, remedy: str) -> None:
    """Print a warning to stderr, one line in the form of an InputError; the script continues.

    Snakemake shows the warnings of each job on the screen (catid2.runtime.job_lines).
    """
    print(f"{WARNING}{InputError(where, what, remedy)}", file=sys.stderr, flush=True)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return "did you mean 'x'? " with the known name closest to `name`, ignoring case, or an empty string."""
    names = {one.casefold(): one for one in known}
    close = difflib.get_close_matches(name.casefold(), names, n=1)
    return f"did you mean {names[close[0]]!r}? " if close else ""
