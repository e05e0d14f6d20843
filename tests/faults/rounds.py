"""Killing and starting again: one run of the workflow with several kills, and what must hold at its end.

A run starts in an empty copy of the project. At random moments SIGKILL hits the driver (the Snakemake process), the
rule (the shell of a job) or a rank (the Python process of a job: the script, or torchrun's agent or worker). Then
the same command is typed again, after `snakemake --unlock` where Snakemake asks for that, until it ends by itself.
"""

import random
import re
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import processes
import psutil
import records

from workflow import Project

LOCKED = "Directory cannot be locked"
_FAILED_JOB = re.compile(r": failed after \S+, see (\S+)")
# what a killed Snakemake itself leaves in the folder for temporary files: of its scheduler, and copies of sources
_OF_SNAKEMAKE = re.compile(r"[0-9a-f]{32}-pulp\.\w+|snakemake\w{8}")
# A job that is killed when its outputs are there is not run again, so its claim and its checkpoint stay.
_OF_A_FINISHED_JOB = re.compile(r"(^|/)(\.owner-[^/]*|checkpoints(/.*)?)$")
DEPTHS = ("driver", "rule", "rank")
MOMENTS = ("start", "any", "output", "writing")


class Undisturbed(NamedTuple):
    """What a run that nothing disturbed took and left."""

    seconds: float
    start_seconds: float  # from the command to the first job
    contents: dict[str, dict[str, str]]  # of results/ and of resources/: sha256 by path
    names: set[str]  # of every file and folder
    temporary: set[str]  # names left in the folder for temporary files
    n_outputs: int  # that Snakemake has records of


class Kill(NamedTuple):
    """One kill: when, at which depth, whom."""

    start: int  # number of the driver, from 0
    seconds: float  # since that driver was started
    moment: str
    depth: str
    victim: str  # log of the job, or how many processes went with the driver
    orphans: int  # processes of the run left alive without their parent


@dataclass
class Driver:
    """A Snakemake process, and which jobs a kill has hit while it ran."""

    process: psutil.Popen
    output: Path
    mark: str
    started: float
    killed: bool = False
    jobs_hit: set[str] = field(default_factory=set)

    def running(self) -> bool:
        """Tell whether it has not ended yet."""
        return self.process.poll() is None

    def text(self) -> str:
        """Return what it has printed so far."""
        return self.output.read_text(errors="replace")


class Defect(Exception):
    """What a kill must not lead to, so that going on with the run has no sense."""


class Settings(NamedTuple):
    """How a run is started and hit."""

    arguments: tuple[str, ...]  # of `snakemake`
    kills: int
    tight: bool  # aim most kills at the moments when something is being written
    checkpoint_seconds: float | None  # between checkpoints; None leaves them as they are


def new_project(folder: Path, config: Path, settings: Settings) -> Project:
    """Return a copy of the project in `folder` with the configuration as config/kills.yaml."""
    folder.mkdir(parents=True)
    project = Project(folder / "project", stub=False)
    shutil.copy(config, project.folder / "config" / "kills.yaml")
    (folder / "tmp").mkdir()
    project.environment["TMPDIR"] = str(folder / "tmp")
    if settings.checkpoint_seconds is not None:
        shorten_checkpoints(project, settings.checkpoint_seconds)
    return project


def shorten_checkpoints(project: Project, seconds: float) -> None:
    """Let every rule whose script knows --checkpoint-seconds save its state that often."""
    option = "--checkpoints {params.checkpoints}"
    for rules in sorted((project.folder / "workflow" / "rules").glob("*.smk")):
        blocks = re.split(r"^(?=rule )", rules.read_text(), flags=re.MULTILINE)
        for number, block in enumerate(blocks):
            rule = re.match(r"rule (\w+):", block)
            if rule and "--checkpoint-seconds" in (project.folder / f"scripts/{rule[1]}.py").read_text():
                assert option in block, f"{rule[1]} gives no {option}"
                blocks[number] = block.replace(option, f"{option} --checkpoint-seconds {seconds}")
        rules.write_text("".join(blocks))


def undisturbed_run(folder: Path, config: Path, settings: Settings) -> Undisturbed:
    """Run the workflow to its end in a fresh copy, and return what it took and left."""
    run = Run(folder, config, settings._replace(checkpoint_seconds=None), None, random.Random(0))
    first_job = None
    try:
        driver = run.begin()
        while driver.running():
            if first_job is None and any((run.folder / ".snakemake" / "incomplete").glob("*")):
                first_job = time.monotonic() - driver.started
            time.sleep(0.02)
    finally:
        processes.kill(processes.marked(run.mark))
    seconds = time.monotonic() - driver.started
    if driver.process.returncode or first_job is None:
        raise SystemExit(f"error: the undisturbed run failed, see {driver.output}")
    return Undisturbed(
        seconds,
        first_job,
        {part: records.contents(run.folder / part) for part in ("results", "resources")},
        records.names(run.folder),
        run.temporary(),
        len(records.complete_outputs(run.folder)),
    )


class Run:
    """A run that is hit by kills. `defects` says what is wrong with it in the end; empty is good."""

    def __init__(
        self,
        folder: Path,
        config: Path,
        settings: Settings,
        undisturbed: Undisturbed | None,
        draw: random.Random,
    ):
        self.project = new_project(folder, config, settings)
        self.folder = self.project.folder
        self.settings = settings
        self.undisturbed = undisturbed
        self.draw = draw
        self.command = [
            sys.executable,
            "-m",
            "snakemake",
            "--cores",
            "2",
            "--configfile",
            "config/kills.yaml",
        ]
        self.command += settings.arguments
        self.mark = str(folder)
        self.kills: list[Kill] = []
        self.defects: list[str] = []
        self.complete: dict[str, records.Identity] = {}
        self.made_again: set[str] = set()
        self.starts = self.unlocks = self.temporary_files = 0
        self.different: list[str] = []
        self.driver: Driver | None = None

    # --- starting and ending drivers

    def begin(self) -> Driver:
        """Type the command."""
        output = self.folder.parent / f"driver{self.starts:02}.txt"
        mark = f"{self.mark}/{self.starts}"
        process = processes.start(self.command, self.folder, self.project.environment, mark, output)
        self.driver = Driver(process, output, mark, time.monotonic())
        self.starts += 1
        return self.driver

    def settle(self) -> bool:
        """Wait for the driver's end and take it in; return whether it ended the whole run.

        Raises:
            Defect: it does not end, or it failed though no kill hit it or any of its jobs.
        """
        driver, self.driver = self.driver, None
        limit = 10 * self.undisturbed.seconds + 120
        try:
            code = driver.process.wait(limit)
        except psutil.TimeoutExpired:
            raise Defect(f"{driver.output.name}: still runs after {limit:.0f} s") from None
        self.check_complete(driver)
        if code == 0:
            return True
        text = driver.text()
        unexpected = set(_FAILED_JOB.findall(text)) - driver.jobs_hit
        for log in sorted(unexpected):
            path = self.folder / log
            lines = path.read_text(errors="replace").splitlines() if path.is_file() else ["no log"]
            self.defects.append(
                f"{driver.output.name}: a job failed that no kill hit, {log}: {' | '.join(lines[-3:])}"
            )
        if not driver.killed and not driver.jobs_hit:
            if LOCKED not in text:
                raise Defect(f"{driver.output.name}: failed (exit code {code}) though nothing was killed")
            self.project.snakemake("--unlock", "--configfile", "config/kills.yaml")
            self.unlocks += 1
        return False

    def check_complete(self, driver: Driver) -> None:
        """Note the outputs that are complete now; those that were so before must be the same files still."""
        for output, before in self.complete.items():
            if output not in self.made_again and records.identity(self.folder / output) != before:
                self.made_again.add(output)
                self.defects.append(f"{driver.output.name}: {output} was complete and has been made again")
        self.complete = records.complete_outputs(self.folder) | self.complete

    # --- kills

    def go(self) -> None:
        """Kill and start again, `settings.kills` times or until the run is through; then let it end and check it."""
        try:
            finished = False
            while len(self.kills) < self.settings.kills and not finished:
                if self.driver is None:
                    self.begin()
                if not self.hit():
                    finished = self.settle()
            if not finished:
                self.finish()
            self.check_end()
        except Defect as defect:
            self.defects.append(str(defect))
        finally:
            processes.kill(processes.marked(self.mark))

    def finish(self) -> None:
        """Let the run end: the driver that still runs, and then the command once more."""
        # A driver that a kill has hit, one that asks for an unlock, and one that ends the run.
        for _ in range(3):
            if self.driver is None:
                self.begin()
            if self.settle():
                return
        raise Defect("the command, typed again and again without a kill, does not end the run")

    def hit(self) -> bool:
        """Wait for a moment and kill at a depth, both drawn; return False if the driver ended before."""
        driver = self.driver
        age = time.monotonic() - driver.started
        fresh = age < self.undisturbed.start_seconds / 2
        struck = [sum(kill.depth == depth for kill in self.kills) for depth in DEPTHS]
        rare_first = [1 + max(struck) - count for count in struck]
        depth = self.draw.choices(DEPTHS, rare_first)[0]
        weights = [0.1, 0.1, 0.1, 0.7] if self.settings.tight else [0.3, 0.3, 0.2, 0.2]
        if depth != "driver" or not fresh:
            weights[0] = 0  # there is no job yet at the start
        moment = self.draw.choices(MOMENTS, weights)[0]
        share = len(self.complete) / self.undisturbed.n_outputs
        ahead = self.undisturbed.seconds * max(0.1, 1 - share)
        pace = ahead / (self.settings.kills - len(self.kills) + 1)
        if moment == "start":
            pause = self.draw.uniform(0, 1.2 * self.undisturbed.start_seconds)
        else:
            pause = self.draw.uniform(0, 2 * pace) + (self.undisturbed.start_seconds if fresh else 0)
        if self.until(lambda: False, pause) or not driver.running():
            return False
        job = None
        if depth != "driver" or moment in ("output", "writing"):
            job = self.some_job()
            if job is None and (depth != "driver" or not driver.running()):
                return False
        signs = {"output": lambda: any(path.exists() for path in job.missing), "writing": self.writing}
        if job and moment in signs and not self.until(signs[moment], 20):
            moment = "any"
        if moment == "output":
            time.sleep(self.draw.uniform(0, 0.3 if depth == "driver" else 0.03))
        if not driver.running():
            return False
        return self.strike(driver, moment, depth, job)

    def strike(self, driver: Driver, moment: str, depth: str, job: processes.Job | None) -> bool:
        """Send the kill; return False if the victim had ended already."""
        seconds = time.monotonic() - driver.started
        if depth == "driver":
            with_jobs = self.draw.random() < 0.5
            driver.killed = True
            processes.kill([driver.process])
            rest = processes.marked(driver.mark)
            if with_jobs:
                processes.kill(rest)
            ended, orphans = (len(rest), 0) if with_jobs else (0, len(rest))
            victim = f"{ended} processes with it"
            self.kills.append(Kill(self.starts - 1, seconds, moment, depth, victim, orphans))
            self.settle()
            return True
        process = job.shell if depth == "rule" else self.draw.choice(job.ranks)
        if not processes.is_alive(process):
            return driver.running()
        driver.jobs_hit.add(job.log)
        processes.kill([process])
        orphans = sum(processes.is_alive(rank) for rank in job.ranks)
        self.kills.append(Kill(self.starts - 1, seconds, moment, depth, job.log, orphans))
        return True

    def until(self, happened: Callable[[], bool], seconds: float) -> bool:
        """Wait until something has happened, the driver has ended or the time is up; return whether it happened."""
        end = time.monotonic() + seconds
        while self.driver.running():
            if happened():
                return True
            left = end - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(left, 0.003))
        return False

    def some_job(self) -> processes.Job | None:
        """Return one of the jobs that run; None if there is none for a while, or no driver any more."""
        found: list[processes.Job] = []

        def any_job() -> bool:
            time.sleep(0.02)
            found[:] = processes.jobs(self.driver.process, self.folder)
            return bool(found)

        return self.draw.choice(found) if self.until(any_job, 20) else None

    def writing(self) -> bool:
        """Tell whether a temporary file lies anywhere in the results."""
        return any((self.folder / "results").glob("**/.tmp-*"))

    # --- the end

    def temporary(self) -> set[str]:
        """Return the names in the folder for temporary files, without Snakemake's own."""
        found = {path.name for path in (self.folder.parent / "tmp").iterdir()}
        return {name for name in found if not _OF_SNAKEMAKE.fullmatch(name)}

    def check_end(self) -> None:
        """Note everything in which the finished run differs from an undisturbed one."""
        stale_until = time.monotonic() + 2 * self.undisturbed.seconds + 60
        while processes.marked(self.mark):  # stale workers get their time to do harm
            if time.monotonic() > stale_until:
                self.defects.append(f"stale workers live on: {processes.marked(self.mark)}")
                break
            time.sleep(0.2)
        for part, expected in self.undisturbed.contents.items():
            found = records.contents(self.folder / part)
            self.different += [
                f"{part}/{path}" for path in sorted(expected) if found.get(path) != expected[path]
            ]
        self.defects += [f"{path} differs from the undisturbed run's" for path in self.different]
        left = records.names(self.folder) - self.undisturbed.names
        left = {name for name in left if not _OF_A_FINISHED_JOB.search(name)}
        left |= {f"TMPDIR/{name}" for name in self.temporary() - self.undisturbed.temporary}
        self.temporary_files = len(left)
        self.defects += [f"{name} is left, an undisturbed run leaves no such file" for name in sorted(left)]
        planned = self.project.planned(*self.command[5:])
        if planned:
            self.defects.append(f"finished, but the command would run again: {sorted(planned)}")
