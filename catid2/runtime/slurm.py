"""Passes Slurm's TERM at the end of a job on to a process that Slurm does not signal.

With proctrack/cgroup, which most clusters use, Slurm sends the TERM of a time limit, of scancel or of preemption only
to the first process of each job step (proctrack_cgroup.c: "only signal slurm tasks unless signal is SIGKILL"). In a
step of Snakemake's executor that is Snakemake, which does not pass the signal on, so training would be killed before it
saves. The solution is a sentinel: a second, empty step of the same job, whose first process gets the signal too.

`main` runs the watcher, a child of the job's process: it starts the sentinel and sends its parent a TERM when the
sentinel gets one. It ends with its parent. On several nodes Slurm signals the ranks' own step (torchrun.py).
"""

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from types import FrameType

from catid2.runtime.command import signal_at_end_of_parent

TOLD = 3  # the sentinel's exit code after a TERM
SENTINEL = f'trap "exit {TOLD}" TERM; echo ready; while :; do sleep 1; done'
# One task next to those of the job, without resources of its own.
STEP = [
    *("--overlap", "--ntasks=1", "--nodes=1", "--mem=0", "--gres=none"),
    *("--cpu-bind=none", "--mpi=none", "--input=none", "--quiet"),
]
PATIENCE = 60.0  # seconds until a sentinel that has not started is reported
# The other variables describe the current step; srun would read them as options.
KEPT = ("SLURM_JOB_ID", "SLURM_CONF", "SLURM_CLUSTER_NAME")


def step_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for `srun` to start another step of the job: without the variables of this step."""
    own = ("SLURM_", "SRUN_", "SBATCH_")
    return {name: value for name, value in environment.items() if name in KEPT or not name.startswith(own)}


def watch_for_end() -> None:
    """Make sure that this process gets a TERM before its Slurm job ends; outside of Slurm do nothing."""
    if "SLURM_JOB_ID" in os.environ and shutil.which("srun"):
        # Not with PYTHONPATH: the name of a folder may contain ":", its separator.
        watcher = f"import sys; sys.path[:] = {sys.path!r}; from catid2.runtime.slurm import main; main()"
        subprocess.Popen([sys.executable, "-c", watcher, str(os.getpid())], stdin=subprocess.DEVNULL)


def main() -> None:
    """Run the sentinel, and send the parent a TERM when the sentinel gets one."""
    parent = int(sys.argv[1])  # may have ended already
    # For the parent and the sentinel, not for us. A handler, because the sentinel would inherit an ignored signal.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _pass_over)
    sentinel = subprocess.Popen(
        ["srun", *STEP, "sh", "-c", SENTINEL],
        env=step_environment(os.environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )

    def end(_signal: int, _frame: FrameType | None) -> None:
        sentinel.terminate()  # srun then ends the step
        os._exit(0)

    signal.signal(signal.SIGUSR1, end)
    signal_at_end_of_parent(signal.SIGUSR1)
    if os.getppid() != parent:
        end(signal.SIGUSR1, None)
    if not select.select([sentinel.stdout], [], [], PATIENCE)[0]:
        print("Slurm has not yet started the step that signals this job before it ends", file=sys.stderr)
    messages = sentinel.communicate()[1].strip()
    if sentinel.returncode == TOLD:
        with contextlib.suppress(ProcessLookupError):
            os.kill(parent, signal.SIGTERM)
    else:
        why = messages.splitlines()[-1] if messages else f"srun ended with {sentinel.returncode}"
        what = f"Slurm will not signal this job before it ends ({why}): periodic checkpoints only"
        print(what, file=sys.stderr)


def _pass_over(_signal: int, _frame: FrameType | None) -> None:
    """Ignore a signal."""
