"""Snakemake shows the warnings that its jobs write to their logs, also those of jobs on other machines."""

import logging
from pathlib import Path

from snakemake.logging import logger
from snakemake_interface_logger_plugins.common import LogEvent

from catid2.runtime.errors import WARNING


class JobWarnings(logging.Handler):
    """Repeats the warnings in the log of each job that finishes, on the screen and in Snakemake's own log."""

    def __init__(self) -> None:
        """Make the handler, for `show_job_warnings`."""
        super().__init__()
        self._logs: dict[int, list[Path]] = {}  # of each job that runs, by its id

    def emit(self, record: logging.LogRecord) -> None:
        """Note the logs of a job that starts; repeat the warnings in those of one that finishes."""
        event = getattr(record, "event", None)
        if event == LogEvent.JOB_INFO:
            self._logs[record.jobid] = [Path(path) for path in record.log]
        elif event == LogEvent.JOB_FINISHED:
            for path in self._logs.pop(record.job_id, []):
                for line in _lines(path):
                    if line.startswith(WARNING):
                        logger.warning(line)


def _lines(path: Path) -> list[str]:
    """Return the lines of a log; none of one that its job did not write."""
    return path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []


def show_job_warnings() -> None:
    """Show the warnings of the jobs of the workflow that is being loaded, once however often it is loaded."""
    if not any(isinstance(handler, JobWarnings) for handler in logger.handlers):
        logger.addHandler(JobWarnings())
