"""Training of the light retriever that is stopped or killed anywhere ends with the bytes of one left alone."""

import os
import signal
from collections.abc import Callable

import pytest
from light_case import SMALL, train, trained_bytes, write_light_case

from catid2.retriever.light_training import Inputs
from catid2.runtime.errors import InputError
from catid2.training.loop import Training

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Inputs:
    """Return a tiny corpus with DocIDs and vectors."""
    return write_light_case(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def expected(inputs, tmp_path_factory) -> dict[str, bytes]:
    """Return what a run that is left alone ends with."""
    return trained_bytes(SMALL, inputs, tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def steps(expected) -> int:
    """Return the steps of an epoch."""
    return int(expected["history.tsv"].splitlines()[1].split(b"\t")[1])


def act_in_step(patch: pytest.MonkeyPatch, number: int, act: Callable[[], None]) -> None:
    """Let `act` be called in the course of a step, counted from 1."""
    descend = Training.descend

    def acting(training, rows):
        if training.step == number - 1:
            act()
        descend(training, rows)

    patch.setattr(Training, "descend", acting)


def stop_here() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("epochs", [0, 0.5, 1, 2, 3.5])
def test_killed_in_any_step_it_goes_on_to_the_same_bytes(inputs, expected, steps, epochs, tmp_path):
    for after in (1, 2):
        with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
            act_in_step(patch, int(epochs * steps) + after, stop_here)
            train(SMALL, inputs, tmp_path, checkpoint_seconds=0)
    assert not (tmp_path / "retriever").exists()
    assert trained_bytes(SMALL, inputs, tmp_path) == expected
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_stopped_in_a_step_it_saves_and_goes_on(inputs, expected, steps, number, code, tmp_path, caplog):
    caplog.set_level("INFO")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as caught:
        act_in_step(patch, steps + 2, lambda: os.kill(os.getpid(), number))
        train(SMALL, inputs, tmp_path)
    assert caught.value.code == code
    assert trained_bytes(SMALL, inputs, tmp_path) == expected
    assert f"resuming after step {steps + 2} (epoch 2 of 4)" in caplog.text


def test_stopped_in_the_last_validation_it_has_only_to_write(inputs, expected, tmp_path, monkeypatch):
    end_epoch, ended = Training.end_epoch, []

    def stopped(training, epoch):
        validated = end_epoch(training, epoch)
        ended.append(epoch)
        if epoch == SMALL.epochs and len(ended) == SMALL.epochs:
            os.kill(os.getpid(), signal.SIGTERM)
        return validated

    monkeypatch.setattr(Training, "end_epoch", stopped)
    with pytest.raises(SystemExit):
        train(SMALL, inputs, tmp_path)
    assert trained_bytes(SMALL, inputs, tmp_path) == expected
    assert ended == [1, 2, 3, 4]


def test_the_state_of_other_settings_is_not_taken_up(inputs, expected, steps, tmp_path, caplog):
    caplog.set_level("INFO")
    other = SMALL.model_copy(update={"learning_rate": 0.02})
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        act_in_step(patch, steps, stop_here)
        train(other, inputs, tmp_path, checkpoint_seconds=0)
    assert trained_bytes(SMALL, inputs, tmp_path) == expected
    assert "kept, but of another run (config.learning_rate: 0.02, now " in caplog.text


def test_another_seed_gives_other_weights(inputs, expected, tmp_path):
    from catid2.retriever.light_training import train_light

    train_light(SMALL, inputs, tmp_path / "checkpoints", tmp_path / "retriever", seed=2)
    assert (tmp_path / "retriever/model.safetensors").read_bytes() != expected["model.safetensors"]


def test_a_loss_that_is_not_finite_ends_training_and_keeps_what_was_saved(inputs, steps, tmp_path):
    with pytest.MonkeyPatch.context() as patch, pytest.raises(InputError, match="lower learning_rate"):
        # Weights are set to NaN in the course of the run, as a step too large would.
        descend = Training.descend

        def diverging(training, rows):
            if training.step == steps + 1:
                training.model.norm.weight.data.fill_(float("nan"))
            descend(training, rows)

        patch.setattr(Training, "descend", diverging)
        train(SMALL, inputs, tmp_path, checkpoint_seconds=0)
    assert list(tmp_path.glob("checkpoints/*/state.safetensors"))
    assert not (tmp_path / "retriever").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 10_000}, r"batch_size: 10000, but an epoch has (\d+) examples; set it to \1 or less"),
        ({"valid_share": 1e-9}, r"valid_share: no query is held out"),
        ({"labels": ("C",), "valid_share": 1e-9}, r"valid_share: no query is held out"),
    ],
)
def test_settings_that_do_not_fit_the_corpus_are_one_line(inputs, change, message, tmp_path):
    with pytest.raises(InputError, match=message):
        train(SMALL.model_copy(update=change), inputs, tmp_path)
    assert not (tmp_path / "retriever").exists()


def test_a_folder_that_is_no_retriever_is_left_alone(inputs, tmp_path):
    (tmp_path / "retriever").mkdir()
    (tmp_path / "retriever/notes.txt").write_text("mine")
    with pytest.raises(InputError, match="holds files other than those of a trained retriever"):
        train(SMALL, inputs, tmp_path)
    assert [path.name for path in (tmp_path / "retriever").iterdir()] == ["notes.txt"]
