"""torchrun with one-line errors: runs a script with a process per GPU, on one or several nodes.

    python scripts/torchrun.py --nnodes NODES --gpus GPUS SCRIPT OPTION...

The engine is torch's own (torch.distributed.run), with all its options but --signals-to-handle. By itself it prints 41
lines on a bad input and 61 on an exception, and always exits with 1. This adapter prints only the first failure
(scripts write it to torchrun's error file), exits with 143 after a TERM, ends when Slurm is about to end the job, and
starts itself on all nodes of a Slurm job. It restarts nothing: Snakemake does that, and training resumes from a
checkpoint.
"""

import argparse
import json
import logging
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, NoReturn

from catid2.runtime.command import AGENT_PID, KNOCK_ON, RUN_ID, SECONDS, entry_point
from catid2.runtime.errors import InputError
from catid2.runtime.slurm import step_environment, watch_for_end

# Time for ranks to save a checkpoint after a TERM or Ctrl-C; torch before 2.12 gives them 30 s.
SAVING_SECONDS = 120
# Slurm needs less to end the other nodes' tasks after one has failed.
ENDING_SECONDS = 5
# Exit codes of a rank that was ended by a TERM, or by a Ctrl-C while it started.
_STOPPED = (128 + signal.SIGTERM, -signal.SIGTERM, 128 + signal.SIGINT, -signal.SIGINT)
_ABORTS = (-signal.SIGABRT, -signal.SIGPIPE)  # NCCL's watchdog aborts a rank whose peer is gone
# Snakemake sets each of them to the job's threads.
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


class Failure(NamedTuple):
    """What ended a rank. The smallest of several failures is the cause of the others."""

    knock_on: bool  # probably a consequence of the loss of a peer
    seconds: float  # since the epoch
    text: str


def main() -> None:
    """Run the script with the ranks that the command line asks for, and exit with its code."""
    for name in (RUN_ID, AGENT_PID, "RANK", "WORLD_SIZE", "LOCAL_RANK"):
        os.environ.pop(name, None)  # left from an outer job; this process is not a rank
    _main()


@entry_point
def _main() -> None:
    match sys.argv[1:]:
        case ["--nnodes", "1", "--gpus", "0" | "1", script, *options] if not script.startswith("-"):
            _require_script(script)
            watch_for_end()
            # The script gets signals directly, and need not wait the 2 s that importing torch takes.
            os.execv(sys.executable, [sys.executable, script, *options])
    options, nodes = _options()
    if nodes == 1:
        watch_for_end()
    elif not (options.rdzv_endpoint or options.master_port):
        _start_on_all_nodes(nodes, options.gpus)
    with tempfile.TemporaryDirectory(prefix="torchrun-") as folder:
        options.log_dir = options.log_dir or folder  # of the error files
        _run(options)


def _options() -> tuple[argparse.Namespace, int]:
    """Return torchrun's options, and the number of nodes."""
    torchrun = _engine()
    parser = torchrun.get_args_parser()
    parser.set_defaults(master_port=None)  # torch 2.11 sets 29500 for all jobs of a machine
    parser.prog = "python scripts/torchrun.py"
    parser.description = "This is torchrun with one-line errors: a failed job prints only its first failure."
    parser.epilog = (
        "Several nodes: in a Slurm job run this once, with --nnodes and without --rdzv-endpoint; it starts itself on "
        "all nodes with srun. Elsewhere run it on every node, like torchrun. Exit codes: 0; 1 after a failure; 143 "
        f"after a TERM and 130 after a Ctrl-C. Both give ranks {SAVING_SECONDS} s to save a checkpoint (30 s before "
        "torch 2.12; see --shutdown-timeout)."
    )
    parser.add_argument(
        "--gpus",
        type=int,
        help="GPUs of the job over all nodes, with a rank for each; 0 starts one rank per node without a GPU. Replaces "
        "--nproc-per-node.",
    )
    options = parser.parse_args()
    try:
        nodes = torchrun.parse_min_max_nnodes(options.nnodes)[1]
        ranks = torchrun.determine_local_world_size(options.nproc_per_node)
    except ValueError as error:
        parser.error(str(error))
    if nodes < 1 or ranks < 1 or (options.gpus or 0) < 0:
        parser.error("--nnodes and --nproc-per-node must be 1 or more, --gpus 0 or more")
    if options.gpus is not None:
        if options.gpus % nodes:
            parser.error(f"--gpus {options.gpus} of {nodes} nodes: every node needs the same number")
        ranks = max(1, options.gpus // nodes)
    if not (options.module or options.no_python):
        _require_script(options.training_script)
    options.nproc_per_node = str(ranks)
    if nodes == 1:
        options.local_addr = options.local_addr or "127.0.0.1"  # the host's own name may not be resolved
        options.standalone = options.standalone or not (options.rdzv_endpoint or options.master_port)
    return options, nodes


def _require_script(path: str) -> None:
    if not Path(path).is_file():
        raise InputError(path or "SCRIPT", "no such script", "name a Python file")


def _engine() -> ModuleType:
    """Import torchrun with the logs of its C++ code turned off: they are pages long."""
    chosen = os.environ.get("TORCH_CPP_LOG_LEVEL")
    os.environ["TORCH_CPP_LOG_LEVEL"] = "FATAL"
    import torch.distributed.run as torchrun

    del os.environ["TORCH_CPP_LOG_LEVEL"]  # torch has read it; ranks must not inherit it
    if chosen:
        os.environ["TORCH_CPP_LOG_LEVEL"] = chosen
    for handler in logging.getLogger("torch.distributed").handlers:
        handler.addFilter(_is_news)
    return torchrun


def _start_on_all_nodes(nodes: int, gpus: int | None) -> NoReturn:
    """Become the job step that runs this command on each node of the Slurm job; the rendezvous is on this node.

    Snakemake's jobstep hides the job's SLURM_* variables, so the step cannot read the job's shape from them. A task
    without a number of CPUs and without binding can use all CPUs of the job on its node. GPUs must be requested for the
    step; the job itself must request them per node (--gpus-per-node), because of 4 in total Slurm may put 3 on one of
    two nodes. Slurm signals every task before the job ends, and ends all tasks when one fails.
    """
    if "SLURM_JOB_ID" not in os.environ:
        remedy = "run this on each node, with --rdzv-backend=c10d and --rdzv-endpoint=HOST:PORT"
        raise InputError("--nnodes", "this is not a Slurm job", remedy)
    step = [f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1", "--overlap", "--input=none"]
    step += ["--cpu-bind=none", "--mpi=none", "--kill-on-bad-exit=1"]
    if gpus:
        step.append(f"--gres=gpu:{gpus // nodes}")
    with socket.socket() as probe:
        probe.bind(("", 0))
        endpoint = f"{socket.gethostname()}:{probe.getsockname()[1]}"
    meet = ["--rdzv-backend=c10d", f"--rdzv-endpoint={endpoint}", f"--rdzv-id={os.environ['SLURM_JOB_ID']}"]
    command = ["srun", *step, sys.executable, sys.argv[0], *meet, *sys.argv[1:]]
    try:
        os.execvpe("srun", command, step_environment(os.environ))
    except FileNotFoundError:
        raise InputError("srun", "not found", "run this where the commands of Slurm are on PATH") from None


def _run(options: argparse.Namespace) -> None:
    """Run torchrun's agent of this node and print the first failure.

    Raises:
        SystemExit: a rank has failed, or the agent was asked to stop.
        InputError: the nodes do not find or have lost each other.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous.api import RendezvousError
    from torch.distributed.run import run

    os.environ |= threads(int(options.nproc_per_node))
    os.environ[AGENT_PID] = str(os.getpid())
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(SAVING_SECONDS))
    # TERM and Ctrl-C raise SystemExit and KeyboardInterrupt, and the agent ends the ranks. The agent's own handlers
    # would stop waiting for the ranks at a second TERM, and both Slurm and the watcher send one.
    options.signals_to_handle = "SIGHUP,SIGQUIT"
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # ignored in a shell's background
        signal.signal(signal.SIGINT, _interrupt)
    try:
        run(options)
    except ChildFailedError as error:
        dead = {rank: failure for rank, failure in error.failures.items() if failure.exitcode not in _STOPPED}
        failures = [_failure(rank, failure) for rank, failure in dead.items()] + _causes(options)
        if not failures:
            sys.exit(128 + signal.SIGTERM)  # only a rank got it
        _print_first(failures)
        sys.exit(1)
    except (RendezvousError, SystemExit, KeyboardInterrupt, SignalException) as end:
        _print_first(_causes(options))
        if isinstance(end, SignalException):
            sys.exit(128 + end.sigval)
        if isinstance(end, RendezvousError):
            time.sleep(ENDING_SECONDS)  # a node that has failed says why, and Slurm ends this one
            what = f"the nodes do not find or have lost each other ({end.__cause__ or end})"
            raise InputError(
                options.rdzv_endpoint, what, "see the logs of all nodes, and run again"
            ) from None
        raise


def _interrupt(number: int, frame: object) -> NoReturn:
    """Handle a Ctrl-C: the agent asks the ranks to stop and waits. A second Ctrl-C kills them."""
    signal.signal(number, _kill_ranks)
    raise KeyboardInterrupt


def _kill_ranks(number: int, frame: object) -> None:
    """Handle a further Ctrl-C: kill this process's children, which Linux lists."""
    for children in Path("/proc/self/task").glob("*/children"):
        for pid in children.read_text().split():
            os.kill(int(pid), signal.SIGKILL)


def _is_news(record: logging.LogRecord) -> bool:
    """Return whether the agent's message adds to the first failure: that a rank had to be killed."""
    return str(record.msg).startswith("Unable to shutdown")


def threads(ranks: int) -> dict[str, str]:
    """Return the thread counts of a rank: its share of the job's CPUs.

    By default libraries start a thread per CPU in each process, `ranks` times too many. torchrun's default of one
    thread leaves most CPUs idle during work that is not on the GPU.
    """
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    every = {name: os.environ[name] for name in _THREADS if os.environ.get(name, "").isdigit()}
    every = {"OMP_NUM_THREADS": str(cores)} | every
    return {name: str(max(1, int(value) // ranks)) for name, value in every.items()}


def _causes(options: argparse.Namespace) -> list[Failure]:
    """Return the failures that the ranks of this node wrote, except those caused by the loss of a peer.

    The agent does not list a rank that it ended itself, but that rank can be the first that failed: a peer that noticed
    the failure may exit before it.
    """
    files = Path(options.log_dir).glob(f"{options.rdzv_id}_*/attempt_*/*/error.json")
    told = [_told(json.loads(file.read_text("utf-8"))["message"]) for file in files]
    return [failure for failure in told if not failure.knock_on]


def _print_first(failures: Iterable[Failure]) -> None:
    if cause := min(failures, default=None):
        print(cause.text.rstrip(), file=sys.stderr)


def _failure(rank: int, process: Any) -> Failure:
    """Return the failure of a rank from torchrun's ProcessFailure: what the rank wrote, or else how it ended."""
    if isinstance(process.message, dict):
        return _told(process.message)
    if process.exitcode < 0:
        name = signal.Signals(-process.exitcode).name
        memory = "; out of memory?" if process.exitcode == -signal.SIGKILL else ";"
        remedy = "see the log; run again to resume from the last checkpoint"
        reason = f"killed by signal {-process.exitcode} ({name}){memory} {remedy}"
    else:
        reason = f"ended with exit code {process.exitcode}; its own message is above"
    text = f"error: rank {rank} ({socket.gethostname()}, pid {process.pid}): {reason}"
    return Failure(process.exitcode in _ABORTS, process.timestamp, text)


def _told(message: dict[str, Any]) -> Failure:
    """Return the failure in a rank's error file, written by our scripts or by torch's `record`."""
    more = message["extraInfo"]
    return Failure(more.get(KNOCK_ON, False), more.get(SECONDS, int(more["timestamp"])), more["py_callstack"])
