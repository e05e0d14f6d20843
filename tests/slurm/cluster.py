"""A real Slurm on this machine, for tests: one node with four pretend A100s, everything below one folder.

Slurm 22.05 (Debian 12) or later runs as root without systemd, a database or a network: munged with a key of its
own, slurmctld and slurmd on the loopback address. The GPUs are device files that answer like /dev/null.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "srun")
GPUS = 4
CPUS = 64
MEMORY_MB = 512000
SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"

SLURM_CONF = """
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmctldPort={ctld_port}
SlurmdPort={slurmd_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/run/munge.sock,cred_expire=10
MpiDefault=none
ProctrackType={proctrack}
TaskPlugin=task/none
ReturnToService=2
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=200
KillWait=10
MinJobAge=3600
SlurmctldTimeout=30
SlurmdTimeout=60
SchedulerParameters=batch_sched_delay=0,sched_interval=2,sched_min_interval=0,bf_interval=2
PreemptMode=REQUEUE
PreemptType=preempt/partition_prio
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.log
GresTypes=gpu
NodeName={node} NodeHostname=localhost NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} \\
    Gres=gpu:a100:{gpus} State=UNKNOWN
PartitionName=main Nodes={node} Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes={node} MaxTime=INFINITE State=UP PriorityTier=10
"""
CGROUP_CONF = "CgroupPlugin=cgroup/v1\nCgroupMountpoint=/sys/fs/cgroup\nCgroupAutomount=no\n"
# The jobstep executor strips every SLURM_* variable, SLURM_CONF too, before it calls srun.
SRUN = '#!/bin/sh\nSLURM_CONF={conf} exec {srun} "$@"\n'


def missing() -> str | None:
    """Return why no Slurm can run here, or None; with CATID2_INSTALL_SLURM=1 install Debian's packages if absent."""
    if os.geteuid() != 0:
        return "a test cluster needs root"
    if all(shutil.which(program, path=SYSTEM_PATH) for program in PROGRAMS):
        return None
    if os.environ.get("CATID2_INSTALL_SLURM") != "1" or not shutil.which("apt-get"):
        return f"needs {', '.join(PACKAGES)}: CATID2_INSTALL_SLURM=1 installs them by apt-get"
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    # no daemons of the system's own: policy-rc.d 101 forbids the packages to start them
    policy = Path("/usr/sbin/policy-rc.d")
    forbid = not policy.exists()
    if forbid:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        for command in (["update"], ["install", "--yes", "--no-install-recommends", *PACKAGES]):
            done = subprocess.run(
                ["apt-get", "--quiet", *command], env=environment, capture_output=True, text=True, timeout=600
            )
            if done.returncode:
                return f"apt-get {command[0]} failed: {done.stderr.strip().splitlines()[-1:]}"
    finally:
        if forbid:
            policy.unlink()
    absent = [program for program in PROGRAMS if not shutil.which(program, path=SYSTEM_PATH)]
    return f"the packages hold no {', '.join(absent)}" if absent else None


class Cluster:
    """A running cluster; `environment` lets programs reach it."""

    def __init__(self, folder: Path, ports: tuple[int, int]):
        """Write the configuration below `folder`; nothing is started yet."""
        self.folder = folder
        self.conf = folder / "slurm.conf"
        self.processes: dict[str, subprocess.Popen] = {}
        # Its cgroups have the node's name: two clusters on one machine would end each other's jobs.
        self.node = f"node{ports[1]}"
        for name in ("run", "log", "state", "spool", "dev", "bin"):
            (folder / name).mkdir(parents=True)
        folder.chmod(0o755)
        (folder / "run").chmod(0o755)
        freezer = os.access("/sys/fs/cgroup/freezer", os.W_OK)
        text = SLURM_CONF.format(
            folder=folder,
            node=self.node,
            ctld_port=ports[0],
            slurmd_port=ports[1],
            proctrack="proctrack/cgroup" if freezer else "proctrack/linuxproc",
            cpus=CPUS,
            memory=MEMORY_MB,
            gpus=GPUS,
        )
        self.conf.write_text(text.lstrip())
        (folder / "cgroup.conf").write_text(CGROUP_CONF)
        devices = [folder / "dev" / f"nvidia{index}" for index in range(GPUS)]
        for device in devices:
            os.mknod(device, 0o666 | 0o020000, os.makedev(1, 3))  # plain files register no GPU
        (folder / "gres.conf").write_text(
            f"NodeName={self.node} Name=gpu Type=a100 File={folder}/dev/nvidia[0-{GPUS - 1}]\n"
        )
        key = folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        srun = folder / "bin" / "srun"
        srun.write_text(SRUN.format(conf=self.conf, srun=shutil.which("srun", path=SYSTEM_PATH)))
        srun.chmod(0o755)
        self.environment = {
            "SLURM_CONF": str(self.conf),
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}:/usr/sbin:/sbin",
        }

    def start(self) -> None:
        """Start all daemons and return when the node takes jobs."""
        munge = [
            f"--key-file={self.folder}/munge.key",
            f"--socket={self.folder}/run/munge.sock",
            f"--pid-file={self.folder}/run/munged.pid",
            f"--log-file={self.folder}/log/munged.log",
            f"--seed-file={self.folder}/run/munged.seed",
        ]
        self._spawn("munged", "--foreground", "--force", *munge)
        self._wait("munge's socket", lambda: (self.folder / "run" / "munge.sock").exists())
        self.start_controller()
        self.start_node()
        self._wait("the node", lambda: self.node_state() == "idle")

    def start_controller(self) -> None:
        """Start slurmctld, which takes up the state it saved before, if any."""
        self._spawn("slurmctld", "-D", "-f", str(self.conf))
        self._wait("the controller", lambda: self.run("scontrol", "ping", check=False).returncode == 0)

    def start_node(self) -> None:
        """Start slurmd."""
        self._spawn("slurmd", "-D", "-N", self.node, "-f", str(self.conf))

    def kill(self, name: str) -> None:
        """Kill a daemon with -9, as a crash does."""
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def stop(self) -> None:
        """Cancel all jobs and stop the daemons."""
        with contextlib.suppress(subprocess.SubprocessError, TimeoutError):
            self.run("scancel", "--user=root", check=False)
            self._wait("the jobs' end", lambda: not self.jobs("RUNNING"), 30)
        for name in ("slurmd", "slurmctld", "munged"):
            process = self.processes.pop(name, None)
            if process is None:
                continue
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    # --- asking and telling -------------------------------------------------------------------------

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess:
        """Run one of Slurm's commands."""
        done = subprocess.run(
            command, env=os.environ | self.environment, capture_output=True, text=True, timeout=60
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done

    def node_state(self) -> str:
        """Return the node's state as sinfo names it: idle, mixed, drained, …"""
        return self.run("sinfo", "-h", "-o", "%T", check=False).stdout.split("\n")[0].strip()

    def jobs(self, states: str = "all") -> list[dict[str, str]]:
        """Return what `scontrol show job` says of every job in one of `states` (comma-separated), oldest first.

        A job that has just ended is COMPLETING for a moment, whatever its last state will be: wait for that.
        """
        wanted = None if states == "all" else set(states.split(","))
        end = time.monotonic() + 60
        while True:
            lines = self.run("scontrol", "--oneliner", "show", "job", check=False).stdout.splitlines()
            jobs = [
                dict(part.split("=", 1) for part in line.split() if "=" in part)
                for line in lines
                if line.startswith("JobId=")
            ]
            if all(job["JobState"] != "COMPLETING" for job in jobs) or time.monotonic() > end:
                break
            time.sleep(0.1)
        jobs.sort(key=lambda job: int(job["JobId"]))
        return [job for job in jobs if wanted is None or job["JobState"] in wanted]

    def pids(self, job: str) -> list[int]:
        """Return the processes of a running job on the node."""
        lines = self.run("scontrol", "listpids", job, check=False).stdout.splitlines()[1:]
        return [int(line.split()[0]) for line in lines if line.split() and int(line.split()[0]) > 0]

    def _spawn(self, name: str, *arguments: str) -> None:
        program = shutil.which(name, path=SYSTEM_PATH)
        with (self.folder / "log" / f"{name}.out").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [program, *arguments],
                env=os.environ | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C is not for the daemons
            )

    def _wait(self, what: str, ready: Callable[[], bool], seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while not ready():
            if time.monotonic() > end:
                logs = sorted((self.folder / "log").glob("*"))
                tails = [f"--- {log.name}\n{log.read_text(errors='replace')[-2000:]}" for log in logs]
                raise TimeoutError(f"waited {seconds} s for {what}\n" + "\n".join(tails))
            time.sleep(0.2)
