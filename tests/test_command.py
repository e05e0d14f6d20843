"""How a script ends: one line on what the user can mend, tidily on signals, by a traceback on anything else.

And how it is told of the end of its Slurm job; `srun` is a shell script here.
"""

import contextlib
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import Mock

import psutil
import pytest
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

from catid2.runtime.command import AGENT_PID, OPTIONAL_PATH, entry_point, new_parser
from catid2.runtime.errors import InputError


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run a test without an agent, and with the signal handlers of before at its end."""
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


def raising(error: BaseException) -> Callable[[], None]:
    @entry_point
    def main() -> None:
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (InputError("file", "what\nis wrong", "mend it"), "file: what is wrong; mend it"),
        (
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "out.npy"),
            "out.npy: cannot be written (No space left on device); make room and run again",
        ),
        (
            OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
            "disk: cannot be written (Disk quota exceeded); make room and run again",
        ),
        (
            PermissionError(errno.EACCES, os.strerror(errno.EACCES), "view.npy"),
            "view.npy: cannot be used (Permission denied); make it accessible, or try again",
        ),
        (
            OSError(errno.EIO, os.strerror(errno.EIO), "view.npy"),
            "view.npy: cannot be used (Input/output error); make it accessible, or try again",
        ),
    ],
)
def test_what_the_user_can_mend_is_one_line(
    capsys: pytest.CaptureFixture, error: Exception, line: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        raising(error)()
    assert caught.value.code == 1
    assert capsys.readouterr().err == f"error: {line}\n"


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a fault"),
        BrokenPipeError(errno.EPIPE, "a fault"),
        FileNotFoundError(errno.ENOENT, "of ours", "a fault"),
    ],
)
def test_another_error_keeps_its_traceback(capsys: pytest.CaptureFixture, error: Exception) -> None:
    with pytest.raises(SystemExit) as caught:
        raising(error)()
    assert caught.value.code == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert "a fault" in lines[-1]


def test_ctrl_c_ends_without_a_traceback(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as caught:
        raising(KeyboardInterrupt())()
    assert caught.value.code == 130
    assert capsys.readouterr().err == ""


def test_a_second_term_does_not_break_the_clean_up() -> None:
    cleaned = []

    @entry_point
    def main() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGTERM)
            cleaned.append(True)

    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 143
    assert cleaned


# --- ranks of torchrun


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The error file of a rank, the environment of which this process has."""
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "job")
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "error.json"))
    monkeypatch.delenv(AGENT_PID, raising=False)
    # pytest itself has to outlive its parent
    monkeypatch.setattr("catid2.runtime.command.signal_at_end_of_parent", lambda number: None)
    return tmp_path / "error.json"


@pytest.mark.parametrize(
    ("error", "knock_on"),
    [
        (RuntimeError("[/gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:4711"), True),
        (ConnectionResetError(104, "Connection reset by peer"), True),
        (RuntimeError("shape mismatch"), False),
        (InputError("gloo", "is bad", "mend it"), False),
    ],
)
def test_a_rank_tells_the_agent_and_whether_it_has_lost_a_peer(
    agent: Path, capsys: pytest.CaptureFixture, error: Exception, knock_on: bool
) -> None:
    with pytest.raises(SystemExit):
        raising(error)()
    assert capsys.readouterr().err == ""
    failure = ProcessFailure(local_rank=0, pid=1, exitcode=1, error_file=str(agent))
    more = failure.message["extraInfo"]
    assert (more["knock_on"], int(more["seconds"])) == (knock_on, failure.timestamp)
    assert str(error) in failure.message["message"]
    assert more["py_callstack"].rstrip().endswith(failure.message["message"])


def test_a_rank_that_cannot_tell_prints(
    agent: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def printed() -> str:
        with pytest.raises(SystemExit):
            raising(InputError("file", "is bad", "mend it"))()
        return capsys.readouterr().err

    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", Mock(side_effect=full))
        assert printed() == "error: file: is bad; mend it\n"
    monkeypatch.delenv("TORCHELASTIC_RUN_ID")  # the variable was left by another job
    assert printed() == "error: file: is bad; mend it\n"
    assert not agent.exists()


def test_an_orphan_does_not_start(agent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    monkeypatch.setenv(AGENT_PID, str(os.getpid()))  # no process is its own parent
    with pytest.raises(SystemExit) as caught:
        entry_point(lambda: started.append(True))()
    assert caught.value.code == 143
    assert not started


# --- the end of a Slurm job -------------------------------------------------------------------------

ROOT = Path(__file__).parent.parent
RUN_STEP = 'while [ "${1#--}" != "$1" ]; do shift; done; exec "$@"'


def watch(folder: Path, srun: str, parent: str) -> subprocess.CompletedProcess:
    """Run a process that starts a watcher of its Slurm job, as the child of `parent`, and waits for its end."""
    (folder / "srun").write_text(f'#!/bin/sh\necho "$$" > {folder}/srun.pid\n{srun}\n', encoding="utf-8")
    (folder / "srun").chmod(0o755)
    program = (
        "import os, subprocess, sys, catid2.runtime.slurm as slurm\n"
        "code = 'import catid2.runtime.slurm as slurm; slurm.PATIENCE = 0.3; slurm.main()'\n"
        f"sys.exit(subprocess.call([sys.executable, '-c', code, {parent}], stdin=subprocess.DEVNULL))"
    )
    variables = {"PATH": f"{folder}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | variables,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
    )


def test_the_end_of_the_slurm_job_is_a_term(tmp_path: Path) -> None:
    # Slurm tells the step's first process.
    done = watch(
        tmp_path,
        f'case "$*" in *--mpi=none*) ;; *) exit 9;; esac; (sleep 1; kill "$$") & {RUN_STEP}',
        "str(os.getpid())",
    )
    assert (done.returncode, done.stderr) == (-signal.SIGTERM, "")


def test_a_watcher_whose_parent_is_gone_ends_and_takes_srun_along(tmp_path: Path) -> None:
    done = watch(tmp_path, "exec sleep 600", "'1'")
    assert (done.returncode, done.stderr) == (0, "")
    with contextlib.suppress(FileNotFoundError, psutil.NoSuchProcess):  # it was ended before it wrote that
        pid = int((tmp_path / "srun.pid").read_text())
        deadline = time.monotonic() + 10
        while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_a_step_that_does_not_start_is_said(tmp_path: Path) -> None:
    done = watch(tmp_path, "sleep 2; echo no steps >&2; exit 1", "str(os.getpid())")
    late, failed = done.stderr.splitlines()
    assert "not yet started" in late
    assert failed == "Slurm will not signal this job before it ends (no steps): periodic checkpoints only"


@pytest.mark.parametrize("given", [(), ("--tree",), ("--tree", ""), ("--tree=",)])
def test_an_optional_path_may_be_left_empty(given):
    parser = new_parser("")
    parser.add_argument("--tree", **OPTIONAL_PATH)
    parser.add_argument("--output")
    options = parser.parse_args([*given, "--output", "o"])
    assert (options.tree, options.output) == (None, "o")
    assert parser.parse_args(["--tree", "t.parquet"]).tree == Path("t.parquet")


@pytest.mark.parametrize("values", [[], ["a b", "@c", "\"d'\\"]])
def test_a_file_of_options_has_one_a_line(values, tmp_path):
    lines = tmp_path / "lines"
    lines.write_text("\n".join(f"--run={value}" for value in values) + "\n")
    parser = new_parser("", long=True)
    parser.add_argument("--run", action="append", default=[])
    assert parser.parse_args([f"@{lines}", "--run=last"]).run == [*values, "last"]


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="argparse reads any bytes, as in names of files")
def test_a_file_of_options_that_is_not_utf8_is_one_line(tmp_path: Path) -> None:
    lines = tmp_path / "lines"
    lines.write_bytes(b"--run=\xff\n")
    with pytest.raises(InputError, match=f"^{lines}: not UTF-8 \\(invalid start byte\\); save it as UTF-8$"):
        new_parser("", long=True).parse_args([f"@{lines}"])


def test_an_empty_path_is_refused_by_its_option(capsys: pytest.CaptureFixture[str]) -> None:
    parser = new_parser("")
    parser.add_argument("--output", type=Path)
    assert parser.parse_args(["--output", "x"]).output == Path("x")
    with pytest.raises(SystemExit):
        parser.parse_args(["--output", ""])
    assert "argument --output: empty; name a file or folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"RANK": "x"}, "RANK: 'x' is not a whole number"),
        ({"RANK": "1"}, "RANK: 1, of WORLD_SIZE 1"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "RANK: 2, of WORLD_SIZE 2"),
    ],
)
def test_what_another_job_left_of_its_ranks_is_one_line(
    variables: dict[str, str], says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match=r"^1$"):
        raising(AssertionError("main runs"))()
    assert capsys.readouterr().err.startswith(f"error: {says}; start the script with torchrun, or unset RANK")
