"""T5 and dual encoder: each step against plain AdamW, and what a saved state belongs to."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from plain_adamw import PlainAdamW
from retriever_case import TINY as T5
from retriever_case import Case, write_case
from test_dual_encoder import TINY as DUAL_ENCODER

from catid2.baselines import dual_encoder_training
from catid2.config.base import StageConfig
from catid2.retriever import t5_training as retriever_training
from catid2.training import loop
from catid2.training.distributed import Group
from catid2.training.loop import Training

SCHEDULES = {  # of eight steps, of which the first two rise (a fifth, rounded up): shares of the learning rate
    "cosine": [0, 0.5, 1, (2 + 3**0.5) / 4, 0.75, 0.5, 0.25, (2 - 3**0.5) / 4],
    "linear": [0, 0.5, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6],
    "constant_with_warmup": [0, 0.5, 1, 1, 1, 1, 1, 1],
}


class Kind(NamedTuple):
    """A stage that trains with the loop, at the loop's own schedules."""

    module: Any
    train: Callable
    config: StageConfig
    undropped: dict[str, float]  # setting of the small model by which nothing is dropped
    batch_size: int  # of which an epoch has four
    clip_norm: float  # that some of the gradients are longer than


KINDS = {
    "t5": Kind(
        retriever_training, retriever_training.train_retriever, T5, {"dropout_rate": 0.0}, 39, clip_norm=0.6
    ),
    "dual encoder": Kind(
        dual_encoder_training,
        dual_encoder_training.train_dual_encoder,
        DUAL_ENCODER,
        {"hidden_dropout_prob": 0.0},
        24,
        clip_norm=8.0,
    ),
}


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def case(tmp_path_factory) -> Case:
    return write_case(tmp_path_factory.mktemp("corpus"))


def train(kind: Kind, config: StageConfig, case: Case, folder: Path) -> None:
    inputs = kind.module.Inputs(*(getattr(case, name) for name in kind.module.Inputs._fields))
    kind.train(config, inputs, folder / "checkpoints", folder / "trained", seed=1)


class Recorder:
    """Notes the weights before and after each step, and its batch."""

    def __init__(self) -> None:
        self.before: list[dict[str, torch.Tensor]] = []
        self.after: list[dict[str, torch.Tensor]] = []
        self.batches: list[dict[str, torch.Tensor]] = []
        self.model: Any = None

    def watch(self, patch: pytest.MonkeyPatch) -> None:
        """Note what the next training does."""
        descend = Training.descend

        def watched(training: Training, examples: np.ndarray) -> None:
            (rows,) = examples
            self.model = training.model
            self.before.append(trained_weights(training.model))
            self.batches.append(training.batch(rows))
            descend(training, examples)
            self.after.append(trained_weights(training.model))

        patch.setattr(Training, "descend", watched)


def trained_weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    named = model.named_parameters()
    return {name: weights.detach().clone() for name, weights in named if weights.requires_grad}


def gradients(model: Any, weights: dict[str, torch.Tensor], batch: dict[str, torch.Tensor]) -> tuple:
    """Return the loss of a batch, and its gradients."""
    model = copy.deepcopy(model).train()
    model.load_state_dict(weights, strict=False)
    model.zero_grad()
    loss = model(**batch)
    loss.backward()
    named = model.named_parameters()
    return loss.item(), {name: weights.grad for name, weights in named if weights.requires_grad}


@pytest.mark.parametrize(
    ("kind", "schedule"), [("t5", "cosine"), ("t5", "constant_with_warmup"), ("dual encoder", "linear")]
)
def test_every_step_is_one_of_plain_adamw_at_the_rate_of_the_schedule(
    kind, schedule, case, tmp_path, monkeypatch
):
    kind, rate, shares = KINDS[kind], 0.02, SCHEDULES[schedule]
    settings = {"epochs": 2, "valid_every": 2, "select_by": "last", "batch_size": kind.batch_size}
    settings |= {"schedule": schedule, "warmup": 0.2, "learning_rate": rate}
    settings |= {"weight_decay": 0.5, "clip_norm": kind.clip_norm}
    settings["small"] = kind.config.small.model_copy(update=kind.undropped)
    recorder = Recorder()
    recorder.watch(monkeypatch)
    train(kind, kind.config.model_copy(update=settings), case, tmp_path)

    assert len(recorder.batches) == len(recorder.after) == len(shares)
    plain = PlainAdamW(lambda name: "norm" not in name.lower() and "bias" not in name, 0.5, kind.clip_norm)
    norms, losses = [], []
    for before, after, batch, share in zip(
        recorder.before, recorder.after, recorder.batches, shares, strict=True
    ):
        loss, slopes = gradients(recorder.model, before, batch)
        losses.append(loss)
        norms.append(sum(slope.square().sum().item() for slope in slopes.values()) ** 0.5)
        expected = plain.step(before, slopes, rate * share)
        for name, weights in after.items():
            torch.testing.assert_close(weights.double(), expected[name], rtol=0, atol=1e-5, msg=name)
    assert min(norms) < kind.clip_norm < max(norms), "some steps must be clipped, and some not"
    one, other = ([str(batch) for batch in recorder.batches[start : start + 4]] for start in (0, 4))
    assert not set(one) & set(other), "each epoch has an order of its own"
    history = np.genfromtxt(tmp_path / "trained" / "history.tsv", delimiter="\t", skip_header=1)
    first = [1, 4, np.mean(losses[:4]), rate * shares[3]]
    second = [2, 8, np.mean(losses[4:]), rate * shares[7]]
    np.testing.assert_allclose(history[:, :4], [first, second], rtol=1e-4)


class OfOnes(Training):
    """Trains on nothing but ones."""

    def batch(self, rows):
        return {"input": torch.ones((), dtype=torch.long)}

    def validate(self):
        return {}

    def write(self, folder):
        folder.mkdir()


@pytest.mark.parametrize(("reduces", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_reduced_precision_is_bfloat16(reduces, dtype, monkeypatch):
    monkeypatch.setattr(loop, "reduced", lambda config, device: reduces)
    model, found = torch.nn.Embedding(2, 1), []
    model.register_forward_hook(lambda layer, inputs, output: found.append(output.dtype))
    OfOnes(T5, model, SimpleNamespace(steps=4), 3, Group()).descend(np.zeros((1, 1)))
    assert found == [dtype]
    assert model.weight.dtype == torch.float32


# --- what a saved state belongs to ---------------------------------------------------------------------


class Run(NamedTuple):
    """What the fingerprint of a run is made from: the arguments of run_fingerprint."""

    config: StageConfig
    model: torch.nn.Module
    data: Any
    seed: int
    ranks: int

    def set(self, **settings: object) -> "Run":
        return self._replace(config=self.config.model_copy(update=settings))

    def with_data(self, **parts: Callable) -> "Run":
        """Change parts of the data; `examples__doc` is the part `doc` of `examples`."""
        data = self.data
        for path, change in parts.items():
            name, _, inner = path.partition("__")
            old = getattr(data, name)
            new = old._replace(**{inner: change(getattr(old, inner))}) if inner else change(old)
            data = data._replace(**{name: new})
        return self._replace(data=data)

    def with_other_weights(self) -> "Run":
        model = copy.deepcopy(self.model)
        with torch.no_grad():
            next(model.parameters())[0, 0] += 1
        return self._replace(model=model)


def turned(array: np.ndarray) -> np.ndarray:
    return array[::-1].copy()


OTHERS = {
    "a setting": lambda run: run.set(weight_decay=0.25),
    "the seed": lambda run: run._replace(seed=2),
    "the ranks": lambda run: run._replace(ranks=2),
    "the first weights": Run.with_other_weights,
    "the texts that are taught": lambda run: run.with_data(examples__text=turned),
    "what they are taught for": lambda run: run.with_data(examples__doc=turned),
}
OTHERS_OF = {
    "t5": {
        "the micro-batch": lambda run: run.set(microbatch=8),
        "the tokens": lambda run: run.with_data(
            examples__tokens=lambda table: table._replace(flat=turned(table.flat))
        ),
        "the DocIDs": lambda run: run.with_data(codes=turned),
        "the queries validated on": lambda run: run.with_data(
            validation__tokens=lambda table: table._replace(flat=turned(table.flat))
        ),
        "their documents": lambda run: run.with_data(validation__doc=turned),
    },
    "dual encoder": {
        "the tokens of queries": lambda run: run.with_data(
            query_tokens=lambda table: table._replace(flat=turned(table.flat))
        ),
        "the tokens of documents": lambda run: run.with_data(
            document_tokens=lambda table: table._replace(flat=turned(table.flat))
        ),
        "what is held out": lambda run: run.with_data(queries__held_out=turned),
    },
}


@pytest.mark.parametrize("kind", KINDS)
def test_state_belongs_to_all_that_the_result_depends_on(kind, case, tmp_path, monkeypatch):
    module, found = KINDS[kind].module, []
    made = module.run_fingerprint

    def noted(*arguments: Any) -> None:
        found.append(Run(*arguments))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "run_fingerprint", noted)
        train(KINDS[kind], KINDS[kind].config, case, tmp_path)
    (run,) = found
    # To read the code each time would take a second in all.
    monkeypatch.setattr(module, "code_digest", lambda _: "this code")

    def fingerprint(run: Run) -> str:
        return json.dumps(made(*run), sort_keys=True)

    fingerprints = {"as it is": fingerprint(run)}
    for name, change in (OTHERS | OTHERS_OF[kind]).items():
        fingerprints[name] = fingerprint(change(run))
    with monkeypatch.context() as patch:
        patch.setattr(module, "code_digest", lambda _: "other code")
        fingerprints["the code"] = fingerprint(run)
    assert len(set(fingerprints.values())) == len(fingerprints), fingerprints
    # A pretrained model is what its weights are, wherever it lies.
    elsewhere = run.set(pretrained="elsewhere", revision="other")
    assert fingerprint(elsewhere) == fingerprints["as it is"]
