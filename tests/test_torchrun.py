"""torchrun with one-line errors: how jobs of several ranks and nodes start, fail and stop; with real processes."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from rqvae_case import arguments, catalogue, settings, write_inputs
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure, record

from catid2.runtime.torchrun import _failure, threads

ROOT = Path(__file__).parent.parent
LIMIT = 90  # seconds after which a job hangs, on a busy machine too
SAVING = "SIGTERM: saving at the next boundary\n"  # what a rank says that is asked to stop

SCRIPT = """
import os, signal, sys, time
from pathlib import Path
from catid2.runtime.command import entry_point
from catid2.runtime.errors import InputError
from catid2.runtime.stopping import deferred_stop

RANK = int(os.environ.get("RANK", "0"))

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

def deaf():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    note("started", str(os.getpid()))
    time.sleep(600)

def fail_when_told():
    note("started", str(os.getpid()))
    try:
        time.sleep(600)
    finally:
        raise ValueError("the cause")

def end_late():
    note("started", os.environ.get("TORCH_CPP_LOG_LEVEL"))
    if RANK == 1:
        time.sleep(2)
        note("late")

def idle():
    note("started", str(os.getpid()))
    time.sleep(600)

@entry_point
def main():
    globals()[sys.argv[1]](*sys.argv[2:])

main()
"""

# As srun starts one task on each of two nodes, without another machine; ends both when one has failed.
SRUN = """#!/bin/bash
[ -z "$SLURM_GPUS" ] || { echo "srun: takes the job's own wishes for the step's" >&2; exit 9; }
while [ "${1#--}" != "$1" ]; do echo "$1" >> options; shift; done
exec 3>&2 2> /dev/null  # bash would say whom it killed
trap 'kill -TERM $nodes' TERM
"$@" 2>&3 & nodes=$!
"$@" 2>&3 & nodes="$nodes $!"
wait -n; code=$?
[ $code -lt 129 ] || { wait; exit $code; }
[ $code -eq 0 ] || kill -KILL $nodes
wait; exit $code
"""


class Job:
    """A running job, its script in `folder`."""

    def __init__(self, folder: Path, *arguments: str, **environment: str):
        self.folder = folder
        (folder / "script.py").write_text(SCRIPT, encoding="utf-8")
        options, script = arguments[: arguments.index("--")], arguments[arguments.index("--") + 1 :]
        loopback = {"PYTHONPATH": str(ROOT), "GLOO_SOCKET_IFNAME": "lo", "TMPDIR": str(folder)}
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "scripts/torchrun.py"), *options, "script.py", *script],
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


TWO = ("--nnodes", "1", "--gpus", "2")


@pytest.mark.parametrize("culprits", [["0", "1"], ["1"]])
def test_a_bad_input_is_one_line_whichever_ranks_find_it(tmp_path: Path, culprits: list[str]) -> None:
    job = Job(tmp_path, *TWO, "--", "bad_input", *culprits)
    assert job.end() == (1, "error: file: is bad; mend it\n")
    assert [path.name for path in tmp_path.iterdir()] == ["script.py"]  # nothing is left in TMPDIR


def test_the_traceback_is_of_the_rank_that_failed_first(tmp_path: Path) -> None:
    job = Job(tmp_path, *TWO, "--", "collective", "1", "raise")
    code, errors = job.end()
    assert code == 1
    assert errors.startswith("Traceback (most recent call last):\n")
    assert errors.endswith("ValueError: the cause\n")
    assert errors.count("Traceback") == 1  # the other rank lost a peer in all_reduce: nothing to read
    assert job.notes("started", 2) == [f"{rank} of 2, {rank} of the node" for rank in range(2)]


def test_a_rank_killed_in_a_collective_ends_the_job(tmp_path: Path) -> None:
    code, errors = Job(tmp_path, "--standalone", "--nproc-per-node=2", "--", "collective", "1", "kill").end()
    assert code == 1
    assert errors.startswith(f"error: rank 1 ({socket.gethostname()}, pid ")
    assert "killed by signal 9 (SIGKILL); out of memory?" in errors
    assert len(errors.splitlines()) == 1


def test_ranks_may_save_before_they_stop(tmp_path: Path) -> None:
    job = Job(tmp_path, *TWO, "--", "save")
    ranks = job.notes("started", 2)
    for pid in (
        *ranks,
        job.process.pid,
        job.process.pid,
    ):  # Slurm tells all, and the watcher tells the agent again
        os.kill(int(pid), signal.SIGTERM)
    assert job.end() == (143, 2 * SAVING)
    assert len(job.notes("saved", 2)) == 2


def test_ctrl_c_lets_ranks_save(tmp_path: Path) -> None:
    job = Job(tmp_path, *TWO, "--", "save")
    job.notes("started", 2)
    job.process.send_signal(signal.SIGINT)
    assert job.end() == (130, 2 * SAVING)
    assert len(job.notes("saved", 2)) == 2


def test_a_term_to_one_rank_stops_all(tmp_path: Path) -> None:
    job = Job(tmp_path, *TWO, "--", "save")
    os.kill(int(job.notes("started", 2)[1]), signal.SIGTERM)
    assert job.end() == (143, 2 * SAVING)
    assert len(job.notes("saved", 2)) == 2


def test_ranks_that_do_not_stop_are_killed_when_grace_is_over(tmp_path: Path) -> None:
    job = Job(tmp_path, *TWO, "--", "deaf", TORCH_ELASTIC_SHUTDOWN_TIMEOUT="1")
    ranks = job.notes("started", 2)
    job.process.terminate()
    code, errors = job.end()
    assert code == 143
    for pid, line in zip(ranks, errors.splitlines(), strict=True):
        assert f"Unable to shutdown process {pid}" in line
        assert not alive(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not say which processes are children")
def test_a_second_ctrl_c_kills_at_once(tmp_path: Path) -> None:
    job = Job(tmp_path, *TWO, "--", "deaf")
    ranks = job.notes("started", 2)
    job.process.send_signal(signal.SIGINT)
    time.sleep(0.5)  # or the two become one
    job.process.send_signal(signal.SIGINT)
    assert job.end() == (130, "")
    assert not any(alive(pid) for pid in ranks)


def test_a_failure_while_ranks_save_is_printed(tmp_path: Path) -> None:
    job = Job(tmp_path, *TWO, "--", "fail_when_told")
    job.notes("started", 2)
    job.process.terminate()
    code, errors = job.end()
    assert code == 143
    assert errors.startswith("Traceback (most recent call last):\n")
    assert errors.endswith("ValueError: the cause\n")


@pytest.mark.skipif(
    sys.platform != "linux", reason="the kernel tells processes that their parent is gone on Linux only"
)
def test_ranks_do_not_outlive_a_killed_agent(tmp_path: Path) -> None:
    job = Job(tmp_path, *TWO, "--", "idle")
    ranks = job.notes("started", 2)
    job.process.kill()
    job.end()
    wait_until(lambda: not any(alive(pid) for pid in ranks))


def test_one_process_is_the_script_itself(tmp_path: Path) -> None:
    left = {"RANK": "7", "WORLD_SIZE": "9", "LOCAL_RANK": "3"}  # by another job
    job = Job(tmp_path, "--nnodes", "1", "--gpus", "1", "--", "idle", **left)
    assert job.notes("started", 1) == [str(job.process.pid)]
    job.process.terminate()
    assert job.end() == (143, "")


def test_options_of_torchrun_come_before_the_script(tmp_path: Path) -> None:
    job = Job(tmp_path, "--nnodes", "1", "--gpus", "1", "--standalone", "--", "idle")
    job.notes("started", 1)
    job.process.terminate()
    assert job.end() == (143, "")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--nnodes", "1", "--gpus", "1", "nope.py"], "error: nope.py: no such script"),
        (["--gpus", "2", "nope.py"], "error: nope.py: no such script"),
        (["--gpus", "2", ""], "error: SCRIPT: no such script"),
        (["--nnodes", "0", "--gpus", "1", "nope.py"], "must be 1 or more"),
        (["--nproc-per-node", "0", "nope.py"], "must be 1 or more"),
    ],
)
def test_what_cannot_be_started_is_one_line(words: list[str], said: str) -> None:
    command = [sys.executable, str(ROOT / "scripts/torchrun.py"), *words]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0
    assert said in done.stderr.splitlines()[-1]


def test_what_another_job_left_in_the_environment_does_no_harm(tmp_path: Path) -> None:
    left = {"RANK": "7", "WORLD_SIZE": "9", "LOCAL_RANK": "3", "MASTER_ADDR": "192.0.2.1", "MASTER_PORT": "1"}
    left |= {
        "TORCHELASTIC_ERROR_FILE": str(tmp_path / "lost"),
        "TORCHELASTIC_RUN_ID": "other",
        "CATID2_AGENT_PID": "1",
    }
    job = Job(tmp_path, *TWO, "--", "collective", "1", "raise", **left)
    code, errors = job.end()
    assert (code, errors.count("ValueError: the cause")) == (1, 1)
    assert job.notes("started", 2) == [f"{rank} of 2, {rank} of the node" for rank in range(2)]


def test_two_nodes_by_hand(tmp_path: Path) -> None:
    jobs = two_nodes(tmp_path, "--nproc-per-node=2", "--", "collective", "2", "raise")
    ends = [job.end() for job in jobs]
    assert jobs[0].notes("started", 4) == [f"{rank} of 4, {rank % 2} of the node" for rank in range(4)]
    assert [code for code, _ in ends] == [1, 1]
    assert sum(errors.endswith("ValueError: the cause\n") for _, errors in ends) == 1


@pytest.mark.parametrize("level", [None, "ERROR"])
def test_a_node_that_is_done_waits_for_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: str | None
) -> None:
    monkeypatch.delenv("TORCH_CPP_LOG_LEVEL", raising=False)
    chosen = {} if level is None else {"TORCH_CPP_LOG_LEVEL": level}
    jobs = two_nodes(tmp_path, "--nproc-per-node=1", "--", "end_late", **chosen)
    assert [job.end() for job in jobs] == [(0, ""), (0, "")]
    assert (tmp_path / "late1").exists()
    assert jobs[0].notes("started", 2) == 2 * [str(level)]  # the agent's own choice is not for the ranks


def two_nodes(folder: Path, *arguments: str, **environment: str) -> list[Job]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        endpoint = f"--rdzv-endpoint=127.0.0.1:{probe.getsockname()[1]}"
    place = ("--nnodes=2", "--rdzv-backend=c10d", endpoint, "--local-addr=127.0.0.1")
    return [Job(folder, *place, *arguments, **environment) for _ in range(2)]


@pytest.fixture
def slurm(tmp_path: Path) -> dict[str, str]:
    """The environment of a job on two nodes, and an srun to go with it."""
    (tmp_path / "srun").write_text(SRUN, encoding="utf-8")
    (tmp_path / "srun").chmod(0o755)
    return {"SLURM_JOB_ID": "1", "SLURM_GPUS": "4", "PATH": f"{tmp_path}:{os.environ['PATH']}"}


def test_under_slurm_one_step_runs_on_all_nodes(tmp_path: Path, slurm: dict[str, str]) -> None:
    job = Job(tmp_path, "--nnodes", "2", "--gpus", "4", "--", "save", **slurm)
    job.notes("started", 4)
    job.process.terminate()  # srun passes it on
    assert job.end() == (143, 4 * SAVING)
    assert len(job.notes("saved", 4)) == 4
    options = (tmp_path / "options").read_text().splitlines()
    wanted = ["--nodes=2", "--ntasks=2", "--ntasks-per-node=1", "--cpu-bind=none", "--kill-on-bad-exit=1"]
    assert {*wanted, "--gres=gpu:2"} < set(options)
    assert not any(option.startswith("--cpus") for option in options)


def test_a_bad_input_on_two_nodes_ends_both(tmp_path: Path, slurm: dict[str, str]) -> None:
    job = Job(tmp_path, "--nnodes", "2", "--gpus", "2", "--", "bad_input", "1", **slurm)
    assert job.end() == (1, "error: file: is bad; mend it\n")


def test_nodes_that_cannot_meet_are_one_line(tmp_path: Path) -> None:
    nowhere = ("--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:1", "--rdzv-conf=is_host=0,read_timeout=1")
    jobs = [
        Job(tmp_path, "--nnodes=2", "--gpus=2", *nowhere, "--", "idle"),
        Job(tmp_path, "--nnodes=2", "--gpus=2", "--", "idle"),
        Job(tmp_path, "--nnodes=2", "--gpus=2", "--", "idle", SLURM_JOB_ID="1", PATH="/nowhere"),
    ]
    faults = ["127.0.0.1:1: the nodes do not find", "--nnodes: this is not a Slurm job", "srun: not found"]
    for job, fault in zip(jobs, faults, strict=True):
        code, errors = job.end()
        assert code == 1
        assert errors.startswith(f"error: {fault}")
        assert len(errors.splitlines()) == 1


def test_a_script_runs_under_plain_torchrun(tmp_path: Path) -> None:
    write_inputs(tmp_path, catalogue())
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "GLOO_SOCKET_IFNAME": "lo",
    }
    losses = []
    for name, launcher in {"one": [], "two": torchrun}.items():
        script = [str(ROOT / "scripts/train_rqvae.py"), *arguments(tmp_path, settings(), tmp_path / name)]
        subprocess.run([sys.executable, *launcher, *script], env=environment, check=True, capture_output=True)
        losses.append(pl.read_csv(tmp_path / name / "rqvae" / "history.tsv", separator="\t")["loss"])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)


# --- what needs no process ---------------------------------------------------------------------------


def process(exitcode: int, timestamp: int, message: str | dict = "") -> SimpleNamespace:
    return SimpleNamespace(exitcode=exitcode, timestamp=timestamp, message=message, pid=7)


def error_file(text: str, seconds: float, knock_on: bool) -> dict:
    more = {"py_callstack": text, "timestamp": str(int(seconds)), "seconds": seconds, "knock_on": knock_on}
    return {"message": text, "extraInfo": more}


def test_the_cause_comes_before_its_consequences() -> None:
    lost = _failure(0, process(1, 2, error_file("lost", 2.0, knock_on=True)))
    killed = _failure(1, process(-9, 3))
    aborted = _failure(2, process(-6, 1))
    raised = _failure(3, process(1, 4, error_file("raised", 4.5, knock_on=False)))
    later = _failure(4, process(1, 4, error_file("later", 4.6, knock_on=False)))
    assert min(aborted, raised, killed, lost) == killed
    assert min(aborted, later, raised, lost) == raised
    assert min(lost, aborted) == aborted
    assert "rank 1" in killed.text
    assert "pid 7): killed by signal 9 (SIGKILL); out of memory?" in killed.text


def test_the_error_file_of_torchs_own_record_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "error.json"))
    with pytest.raises(ValueError, match="the cause"):
        record(lambda: int("the cause"))()
    failure = _failure(
        0, ProcessFailure(local_rank=0, pid=1, exitcode=1, error_file=str(tmp_path / "error.json"))
    )
    assert not failure.knock_on
    assert failure.text.endswith("invalid literal for int() with base 10: 'the cause'\n")


def test_ranks_share_the_threads_of_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(12)), raising=False)
    assert threads(4) == {"OMP_NUM_THREADS": "3"}
    monkeypatch.setenv("OMP_NUM_THREADS", "32")
    monkeypatch.setenv("MKL_NUM_THREADS", "2")
    assert threads(8) == {"OMP_NUM_THREADS": "4", "MKL_NUM_THREADS": "1"}
