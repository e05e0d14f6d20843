"""Training the retriever: what it writes, and that a killed run ends as one that never was."""

import os
import re
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
from retriever_case import (
    TINY,
    Case,
    newest_step,
    one_cpu_thread,
    random_codes,
    train,
    write_case,
    write_docids,
)
from safetensors.torch import load_file

from catid2.config.retriever import RetrieverConfig
from catid2.docids.table import Docids
from catid2.retriever.t5 import load_retriever
from catid2.retriever.t5_training import RetrieverTraining
from catid2.runtime.checkpoint import STATE_FILE
from catid2.runtime.errors import InputError
from catid2.runtime.tables import JUDGEMENTS, read_table, write_table
from catid2.runtime.writing import claim
from catid2.training.distributed import Group
from catid2.training.loop import Training

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
    assert retriever.t5.config.docid_sha256 == Docids.read(case.docids).digest
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

    def validate(training):
        weights = training.model.t5.state_dict()
        validated.append({name: tensor.clone() for name, tensor in weights.items()})
        return dict(zip((10, 50), next(recalls), strict=True))

    monkeypatch.setattr(RetrieverTraining, "validate", validate)
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
        while not list(killed.glob(f"checkpoints/*/{STATE_FILE}")):
            assert process.poll() is None
            time.sleep(0.005)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    # A kill while saving leaves a file cut short, under a name of its own.
    (state,) = killed.glob(f"checkpoints/*/{STATE_FILE}")
    state.with_name(f".tmp-0123456789ab-{STATE_FILE}").write_bytes(state.read_bytes()[:1000])
    caplog.set_level("INFO")
    resumed = train(LONG, case, killed)
    assert f"from {state}" in caplog.text
    assert not (killed / "checkpoints").exists()
    for name in ("model.safetensors", "history.tsv", "tokenizer.json", "config.json"):
        assert (resumed / name).read_bytes() == (whole / name).read_bytes(), name


def test_state_of_another_run_is_not_taken_up(case, tmp_path, monkeypatch, caplog):
    config = TINY.model_copy(update={"epochs": 1, "valid_every": 1})
    with monkeypatch.context() as patch:
        patch.setattr(RetrieverTraining, "write", _stop)
        with pytest.raises(KeyboardInterrupt):
            train(config.model_copy(update={"microbatch": 7}), case, tmp_path)
    (run,) = (tmp_path / "checkpoints").iterdir()
    caplog.set_level("INFO")
    again, whole = train(config, case, tmp_path), train(config, case, tmp_path / "whole")
    assert f"{run}: kept, but of another run (config.microbatch: 7, now null)" in caplog.text
    assert not (tmp_path / "checkpoints").exists()
    assert (again / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_a_kill_between_validation_and_checkpoint_leaves_the_best_of_the_checkpoint(
    case, tmp_path, monkeypatch
):
    config = TINY.model_copy(update={"epochs": 2, "valid_every": 1})
    save, recalls, first = RetrieverTraining.save, iter([0.5, 0.9]), []

    def validate(training):
        first.append(training.model.t5.shared.weight.detach().clone())
        return {10: next(recalls)}

    def stopped_at_the_second(training, checkpoints):
        if len(training.rows) == 2:
            raise KeyboardInterrupt
        save(training, checkpoints)

    with monkeypatch.context() as patch:
        patch.setattr(RetrieverTraining, "validate", validate)
        patch.setattr(RetrieverTraining, "save", stopped_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            train(config, case, tmp_path)
    # On a GPU the repeated epoch need not validate as well as it did before.
    monkeypatch.setattr(RetrieverTraining, "validate", lambda _: {10: 0.1})
    folder = train(config, case, tmp_path)
    assert torch.equal(load_file(folder / "model.safetensors")["shared.weight"], first[0])
    assert [line.split("\t")[-1] for line in (folder / "history.tsv").read_text().splitlines()[1:]] == [
        "1",
        "0",
    ]


def test_a_loss_that_is_not_finite_ends_training_and_keeps_the_checkpoint(
    case, tmp_path, monkeypatch, caplog
):
    descend = RetrieverTraining.descend

    def diverging(training, examples):
        descend(training, examples)
        if training.step > 2 * training.batches.steps:
            training.loss *= float("nan")

    with monkeypatch.context() as patch:
        patch.setattr(RetrieverTraining, "descend", diverging)
        with pytest.raises(InputError, match="loss of epoch 3 is nan; lower learning_rate"):
            train(TINY, case, tmp_path)
    (state,) = tmp_path.glob(f"checkpoints/*/{STATE_FILE}")
    caplog.set_level("INFO")
    train(TINY, case, tmp_path)
    assert re.search(rf"resuming after step \d+ \(epoch 2 of 6\) from {state}", caplog.text)


def test_a_first_rank_that_has_been_replaced_writes_nothing_more(case, tmp_path, monkeypatch):
    descend = RetrieverTraining.descend

    def replaced(training, examples):
        if training.step == 2:
            with claim(tmp_path / "retriever"):  # as a newer process does, which then ends
                pass
        descend(training, examples)

    monkeypatch.setattr(RetrieverTraining, "descend", replaced)
    with claim(tmp_path / "retriever"), pytest.raises(InputError, match="this one stops here"):
        train(TINY, case, tmp_path, checkpoint_seconds=0)
    assert newest_step(tmp_path / "checkpoints") == 2


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


class Dropping(Training):
    """Training whose loss tells which units were dropped."""

    def batch(self, rows):
        return {"input": torch.arange(64.0)}

    def validate(self):
        return {}

    def write(self, folder):
        folder.mkdir()


def test_each_rank_and_each_step_drops_other_units():
    losses = []
    for rank in (0, 1, 0):
        model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Dropout(0.5))
        model.forward = lambda input, layers=model: (
            (layers[1](torch.ones(64)) * input).sum() + layers[0].bias[0]
        )
        run = Dropping(TINY, model, SimpleNamespace(steps=4), 3, Group(rank))
        torch.nn.init.zeros_(model[0].bias)
        run.config = TINY.model_copy(update={"learning_rate": 1e-30})
        for _ in range(2):
            run.loss.zero_()
            run.descend(np.zeros((1, 1)))
            losses.append(run.loss.item())
    assert losses[:2] == losses[4:]
    assert len(set(losses[:4])) == 4


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
