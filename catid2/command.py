"""What every script's `main` does alike: end with one line on a bad input, and tidily on a TERM."""

import functools
import signal
import sys
from collections.abc import Callable

from catid2.artifacts import InputError


def entry_point(main: Callable[[], None]) -> Callable[[], None]:
    """Decorate a script's `main`: an InputError becomes its one line on stderr and exit code 1.

    A TERM (a time limit, a cancelled job) ends the script by an exception, so that temporary files go away.
    """

    @functools.wraps(main)
    def run() -> None:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        try:
            main()
        except InputError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(1)

    return run
