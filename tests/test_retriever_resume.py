"""Retriever training that is stopped or killed anywhere ends with the bytes of one that was left alone."""

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from retriever_case import TINY, Case, newest_step, trained_bytes, write_case

from catid2.retriever.t5_training import RetrieverTraining
from catid2.runtime.checkpoint import STATE_FILE

CONFIG = TINY.model_copy(update={"epochs": 3, "valid_every": 2})  # validated after epochs 2 and 3


@pytest.fixture(scope="module")
def case(tmp_path_factory) -> Case:
    """Return a tiny corpus with DocIDs."""
    return write_case(tmp_path_factory.mktemp("corpus"))


pytestmark = pytest.mark.usefixtures("one_thread")


def train(case: Case, folder: Path, microbatch: int | None, **options: float) -> dict[str, bytes]:
    """Train in this process; return the bytes of the model and of its history."""
    return trained_bytes(CONFIG.model_copy(update={"microbatch": microbatch}), case, folder, **options)


@pytest.fixture(scope="module", params=[None, 7], ids=["whole steps", "micro-batches"])
def microbatch(request) -> int | None:
    """Return how many examples are worked on at once."""
    return request.param


@pytest.fixture(scope="module")
def expected(case, microbatch, tmp_path_factory) -> dict[str, bytes]:
    """Return what a run that is left alone ends with."""
    return train(case, tmp_path_factory.mktemp("whole"), microbatch=microbatch)


@pytest.fixture(scope="module")
def steps(expected) -> int:
    """Return the steps of an epoch."""
    return int(expected["history.tsv"].splitlines()[1].split(b"\t")[1])


def act_at_step(patch: pytest.MonkeyPatch, number: int, act: Callable[[], None]) -> None:
    """Let `act` be called in the course of a step, counted from 1, at its first micro-batch."""
    batch, acted = RetrieverTraining.batch, []

    def acting(training, rows):
        if training.step == number - 1 and not acted:
            acted.append(number)
            act()
        return batch(training, rows)

    patch.setattr(RetrieverTraining, "batch", acting)


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def stop_here() -> None:
    raise KeyboardInterrupt


# --- stopped ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("act", "code", "epoch", "step"),
    [(terminate, 143, 1, 2), (interrupt, 130, 2, 1), (terminate, 143, 1, 0), (terminate, 143, 2, 0)],
    ids=["within epoch 1", "INT within epoch 2", "end of epoch 1", "end of epoch 2, before validation"],
)
def test_a_stopped_run_goes_on_to_the_same_bytes(
    act, code, epoch, step, case, expected, steps, microbatch, tmp_path, monkeypatch, caplog
):
    number = (epoch - 1) * steps + (step or steps)
    caplog.set_level("INFO")
    with monkeypatch.context() as patch, pytest.raises(SystemExit) as caught:
        act_at_step(patch, number, act)
        train(case, tmp_path, microbatch=microbatch)
    assert caught.value.code == code
    name = {143: "SIGTERM", 130: "SIGINT"}[code]
    place = f"after step {number} (epoch {epoch} of 3)"
    assert f"stopped by {name} {place}, checkpoint saved; run again to resume" in caplog.text
    assert not (tmp_path / "retriever").exists()
    assert train(case, tmp_path, microbatch=microbatch) == expected
    assert re.search(rf"resuming {re.escape(place)} from \S+/{STATE_FILE}", caplog.text)


@pytest.mark.parametrize("epoch", [2, 3])
def test_stopped_in_validation_it_is_not_validated_again(
    epoch, case, expected, steps, microbatch, tmp_path, monkeypatch
):
    validated = []
    validate = RetrieverTraining.validate

    def stopped(training):
        validated.append(training.step)
        if len(validated) == epoch - 1:
            terminate()
        return validate(training)

    monkeypatch.setattr(RetrieverTraining, "validate", stopped)
    with pytest.raises(SystemExit) as caught:
        train(case, tmp_path, microbatch=microbatch)
    assert caught.value.code == 143
    assert train(case, tmp_path, microbatch=microbatch) == expected
    assert validated == [2 * steps, 3 * steps]


def test_killed_after_any_step_it_goes_on_to_the_same_bytes(
    case, expected, steps, microbatch, tmp_path, monkeypatch
):
    for number in (3, steps + 2, 2 * steps + 1, 3 * steps):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            act_at_step(patch, number, stop_here)
            train(case, tmp_path, microbatch=microbatch, checkpoint_seconds=0)
        assert newest_step(tmp_path / "checkpoints") == number - 1
    assert train(case, tmp_path, microbatch=microbatch) == expected
