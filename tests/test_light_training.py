"""Training of the light retriever against plain AdamW, step by step; what an epoch holds; what its state belongs to."""

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from light_case import SMALL, train, write_light_case
from plain_adamw import PlainAdamW

import catid2.retriever.light_training as light_training
from catid2.config.retriever import LightConfig
from catid2.retriever.light import build_light
from catid2.retriever.light_training import Data, Inputs, LightTraining, read_data

QUERY_PAIRS, DOCUMENTS = 99, 60  # examples of the corpus of `inputs`


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Inputs:
    return write_light_case(tmp_path_factory.mktemp("corpus"))


def training(inputs: Inputs, seed: int = 0, **settings: object) -> LightTraining:
    """Return a training that has not taken a step."""
    config = SMALL.model_copy(update=settings)
    data = read_data(config, inputs)
    return LightTraining(config, build_light(config, data.trie.sizes, data.documents, {}, seed), data, seed)


def gradients(training: LightTraining, rows: np.ndarray) -> dict[str, torch.Tensor]:
    """Return the gradients of the mean loss of the examples `rows`, at the weights that training has."""
    model, data = copy.deepcopy(training.model).eval(), training.data
    vectors = np.concatenate([data.queries, data.documents])[data.source[rows]].astype(np.float32)
    model(torch.from_numpy(vectors), torch.from_numpy(data.codes[data.doc[rows]])).backward()
    return {name: weights.grad for name, weights in model.named_parameters()}


def weights_of(training: LightTraining) -> dict[str, torch.Tensor]:
    return {name: weights.detach().clone() for name, weights in training.model.named_parameters()}


def test_every_step_is_one_of_plain_adamw_at_the_rate_of_the_schedule(inputs, tmp_path, monkeypatch):
    settings = {"epochs": 2, "warmup": 0.2, "learning_rate": 0.02, "weight_decay": 0.5, "clip_norm": 0.4}
    settings |= {"dropout_rate": 0.0, "valid_every": 2, "select_by": "last"}
    settings["batch_size"] = 39  # four steps an epoch
    config = SMALL.model_copy(update=settings)
    # A fifth of eight steps, rounded up, rises; then half a cosine over the six that are left.
    shares = [0.5, 1, 1, (2 + 3**0.5) / 4, 0.75, 0.5, 0.25, (2 - 3**0.5) / 4]
    plain = PlainAdamW(lambda name: "norm" not in name and "bias" not in name, 0.5, clip_norm=0.4)
    descend, taught, norms = LightTraining.descend, [], []

    def compared(run: LightTraining, examples: np.ndarray) -> None:
        (rows,) = examples
        slopes = gradients(run, rows)
        norms.append(sum(slope.square().sum() for slope in slopes.values()) ** 0.5)
        expected = plain.step(weights_of(run), slopes, 0.02 * shares[len(taught)])
        taught.append(rows)
        descend(run, examples)
        for name, weights in weights_of(run).items():
            torch.testing.assert_close(weights.double(), expected[name], rtol=0, atol=1e-5, msg=name)

    monkeypatch.setattr(LightTraining, "descend", compared)
    folder = train(config, inputs, tmp_path)
    assert len(taught) == 8
    assert min(norms) < 0.4 < max(norms), "some steps must be clipped, and some not"
    one, other = (np.concatenate(taught[start : start + 4]) for start in (0, 4))
    assert len(set(one)) == len(set(other)) == 4 * 39
    assert one.tolist() != other.tolist()
    rates = [line.split("\t")[3] for line in (folder / "history.tsv").read_text().splitlines()[1:]]
    assert [float(rate) for rate in rates] == pytest.approx([0.02 * shares[3], 0.02 * shares[7]], rel=1e-5)


@pytest.mark.parametrize(("query_weight", "document_weight"), [(1.0, 1.0), (2.25, 0.5), (0.5, 3.0)])
def test_an_epoch_holds_each_example_as_often_as_it_weighs(inputs, query_weight, document_weight):
    run = training(inputs, query_weight=query_weight, document_weight=document_weight, batch_size=1)
    assert [task[:2] for task in run.data.tasks] == [(0, QUERY_PAIRS), (QUERY_PAIRS, QUERY_PAIRS + DOCUMENTS)]
    for epoch in (0, 1):
        times = np.bincount(run.batches.of_epoch(epoch).flatten(), minlength=QUERY_PAIRS + DOCUMENTS)
        for own, weight in ((times[:QUERY_PAIRS], query_weight), (times[QUERY_PAIRS:], document_weight)):
            assert own.sum() == round(weight * len(own))
            assert set(own) <= {int(weight), int(np.ceil(weight))}


def test_the_order_of_an_epoch_is_drawn_from_seed_and_epoch(inputs):
    orders = [training(inputs, seed).batches.of_epoch(epoch).tolist() for seed in (0, 1) for epoch in (0, 1)]
    assert all(orders.count(order) == 1 for order in orders)
    assert training(inputs, 1).batches.of_epoch(1).tolist() == orders[3]


def test_each_step_drops_other_units_and_so_does_each_seed(inputs):
    examples = np.arange(16)[None]
    losses = []
    for seed in (0, 0, 1):
        run = training(inputs, dropout_rate=0.5, learning_rate=1e-30)  # the weights stay as they are
        run.seed = seed
        for _ in range(2):
            run.loss.zero_()
            run.descend(examples)
            losses.append(run.loss.item())
    assert losses[:2] == losses[2:4]
    assert len(set(losses)) == 4


def test_the_mean_of_the_documents_directions_is_taken_out_of_every_vector(inputs):
    run = training(inputs)
    documents = run.data.documents.astype(np.float64)
    mean = (documents / np.linalg.norm(documents, axis=1, keepdims=True)).mean(axis=0)
    np.testing.assert_allclose(run.model.mean, mean, atol=1e-6)
    vector = torch.tensor(3 * mean, dtype=torch.float32)
    unit = vector / vector.norm()
    moved = (unit - run.model.mean) / (unit - run.model.mean).norm()
    expected = run.model.project(moved * len(mean) ** 0.5) + run.model.positions[0]
    torch.testing.assert_close(run.model.query_states(vector[None])[0, 0], expected, atol=1e-5, rtol=1e-4)


# --- what a saved state belongs to ---------------------------------------------------------------------


def fingerprint_of(inputs: Inputs, config: LightConfig, seed: int, folder: Path) -> str:
    """Return the fingerprint under which a training would save its state."""

    class Found(Exception):
        pass

    def found(_: Path, fingerprint: dict) -> None:
        raise Found(fingerprint)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Found) as caught:
        patch.setattr(light_training, "Checkpoints", found)
        light_training.train_light(config, inputs, folder / "checkpoints", folder / "retriever", seed)
    return str(caught.value)


def other_data(patch: pytest.MonkeyPatch, **changes: Callable) -> None:
    """Let training run on data of which some parts are changed."""

    def changed(*given: Any) -> Data:
        data = read_data(*given)
        return data._replace(**{name: change(getattr(data, name)) for name, change in changes.items()})

    patch.setattr(light_training, "read_data", changed)


def test_state_belongs_to_settings_seed_code_and_data(inputs, tmp_path, monkeypatch):
    # To read the code each time would take a second in all.
    monkeypatch.setattr(light_training, "code_digest", lambda _: "this code")
    as_it_is = fingerprint_of(inputs, SMALL, 1, tmp_path)
    assert fingerprint_of(inputs, SMALL, 1, tmp_path / "elsewhere") == as_it_is
    others = {
        "setting": fingerprint_of(inputs, SMALL.model_copy(update={"clip_norm": 2.0}), 1, tmp_path),
        "seed": fingerprint_of(inputs, SMALL, 2, tmp_path),
    }
    old = train(SMALL.model_copy(update={"epochs": 1}), inputs, tmp_path)
    start = SMALL.model_copy(update={"pretrained": str(old)})
    others["weights"] = fingerprint_of(inputs, start, 1, tmp_path)
    shutil.copytree(old, tmp_path / "moved")
    moved = start.model_copy(update={"pretrained": str(tmp_path / "moved")})
    assert fingerprint_of(inputs, moved, 1, tmp_path) == others["weights"]
    changes = {
        "codes": {"codes": lambda codes: codes[:, ::-1]},
        "DocIDs": {"trained_on": lambda sums: sums | {"docid_sha256": "other"}},
        "description of the vectors": {"trained_on": lambda sums: sums | {"vectors_sha256": "other"}},
        "vectors of documents": {"documents": lambda vectors: vectors[::-1]},
        "vectors of queries": {"queries": lambda vectors: vectors[::-1]},
        "taught": {"source": lambda rows: rows[::-1]},
        "taught for": {"doc": lambda docs: docs[::-1]},
        "validated on": {"pairs": lambda pairs: (pairs[0], pairs[1][::-1])},
    }
    for name, change in changes.items():
        with pytest.MonkeyPatch.context() as patch:
            other_data(patch, **change)
            others[name] = fingerprint_of(inputs, SMALL, 1, tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(light_training, "code_digest", lambda _: "other code")
        others["code"] = fingerprint_of(inputs, SMALL, 1, tmp_path)
    assert len({as_it_is, *others.values()}) == 1 + len(others), others
