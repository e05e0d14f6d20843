"""The pipeline on a real Slurm (one node, four pretend A100s) through the profile that users type, and what breaks it.

Each fault test starts from a corpus with embeddings, breaks something while a job of the chain runs, and compares
every file under results/ with those of an undisturbed run on the same machine without Slurm. The run goes as far as
the job that is broken, or to the end where that is of the retriever.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import psutil
import pytest
from cluster import Cluster, missing

from workflow import ROOT, TINY_CONFIG, Project

FAULTS_CONFIG = ("--configfile", "config/faults.yaml")
RECALL = "results/tiny_es/recall.tsv"
EVALUATED = ("recall.tsv", "recall_per_query.parquet")
# One method of each kind.
RUNS = [
    f"results/tiny_es/{method}/seed0/run.parquet" for method in ("catid2", "light", "bm25", "dense", "dpr")
]
# what a local run has made and RUNS do not need
BESIDE_RUNS = re.compile(
    r"figures/|nois[ey]|tiger/|gradient/|fused/|recall|efficiency\.tsv"
    r"|.*/(geometry|latency)\.json|.*/beam_trace\.parquet"
)
CORPUS = "corpus_build_corpus_search_bm25"  # what Snakemake calls the group of the two
CHAIN = "results/tiny_es/catid2/seed0"
RQVAE = f"{CHAIN}/rqvae/model.safetensors"
DOCIDS = f"{CHAIN}/docids.parquet"
# What the profile sets for clusters of many users, and a test need not wait for.
HASTE = ("--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "10")
# `snakemake`, but that the states of jobs are asked for each second: the plugin waits 10 s longer each time.
SNAKEMAKE = """
from snakemake.cli import main
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
RemoteExecutor.next_seconds_between_status_checks = property(lambda _: 1, lambda _, seconds: None)
main()
"""
PROFILE = "workflow/profiles/slurm/config.yaml"
RQVAE_GPU = '    gpu: 1\n    mem_mb: ?f"(12000'
# Until a test has broken something, epochs last long enough for that: as long as the project has a file
# `wait`. The wait is in the scripts, because no fingerprint of a checkpoint depends on them.
MAIN = 'if __name__ == "__main__":\n'
SLOW = {
    "train_rqvae": """    import os, time
    from catid2.quantizer.training import Training
    quick = Training.run_epoch
    Training.run_epoch = lambda *given: (time.sleep(0.1 * os.path.exists("wait")), quick(*given))[1]
""",
    "train_retriever": """    import os, time
    from catid2.retriever.t5_training import RetrieverTraining
    quick = RetrieverTraining.batch
    RetrieverTraining.batch = lambda *given: (time.sleep(0.02 * os.path.exists("wait")), quick(*given))[1]
""",
}
# Replaces the profile's numbers: a CPU a job, as in a local run. Other numbers change last bits, and soon everything.
ONE_CPU = ("--set-threads", "evaluate=1")
RQVAE_LOG = "logs/tiny_es/catid2/seed0/train_rqvae.log"
RETRIEVER_LOG = "logs/tiny_es/catid2/seed0/train_retriever.log"


# --- cluster and projects ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[Cluster]:
    """A running cluster."""
    if reason := missing():
        pytest.skip(reason)
    cluster = Cluster(tmp_path_factory.mktemp("slurm"), free_ports())
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(autouse=True)
def listed(cluster, record_property) -> Iterator[None]:
    """Have pytest's summary tell what became of the jobs (../conftest.py)."""
    yield
    for job in cluster.jobs():
        record_property(f"job {job['JobId']} of the test cluster", line_of(job))


def free_ports() -> tuple[int, int]:
    """Return two ports of the loopback address that nothing listens on."""
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


def line_of(job: dict[str, str]) -> str:
    """Return a job in one line: id, rule, state, what it asked for."""
    asked = " ".join(job.get(name, "-") for name in ("NumCPUs", "MinMemoryNode", "TresPerJob", "TimeLimit"))
    return f"  {job['JobId']:>4} {job['JobState']:<10} {job['RunTime']} {asked:<40} {job.get('Comment', '')}"


@pytest.fixture(scope="module")
def calm(tiny_run, tmp_path_factory) -> Project:
    """An undisturbed local run of faults.yaml."""
    project = tiny_run.copy(tmp_path_factory.mktemp("calm") / "project")
    shutil.copy(ROOT / "tests" / "slurm" / "faults.yaml", project.folder / "config")
    project.snakemake(RECALL, *FAULTS_CONFIG)
    results = project.folder / "results" / "tiny_es"
    for name in ("tiger", "gradient", "figures"):
        shutil.rmtree(results / name)
    for name in ("geometry.json", "latency.json", "beam_trace.parquet"):  # of the tiny run; RECALL needs none
        (results / "catid2" / "seed0" / name).unlink()
    return project


@pytest.fixture
def fresh(calm, tmp_path) -> Project:
    """A copy of the calm run without all that follows from training."""
    return unfinished(calm, tmp_path / "project", "train_rqvae")


def unfinished(calm: Project, folder: Path, script: str) -> Project:
    """Return a copy of the calm run without the outputs of a training and of what follows, and with longer epochs."""
    project = calm.copy(folder)
    for path in (project.folder / CHAIN).iterdir():
        if script == "train_rqvae" or path.name in ("retriever", "run.parquet"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.rmtree(project.folder / "logs" / "tiny_es" / "catid2")
    for name in EVALUATED:
        (project.folder / "results" / "tiny_es" / name).unlink()
    project.edit(f"scripts/{script}.py", MAIN, MAIN + SLOW[script])
    (folder / "wait").touch()
    return project


def hurry(project: Project) -> None:
    """Have the project's epochs last no longer than they must."""
    (project.folder / "wait").unlink()


class Run:
    """`snakemake --profile slurm` in a project."""

    def __init__(self, project: Project, cluster: Cluster, *arguments: str, gpus: int = 1):
        """Start it, with `gpus` for a retriever; if that is one, with one CPU a job, else with those of the profile."""
        self.project, self.cluster = project, cluster
        self.first = max((int(job["JobId"]) for job in cluster.jobs()), default=0) + 1
        self.output = project.folder / "snakemake.out"
        environment = project.environment | cluster.environment | {"CATID2_SLURM_GPUS": str(gpus)}
        environment["PATH"] = f"{cluster.folder / 'bin'}:{project.environment['PATH']}:/usr/sbin:/sbin"
        threads = ONE_CPU if gpus == 1 else ()
        command = [sys.executable, "-c", SNAKEMAKE, "--profile", "slurm", *arguments, *HASTE, *threads]
        with self.output.open("ab") as stream:
            self.process = psutil.Popen(
                command,
                cwd=project.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def finish(self, seconds: float = 1800) -> None:
        """Wait for the end, which must be a good one."""
        try:
            code = self.process.wait(seconds)
        except psutil.TimeoutExpired:
            self.kill()
            pytest.fail(f"Snakemake did not end:\n{self.explain()}")
        assert code == 0, self.explain()

    def kill(self) -> None:
        """Kill Snakemake with -9; its jobs live on."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def jobs(self, rule: str, states: str = "all") -> list[dict[str, str]]:
        """Return the jobs of a rule that this run has submitted."""
        jobs = [job for job in self.cluster.jobs(states) if int(job["JobId"]) >= self.first]
        return [job for job in jobs if job.get("Comment", "").split("_wildcards_")[0] == f"rule_{rule}"]

    def wait_for(self, what: str, ready: Callable[[], bool], seconds: float = 900) -> None:
        """Wait until something is the case."""
        end = time.monotonic() + seconds
        while not ready():
            if time.monotonic() > end or self.process.poll() is not None:
                pytest.fail(f"waited in vain for {what}:\n{self.explain()}")
            time.sleep(0.1)

    def wait_for_log(self, log: str, pattern: str) -> None:
        """Wait until a line of a job's log matches."""
        path = self.project.folder / log
        self.wait_for(
            f"{pattern!r} in {log}", lambda: path.is_file() and bool(re.search(pattern, path.read_text()))
        )

    def running(self, rule: str) -> str:
        """Return the id of the one running job of a rule."""
        [job] = self.jobs(rule, "RUNNING")
        return job["JobId"]

    def ranks(self, rule: str) -> dict[str, psutil.Process]:
        """Return the ranks of the one running job of a rule, by number."""
        found = {}
        for pid in self.cluster.pids(self.running(rule)):
            with contextlib.suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                script = str(self.project.folder / "scripts" / f"{rule}.py")
                if script in process.cmdline() and "RANK" in process.environ():
                    found[process.environ()["RANK"]] = process
        return found

    def explain(self) -> str:
        """Return what one wants to read when a test fails."""
        jobs = "\n".join(map(line_of, self.cluster.jobs()))
        logs = [path for path in (self.project.folder / "logs").rglob("*.log") if path.stat().st_size]
        logs += (self.project.folder / ".snakemake" / "slurm_logs").rglob("*.log")
        tails = "".join(f"--- {path}\n{path.read_text(errors='replace')[-1500:]}\n" for path in logs)
        return f"{self.output.read_text()[-4000:]}\n{jobs}\n{tails}"


@pytest.fixture
def start(cluster) -> Iterator[Callable[..., Run]]:
    """A function that starts a run of faults.yaml in a project; what runs at the test's end is ended."""
    runs = []

    def start_run(project: Project, target: str = RQVAE, gpus: int = 1) -> Run:
        runs.append(Run(project, cluster, target, *FAULTS_CONFIG, gpus=gpus))
        return runs[-1]

    yield start_run
    for run in runs:
        if run.process.poll() is None:
            run.kill()
    cluster.run("scancel", "--user=root")


def files(project: Project) -> dict[str, bytes]:
    """Return all files of the results, by path; with them anything temporary that was left."""
    results = project.folder / "results" / "tiny_es"
    return {
        str(path.relative_to(results)): path.read_bytes() for path in results.rglob("*") if path.is_file()
    }


def assert_same_results(project: Project, reference: Project, without: set[str] = frozenset()) -> None:
    """Fail unless both projects hold the same files with the same bytes, and nothing else but `without`."""
    found, expected = files(project), files(reference)
    assert sorted(found) == sorted(set(expected) - without)
    assert [name for name in found if found[name] != expected[name]] == []


def later(reference: Project, *names: str) -> set[str]:
    """Return the files that are made after those of the chain whose names begin with one of `names`."""
    made = tuple(f"catid2/seed0/{name}" for name in names)
    return {
        name
        for name in files(reference)
        if name in EVALUATED or (name.startswith("catid2/") and not name.startswith(made))
    }


def assert_same_rqvae(project: Project, reference: Project) -> None:
    """Fail unless a run that was to go as far as the RQ-VAE has the files of the other until then, and no more."""
    assert_same_results(project, reference, without=later(reference, "rqvae/"))


# --- undisturbed ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole_run(cluster, tiny_run, tmp_path_factory) -> Run:
    """The tiny run through the profile, from raw files to what each kind of method retrieves, one GPU a job."""
    project = Project(tmp_path_factory.mktemp("whole"), stub=False)
    shutil.copy(ROOT / "tests" / "tiny.yaml", project.folder / "config")
    run = Run(project, cluster, *RUNS, *TINY_CONFIG)
    run.finish()
    return run


def test_gives_the_results_of_a_local_run(whole_run, tiny_run):
    others = {name for name in files(tiny_run) if BESIDE_RUNS.match(name)}
    assert_same_results(whole_run.project, tiny_run, without=others)


def test_a_locale_is_a_handful_of_jobs(whole_run):
    numbers = {"extract_categories": 1, CORPUS: 1, "embed": 1, "embed_queries": 1}
    # light has the DocIDs of catid2
    numbers |= {"train_rqvae": 1, "assign_docids": 1, "train_retriever": 2, "retrieve": 2}
    numbers |= {"train_dual_encoder": 1, "embed_by_own_encoder": 1, "embed_queries_by_own_encoder": 1}
    numbers["search_dense"] = 2
    assert {rule: len(whole_run.jobs(rule)) for rule in numbers} == numbers
    submitted = [job for job in whole_run.cluster.jobs() if int(job["JobId"]) >= whole_run.first]
    assert all(job["JobState"] == "COMPLETED" for job in submitted[: sum(numbers.values())])


def test_jobs_ask_for_what_the_profile_says(whole_run):
    for rule in (
        "embed",
        "embed_queries",
        "train_rqvae",
        "train_retriever",
        "train_dual_encoder",
        "retrieve",
    ):
        for job in whole_run.jobs(rule):
            assert job["TresPerJob"] == "gres:gpu:a100:1", rule
            assert job["NumNodes"] == "1"
    for rule in ("extract_categories", CORPUS, "assign_docids"):
        for job in whole_run.jobs(rule):
            assert "TresPerJob" not in job, rule
    [embed] = whole_run.jobs("embed")
    assert embed["TimeLimit"] == "01:00:00"
    [training] = whole_run.jobs("train_rqvae")
    assert 12_000 <= int(training["MinMemoryNode"].removesuffix("M")) < 12_100  # 12,000 and 4 × what it reads
    assert training["Requeue"] == "1"


class Pair(NamedTuple):
    """An undisturbed run with two GPUs a job, and the environment of each rank of the RQ-VAE's training, by number."""

    run: Run
    ranks: dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def pair(cluster, calm, tmp_path_factory) -> Pair:
    """Two ranks wherever there may be several."""
    project = unfinished(calm, tmp_path_factory.mktemp("pair") / "project", "train_rqvae")
    project.edit(PROFILE, RQVAE_GPU, RQVAE_GPU.replace("1", "2", 1))
    run = Run(project, cluster, RECALL, *FAULTS_CONFIG, gpus=2)
    run.wait_for_log(RQVAE_LOG, "epoch 20,")
    ranks = {number: rank.environ() for number, rank in run.ranks("train_rqvae").items()}
    hurry(project)
    run.finish()
    return Pair(run, ranks)


def test_two_gpus_are_two_ranks_with_the_losses_of_one(pair, calm):
    assert set(pair.ranks) == {"0", "1"}
    for environment in pair.ranks.values():
        assert environment["WORLD_SIZE"] == "2"
        assert len(environment["CUDA_VISIBLE_DEVICES"].split(",")) == 2
    for rule, cpus in {"train_rqvae": "16", "train_retriever": "8", "retrieve": "8"}.items():
        [job] = pair.run.jobs(rule)[:1]
        assert (job["TresPerJob"], job["NumCPUs"]) == ("gres:gpu:a100:2", cpus)
    # Rounding, that is all: six digits of the loss for 40 epochs (120 steps), then training amplifies it. A retriever's
    # dropout differs between ranks; tests/test_retriever_training.py compares it without.
    one, two = (
        pl.read_csv(project.folder / "results/tiny_es/catid2/seed0/rqvae/history.tsv", separator="\t")
        for project in (calm, pair.run.project)
    )
    np.testing.assert_allclose(two["loss"][:40], one["loss"][:40], rtol=2e-5)


# --- faults -----------------------------------------------------------------------------------------


def test_a_cancelled_job_saves_and_the_next_goes_on(cluster, start, fresh, calm):
    run = start(fresh)
    run.wait_for_log(RQVAE_LOG, "epoch 20,")
    cluster.run("scancel", run.running("train_rqvae"))
    run.wait_for_log(RQVAE_LOG, "resuming after epoch [0-9]+ of 250")
    hurry(fresh)
    run.finish()
    assert [job["JobState"] for job in run.jobs("train_rqvae")] == ["CANCELLED", "COMPLETED"]
    resumed = int(re.search(r"resuming after epoch (\d+)", (fresh.folder / RQVAE_LOG).read_text())[1])
    assert resumed >= 20
    assert_same_rqvae(fresh, calm)


def test_a_time_limit_saves_and_the_next_attempt_has_more_time(cluster, start, fresh, calm):
    limit = 'runtime: ?f"min((60 + {read(850)} // 10) * attempt, {longest})"'
    fresh.edit(PROFILE, limit, "runtime: 1 * attempt")
    fresh.edit(PROFILE, "  slurm_extra: --signal=TERM@120\n", "  slurm_extra: --signal=TERM@10\n")
    fresh.edit("scripts/train_rqvae.py", "time.sleep(0.1 ", "time.sleep(0.4 ")  # 100 s in all
    run = start(fresh)
    run.wait_for_log(RQVAE_LOG, "resuming after epoch [0-9]+ of 250")
    hurry(fresh)
    run.finish()
    assert re.search("stopped by SIGTERM after epoch [0-9]+ of 250", run.output.read_text())
    jobs = run.jobs("train_rqvae")
    assert [job["TimeLimit"] for job in jobs] == [f"00:0{attempt}:00" for attempt in range(1, len(jobs) + 1)]
    assert len(jobs) > 1
    assert_same_rqvae(fresh, calm)


def test_a_killed_rank_ends_its_job_and_the_next_goes_on(start, fresh, pair):
    fresh.edit(PROFILE, RQVAE_GPU, RQVAE_GPU.replace("1", "2", 1))
    run = start(fresh, gpus=2)
    run.wait_for_log(RQVAE_LOG, "epoch 20,")
    run.ranks("train_rqvae")["1"].kill()
    run.wait_for("the job's end", lambda: run.jobs("train_rqvae")[0]["JobState"] == "FAILED")
    hurry(fresh)
    run.finish()
    assert [job["JobState"] for job in run.jobs("train_rqvae")] == ["FAILED", "COMPLETED"]
    assert "killed by signal 9" in run.output.read_text()
    assert_same_rqvae(fresh, pair.run.project)


def test_a_killed_job_step_is_submitted_again(start, calm, tmp_path):
    project = unfinished(calm, tmp_path / "project", "train_retriever")
    run = start(project, RECALL)
    run.wait_for_log(RETRIEVER_LOG, "epoch 2/10")
    job = run.running("train_retriever")
    [daemon] = [
        process
        for process in psutil.process_iter()
        if process.name() == "slurmstepd" and f"[{job}.0]" in " ".join(process.cmdline())
    ]
    for first_process in daemon.children():
        first_process.kill()
    run.wait_for("the job's end", lambda: run.jobs("train_retriever")[0]["JobState"] == "FAILED")
    hurry(project)
    run.finish()
    assert [job["JobState"] for job in run.jobs("train_retriever")] == ["FAILED", "COMPLETED"]
    assert_same_results(project, calm)


def test_a_preempted_job_is_queued_again_and_goes_on(cluster, start, fresh, calm):
    run = start(fresh)
    run.wait_for_log(RQVAE_LOG, "epoch 20,")
    job = run.running("train_rqvae")
    cluster.run(
        "sbatch", "--partition=urgent", "--exclusive", "--time=1", "--output=/dev/null", "--wrap=sleep 2"
    )
    run.wait_for_log(RQVAE_LOG, "resuming after epoch [0-9]+ of 250")
    hurry(fresh)
    run.finish()
    [only] = run.jobs("train_rqvae")
    assert (only["JobId"], only["Restarts"], only["JobState"]) == (job, "1", "COMPLETED")
    assert_same_rqvae(fresh, calm)


def test_a_drained_node_finishes_its_job_and_goes_on_when_resumed(cluster, start, fresh, calm):
    run = start(fresh, DOCIDS)
    run.wait_for_log(RQVAE_LOG, "epoch 20,")
    cluster.run("scontrol", "update", f"NodeName={cluster.node}", "State=DRAIN", "Reason=test")
    hurry(fresh)
    try:
        run.wait_for("a job that waits", lambda: bool(run.jobs("assign_docids", "PENDING")))
    finally:
        cluster.run("scontrol", "update", f"NodeName={cluster.node}", "State=RESUME")
    run.finish()
    assert [job["JobState"] for job in run.jobs("train_rqvae")] == ["COMPLETED"]
    assert_same_results(fresh, calm, without=later(calm, "rqvae/", "docids."))


def test_a_controller_that_crashes_loses_nothing(cluster, start, fresh, calm):
    run = start(fresh)
    run.wait_for_log(RQVAE_LOG, "epoch 20,")
    cluster.kill("slurmctld")
    time.sleep(3)  # in which Snakemake asks for states
    cluster.start_controller()
    hurry(fresh)
    run.finish()
    assert [job["JobState"] for job in run.jobs("train_rqvae")] == ["COMPLETED"]
    assert_same_rqvae(fresh, calm)


def test_snakemake_killed_and_started_again_goes_on(cluster, start, fresh, calm):
    first = start(fresh)
    first.wait_for_log(RQVAE_LOG, "epoch 20,")
    orphan = first.running("train_rqvae")
    first.kill()
    # what the README says
    cluster.run("scancel", orphan)
    unlock = ["snakemake", "--unlock", RQVAE, *FAULTS_CONFIG]
    subprocess.run(unlock, cwd=fresh.folder, env=fresh.environment, check=True, capture_output=True)
    second = start(fresh)
    second.wait_for_log(RQVAE_LOG, "resuming after epoch [0-9]+ of 250")
    hurry(fresh)
    second.finish()
    assert [job["JobState"] for job in second.jobs("train_rqvae")] == ["COMPLETED"]
    assert_same_rqvae(fresh, calm)


def test_a_forgotten_job_takes_nothing_from_the_one_started_again(cluster, start, fresh, calm):
    first = start(fresh)
    first.wait_for_log(RQVAE_LOG, "epoch 20,")
    forgotten = first.running("train_rqvae")
    owner = fresh.folder / "results/tiny_es/catid2/seed0/rqvae/.owner-model.safetensors"
    worker = psutil.Process(json.loads(owner.read_text())["pid"])
    first.kill()
    worker.suspend()  # until the other has finished
    unlock = ["snakemake", "--unlock", RQVAE, *FAULTS_CONFIG]
    subprocess.run(unlock, cwd=fresh.folder, env=fresh.environment, check=True, capture_output=True)
    hurry(fresh)
    second = start(fresh)
    second.finish()
    log = (fresh.folder / RQVAE_LOG).read_bytes()
    worker.resume()

    def states() -> dict[str, str]:
        return {job["JobId"]: job["JobState"] for job in first.jobs("train_rqvae")}

    end = time.monotonic() + 120
    while states()[forgotten] == "RUNNING":
        assert time.monotonic() < end, second.explain()
        time.sleep(0.1)
    assert list(states().values()) == ["FAILED", "COMPLETED"]
    assert_same_rqvae(fresh, calm)
    assert (fresh.folder / RQVAE_LOG).read_bytes() == log


# --- studies


def test_the_jobs_of_a_rule_that_are_ready_together_can_be_one_array(cluster, tiny_run, tmp_path):
    project = tiny_run.copy(tmp_path / "project")
    models = [
        f"results/tiny_es/{name}/seed0/rqvae/model.safetensors" for name in ("catid2", "tiger", "gradient")
    ]
    for path in models:
        shutil.rmtree((project.folder / path).parent)
    run = Run(project, cluster, *models, *TINY_CONFIG, "--slurm-array-jobs=train_rqvae")
    run.finish()
    jobs = run.jobs("train_rqvae")
    assert [job["JobState"] for job in jobs] == ["COMPLETED"] * 3
    assert {job["ArrayTaskId"] for job in jobs} == {"1", "2", "3"}
    for path in models:
        assert (project.folder / path).read_bytes() == (tiny_run.folder / path).read_bytes()
