"""Start a script as one process, as one per GPU of this machine, or as one per GPU of several nodes.

    python scripts/launch.py --gpus GPUS [--nodes NODES] SCRIPT OPTION...

In place of torchrun, because a job here ends with one line on a bad input, whichever and however many ranks found it;
with the failure that came first, not its consequences; within seconds when a rank or a launcher ends; and with a
checkpoint when it is asked to stop. A node that falls silent, without power or network, is left to Slurm and to the
time-out of its peers; a TERM ends these meanwhile. Nothing is restarted: Snakemake does that, and training goes on
from a checkpoint.
"""

import argparse
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from catid2.runtime.slurm import module_command, step_environment, watch_for_end


def main() -> None:
    """Run the script with the ranks that the command line asks for, and exit as it does."""
    options = _options()
    command = [sys.executable, *options.script]
    if options.rendezvous is None:
        watch_for_end()
    if options.nodes == 1 and options.gpus <= 1:
        os.execv(sys.executable, command)  # signals then reach the script itself
    from catid2.runtime.errors import InputError

    try:
        sys.exit(_run(options, command))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


def srun_command(options: argparse.Namespace, host: str, port: int) -> list[str]:
    """Return the command that starts a launcher on each node of the Slurm job but the first.

    Snakemake's jobstep hides the job's SLURM_* variables, so its shape is not known from those. A task without a number
    of CPUs, and bound to none, has all that the job has on its node. GPUs have to be named, and so has the
    job to ask for them per node, too (--gpus-per-node): of 4 in all Slurm may give 3 to the first of two nodes.
    """
    others = str(options.nodes - 1)
    step = ["--relative=1", f"--nodes={others}", f"--ntasks={others}", "--ntasks-per-node=1"]
    step += ["--cpu-bind=none", "--mpi=none", "--kill-on-bad-exit=1"]
    if options.gpus:
        step.append(f"--gres=gpu:{options.gpus // options.nodes}")
    launcher = [
        *module_command("catid2.runtime.launch"),
        f"--gpus={options.gpus}",
        f"--nodes={options.nodes}",
    ]
    launcher += [f"--grace={options.grace:g}", f"--rendezvous-timeout={options.rendezvous_timeout:g}"]
    return ["srun", *step, *launcher, f"--rendezvous={host}:{port}", "--node=srun", *options.script]


def _run(options: argparse.Namespace, command: Sequence[str]) -> int:
    """Run this node's ranks, and return the exit code."""
    from catid2.runtime.errors import InputError
    from catid2.runtime.ranks import FAILED_GRACE, Asked, start, watch
    from catid2.runtime.rendezvous import Rendezvous

    under_srun = options.nodes > 1 and options.rendezvous is None
    if under_srun and "SLURM_JOB_ID" not in os.environ:
        raise InputError(
            "--nodes", "this is no Slurm job", "start one on each node, with --rendezvous and --node"
        )
    host, port, node = _place(options)
    rendezvous = Rendezvous(host, port, node, options.nodes, options.rendezvous_timeout)
    asked = Asked()
    others = None
    try:
        if under_srun:
            others = _start_others(srun_command(options, host, rendezvous.port))
        rendezvous.join()
        while not rendezvous.is_complete():
            if asked.signal:
                return 128 + asked.signal
            if others is not None and others.poll() is not None:
                what = f"ended with exit code {others.returncode} before all nodes were there"
                needs = f"{options.nodes} nodes and --gpus-per-node={options.gpus // options.nodes}"
                raise InputError("srun", what, f"see above; the job needs {needs}")
            time.sleep(0.1)
        ranks = start(command, max(1, options.gpus // options.nodes), rendezvous)
        return watch(ranks, others, rendezvous, asked, options.grace)
    finally:
        rendezvous.close()
        if others is not None:
            _end(others, FAILED_GRACE)


def _place(options: argparse.Namespace) -> tuple[str, int, int]:
    """Return host and port of the rendezvous, 0 for any free one, and this node's number."""
    if options.nodes == 1:
        return "127.0.0.1", 0, 0
    if options.rendezvous is None:
        return socket.gethostname(), 0, 0
    return *options.rendezvous, options.node


def _start_others(command: Sequence[str]) -> subprocess.Popen:
    from catid2.runtime.errors import InputError

    try:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, env=step_environment(os.environ))
    except FileNotFoundError:
        raise InputError("srun", "not found", "run this in a Slurm job, or start one on each node") from None


def _end(process: subprocess.Popen, grace: float) -> None:
    """Let `process` end by itself, then make it, with `grace` seconds for each."""
    for make_it in (process.terminate, process.kill):
        try:
            process.wait(grace)
            return
        except subprocess.TimeoutExpired:
            make_it()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python scripts/launch.py",
        description="Run SCRIPT with its OPTIONs, as one process (a rank) per GPU, or in place of this one.",
        epilog="Several nodes: in a Slurm job run this once, on the job's first node, and it starts itself on the "
        "others by srun. Elsewhere run it on every node, each with --rendezvous and its own --node. Exit code: 0; "
        "1 after a failure, the first of which is printed; 143 after a TERM and 130 after a Ctrl-C.",
    )
    parser.add_argument(
        "--gpus",
        type=_count(0),
        required=True,
        help="of the job, a rank for each; 0 is one rank a node without GPU",
    )
    parser.add_argument("--nodes", type=_count(1), default=1, help="nodes of the job (default 1)")
    parser.add_argument(
        "--grace",
        type=float,
        default=120,
        metavar="SECONDS",
        help="that ranks have to save a checkpoint after a TERM or Ctrl-C (default 120; 0 after a second Ctrl-C)",
    )
    parser.add_argument(
        "--rendezvous",
        type=_address,
        metavar="HOST:PORT",
        help="where node 0 listens, as the other nodes reach it; only without Slurm",
    )
    parser.add_argument(
        "--node", type=_node, metavar="NUMBER", help="of this node, from 0; only with --rendezvous"
    )
    parser.add_argument(
        "--rendezvous-timeout",
        type=float,
        default=300,
        metavar="SECONDS",
        help="until all nodes have to be there (default 300)",
    )
    parser.add_argument("script", nargs=argparse.REMAINDER, metavar="SCRIPT OPTION...")
    options = parser.parse_args()
    if not options.script:
        parser.error("name a script")
    if options.gpus % options.nodes:
        parser.error(f"--gpus {options.gpus} of {options.nodes} nodes: every node needs the same number")
    if (options.rendezvous is None) != (options.node is None):
        parser.error("--rendezvous and --node go together")
    if options.node is not None and not 0 <= options.node < options.nodes:
        parser.error(f"--node {options.node} of {options.nodes}: nodes are numbered from 0")
    return options


def _count(least: int) -> Callable[[str], int]:
    def count(text: str) -> int:
        if int(text) < least:
            raise ValueError
        return int(text)

    return count


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host:
        raise ValueError
    return host, int(port)


def _node(text: str) -> int:
    """Return a node's number; `srun` stands for what Slurm has set, where node 0 is not among srun's tasks."""
    return int(os.environ["SLURM_PROCID"]) + 1 if text == "srun" else int(text)


if __name__ == "__main__":
    main()
