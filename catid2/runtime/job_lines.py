"""What a run prints about its jobs: a line when a job starts and when it ends, its warnings, and errors at the end.

Snakemake prints ten lines about a job, and twice as many, with the complete command, about a failed one. These lines
stay in Snakemake's log (.snakemake/log); the screen shows them only in a dry run, and for a failed job whose log has no
error line. A logger plugin would have to print dry runs and all other messages itself, and to be installed.
"""

import atexit
import logging
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from snakemake.logging import ColorizingTextHandler, logger
from snakemake.settings.enums import Quietness
from snakemake_interface_logger_plugins.common import LogEvent

from catid2.runtime.errors import ERROR, WARNING

# Messages without an event that are hidden: the selection of jobs, the command of a failed job.
_HIDDEN = ("Select jobs to execute", "RuleException:\nCalledProcessError")


class Job(NamedTuple):
    """A job that runs or is queued on a cluster."""

    name: str
    logs: list[Path]
    started: float


class JobLines(logging.Handler):
    """Reports jobs on the screen and in Snakemake's log.

    On a cluster a job starts when it is submitted, and its time includes the queue.
    """

    def __init__(self) -> None:
        """Make the handler, for `show_job_lines`."""
        super().__init__()
        self._executes = False  # no dry run
        self._jobs: dict[int, Job] = {}  # by id
        self._finished: list[str] = []  # lines that wait for the number of jobs done
        self._errors: dict[int, list[str]] = {}  # of jobs that failed, by id

    def emit(self, record: logging.LogRecord) -> None:
        """Print the line of a job that starts, finishes or fails; repeat its warnings, and its error before a retry."""
        event = getattr(record, "event", None)
        if event == LogEvent.JOB_STARTED:
            self._executes = True
        elif event == LogEvent.JOB_INFO and self._executes:
            name = " ".join(
                [record.rule_name, *(f"{key}={value}" for key, value in record.wildcards.items())]
            )
            for line in self._errors.pop(record.jobid, []):  # of the attempt before
                _say(line, Quietness.RULES)
            self._jobs[record.jobid] = Job(name, [Path(path) for path in record.log], time.monotonic())
            _say(f"{name}: starts", Quietness.RULES)
        elif event == LogEvent.JOB_FINISHED and record.job_id in self._jobs:
            job = self._jobs.pop(record.job_id)
            self._finished.append(f"{job.name}: took {_since(job.started)}")
            for line in _lines(job.logs, WARNING):
                logger.warning(line)
        elif event == LogEvent.PROGRESS:
            for line in self._finished:
                _say(f"{line} ({record.done} of {record.total} done)", Quietness.PROGRESS)
            self._finished.clear()
        elif event == LogEvent.JOB_ERROR and record.jobid in self._jobs:
            job = self._jobs.pop(record.jobid)
            self._errors[record.jobid] = _lines(job.logs, ERROR)
            _say(
                f"{job.name}: failed after {_since(job.started)}, see {' '.join(record.log)}", Quietness.RULES
            )

    def shows(self, record: logging.LogRecord) -> bool:
        """Return whether a record of Snakemake belongs on the screen: not if a line replaces it."""
        event = getattr(record, "event", None)
        if event == LogEvent.JOB_INFO:
            return not self._executes
        if event == LogEvent.JOB_ERROR:
            return not _lines([Path(path) for path in record.log], ERROR)
        replaced = (LogEvent.JOB_STARTED, LogEvent.JOB_FINISHED, LogEvent.PROGRESS)
        return event not in replaced and not record.getMessage().startswith(_HIDDEN)

    def print_errors(self) -> None:
        """Print the error of each job that failed."""
        for line in dict.fromkeys(line for lines in self._errors.values() for line in lines):
            print(line, file=sys.stderr)


def _say(line: str, quietness: Quietness) -> None:
    logger.info(f"[{time.strftime('%H:%M:%S')}] {line}", extra={"quietness": quietness})


def _since(started: float) -> timedelta:
    return timedelta(seconds=round(time.monotonic() - started))


def _lines(logs: list[Path], start: str) -> list[str]:
    """Return the lines of logs that begin with `start`; none of a log that the job did not write."""
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in logs if path.is_file()]
    return [line for text in texts for line in text.splitlines() if line.startswith(start)]


def show_job_lines() -> None:
    """Print a line for each job of the workflow that is being loaded; further calls do nothing."""
    if any(isinstance(handler, JobLines) for handler in logger.handlers):
        return
    lines = JobLines()
    for handler in logger.handlers:
        # Snakemake's handler for the screen, unless the user chose a logger plugin.
        if isinstance(handler, ColorizingTextHandler):
            handler.addFilter(lines.shows)
    logger.addHandler(lines)
    atexit.register(lines.print_errors)  # after everything that Snakemake prints
