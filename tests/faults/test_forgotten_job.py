"""A job whose Snakemake was forgotten, next to the one that was started again: it takes nothing of that one away."""

import json
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from workflow import TINY_CONFIG, Project

FOLDER = "results/tiny_es/catid2/seed0/rqvae"
LOG = "logs/tiny_es/catid2/seed0/train_rqvae.log"
# Without a lock two Snakemakes work in one folder, as the jobs of a cluster do, each under a Snakemake of its own.
COMMAND = ("--nolock", *TINY_CONFIG, "--", f"{FOLDER}/model.safetensors")


@pytest.fixture
def project(tiny_run: Project, tmp_path: Path) -> Project:
    """The tiny run without the RQ-VAE of catid2, and with time between the claim of a training and its outputs."""
    project = tiny_run.copy(tmp_path / "project")
    for path in (project.folder / FOLDER).iterdir():
        path.unlink()
    claimed = "    with claim(arguments.model):\n"
    project.edit("scripts/train_rqvae.py", claimed, f"{claimed}        __import__('time').sleep(2)\n")
    return project


def content(project: Project) -> dict[str, tuple[bytes, int]]:
    """Return bytes and modification time of the files of the job: its outputs, anything next to them, its log."""
    paths = [*(project.folder / FOLDER).iterdir(), project.folder / LOG]
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}


def test_outputs_and_log_of_the_newer_job_stay(project: Project, tmp_path: Path) -> None:
    output, owner = tmp_path / "older.txt", project.folder / FOLDER / ".owner-model.safetensors"
    with output.open("w") as stream:
        older = subprocess.Popen(
            [sys.executable, "-m", "snakemake", "--cores", "1", *COMMAND],
            cwd=project.folder,
            env=project.environment,
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    end = time.monotonic() + 120
    while not owner.is_file():
        assert older.poll() is None, output.read_text()
        assert time.monotonic() < end
        time.sleep(0.01)
    worker = psutil.Process(json.loads(owner.read_text())["pid"])
    worker.suspend()
    try:
        project.snakemake(*COMMAND)
        finished = content(project)
    finally:
        worker.resume()
        code = older.wait(timeout=120)
    assert code == 1, output.read_text()
    assert "train_rqvae dataset=tiny_es method=catid2 seed=0: failed after" in output.read_text()
    assert content(project) == finished
    assert sorted(finished) == ["config.json", "history.tsv", "model.safetensors", "train_rqvae.log"]
    assert project.planned(*COMMAND) == set()
