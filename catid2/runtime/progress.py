"""Progress of steps that can take minutes: a bar in a terminal, sparse lines in a log."""

import logging
import sys
from typing import Any

from tqdm import tqdm

from catid2.runtime.ranks import read_ranks

log = logging.getLogger(__name__)

SECONDS = 30.0  # before the first line in a log, and least time between two lines: short steps have none
# Least share of a step between two lines: a step of known size has at most a hundred, however long it takes.
SHARE = 0.01
_LINE = "{desc}: {n_fmt} of {total_fmt}{unit} ({percentage:.0f}%), {elapsed} passed, {remaining} left"


class Progress(tqdm):
    """tqdm with its usual arguments: a bar if stderr is a terminal, otherwise log lines. Only rank 0 reports.

    In a log plain tqdm would redraw its bar after carriage returns, or print nothing with `disable=None`.
    """

    monitor_interval = 0  # tqdm's monitor thread would report too early

    def __init__(self, *arguments: Any, **settings: Any):
        self._in_log = not sys.stderr.isatty()
        if self._in_log:
            settings |= {"delay": SECONDS, "mininterval": SECONDS, "leave": False}
        else:
            settings |= {"delay": 1.0, "leave": None}  # only the outermost of nested bars stays
        super().__init__(*arguments, miniters=1, disable=read_ranks().rank > 0, **settings)
        if self._in_log and self.total:  # the size of some downloads is unknown
            self.bar_format, self.miniters = _LINE, self.total * SHARE

    def display(self, msg: str | None = None, pos: int | None = None) -> bool | None:
        """Draw the bar or log its line; tqdm provides this method for subclasses to override."""
        if not self._in_log:
            return super().display(msg, pos)
        if msg is None:  # tqdm clears a bar with ""
            log.info("%s", str(self))  # formatted now, not when a handler reads the record
        return None
