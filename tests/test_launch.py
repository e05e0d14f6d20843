"""The launcher: how jobs of several ranks and nodes start, fail and stop; with real processes."""

import argparse
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from catid2.runtime import ranks as ranks_module
from catid2.runtime.failures import FAILURE_FILE, Failure, died, failure_file, first, tell_launcher, told
from catid2.runtime.launch import srun_command
from catid2.runtime.ranks import Asked, threads

ROOT = Path(__file__).parent.parent
LIMIT = 60  # seconds after which a launcher hangs, on a busy machine too
SAVING = "SIGTERM: saving at the next boundary\n"  # what a rank says that is asked to stop

SCRIPT = """
import os, signal, sys, time
from pathlib import Path
from catid2.runtime.command import entry_point
from catid2.runtime.errors import InputError
from catid2.runtime.stopping import deferred_stop

RANK, WORLD = int(os.environ["RANK"]), os.environ["WORLD_SIZE"]

def note(name, text=""):
    Path(f"{name}{RANK}.tmp").write_text(str(text))
    Path(f"{name}{RANK}.tmp").rename(f"{name}{RANK}")

def bad_input(*culprits):
    if str(RANK) in culprits:
        raise InputError("file", "is bad", "mend it")
    time.sleep(600)

def collective(culprit, how):
    import torch, torch.distributed as dist
    from catid2.training.distributed import any_rank, process_group
    with process_group() as group:
        assert any_rank(group.rank == 1) and not any_rank(False)
        note("started", f"{group.rank} of {group.world_size}, {os.environ['LOCAL_RANK']} of the node")
        if RANK == int(culprit):
            if how == "raise":
                raise ValueError("the cause")
            os.kill(os.getpid(), signal.SIGKILL)
        dist.all_reduce(torch.ones(1))

def save():
    with deferred_stop() as stop:
        note("started", str(os.getpid()))
        while not stop.requested:
            time.sleep(0.01)
        time.sleep(0.5)
        note("saved")
        stop.exit()

def deaf_to_term():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)

def deaf():
    deaf_to_term()
    note("started", str(os.getpid()))
    time.sleep(600)

def fail_when_told(deaf=None):
    if deaf == str(RANK):
        deaf_to_term()
    note("started", str(os.getpid()))
    try:
        time.sleep(600)
    finally:
        raise ValueError("the cause")

def lose_peer():
    if RANK == 0:
        raise RuntimeError("Connection closed by peer")
    fail_when_told()

def end_late(how):
    note("started", os.environ.get("TORCH_CPP_LOG_LEVEL"))
    if RANK == 1:
        time.sleep(2)
        note("late")
        if how == "raise":
            raise ValueError("the cause")

def idle():
    note("started", str(os.getpid()))
    time.sleep(600)

def succeed():
    note("started", f"{RANK} of {WORLD}")

@entry_point
def main():
    globals()[sys.argv[1]](*sys.argv[2:])

main()
"""

# As srun starts one task on each of the nodes, without another machine.
SRUN = """#!/bin/sh
[ -z "$SLURM_GPUS" ] || { echo "srun: takes the job's own wishes for the step's" >&2; exit 9; }
case "$*" in "--relative=1 --nodes=1 --ntasks=1 "*|"--overlap "*) ;; *) echo "srun: $*" >&2; exit 9;; esac
while [ "${1#--}" != "$1" ]; do shift; done
SLURM_PROCID=0 exec "$@"
"""


class Job:
    """A running launcher, its script in `folder`."""

    def __init__(self, folder: Path, *arguments: str, **environment: str):
        self.folder = folder
        (folder / "script.py").write_text(SCRIPT, encoding="utf-8")
        launcher, script = arguments[: arguments.index("--")], arguments[arguments.index("--") + 1 :]
        loopback = {"PYTHONPATH": str(ROOT), "GLOO_SOCKET_IFNAME": "lo", "TMPDIR": str(folder)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "catid2.runtime.launch", *launcher, "script.py", *script],
            cwd=folder,
            env=os.environ | loopback | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self) -> tuple[int, str]:
        """Wait for the end; return exit code and stderr."""
        try:
            _, errors = self.process.communicate(timeout=LIMIT)
        finally:
            self.process.kill()
        return self.process.returncode, errors

    def notes(self, name: str, count: int) -> list[str]:
        """Wait until `count` ranks have left a note, and return what they wrote."""
        files = [self.folder / f"{name}{rank}" for rank in range(count)]
        wait_until(lambda: all(file.exists() for file in files) or self.process.poll() is not None)
        return [file.read_text() for file in files]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def alive(pid: str) -> bool:
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "State:\tZ" not in status.read_text()


@pytest.mark.parametrize("culprits", [["0", "1"], ["1"]])
def test_a_bad_input_is_one_line_whichever_ranks_find_it(tmp_path: Path, culprits: list[str]) -> None:
    job = Job(tmp_path, "--gpus", "2", "--", "bad_input", *culprits)
    assert job.end() == (1, "error: file: is bad; mend it\n")


def test_the_traceback_is_of_the_rank_that_failed_first(tmp_path: Path) -> None:
    code, errors = Job(tmp_path, "--gpus", "2", "--", "collective", "1", "raise").end()
    assert code == 1
    assert errors.startswith("Traceback (most recent call last):\n")
    assert errors.endswith("ValueError: the cause\n")
    assert errors.count("Traceback") == 1  # the other rank lost a peer in all_reduce: nothing to read


def test_a_rank_killed_in_a_collective_ends_the_job(tmp_path: Path) -> None:
    code, errors = Job(tmp_path, "--gpus", "2", "--", "collective", "1", "kill").end()
    assert code == 1
    assert errors.startswith(f"error: rank 1 ({socket.gethostname()}, pid ")
    assert "killed by signal 9 (SIGKILL); out of memory?" in errors
    assert len(errors.splitlines()) == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_ranks_may_save_before_they_stop(tmp_path: Path, number: int, code: int) -> None:
    job = Job(tmp_path, "--gpus", "2", "--", "save")
    ranks = job.notes("started", 2)
    for pid in (*ranks, job.process.pid):  # as Slurm and a terminal do
        os.kill(int(pid), number)
    assert job.end() == (code, 2 * SAVING)
    assert len(job.notes("saved", 2)) == 2


def test_a_term_to_one_rank_stops_all(tmp_path: Path) -> None:
    job = Job(tmp_path, "--gpus", "2", "--", "save")
    os.kill(int(job.notes("started", 2)[1]), signal.SIGTERM)
    assert job.end() == (143, 2 * SAVING)
    assert len(job.notes("saved", 2)) == 2


def test_ranks_that_do_not_stop_are_killed_when_grace_is_over(tmp_path: Path) -> None:
    job = Job(tmp_path, "--gpus", "2", "--grace", "0.5", "--", "deaf")
    ranks = job.notes("started", 2)
    job.process.terminate()
    code, errors = job.end()
    assert code == 143
    problem = "killed, as it had not ended 0.5 s after a TERM; raise --grace"
    assert errors.splitlines() == [f"error: rank {rank}: {problem}" for rank in (0, 1)]
    assert not any(alive(pid) for pid in ranks)


def test_a_second_ctrl_c_kills_at_once(tmp_path: Path) -> None:
    job = Job(tmp_path, "--gpus", "2", "--", "deaf")
    ranks = job.notes("started", 2)
    job.process.send_signal(signal.SIGINT)
    time.sleep(0.5)  # or the two become one
    job.process.send_signal(signal.SIGINT)
    code, errors = job.end()
    assert code == 130
    assert errors == "".join(
        f"error: rank {rank}: killed, as Ctrl-C was pressed twice\n" for rank in range(2)
    )
    assert not any(alive(pid) for pid in ranks)


def test_a_failure_after_a_term_cuts_the_grace_of_the_others(tmp_path: Path) -> None:
    job = Job(tmp_path, "--gpus", "2", "--", "fail_when_told", "1")
    job.notes("started", 2)
    job.process.terminate()
    code, errors = job.end()
    assert code == 143
    assert errors.endswith(
        "ValueError: the cause\nerror: rank 1: killed, as it had not ended 5 s after the failure of a rank\n"
    )


@pytest.mark.skipif(
    sys.platform != "linux", reason="the kernel tells processes that their parent is gone on Linux only"
)
def test_ranks_do_not_outlive_a_killed_launcher(tmp_path: Path) -> None:
    job = Job(tmp_path, "--gpus", "2", "--", "idle")
    ranks = job.notes("started", 2)
    job.process.kill()
    job.end()
    wait_until(lambda: not any(alive(pid) for pid in ranks))


def test_one_process_is_the_script_itself(tmp_path: Path) -> None:
    job = Job(tmp_path, "--gpus", "1", "--", "idle", RANK="0", WORLD_SIZE="1")
    assert job.notes("started", 1) == [str(job.process.pid)]
    job.process.terminate()
    assert job.end() == (143, "")


def test_two_nodes_by_hand(tmp_path: Path) -> None:
    jobs = two_nodes(tmp_path, "--gpus", "4", "--", "collective", "2", "raise")
    (code, knocked_on), (other_code, cause) = [job.end() for job in jobs]
    assert jobs[0].notes("started", 4) == [f"{rank} of 4, {rank % 2} of the node" for rank in range(4)]
    assert (code, other_code) == (1, 1)
    assert cause.startswith("Traceback (most recent call last):\n")
    assert cause.endswith("ValueError: the cause\n")
    assert (
        knocked_on == f"error: stopped, as rank 2 on {socket.gethostname()} failed: ValueError: the cause\n"
    )


@pytest.mark.parametrize("level", [None, "ERROR"])
def test_a_node_that_is_done_waits_for_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: str | None
) -> None:
    monkeypatch.delenv("TORCH_CPP_LOG_LEVEL", raising=False)
    chosen = {} if level is None else {"TORCH_CPP_LOG_LEVEL": level}
    jobs = two_nodes(tmp_path, "--gpus", "2", "--grace", "0.1", "--", "end_late", "well", **chosen)
    assert [job.end() for job in jobs] == [(0, ""), (0, "")]
    assert (tmp_path / "late1").exists()
    assert jobs[0].notes("started", 2) == 2 * [str(level)]  # the launcher's own choice is not for the ranks


def test_a_failure_after_the_other_node_is_done_fails_both(tmp_path: Path) -> None:
    jobs = two_nodes(tmp_path, "--gpus", "2", "--", "end_late", "raise")
    (code, referred), (other_code, cause) = [job.end() for job in jobs]
    assert (code, other_code) == (1, 1)
    assert referred == f"error: stopped, as rank 1 on {socket.gethostname()} failed: ValueError: the cause\n"
    assert cause.startswith("Traceback (most recent call last):\n")


def test_the_node_with_the_cause_prints_it_even_if_another_was_first_to_fail(tmp_path: Path) -> None:
    jobs = two_nodes(tmp_path, "--gpus", "2", "--", "lose_peer")
    (code, consequence), (other_code, cause) = [job.end() for job in jobs]
    assert (code, other_code) == (1, 1)
    assert consequence.endswith("RuntimeError: Connection closed by peer\n")
    assert cause.endswith("ValueError: the cause\n")


def test_a_node_stops_when_asked_although_node_0_is_silent(tmp_path: Path) -> None:
    jobs = two_nodes(tmp_path, "--gpus", "2", "--grace", "10", "--", "save")
    jobs[0].notes("started", 2)
    jobs[0].process.send_signal(signal.SIGSTOP)
    try:
        jobs[1].process.terminate()
        assert jobs[1].end() == (143, SAVING)
        assert (tmp_path / "saved1").exists()
    finally:
        jobs[0].process.send_signal(signal.SIGCONT)
        jobs[0].process.terminate()
    assert jobs[0].end() == (143, SAVING)


def two_nodes(folder: Path, *arguments: str, **environment: str) -> list[Job]:
    place = ("--nodes", "2", "--rendezvous", f"127.0.0.1:{free_port()}")
    return [Job(folder, *place, "--node", node, *arguments, **environment) for node in "01"]


def test_under_slurm_the_launcher_starts_itself_on_the_other_nodes(tmp_path: Path) -> None:
    (tmp_path / "srun").write_text(SRUN, encoding="utf-8")
    (tmp_path / "srun").chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    slurm = {"SLURM_JOB_ID": "1", "SLURM_GPUS": "4", "PATH": path}
    job = Job(tmp_path, "--gpus", "4", "--nodes", "2", "--", "save", **slurm)
    os.kill(int(job.notes("started", 4)[3]), signal.SIGTERM)  # scancel and --signal reach srun's tasks alone
    assert job.end() == (143, 4 * SAVING)
    assert len(job.notes("saved", 4)) == 4


def test_nodes_that_cannot_meet_are_one_line(tmp_path: Path) -> None:
    hand = ("--gpus", "2", "--nodes", "2", "--rendezvous-timeout", "1", "--rendezvous")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        busy = f"127.0.0.1:{taken.getsockname()[1]}"
        jobs = [
            Job(tmp_path, *hand, busy, "--node", "0", "--", "succeed"),
            Job(tmp_path, *hand, f"127.0.0.1:{free_port()}", "--node", "0", "--", "succeed"),
            Job(tmp_path, *hand, f"127.0.0.1:{free_port()}", "--node", "1", "--", "succeed"),
            Job(tmp_path, "--gpus", "2", "--nodes", "2", "--", "succeed", SLURM_JOB_ID="1", PATH="/nowhere"),
        ]
        ends = [job.end() for job in jobs]
    faults = ["the port is in use", "1 of 2 nodes came within 1 s", "no answer within 1 s", "srun: not found"]
    for (code, errors), fault in zip(ends, faults, strict=True):
        assert code == 1
        assert errors.startswith("error: ")
        assert len(errors.splitlines()) == 1
        assert fault in errors


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# --- what needs no process ---------------------------------------------------------------------------


def test_the_cause_comes_before_its_consequences() -> None:
    killed = died(1, pid=7, code=-9, seconds=3.0)
    aborted = died(2, pid=8, code=-6, seconds=1.0)
    raised = Failure(0, "host", "ValueError", 4.0, knock_on=False)
    assert first([aborted, raised, killed]) == killed
    assert first([aborted, raised]) == raised
    assert first([aborted]) == aborted
    assert first([]) is None


@pytest.mark.parametrize(
    ("error", "knock_on"),
    [
        (RuntimeError("[/gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:4711"), True),
        (ConnectionResetError(104, "Connection reset by peer"), True),
        (RuntimeError("shape mismatch"), False),
        (ValueError("no gloo here"), False),
    ],
)
def test_a_rank_tells_whether_it_has_lost_a_peer(
    monkeypatch: pytest.MonkeyPatch, error: Exception, knock_on: bool
) -> None:
    with failure_file() as file:
        monkeypatch.setenv(FAILURE_FILE, str(file.fileno()))
        assert told(3, file) is None
        assert tell_launcher(error, "first\nlast")
        failure = told(3, file)
    assert (failure.rank, failure.knock_on, failure.last_line) == (3, knock_on, "last")


def test_a_failure_that_does_not_fit_is_the_rank_s_to_print(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with failure_file() as file:
        monkeypatch.setenv(FAILURE_FILE, str(file.fileno()))
        resource.setrlimit(resource.RLIMIT_FSIZE, (20, limits[1]))
        try:
            assert not tell_launcher(ValueError(), "text" * 100)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert os.fstat(file.fileno()).st_size == 20
        assert told(0, file) is None


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have files in memory alone nowhere")
def test_a_failure_needs_no_disk() -> None:
    with failure_file() as file:
        assert os.readlink(f"/proc/self/fd/{file.fileno()}").startswith("/memfd:")


def test_a_ctrl_c_while_ranks_are_started_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    monkeypatch.setattr(ranks_module, "Rank", lambda *_: signal.raise_signal(signal.SIGINT))
    rendezvous = argparse.Namespace(host="node0", port=4711, node=0, nodes=1)
    try:
        asked = Asked()
        ranks_module.start(["true"], 1, rendezvous)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert asked.signal == signal.SIGINT


def test_without_a_launcher_a_rank_has_to_print(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FAILURE_FILE, raising=False)
    assert not tell_launcher(ValueError(), "text")
    monkeypatch.setenv(FAILURE_FILE, "-1")
    assert not tell_launcher(ValueError(), "text")


def test_ranks_share_the_threads_of_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(12)), raising=False)
    assert threads(4) == {"OMP_NUM_THREADS": "3"}
    monkeypatch.setenv("OMP_NUM_THREADS", "32")
    monkeypatch.setenv("MKL_NUM_THREADS", "2")
    assert threads(8) == {"OMP_NUM_THREADS": "4", "MKL_NUM_THREADS": "1"}


def test_srun_gets_a_task_on_each_other_node_with_all_that_the_job_has_there() -> None:
    options = argparse.Namespace(
        gpus=24, nodes=3, grace=120.0, rendezvous_timeout=300.0, script=["s.py", "--a", "b c"]
    )
    command = srun_command(options, "node0", 4711)
    srun, launcher = command[: command.index(sys.executable)], command[command.index(sys.executable) + 1 :]
    assert {
        "--relative=1",
        "--nodes=2",
        "--ntasks=2",
        "--ntasks-per-node=1",
        "--cpu-bind=none",
        "--gres=gpu:8",
    } < set(srun)
    assert not any(option.startswith("--cpus") for option in srun)
    assert launcher[-3:] == ["s.py", "--a", "b c"]
    assert "--rendezvous=node0:4711" in launcher
