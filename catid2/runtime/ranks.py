"""The ranks of one node: start them, watch them, and end all when one ends or the launcher is asked to.

A rank that is told to end gets TERM, and KILL when a grace is over. It is long when the job was asked to stop, because
the ranks then save a checkpoint, and short when a rank has failed, because its peers may wait for it for ever.
"""

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from catid2.runtime.failures import (
    FAILURE_FILE,
    LAUNCHER_PID,
    STOPPED,
    Failure,
    died,
    failure_file,
    first,
    told,
)
from catid2.runtime.rendezvous import Ending, Rendezvous

FAILED_GRACE = 5.0  # seconds from the failure of a rank to the KILL of its peers
_POLL = 0.1  # seconds between two looks
_SETTLE = 2.0  # seconds in which the node with the cause announces it before one with a consequence does
# A terminal's Ctrl-C goes to every process. Ranks ignore it from their first moment: the launcher sends them a TERM.
_IGNORING_INT = ("sh", "-c", 'trap "" INT; exec "$@"', "sh")
# Snakemake sets all of them to the threads of the job
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


class Asked:
    """The signals that ask the launcher to end: TERM, and INT (Ctrl-C), of which the ranks get to see TERM."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self.impatient = False  # a second Ctrl-C
        signal.signal(signal.SIGTERM, self._note)
        signal.signal(signal.SIGINT, self._note)

    def _note(self, number: int, frame: object) -> None:
        self.impatient = number == self.signal == signal.SIGINT
        self.signal = self.signal or number


class Rank:
    """One process of the job: its `number` among all, and what becomes of it."""

    def __init__(self, number: int, command: Sequence[str], environment: Mapping[str, str]):
        self.number = number
        self.failure: Failure | None = None  # as far as `look` has seen it
        self.killed: str | None = None  # why the launcher did it
        self._file = failure_file()
        self._alive = time.time()
        file = self._file.fileno()
        own = {FAILURE_FILE: str(file), LAUNCHER_PID: str(os.getpid())}
        self._process = subprocess.Popen(
            [*_IGNORING_INT, *command], env={**environment, **own}, pass_fds=(file,)
        )

    @property
    def running(self) -> bool:
        """Whether the process is still there."""
        return self._process.poll() is None

    @property
    def stopped(self) -> bool:
        """Whether a TERM has ended it."""
        return self._process.poll() in STOPPED

    def look(self) -> None:
        """Note what has gone wrong, as soon as it is known: a rank that has told it may take long to end."""
        if self.failure is None:
            code = self._process.poll()
            self.failure = told(self.number, self._file)
            if self.failure is None and code and code not in STOPPED and not self.killed:
                self.failure = died(self.number, self._process.pid, code, self._alive)
            elif code is None:
                self._alive = time.time()

    def end(self) -> None:
        """Ask the process to end."""
        if self.running:
            self._process.send_signal(signal.SIGTERM)

    def kill(self, why: str) -> None:
        """End the process."""
        if self.running:
            self.killed = why
            self._process.kill()


def start(command: Sequence[str], per_node: int, rendezvous: Rendezvous) -> list[Rank]:
    """Start this node's ranks, with the environment that torch's `env://` set-up reads.

    Args:
        command: what each rank runs.
        per_node: ranks of each node.
        rendezvous: all nodes have joined it.
    """
    shared = {
        **os.environ,
        **threads(per_node),
        "MASTER_ADDR": rendezvous.host,
        "MASTER_PORT": str(rendezvous.port),
        "WORLD_SIZE": str(per_node * rendezvous.nodes),
        "LOCAL_WORLD_SIZE": str(per_node),
        "GROUP_RANK": str(rendezvous.node),
        "TORCHELASTIC_USE_AGENT_STORE": "True",  # rank 0 connects to the launcher's store, and opens none itself
        "TORCHELASTIC_RESTART_COUNT": "0",
    }
    ranks = []
    for local in range(per_node):
        number = rendezvous.node * per_node + local
        environment = shared | {"RANK": str(number), "LOCAL_RANK": str(local)}
        ranks.append(Rank(number, command, environment))
    return ranks


def threads(per_node: int) -> dict[str, str]:
    """Return the thread counts of a rank: its part of the job's CPUs.

    Libraries start a thread per CPU in each process, which would be `per_node` times too many; one thread each, as
    torchrun sets, leaves most CPUs idle where the work is not on the GPU.
    """
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    every = {name: os.environ[name] for name in _THREADS if os.environ.get(name, "").isdigit()}
    every = {"OMP_NUM_THREADS": str(cores)} | every
    return {name: str(max(1, int(value) // per_node)) for name, value in every.items()}


def watch(
    ranks: Sequence[Rank], others: subprocess.Popen | None, rendezvous: Rendezvous, asked: Asked, grace: float
) -> int:
    """Wait for the ranks, end them where needed, say why, and return the exit code of the launcher.

    Args:
        ranks: of this node.
        others: the srun that holds the launchers of the other nodes, where this one has started it.
        rendezvous: with those.
        asked: the signals to this launcher.
        grace: seconds that ranks have to save a checkpoint after a TERM or Ctrl-C.
    """
    ending = _wait(ranks, others, rendezvous, asked, grace)
    if ending is None:
        return 0
    elsewhere = ending.failure is not None and ending.failure.rank not in {rank.number for rank in ranks}
    if elsewhere and ending.failure.knock_on:  # the other node was first to tell, but the cause may be here
        elsewhere = not any(rank.failure and not rank.failure.knock_on for rank in ranks)
    if not elsewhere:
        _explain(ending, ranks)
    rendezvous.leave(grace if ending.signal and not asked.impatient else FAILED_GRACE)
    if elsewhere:  # the node with the cause has printed it by now
        _refer(ending.failure, ranks)
    return 128 + ending.signal if ending.signal else 1


def _wait(
    ranks: Sequence[Rank], others: subprocess.Popen | None, rendezvous: Rendezvous, asked: Asked, grace: float
) -> Ending | None:
    """Return when the ranks have ended: why they had to, None if those of all nodes were done."""
    ending, deadline, why = None, math.inf, ""
    while True:
        running = any(rank.running for rank in ranks)
        for rank in ranks:
            rank.look()
        if ending is None:
            all_left = rendezvous.all_left  # before `_ending`, which then knows how they have left
            ending = _ending(ranks, others, rendezvous, asked)
            if ending is not None:
                ending = rendezvous.announce(ending)
                deadline = time.monotonic() + (grace if ending.signal else FAILED_GRACE)
                why = f"it had not ended {grace:g} s after a TERM; raise --grace"
                for rank in ranks:
                    rank.end()
            elif not running and not any(rank.failure for rank in ranks):
                if all_left:
                    return None
                rendezvous.say_left()
        elif time.monotonic() + FAILED_GRACE < deadline and any(
            rank.failure and not rank.failure.knock_on for rank in ranks
        ):
            deadline = time.monotonic() + FAILED_GRACE
            why = f"it had not ended {FAILED_GRACE:g} s after the failure of a rank"
        if ending is not None and not running:
            return ending
        if asked.impatient or time.monotonic() > deadline:
            for rank in ranks:
                rank.kill("Ctrl-C was pressed twice" if asked.impatient else why)
        time.sleep(_POLL)


def _ending(
    ranks: Sequence[Rank], others: subprocess.Popen | None, rendezvous: Rendezvous, asked: Asked
) -> Ending | None:
    """Return why the job has to end now, None if it has not."""
    if asked.signal:
        return Ending(asked.signal)
    if (heard := rendezvous.heard()) is not None:
        return heard
    cause = first(rank.failure for rank in ranks if rank.failure)
    if cause and not cause.knock_on:
        return Ending(failure=cause)
    if any(
        rank.stopped for rank in ranks
    ):  # Slurm's TERM goes to the ranks too, and may reach one of them first
        return Ending(signal.SIGTERM)
    if others is not None and others.poll() and cause is None:
        line = (
            f"error: the other nodes' srun ended with exit code {others.returncode}; see above, and run again"
        )
        return Ending(failure=Failure(-1, "", line, time.time(), knock_on=True))
    if cause and (rendezvous.nodes == 1 or time.time() - cause.seconds > _SETTLE):
        return Ending(failure=cause)
    return None


def _explain(ending: Ending, ranks: Sequence[Rank]) -> None:
    """Print what ended the job on this node: the first failure, and ranks that a signal has not ended."""
    cause = first(rank.failure for rank in ranks if rank.failure)
    if cause and not (ending.signal and cause.knock_on):
        print(cause.text.rstrip(), file=sys.stderr)
    if ending.signal:
        for rank in ranks:
            if rank.killed:
                print(f"error: rank {rank.number}: killed, as {rank.killed}", file=sys.stderr)


def _refer(failure: Failure, ranks: Sequence[Rank]) -> None:
    """Print that another node has failed, unless ranks of this one have found the same."""
    if failure.rank < 0:
        print(failure.text, file=sys.stderr)
    elif failure.text not in {rank.failure.text for rank in ranks if rank.failure}:
        print(
            f"error: stopped, as rank {failure.rank} on {failure.host} failed: {failure.last_line}",
            file=sys.stderr,
        )
