"""How far a step is that can take minutes: a bar in a terminal, a line now and then in a log."""

import logging
import sys
from typing import Any

from tqdm import tqdm

from catid2.runtime.ranks import read_ranks

log = logging.getLogger(__name__)

SECONDS = 30.0  # before the first line of a log, and between two at least: a step of seconds has none
SHARE = 0.01  # of the step between two lines at least: they are a hundred at most, however many days it takes
_LINE = "{desc}: {n_fmt} of {total_fmt}{unit} ({percentage:.0f}%), {elapsed} passed, {remaining} left"


class Progress(tqdm):
    """tqdm, with its arguments: its bar where stderr is a terminal, otherwise lines of the log. Rank 0 alone reports.

    In a log tqdm itself draws its bar again and again after carriage returns, or with `disable=None` says nothing.
    """

    monitor_interval = 0  # no thread that reports sooner than asked

    def __init__(self, *arguments: Any, **settings: Any):
        self._in_log = not sys.stderr.isatty()
        if self._in_log:
            settings |= {"delay": SECONDS, "mininterval": SECONDS, "leave": False}
        else:
            settings |= {"delay": 1.0, "leave": None}  # of nested bars the outermost stays
        super().__init__(*arguments, miniters=1, disable=read_ranks().rank > 0, **settings)
        if self._in_log and self.total:  # of some downloads the size is not known
            self.bar_format, self.miniters = _LINE, self.total * SHARE

    def display(self, msg: str | None = None, pos: int | None = None) -> bool | None:
        """Draw the bar or log its line; this is where tqdm lets a subclass report in its own way."""
        if not self._in_log:
            return super().display(msg, pos)
        if msg is None:  # it is "" where tqdm clears a bar
            log.info("%s", str(self))  # as it is now, not when a handler reads the record
        return None
