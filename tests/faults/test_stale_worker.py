"""A worker that outlived its job, beside the job that was started again: it writes and removes nothing."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bad_inputs import Options, command, run_script, settings

from workflow import ROOT, Project

OUTPUTS = {
    "train_rqvae": {
        "--model": "model.safetensors",
        "--model-config": "config.json",
        "--history": "history.tsv",
    },
    "train_retriever": {"--output": "retriever"},
}


def start(script: str, run: Path, changes: Options) -> subprocess.Popen:
    """Start a script on the finished tiny run."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / "scripts" / f"{script}.py"), *command(script, changes)],
        cwd=run,
        env=os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def stop_after_a_checkpoint(process: subprocess.Popen, checkpoints: Path) -> None:
    """Wait until a checkpoint is there, and halt the process."""
    end = time.monotonic() + 120
    while not any(checkpoints.glob("**/*.safetensors")):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.01)
    process.send_signal(signal.SIGSTOP)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("script", "newer_has_finished"), [("train_rqvae", False), ("train_retriever", True)], ids=str
)
def test_the_older_of_two_trainings_gives_way(
    tiny_run: Project, tmp_path: Path, script: str, newer_has_finished: bool
) -> None:
    outputs = {option: str(tmp_path / "out" / path) for option, path in OUTPUTS[script].items()}
    checkpoints = tmp_path / "checkpoints"
    older_options = outputs | {"--checkpoints": str(checkpoints), "--checkpoint-seconds": "0"}
    newer_options = older_options | {"--seed": "1"}
    older = start(script, tiny_run.folder, older_options | settings(script, epochs=200))
    newer = None
    try:
        stop_after_a_checkpoint(older, checkpoints)
        if newer_has_finished:
            done = run_script(script, tiny_run.folder, newer_options)
            assert done.code == 0, done.stderr
            before = content(tmp_path)
        else:
            newer = start(script, tiny_run.folder, newer_options | settings(script, epochs=200))
            owner = tmp_path / "out" / ".owner-model.safetensors"
            while f'"pid": {newer.pid},' not in owner.read_text():
                assert newer.poll() is None, newer.stderr.read()
                time.sleep(0.01)
        older.send_signal(signal.SIGCONT)
        _, stderr = older.communicate(timeout=120)
        errors = [line for line in stderr.splitlines() if line.startswith("error: ")]
        assert (older.returncode, len(errors)) == (1, 1), stderr
        assert "Traceback" not in stderr
        assert "this one stops here and writes nothing more" in errors[0]
        if newer_has_finished:
            assert content(tmp_path) == before
        else:
            assert f"taken over by process {newer.pid} " in errors[0]
            assert newer.poll() is None, newer.stderr.read()
    finally:
        for process in filter(None, (older, newer)):
            process.kill()
            process.communicate()
