"""The retriever's checkpoints: which is taken up when one is damaged, and what is never saved."""

import errno
import os
import shutil
from pathlib import Path

import pytest
from retriever_case import TINY, Case, newest_step, trained_bytes, write_case

from catid2.retriever.t5_training import RetrieverTraining
from catid2.runtime import checkpoint
from catid2.runtime.checkpoint import PREVIOUS, STATE_FILE
from catid2.runtime.errors import InputError

CONFIG = TINY.model_copy(update={"epochs": 2, "valid_every": 1})


@pytest.fixture(scope="module")
def case(tmp_path_factory) -> Case:
    """Return a tiny corpus with DocIDs."""
    return write_case(tmp_path_factory.mktemp("corpus"))


pytestmark = pytest.mark.usefixtures("one_thread")


def train(case: Case, folder: Path, **options: float) -> dict[str, bytes]:
    """Train in this process; return the bytes of the model and of its history."""
    return trained_bytes(CONFIG, case, folder, **options)


@pytest.fixture(scope="module")
def expected(case, tmp_path_factory) -> dict[str, bytes]:
    """Return what a run that is left alone ends with."""
    return train(case, tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def killed(case, tmp_path_factory) -> Path:
    """Return the checkpoints of a run that was killed in its second epoch: two, with a best model."""
    folder = tmp_path_factory.mktemp("killed")
    descend = RetrieverTraining.descend

    def killed_in_epoch_two(training, examples):
        if training.step == training.batches.steps + 2:
            raise KeyboardInterrupt
        descend(training, examples)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(RetrieverTraining, "descend", killed_in_epoch_two)
        train(case, folder, checkpoint_seconds=0)
    return folder / "checkpoints"


@pytest.fixture
def run(killed, tmp_path) -> Path:
    """Return a copy of the folder of the run, which a test may spoil."""
    (run,) = shutil.copytree(killed, tmp_path / "checkpoints").iterdir()
    return run


def halve(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))


@pytest.mark.parametrize("damage", [halve, flip_a_bit, Path.unlink])
def test_a_damaged_checkpoint_is_ignored_and_the_one_before_taken_up(
    damage, case, expected, run, tmp_path, caplog
):
    step = newest_step(tmp_path / "checkpoints")
    damage(run / STATE_FILE)
    caplog.set_level("INFO")
    assert train(case, tmp_path) == expected
    assert f"resuming after step {step - 1} " in caplog.text
    warned = [
        record for record in caplog.records if record.levelname == "WARNING" and str(run) in record.message
    ]
    assert len(warned) == (damage is not Path.unlink)


def test_without_a_whole_checkpoint_training_starts_anew(case, expected, run, tmp_path, caplog):
    caplog.set_level("INFO")
    for name in (STATE_FILE, PREVIOUS):
        flip_a_bit(run / name)
    assert train(case, tmp_path) == expected
    assert caplog.text.count("not as it was saved") == 2
    assert "resuming" not in caplog.text


def test_a_checkpoint_with_weights_that_are_not_finite_is_not_written(case, tmp_path, monkeypatch):
    descend = RetrieverTraining.descend

    def diverging(training, examples):
        descend(training, examples)
        if training.step == 4:
            training.model.t5.shared.weight.data[0, 0] = float("nan")

    monkeypatch.setattr(RetrieverTraining, "descend", diverging)
    with pytest.raises(InputError, match=r"weights are not finite after step 4 \(epoch 1 of 2\); lower"):
        train(case, tmp_path, checkpoint_seconds=0)
    assert newest_step(tmp_path / "checkpoints") == 3


def test_a_checkpoint_that_cannot_be_written_is_one_line_and_leaves_the_one_before(
    case, tmp_path, monkeypatch
):
    save, saved = checkpoint.save_file, []

    def full(*arguments):
        save(*arguments)
        saved.append(arguments)
        if len(saved) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(InputError, match=r"state.safetensors: cannot be written .*; make room") as caught:
        train(case, tmp_path, checkpoint_seconds=0)
    assert "\n" not in str(caught.value)
    assert newest_step(tmp_path / "checkpoints") == 2
