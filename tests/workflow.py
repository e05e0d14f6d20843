"""A copy of the project in which Snakemake plans and runs, for tests."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from catid2.config.file import read_settings
from catid2.plan.settings import Pipeline

ROOT = Path(__file__).parent.parent
EFFICIENCY = "results/tiny_es/efficiency.tsv"
EFFICIENCY_FIGURE = "results/tiny_es/figures/efficiency.svg"
TINY_CONFIG = ("--configfile", "config/tiny.yaml")  # of the fixture `tiny_run`
# Stands in for `python` in the rules' shell commands: makes every output that is not there yet, and nothing else.
STUB = """#!/bin/sh
for path in "$@"; do
  case $path in
    */checkpoints*) ;;
    results/*/retriever|results/*/encoder) mkdir -p "$path" ;;
    resources/models/*) mkdir -p "$path"; echo "$path" > "$path/fetched.json" ;;
    results/*|resources/*) [ -e "$path" ] || { mkdir -p "$(dirname "$path")"; echo "$path" > "$path"; } ;;
  esac
done
"""


def tiny_pipeline() -> Pipeline:
    """Return the pipeline that tests/tiny.yaml configures."""
    path = str(ROOT / "tests" / "tiny.yaml")
    return Pipeline(read_settings(path), path)


class Project:
    """A copy of the workflow, the scripts, the package and the configs below `folder`."""

    def __init__(self, folder: Path, stub: bool):
        """Copy the project; with `stub`, rules only make empty outputs."""
        self.folder = folder
        for name in ("workflow", "scripts", "catid2", "config"):
            shutil.copytree(
                ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__")
            )
        (folder / "slurm").symlink_to("workflow/profiles/slurm")
        self.environment = os.environ | {"HF_HUB_OFFLINE": "1"}
        binaries = [str(Path(sys.executable).parent)]
        if stub:
            python = folder / "stub" / "python"
            python.parent.mkdir()
            python.write_text(STUB)
            python.chmod(0o755)
            binaries.insert(0, str(python.parent))
        self.environment["PATH"] = ":".join([*binaries, os.environ["PATH"]])

    @classmethod
    def at(cls, folder: Path) -> "Project":
        """Return the copy, made before and without `stub`, that lies below `folder`."""
        project = object.__new__(cls)
        project.folder = folder
        project.environment = os.environ | {
            "HF_HUB_OFFLINE": "1",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        return project

    def copy(self, folder: Path) -> "Project":
        """Return a copy of the copy, results included, that a test may change."""
        shutil.copytree(self.folder, folder, symlinks=True)
        twin = object.__new__(Project)
        twin.folder = folder
        twin.environment = self.environment
        return twin

    def snakemake(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess:
        """Run Snakemake in the copy; with `check`, fail with its output unless it exits with 0."""
        command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=1800
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def planned(self, *arguments: str) -> set[str]:
        """Return the jobs that a dry-run would execute."""
        return planned_jobs(self.snakemake("--dry-run", *arguments).stdout)

    def edit(self, path: str, old: str, new: str) -> None:
        """Replace the one place where `old` stands in a file of the copy."""
        file = self.folder / path
        text = file.read_text()
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {path}"
        file.write_text(text.replace(old, new))


def planned_jobs(plan: str) -> set[str]:
    """Return the jobs that a dry-run has printed, each as `rule` and its wildcards that are set."""
    found = re.findall(r"^ *(?:local)?rule (\w+):\n((?:    .*\n)+)", plan, re.MULTILINE)
    return {job_name(rule, body) for rule, body in found}


def job_name(rule: str, body: str) -> str:
    """Return `rule` and the wildcards that are set, of a job whose description a dry-run has printed."""
    wildcards = re.search(r"^ +wildcards: (.*)$", body, re.MULTILINE)
    return " ".join([rule, *(wildcards.group(1).split(", ") if wildcards else [])])
