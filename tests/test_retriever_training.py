"""Training the retriever: what it writes, and that a killed run ends as one that never was."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import torch
from in_process import run_here
from retriever_case import TINY, Case, one_cpu_thread, random_codes, train, write_case, write_docids
from safetensors.torch import load_file
from transformers import TrainingArguments

from catid2.config.retriever import RetrieverConfig
from catid2.docids.table import docids_digest
from catid2.retriever.t5 import load_retriever
from catid2.retriever.t5_training import RetrieverTrainer
from catid2.runtime.errors import InputError
from catid2.runtime.tables import JUDGEMENTS, read_table, write_table
from catid2.runtime.writing import claim
from catid2.training import distributed, resumable_trainer
from catid2.training.distributed import Group
from catid2.training.resumable_trainer import training_arguments
from catid2.training.state import COMPLETE, StateFolder

ROOT = Path(__file__).parents[1]
LONG = TINY.model_copy(update={"epochs": 25, "valid_every": 1})
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}


@pytest.fixture(scope="module")
def case(tmp_path_factory) -> Case:
    """Return a tiny corpus with DocIDs."""
    return write_case(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(autouse=True)
def _one_thread():
    """Train on the CPU with one thread, as the subprocesses do."""
    with one_cpu_thread():
        yield


def command(config: RetrieverConfig, case: Case, folder: Path, *launcher: str) -> list[str]:
    """Return the command line that trains the same."""
    files = [part for name, path in case._asdict().items() for part in (f"--{name}", str(path))]
    places = ["--checkpoints", str(folder / "checkpoints"), "--output", str(folder / "retriever")]
    script = [str(ROOT / "scripts/train_retriever.py"), "--config", config.model_dump_json(), "--seed", "1"]
    return [*(launcher or (sys.executable,)), *script, *files, *places]


def test_a_run_writes_a_retriever_with_its_history_and_removes_its_checkpoints(case, tmp_path):
    folder = train(TINY, case, tmp_path)
    assert not (tmp_path / "checkpoints").exists()
    retriever, _ = load_retriever(folder)
    assert retriever.t5.config.docid_sha256 == docids_digest(case.docids)
    header, *lines = [line.split("\t") for line in (folder / "history.tsv").read_text().splitlines()]
    recalls = ["recall@10", "recall@50", "recall@100"]
    assert header == ["epoch", "step", "loss", "learning_rate", *recalls, "kept"]
    assert [int(line[0]) for line in lines] == [1, 2, 3, 4, 5, 6]
    assert [bool(line[4]) for line in lines] == [False, True, False, True, False, True]
    assert {(line[5], line[6]) for line in lines} == {("", "")}, "20 beams do not measure recall@50"
    assert float(lines[-1][2]) < float(lines[0][2])


def test_the_first_of_the_checkpoints_that_validated_best_is_kept(case, tmp_path, monkeypatch):
    recalls = iter([(0.1, 0.5), (0.2, 0.9), (0.3, 0.9), (0.4, 0.2)])  # recall@10 would choose the last
    validated = []

    def validate(trainer):
        weights = trainer._pretrained().state_dict()
        validated.append({name: tensor.clone() for name, tensor in weights.items()})
        return dict(zip((10, 50), next(recalls), strict=True))

    monkeypatch.setattr(RetrieverTrainer, "_validate", validate)
    config = TINY.model_copy(update={"epochs": 4, "valid_every": 1, "select_by": "recall@50"})
    folder = train(config, case, tmp_path)
    lines = [line.split("\t") for line in (folder / "history.tsv").read_text().splitlines()[1:]]
    assert [line[-1] for line in lines] == ["0", "1", "0", "0"]
    for name, tensor in load_file(folder / "model.safetensors").items():
        assert torch.equal(tensor, validated[1][name]), name
    assert not torch.equal(validated[1]["shared.weight"], validated[2]["shared.weight"])


def test_a_killed_run_ends_with_the_bytes_of_one_that_was_not(case, tmp_path, caplog):
    whole = train(LONG, case, tmp_path / "whole")
    killed = tmp_path / "killed"
    with subprocess.Popen(command(LONG, case, killed), env=ENVIRONMENT, stderr=subprocess.DEVNULL) as process:
        while not list(killed.glob(f"checkpoints/*/checkpoint-*/{COMPLETE}")):
            assert process.poll() is None
            time.sleep(0.005)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    # A kill while saving leaves a folder without the mark, its files cut short.
    marks = killed.glob(f"checkpoints/*/checkpoint-*/{COMPLETE}")
    newest = max((mark.parent for mark in marks), key=lambda path: int(path.name.split("-")[1]))
    unfinished = newest.with_name("checkpoint-99999")
    shutil.copytree(newest, unfinished, ignore=shutil.ignore_patterns(COMPLETE))
    (unfinished / "model.safetensors").write_bytes(b"cut")
    caplog.set_level("INFO")
    resumed = train(LONG, case, killed)
    assert f"{unfinished}: not whole" in caplog.text
    assert f"from {newest}" in caplog.text
    for name in ("model.safetensors", "history.tsv", "tokenizer.json", "config.json"):
        assert (resumed / name).read_bytes() == (whole / name).read_bytes(), name


def test_state_of_another_run_is_not_taken_up(case, tmp_path, monkeypatch, caplog):
    config = TINY.model_copy(update={"epochs": 1, "valid_every": 1})
    with monkeypatch.context() as patch:
        patch.setattr("catid2.retriever.t5_training.write_trained", _stop)
        with pytest.raises(KeyboardInterrupt):
            train(config.model_copy(update={"microbatch": 7}), case, tmp_path)
    (run,) = (tmp_path / "checkpoints").iterdir()
    caplog.set_level("INFO")
    again, whole = train(config, case, tmp_path), train(config, case, tmp_path / "whole")
    assert f"{run}: kept, but of another run (config.microbatch: 7, now null)" in caplog.text
    assert not (tmp_path / "checkpoints").exists()
    assert (again / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_a_kill_between_best_model_and_checkpoint_leaves_the_best_of_the_checkpoint(
    case, tmp_path, monkeypatch
):
    config = TINY.model_copy(update={"epochs": 2, "valid_every": 1})
    save, recalls = RetrieverTrainer._save_checkpoint, iter([0.5, 0.9])

    def stopped_at_the_second(trainer, *arguments):
        if trainer.state.epoch == 2:
            raise KeyboardInterrupt
        save(trainer, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(RetrieverTrainer, "_validate", lambda trainer: {10: next(recalls)})
        patch.setattr(RetrieverTrainer, "_save_checkpoint", stopped_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            train(config, case, tmp_path)
    (checkpoint,) = (mark.parent for mark in tmp_path.glob(f"checkpoints/*/checkpoint-*/{COMPLETE}"))
    first = (checkpoint / "model.safetensors").read_bytes()
    # On a GPU the repeated epoch need not validate as well as it did before.
    monkeypatch.setattr(RetrieverTrainer, "_validate", lambda trainer: {10: 0.1})
    folder = train(config, case, tmp_path)
    assert (folder / "model.safetensors").read_bytes() == first
    assert [line.split("\t")[-1] for line in (folder / "history.tsv").read_text().splitlines()[1:]] == [
        "1",
        "0",
    ]


def test_a_loss_that_is_not_finite_ends_training_and_keeps_the_checkpoint(
    case, tmp_path, monkeypatch, caplog
):
    original = RetrieverTrainer.compute_loss

    def diverging(trainer, *arguments, **options):
        loss = original(trainer, *arguments, **options)
        return loss * float("nan") if trainer.state.epoch >= 2 else loss

    with monkeypatch.context() as patch:
        patch.setattr(RetrieverTrainer, "compute_loss", diverging)
        with pytest.raises(InputError, match="loss of epoch 3 is nan; lower learning_rate"):
            train(TINY, case, tmp_path)
    (mark,) = tmp_path.glob(f"checkpoints/*/checkpoint-*/{COMPLETE}")
    caplog.set_level("INFO")
    train(TINY, case, tmp_path)
    assert f"from {mark.parent}" in caplog.text


def test_a_first_rank_that_has_been_replaced_leaves_its_peers_waiting(case, tmp_path, monkeypatch):
    training_step, met = RetrieverTrainer.training_step, []

    def replaced(trainer, *arguments, **options):
        if trainer.state.global_step == 2:
            with claim(tmp_path / "retriever"):  # as a newer process does, which then ends
                met.append(trainer.state.global_step)
        return training_step(trainer, *arguments, **options)

    def gather(*arguments):
        met.append("its peers")
        return distributed.gather(*arguments)

    monkeypatch.setattr(RetrieverTrainer, "training_step", replaced)
    monkeypatch.setattr(resumable_trainer, "gather", gather)
    with claim(tmp_path / "retriever"), pytest.raises(InputError, match="this one stops here"):
        train(TINY, case, tmp_path, checkpoint_seconds=0)
    # Once for each checkpoint before; not for the third, into which the peers would write.
    assert met == ["its peers", "its peers", 2]


def test_a_document_without_a_docid_is_named(case, tmp_path):
    table = read_table(case.judgements, JUDGEMENTS)
    for doc_id in (-1, 60):
        rows = [row | {"doc_id": doc_id} if row["doc_id"] == 7 else row for row in table.to_pylist()]
        write_table(tmp_path / "judgements.parquet", pa.Table.from_pylist(rows, table.schema))
        with pytest.raises(InputError, match=f"document {doc_id} has no DocID; build the corpus again"):
            train(TINY, case._replace(judgements=tmp_path / "judgements.parquet"), tmp_path)


@pytest.mark.parametrize(
    "names", [["notes.txt"], ["fingerprint", "best", "notes.txt"], ["checkpoint-500", "best"]]
)
def test_a_folder_with_anything_but_our_checkpoints_is_left_alone(names, case, tmp_path):
    for name in names:
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
    with pytest.raises(InputError, match=r"holds files that are not checkpoints .*name an empty folder"):
        train(TINY, case, tmp_path)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == sorted(names)


def test_ranks_drop_different_units(tmp_path, monkeypatch):
    drawn = []
    for rank in (0, 1):
        trainer = RetrieverTrainer.__new__(RetrieverTrainer)
        trainer.args = SimpleNamespace(seed=3, process_index=rank, world_size=1)
        trainer.folder = StateFolder(tmp_path / "state")
        trainer.group, trainer.config, trainer.batches = Group(), None, None
        trainer.add_callback = lambda _: None
        trainer.train = lambda **_: drawn.append(torch.nn.functional.dropout(torch.ones(64)))
        torch.manual_seed(3)  # as the Trainer does on every rank
        trainer.run({}, checkpoint_seconds=600)
    assert not torch.equal(*drawn)


def test_one_process_uses_one_gpu_of_several(tmp_path, monkeypatch):
    class SeveralGPUs(TrainingArguments):
        def __post_init__(self):
            super().__post_init__()
            self._n_gpu = 4

    monkeypatch.setattr("catid2.training.resumable_trainer.TrainingArguments", SeveralGPUs)
    assert training_arguments(TINY, tmp_path, 0).n_gpu == 1


def _stop(*_):
    raise KeyboardInterrupt


def test_micro_batches_and_ranks_train_what_one_process_trains(case, tmp_path):
    small = TINY.small.model_copy(update={"dropout_rate": 0.0})
    config = TINY.model_copy(update={"small": small, "epochs": 3, "valid_every": 1})
    one = train(config, case, tmp_path / "one")
    micro = train(config.model_copy(update={"microbatch": 7}), case, tmp_path / "micro")
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    subprocess.run(command(config, case, tmp_path / "two", *launcher), env=ENVIRONMENT, check=True)
    expected, *others = (
        np.genfromtxt(folder / "history.tsv", skip_header=1, delimiter="\t")
        for folder in (one, micro, tmp_path / "two" / "retriever")
    )
    for other in others:
        np.testing.assert_allclose(other, expected, rtol=2e-3)


def test_what_does_not_fit_together_is_named(case, tmp_path):
    names = [f"X{row}" for row in range(60)]
    write_docids(tmp_path / "docids.parquet", random_codes(60, (4, 4, 8)), names)
    with pytest.raises(InputError, match="not the DocIDs of the documents"):
        train(TINY, case._replace(docids=tmp_path / "docids.parquet"), tmp_path)
    assert not (tmp_path / "retriever").exists()
    config = TINY.model_copy(update={"valid_share": 1e-9})
    with pytest.raises(InputError, match="no query is held out"):
        train(config, case, tmp_path)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--config", '{"epoch": 3}', "--config: unknown key 'epoch'"),
        ("--config", '{"microbatch": 0}', "--config: key 'microbatch': "),
    ],
)
def test_a_mistake_in_the_settings_is_one_line(option, value, message, case, tmp_path):
    done = run_here("train_retriever", [*command(TINY, case, tmp_path)[2:], option, value])
    assert done.code == 1
    assert done.stderr.startswith(f"error: {message}")
    assert done.stderr.count("\n") == 1
