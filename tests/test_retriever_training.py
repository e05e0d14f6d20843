"""Training the retriever: what it writes, and that a killed run ends as one that never was."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from retriever_case import TINY, Case, random_codes, write_case, write_docids
from safetensors.torch import load_file

from catid2.artifacts import InputError
from catid2.config.retriever import RetrieverConfig
from catid2.retriever import load_retriever
from catid2.retriever_training import COMPLETE, Inputs, train_retriever

ROOT = Path(__file__).parents[1]
LONG = TINY.model_copy(update={"epochs": 25, "valid_every": 1})
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}


@pytest.fixture(scope="module")
def case(tmp_path_factory) -> Case:
    """Return a tiny corpus with DocIDs."""
    return write_case(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch):
    """Train on the CPU with one thread, as the subprocesses do."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def train(config: RetrieverConfig, case: Case, folder: Path, microbatch: int | None = None) -> Path:
    """Train in this process; return the retriever's folder."""
    train_retriever(
        config, Inputs(*case), folder / "checkpoints", folder / "retriever", seed=1, microbatch=microbatch
    )
    return folder / "retriever"


def command(config: RetrieverConfig, case: Case, folder: Path, *launcher: str) -> list[str]:
    """Return the command line that trains the same."""
    files = [part for name, path in case._asdict().items() for part in (f"--{name}", str(path))]
    places = ["--checkpoints", str(folder / "checkpoints"), "--output", str(folder / "retriever")]
    script = [str(ROOT / "scripts/train_retriever.py"), "--config", config.model_dump_json(), "--seed", "1"]
    return [*(launcher or (sys.executable,)), *script, *files, *places]


def test_a_run_writes_a_retriever_with_its_history_and_removes_its_checkpoints(case, tmp_path):
    folder = train(TINY, case, tmp_path)
    assert not (tmp_path / "checkpoints").exists()
    load_retriever(folder)
    header, *lines = [line.split("\t") for line in (folder / "history.tsv").read_text().splitlines()]
    assert header == ["epoch", "step", "loss", "learning_rate", "recall@10", "recall@50", "recall@100"]
    assert [int(line[0]) for line in lines] == [1, 2, 3, 4, 5, 6]
    assert [bool(line[4]) for line in lines] == [False, True, False, True, False, True]
    assert float(lines[-1][2]) < float(lines[0][2])


def test_the_checkpoint_that_validated_best_is_kept(case, tmp_path):
    config = TINY.model_copy(update={"epochs": 4, "valid_every": 1, "learning_rate": 0.3, "warmup": 0.0})
    folder = train(config, case, tmp_path / "best")
    recalls = [float(line.split("\t")[4]) for line in (folder / "history.tsv").read_text().splitlines()[1:]]
    best = int(np.argmax(recalls)) + 1
    assert best < 4, "the case must be one in which the last epoch is not the best"
    last = train(config.model_copy(update={"select_by": "last"}), case, tmp_path / "last")
    kept, final = (load_file(place / "model.safetensors") for place in (folder, last))
    assert any(not torch.equal(kept[name], final[name]) for name in kept)


def test_a_killed_run_ends_with_the_bytes_of_one_that_was_not(case, tmp_path, caplog):
    whole = train(LONG, case, tmp_path / "whole")
    killed = tmp_path / "killed"
    with subprocess.Popen(command(LONG, case, killed), env=ENVIRONMENT, stderr=subprocess.DEVNULL) as process:
        while not list(killed.glob(f"checkpoints/checkpoint-*/{COMPLETE}")):
            assert process.poll() is None
            time.sleep(0.005)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    # A kill while saving leaves a folder without the mark, its files cut short.
    marks = killed.glob(f"checkpoints/checkpoint-*/{COMPLETE}")
    newest = max((mark.parent for mark in marks), key=lambda path: int(path.name.split("-")[1]))
    unfinished = newest.with_name("checkpoint-99999")
    shutil.copytree(newest, unfinished, ignore=shutil.ignore_patterns(COMPLETE))
    (unfinished / "model.safetensors").write_bytes(b"cut")
    caplog.set_level("INFO")
    resumed = train(LONG, case, killed)
    assert f"{unfinished}: not whole" in caplog.text
    assert f"resuming from {newest}" in caplog.text
    for name in ("model.safetensors", "history.tsv", "tokenizer.json", "config.json"):
        assert (resumed / name).read_bytes() == (whole / name).read_bytes(), name


def test_state_of_another_run_is_not_taken_up(case, tmp_path, monkeypatch, caplog):
    whole = train(TINY, case, tmp_path / "whole")
    other = TINY.model_copy(update={"learning_rate": 0.02})
    with monkeypatch.context() as patch:
        patch.setattr("catid2.retriever_training._write", _stop)
        with pytest.raises(KeyboardInterrupt):
            train(other, case, tmp_path)
    assert (tmp_path / "checkpoints/best").is_dir()
    caplog.set_level("INFO")
    again = train(TINY, case, tmp_path)
    assert "made with other settings or inputs" in caplog.text
    assert (again / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def _stop(*_):
    raise KeyboardInterrupt


def test_micro_batches_and_ranks_train_what_one_process_trains(case, tmp_path):
    small = TINY.small.model_copy(update={"dropout_rate": 0.0})
    config = TINY.model_copy(update={"small": small, "epochs": 3, "valid_every": 1})
    one = train(config, case, tmp_path / "one")
    micro = train(config, case, tmp_path / "micro", microbatch=8)
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    subprocess.run(command(config, case, tmp_path / "two", *launcher), env=ENVIRONMENT, check=True)
    expected = np.genfromtxt(one / "history.tsv", skip_header=1)
    for other in (micro, tmp_path / "two" / "retriever"):
        np.testing.assert_allclose(np.genfromtxt(other / "history.tsv", skip_header=1), expected, rtol=2e-3)


def test_what_does_not_fit_together_is_named(case, tmp_path):
    names = [f"X{row}" for row in range(60)]
    write_docids(tmp_path / "docids.parquet", random_codes(60, (4, 4, 8)), names)
    with pytest.raises(InputError, match="not the DocIDs of the documents"):
        train(TINY, case._replace(docids=tmp_path / "docids.parquet"), tmp_path)
    assert not (tmp_path / "retriever").exists()
    config = TINY.model_copy(update={"valid_share": 1e-9})
    with pytest.raises(InputError, match="no query is held out"):
        train(config, case, tmp_path)


def test_a_mistake_in_the_settings_is_one_line(case, tmp_path):
    line = command(TINY, case, tmp_path)
    line[line.index("--config") + 1] = '{"epoch": 3}'
    result = subprocess.run(line, env=ENVIRONMENT, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("error: --config: unknown key 'epoch'")
    assert len(result.stderr.splitlines()) == 1
