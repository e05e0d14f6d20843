"""The retriever's checkpoints: what is kept, what is taken up, and what is never executed."""

import errno
import json
import os
import pickle
import shutil
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from retriever_case import TINY, Case, trained_bytes, write_case
from transformers import Trainer

from catid2.retriever.t5_training import RetrieverTrainer
from catid2.runtime.checkpoint import FINGERPRINT
from catid2.runtime.errors import InputError
from catid2.runtime.tables import read_json, write_json
from catid2.training.resumable_trainer import LOSSES
from catid2.training.state import COMPLETE, StateFolder

CONFIG = TINY.model_copy(update={"epochs": 2, "valid_every": 1})
FILES = (
    "model.safetensors",
    "optimizer.pt",
    "scheduler.pt",
    "rng_state.pth",
    "trainer_state.json",
    LOSSES,
    COMPLETE,
)


RUN = {"seed": 0}


# --- what is kept ----------------------------------------------------------------------------------------


def checkpoint(folder: StateFolder, step: int, best_step: int | None) -> None:
    """Put a checkpoint after `step` into the folder, which counts on a model that validated best."""
    for place in (folder.checkpoint(step), *([folder.best(best_step)] if best_step else [])):
        place.mkdir(parents=True, exist_ok=True)
        (place / "model").write_text(place.name)
    folder.seal(step, best_step)


def test_two_checkpoints_are_kept_and_the_models_they_count_on(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    folder.claim(RUN)
    for step, best_step, checkpoints, models in [
        (3, None, {3}, set()),
        (5, 5, {3, 5}, {5}),
        (8, 5, {5, 8}, {5}),
        (10, 10, {8, 10}, {5, 10}),
        (12, 10, {10, 12}, {10}),
    ]:
        checkpoint(folder, step, best_step)
        assert {int(path.name.split("-")[1]) for path in folder.path.glob("checkpoint-*")} == checkpoints
        assert {int(path.name) for path in folder.path.glob("best/*")} == models
        assert folder.newest() == folder.checkpoint(step)


def test_steps_are_ordered_as_numbers(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    folder.enter(RUN)
    for step in (8, 9, 10, 100):
        checkpoint(folder, step, None)
    assert sorted(path.name for path in folder.path.iterdir()) == ["checkpoint-10", "checkpoint-100"]
    assert folder.newest().name == "checkpoint-100"


def test_a_damaged_best_model_damages_the_checkpoints_that_count_on_it(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    folder.claim(RUN)
    checkpoint(folder, 5, 5)
    checkpoint(folder, 10, 10)
    (folder.best(10) / "model").write_text("changed")
    folder.claim(RUN)
    assert folder.newest() == folder.checkpoint(5)


def test_only_state_is_removed(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    folder.claim(RUN)
    checkpoint(folder, 1, 1)
    (tmp_path / "put there meanwhile").touch()
    folder.remove()
    assert [path.name for path in tmp_path.iterdir()] == ["put there meanwhile"]


@pytest.mark.parametrize("name", [".tmp-notes", "checkpoint-x", "checkpoint-5", "best", "best/notes"])
def test_files_that_only_look_like_ours_are_refused_and_never_removed(tmp_path: Path, name: str) -> None:
    folder = StateFolder(tmp_path)
    folder.claim(RUN)
    file = folder.path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("mine")
    with pytest.raises(InputError, match=rf"not checkpoints \('{folder.path.name}/{name}'\); move them away"):
        StateFolder(tmp_path)
    folder.remove()
    assert file.read_text() == "mine"


@pytest.mark.parametrize(
    "names", [["checkpoint-500", "best"], ["checkpoint-best"], ["0123456789abcdef/best"]]
)
def test_checkpoints_of_another_program_are_refused(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / COMPLETE).touch()
    with pytest.raises(InputError, match=r"holds files that are not checkpoints"):
        StateFolder(tmp_path)


def test_the_state_of_another_run_is_kept_and_taken_up_when_the_change_is_taken_back(
    tmp_path, caplog
) -> None:
    caplog.set_level("INFO")
    folder = StateFolder(tmp_path)
    folder.claim(RUN)
    checkpoint(folder, 5, 5)
    first = folder.newest()
    folder.claim({"seed": 1})
    assert folder.newest() is None
    assert f"{first.parent}: kept, but of another run (seed: 0, now 1)" in caplog.text
    checkpoint(folder, 2, None)
    folder.claim(RUN)
    assert folder.newest() == first
    folder.remove()
    assert not tmp_path.exists()


def test_a_kill_while_the_state_is_removed_leaves_nothing_to_take_up(tmp_path, monkeypatch) -> None:
    folder = StateFolder(tmp_path)
    folder.claim(RUN)
    checkpoint(folder, 1, 1)
    monkeypatch.setattr("catid2.runtime.checkpoint._remove", None)
    with pytest.raises(TypeError):
        folder.remove()
    assert folder.newest() is None


def test_what_kills_left_of_atomic_writes_is_ours(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    folder.claim(RUN)
    checkpoint(folder, 1, 1)
    for name in ("fingerprint.json", "best/3", "checkpoint-1/complete"):
        target = folder.path / name
        aside = target.with_name(f".tmp-0123456789ab-{target.name}")
        aside.mkdir() if name == "best/3" else aside.touch()
    StateFolder(tmp_path).remove()
    assert not tmp_path.exists()


def test_all_that_a_mark_stands_for_is_flushed_before_it(tmp_path, monkeypatch) -> None:
    folder = StateFolder(tmp_path)
    folder.claim(RUN)
    flushed, fsync = set(), os.fsync

    def noted(handle: int) -> None:
        flushed.add(Path(os.readlink(f"/proc/self/fd/{handle}")))
        fsync(handle)

    def marked(path: Path, content: dict) -> None:
        folders = {path.parent, folder.best(1), folder.path / "best", folder.path}
        assert flushed == {folder.path / name for name in content["files"]} | folders
        write_json(path, content)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(os, "sync", None)  # would wait for every disk of the node
    monkeypatch.setattr("catid2.training.state.write_json", marked)
    checkpoint(folder, 1, 1)
    assert folder.newest() == folder.checkpoint(1)


def test_a_best_model_is_not_taken_for_whole_because_a_later_checkpoint_found_it_damaged(tmp_path) -> None:
    folder = StateFolder(tmp_path)
    folder.claim(RUN)
    checkpoint(folder, 5, 5)
    (folder.best(5) / "model").write_text("damaged")
    folder.checkpoint(6).mkdir()
    folder.seal(6, 5)
    folder.claim(RUN)
    assert folder.newest() is None


# --- what is taken up ------------------------------------------------------------------------------------


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
    """Return the checkpoints of a run that was killed in its second epoch: two, and a best model."""
    folder = tmp_path_factory.mktemp("killed")
    training_step = RetrieverTrainer.training_step

    def killed_in_epoch_two(trainer, *arguments, **options):
        if trainer.state.global_step == trainer.batches.steps + 2:
            raise KeyboardInterrupt
        return training_step(trainer, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(RetrieverTrainer, "training_step", killed_in_epoch_two)
        train(case, folder, checkpoint_seconds=0)
    return folder / "checkpoints"


@pytest.fixture
def state(killed, tmp_path) -> StateFolder:
    """Return a copy of the checkpoints that a test may spoil."""
    return the_run(shutil.copytree(killed, tmp_path / "checkpoints"))


def the_run(checkpoints: Path) -> StateFolder:
    """Return the state of the only run in a folder."""
    folder = StateFolder(checkpoints)
    (fingerprint,) = checkpoints.glob(f"*/{FINGERPRINT}")
    folder.enter(read_json(fingerprint))
    return folder


def halve(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("name", "damage"),
    [*((name, halve) for name in FILES), ("optimizer.pt", flip_a_bit), (LOSSES, Path.unlink)],
)
def test_a_damaged_checkpoint_is_ignored_and_the_one_before_taken_up(
    name, damage, case, expected, state, tmp_path, caplog
):
    newest = state.newest()
    damage(newest / name)
    assert train(case, tmp_path) == expected
    (warning,) = (record.getMessage() for record in caplog.records if str(newest) in record.getMessage())
    assert warning.startswith(f"{newest}: not as it was saved (")
    assert name in warning


@pytest.mark.parametrize("name", [COMPLETE, "model.safetensors"])
def test_a_file_that_cannot_be_read_at_the_moment_costs_no_checkpoint(
    name, case, expected, state, tmp_path, monkeypatch
):
    before = sorted(state.path.rglob("*"))
    unpatched = Path.open

    def stale(path: Path, *arguments, **options):
        if path.name == name and state.path in path.parents:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return unpatched(path, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", stale)
        with pytest.raises(
            InputError, match=rf"{name}: cannot be read \(Stale file handle\); make it readable, or try again"
        ):
            train(case, tmp_path)
    assert sorted(state.path.rglob("*")) == before
    assert train(case, tmp_path) == expected


def test_a_checkpoint_that_this_node_sees_late_is_waited_for(tmp_path, monkeypatch):
    folder = StateFolder(tmp_path)
    folder.claim(RUN)
    assert not folder.sees(3, seconds=0)
    monkeypatch.setattr("catid2.training.state.time.sleep", lambda _: checkpoint(folder, 3, None))
    assert folder.sees(3, seconds=60)


def test_without_a_whole_checkpoint_training_starts_anew(case, expected, state, tmp_path, caplog):
    caplog.set_level("INFO")
    for mark in state.path.glob(f"checkpoint-*/{COMPLETE}"):
        halve(mark.parent / "model.safetensors")
    assert train(case, tmp_path) == expected
    assert caplog.text.count("not as it was saved") == 2
    assert "resuming" not in caplog.text


def test_a_checkpoint_with_weights_that_are_not_finite_is_not_written(case, tmp_path, monkeypatch):
    compute_loss = RetrieverTrainer.compute_loss

    def diverging(trainer, *arguments, **options):
        loss = compute_loss(trainer, *arguments, **options)
        return loss * float("nan") if trainer.state.global_step == 3 else loss

    monkeypatch.setattr(RetrieverTrainer, "compute_loss", diverging)
    with pytest.raises(InputError, match=r"weights are not finite after step 4 \(epoch 1 of 2\); lower"):
        train(case, tmp_path, checkpoint_seconds=0)
    assert the_run(tmp_path / "checkpoints").newest().name == "checkpoint-3"


def test_a_checkpoint_that_cannot_be_written_is_one_line_and_leaves_the_one_before(
    case, tmp_path, monkeypatch
):
    save = Trainer._save_checkpoint

    def full(trainer, *arguments):
        save(trainer, *arguments)
        if trainer.state.global_step == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_save_checkpoint", full)
        with pytest.raises(InputError, match=r"checkpoint-3: cannot be written .*; make room") as caught:
            train(case, tmp_path, checkpoint_seconds=0)
    assert "\n" not in str(caught.value)
    folder = the_run(tmp_path / "checkpoints")
    assert folder.newest().name == "checkpoint-2"
    assert not folder.checkpoint(3).exists()


# --- what is never executed ------------------------------------------------------------------------------


class Trap:
    """An object whose unpickling makes a file."""

    def __init__(self, file: Path):
        self.file = file

    def __reduce__(self):
        return (open, (str(self.file), "w"))


def plant(file: Path, trap: Trap, as_torch_saves: bool) -> None:
    if as_torch_saves:
        torch.save({"state": trap}, file)
    else:
        file.write_bytes(pickle.dumps(trap, protocol=2))


def reseal(checkpoint: Path) -> None:
    """Let the mark tell the digests of the files as they are now."""
    mark = checkpoint / COMPLETE
    content = json.loads(mark.read_text())
    for name in content["files"]:
        content["files"][name] = sha256((checkpoint.parent / name).read_bytes()).hexdigest()
    mark.write_text(json.dumps(content))


@pytest.mark.parametrize("as_torch_saves", [True, False])
@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth"])
def test_code_in_a_checkpoint_is_refused_in_one_line(name, as_torch_saves, case, state, tmp_path):
    trap = Trap(tmp_path / "executed")
    newest = state.newest()
    plant(newest / name, trap, as_torch_saves)
    reseal(newest)
    with pytest.raises(
        InputError, match=r"holds more than tensors and numbers.*; remove the folder"
    ) as caught:
        train(case, tmp_path)
    assert str(caught.value).startswith(f"{newest}: ")
    assert "\n" not in str(caught.value)
    assert not trap.file.exists()


def test_files_that_we_do_not_write_are_never_read(case, expected, state, tmp_path):
    trap = Trap(tmp_path / "executed")
    for name in ("training_args.bin", "pytorch_model.bin", "optimizer.bin", "scaler.pt"):
        plant(state.newest() / name, trap, as_torch_saves=True)
    assert train(case, tmp_path) == expected
    assert not trap.file.exists()


def test_the_trap_works(tmp_path):
    trap = Trap(tmp_path / "executed")
    plant(tmp_path / "trapped", trap, as_torch_saves=True)
    torch.load(tmp_path / "trapped", weights_only=False)
    assert trap.file.exists()
