"""The processes of a Snakemake run, as the kernel sees them: whom a fault can hit, and who outlives it."""

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import psutil

MARK = (
    "CATID2_FAULT_RUN"  # an environment variable, which every process of a run inherits, in whatever session
)
_LOG = re.compile(r"> *(logs/\S+\.log)")
_OUTPUT = re.compile(r"(?<![\w/])(?:results|resources)/[^\s'\"]+")
_SHELLS = ("sh", "bash")


class Job(NamedTuple):
    """A job that a driver runs: the shell of its rule, and what runs below it (script, launcher, workers)."""

    shell: psutil.Process
    ranks: list[psutil.Process]
    log: str  # names the job: no two jobs share a log
    missing: list[Path]  # outputs that were not there when the job was seen

    @property
    def rule(self) -> str:
        """Name of the job's rule, or of what tells its log from others'."""
        return self.log.removeprefix("logs/").removesuffix(".log")


def start(
    command: list[str], folder: Path, environment: dict[str, str], mark: str, output: Path
) -> psutil.Popen:
    """Start a command in a session of its own, with its output in a file."""
    with output.open("wb") as stream:
        return psutil.Popen(
            command,
            cwd=folder,
            env=environment | {MARK: mark},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def jobs(driver: psutil.Process, folder: Path) -> list[Job]:
    """Return the jobs that a driver runs at this moment in `folder`; those without a process of a script yet, not."""
    found = []
    for child in _children(driver):
        command = _command(child)
        log = _LOG.search(command)
        if log is None or Path(command.split()[0]).name not in _SHELLS:
            continue  # Snakemake's solver, or a copy of the driver that has yet to become the shell
        ranks = [process for process in _children(child, recursive=True) if "scripts/" in _command(process)]
        if not ranks:
            continue
        outputs = {folder / path for path in _OUTPUT.findall(command) if "checkpoints" not in path}
        missing = sorted(path for path in outputs if not path.exists())
        found.append(Job(child, ranks, log.group(1), missing))
    return found


def marked(mark: str) -> list[psutil.Process]:
    """Return the living processes whose mark is `mark` or begins with `mark/`."""
    found = []
    for process in psutil.process_iter():
        try:
            own = process.environ().get(MARK, "")
        except psutil.Error:  # it ended, is a zombie, or is another user's
            continue
        if own == mark or own.startswith(f"{mark}/"):
            found.append(process)
    return found


def kill(processes: Iterable[psutil.Process]) -> None:
    """Send SIGKILL to each and wait until they have ended."""
    processes = list(processes)
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    _, alive = psutil.wait_procs(processes, timeout=30)
    if any(is_alive(process) for process in alive):
        raise RuntimeError(f"processes survive SIGKILL: {alive}")


def is_alive(process: psutil.Process) -> bool:
    """Tell whether a process runs; one that has ended and was not waited for does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _children(process: psutil.Process, recursive: bool = False) -> list[psutil.Process]:
    try:
        return process.children(recursive=recursive)
    except psutil.NoSuchProcess:
        return []


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
