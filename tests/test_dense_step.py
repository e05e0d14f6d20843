"""The step of a GPU: dense contrast against tiles and definitions, batches of one size, capture against eager."""

import contextlib
import weakref
from collections.abc import Callable

import numpy as np
import pytest
import torch
from recorded import Recorded
from rqvae_case import SMALL, Catalogue, catalogue, settings
from test_losses import parents_of, same_gradients, tree
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from catid2.quantizer import graph
from catid2.quantizer.batches import deal
from catid2.quantizer.contrast import plan_contrast
from catid2.quantizer.dense import DenseStep, fixed_tiles, plan_dense
from catid2.quantizer.graph import CudaGraph
from catid2.quantizer.losses import hccl, l_hcc, l_hcc_drawn
from catid2.quantizer.model import RQVAE, architecture
from catid2.quantizer.step import Taken
from catid2.quantizer.training import Training
from catid2.runtime.errors import InputError
from catid2.training.distributed import Group

ALONE = Group()
POSITIVES = ["all", "one", "one_or_self"]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draws(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=generator(seed))


# --- contrast --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("positives", POSITIVES)
@pytest.mark.parametrize("level", [0, 1, 2])
def test_the_plan_made_on_the_device_is_that_of_the_cpu(level: int, positives: str) -> None:
    categories = tree(300, seed=level)
    labels, parents = categories[:, level], parents_of(categories, level)
    dense = plan_dense(labels, parents, positives, draws(300), [])
    tiled = plan_contrast(labels, parents, positives, generator())
    for name in ("order", "categories", "parents", "weights", "own", "anchors", "dropped"):
        expected = torch.as_tensor(getattr(tiled, name))
        assert torch.equal(torch.as_tensor(getattr(dense, name)), expected), name
    if positives != "all":
        rows, partners = dense.order, dense.order[dense.partners]
        mates = ((labels[:, None] == labels) & (parents[:, None] == parents)).sum(1) - 1
        assert torch.equal(rows == partners, mates[rows] == 0)
        assert torch.equal(labels[rows], labels[partners])
        assert torch.equal(parents[rows], parents[partners])


def test_equal_steps_of_the_draw_reach_every_other_document_of_the_category() -> None:
    labels, parents = torch.tensor([5, 2, 5, 5, 2, 5, 9]), torch.zeros(7, dtype=torch.long)
    mates = {0: {2, 3, 5}, 2: {0, 3, 5}, 3: {0, 2, 5}, 5: {0, 2, 3}, 1: {4}, 4: {1}, 6: {6}}
    found: dict[int, list[int]] = {row: [] for row in mates}
    for draw in (0.1, 0.4, 0.7, 0.0, 0.34, 1 - 2**-53):
        plan = plan_dense(labels, parents, "one", torch.full((7,), draw, dtype=torch.float64), [])
        for row, partner in zip(plan.order.tolist(), plan.order[plan.partners].tolist(), strict=True):
            found[row].append(partner)
    for row, partners in found.items():
        assert set(partners[:3]) == set(partners[3:]) == mates[row]


@pytest.mark.parametrize("ranks", [1, 3])
@pytest.mark.parametrize("kind", ["cosine", "l2"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("positives", POSITIVES)
def test_dense_hccl_equals_tiles_and_its_definition(
    positives: str, level: int, reduction: str, kind: str, ranks: int
) -> None:
    categories = tree(40, seed=level)
    r = torch.randn(40, 5, dtype=torch.float64, generator=generator(1), requires_grad=True)
    labels, parents = categories[:, level], parents_of(categories, level)
    tiles = fixed_tiles([0, 40], ranks, mixed=level > 0)
    plan = plan_dense(labels, parents, positives, draws(40), tiles)
    # The tiles of each rank hold its part of the anchors; all of the tiles hold all.
    dense = hccl(r, plan, kind, 0.7, reduction, ALONE)
    parts = [
        hccl(r, plan._replace(tiles=tiles[rank::ranks]), kind, 0.7, reduction, ALONE) for rank in range(ranks)
    ]
    same_gradients(sum(parts), dense, [r])
    tiled = plan_contrast(labels, parents, positives, generator(), tile_rows=7)
    tiled = tiled._replace(partners=plan.partners)  # the same positives
    same_gradients(dense, hccl(r, tiled, kind, 0.7, reduction, ALONE), [r])
    if positives == "all":
        same_gradients(dense, getattr(l_hcc(r, labels, parents, kind, 0.7), reduction)(), [r])
    if positives == "one_or_self":
        partners = torch.empty(40, dtype=torch.long).scatter_(0, plan.order, plan.order[plan.partners])
        same_gradients(dense, getattr(l_hcc_drawn(r, partners, parents, kind, 0.7), reduction)(), [r])


@pytest.mark.parametrize("positives", POSITIVES)
def test_dense_hccl_in_blocks_is_that_of_each_block(positives: str) -> None:
    labels, bounds = tree(40, seed=0)[:, 0], [0, 13, 26, 40]
    blocks = torch.repeat_interleave(torch.tensor(bounds).diff())
    r = torch.randn(40, 5, dtype=torch.float64, generator=generator(1), requires_grad=True)
    drawn = draws(40)
    plan = plan_dense(labels, blocks, positives, drawn, fixed_tiles(bounds, 1, mixed=False))
    whole = plan._replace(tiles=fixed_tiles([0, 40], 1, mixed=True))
    same_gradients(hccl(r, plan, "l2", 0.7, "sum", ALONE), hccl(r, whole, "l2", 0.7, "sum", ALONE), [r])


@pytest.mark.parametrize("positives", POSITIVES)
def test_dense_hccl_is_finite_where_nothing_can_be_contrasted(positives: str) -> None:
    """One parent of one category, one of lone documents, one document alone; in float32 at a tiny temperature."""
    parents = torch.tensor([0, 0, 0, 1, 1, 1, 2])
    labels = torch.tensor([0, 0, 0, 1, 2, 3, 4])
    r = torch.randn(7, 3, generator=generator(), requires_grad=True)
    plan = plan_dense(labels, parents, positives, draws(7), fixed_tiles([0, 7], 1, mixed=True))
    loss = hccl(r, plan, "cosine", 1e-3, "mean", ALONE)
    loss.backward()
    assert loss.isfinite()
    assert r.grad.isfinite().all()
    if positives != "one_or_self":
        assert (int(plan.anchors), int(plan.dropped), loss.item()) == (0, 7, 0)
        assert not r.grad.any()


# --- the whole step --------------------------------------------------------------------------------------

SETTINGS = {
    "defaults": {},
    "blocks": {"hccl_negatives": 15, "disl_negatives": 6},
    "flat": {"hccl_hard_negatives": False, "hccl_negatives": 20, "hccl_reduction": "sum"},
    "cosine": {
        "hccl_similarity": "cosine",
        "hccl_temperature": 0.3,
        "disl_similarity": "l2",
        "disl_negatives": None,
    },
    "literal": {"cscl_scaling": "literal", "cscl_temperature": 0.5, "codebook_update": "gradient"},
    "sums": {"error_reduction": "mean", "disl_reduction": "sum", "layer_norm": True, "standardize": "unit"},
    "all levels": {"levels": 2, "layers": 2, "allow_levels_ge_layers": True},
    "more levels than layers": {"levels": 2, "layers": 1, "allow_levels_ge_layers": True},
    "without HCCL": {"beta": 0},
    "plain": {"alpha": 0, "beta": 0, "gamma": 0},
}


def started(dense: bool, case: Catalogue | None = None, **options: object) -> Training:
    run = Training(*(case or catalogue()), settings(**options), 0, ALONE, dense=dense)
    run.initialise_codebooks(epoch=0)
    return run


@pytest.mark.parametrize("options", SETTINGS.values(), ids=SETTINGS)
def test_a_dense_step_has_the_losses_and_gradients_of_the_cpu(options: dict[str, object]) -> None:
    found = []
    for dense in (True, False):
        run = started(dense, **{"alpha": 0.3, "beta": 0.7, "gamma": 0.5} | options)
        batch = torch.randperm(200, generator=generator())[:50]
        rows, labels = run.matrix[batch], run.labels[batch]
        taken = run.step.take(rows, labels, generator(), 0.0, warmup=False, measured=True)
        figures = {name: float(value) for name, value in {**taken.terms, **taken.norms}.items()}
        figures |= {f"dropped {level}": int(count) for level, count in enumerate(taken.dropped)}
        weights = dict(run.model.named_parameters()) | dict(run.model.named_buffers())
        gradients = {name: weight.grad for name, weight in weights.items() if weight.grad is not None}
        found.append((figures, gradients | {"sums": weights["quantizer.sums"]}))
    (dense_figures, dense_tensors), (figures, tensors) = found
    assert dense_figures == pytest.approx(figures, rel=1e-5, nan_ok=True)
    torch.testing.assert_close(dense_tensors, tensors, rtol=1e-4, atol=1e-5)


def trained(run: Training, epochs: range) -> tuple[list[dict[str, float]], dict[str, Tensor]]:
    history = [run.run_epoch(epoch) for epoch in epochs]
    return history, dict(run.state().tensors)


def require_same(found: tuple, expected: tuple) -> None:
    np.testing.assert_equal(found[0], expected[0])
    assert found[1].keys() == expected[1].keys()
    for name, tensor in expected[1].items():
        assert torch.equal(found[1][name], tensor), name


CAPTURED = {
    "all": {"rise_steps": 20},
    "one": {"hccl_positives": "one", "codebook_update": "gradient", "precision": "bfloat16"},
}


@pytest.mark.parametrize("options", CAPTURED.values(), ids=CAPTURED)
def test_a_recorded_step_is_the_eager_one_over_fifty_steps(options: dict[str, object]) -> None:
    """The record repeats operations on tensors: a number that Python changes between steps would show."""
    config = {"epochs": 18, "warmup_epochs": 1, "batch_size": 64, **options}
    results = []
    for capture in (Recorded, None):
        run = started(dense=True, **config)
        run.step = DenseStep(run.model, run.config, ALONE, 200 // run.batches, capture)
        results.append(trained(run, range(18)))
        assert run.batches * 18 >= 50
    require_same(*results)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU, to capture a CUDA graph")
@pytest.mark.parametrize("options", CAPTURED.values(), ids=CAPTURED)
def test_a_captured_step_is_the_eager_one_over_fifty_steps(
    options: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    group = Group(device=torch.device("cuda"))
    config = settings(**{"epochs": 18, "warmup_epochs": 1, "batch_size": 64, **options})
    results = []
    for switch in ("1", "0"):
        monkeypatch.setenv(graph.SWITCH, switch)
        run = Training(*catalogue(), config, 0, group)
        results.append(trained(run, range(18)))
    (captured, tensors), (eager, expected) = results
    for row, other in zip(captured, eager, strict=True):
        assert row == pytest.approx(other, rel=1e-3, nan_ok=True)
    torch.testing.assert_close(tensors, expected, rtol=1e-3, atol=1e-4)


class OnDevice(TorchDispatchMode):
    """Refuses tensors on the CPU."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        outputs = operation(*args, **(kwargs or {}))
        for tensor in tree_leaves((args, kwargs, outputs)):
            assert not isinstance(tensor, Tensor) or tensor.device.type == "meta", operation
        return outputs


class NoOptimizer:
    """AdamW reads its learning rate, which tensors without values have not."""

    def __init__(self, groups: list[dict], lr: Tensor, **_: object):
        self.param_groups = [{**group, "lr": lr} for group in groups]

    def zero_grad(self, set_to_none: bool) -> None:
        pass

    def step(self) -> None:
        pass


@pytest.mark.parametrize("warmup", [True, False])
@pytest.mark.parametrize("options", [{}, CAPTURED["one"], SETTINGS["flat"]], ids=["defaults", "one", "flat"])
def test_a_step_reads_no_value_and_has_all_its_tensors_on_the_device(
    options: dict[str, object], warmup: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyTorch's device without values stands in for a GPU: to read one is an error."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    monkeypatch.setattr(torch.optim, "AdamW", NoOptimizer)
    device, config = torch.device("meta"), settings(**options)
    with device:
        model = RQVAE(architecture(config, 20))
    step = DenseStep(model, config, Group(device=device), 50)
    rows = torch.empty(50, 20, dtype=torch.float16, device=device)
    labels = torch.empty(50, 2, dtype=torch.long, device=device)
    step.take(rows, labels, None, 0.001, warmup)  # the first one sends what stays the same
    with OnDevice():
        taken = step.take(rows, labels, None, 0.001, warmup, measured=True)
    assert {norm.device for norm in taken.norms.values() if isinstance(norm, Tensor)} == {device}


def test_a_step_that_waits_for_the_device_cannot_be_recorded() -> None:
    number = torch.ones(())
    for waits in (
        lambda: float(number),
        lambda: number if number else None,
        lambda: number.reshape(1).nonzero(),
    ):
        call = Recorded(waits)
        call()
        with pytest.raises(RuntimeError, match="not permitted"):
            call()


def test_a_capture_that_fails_ends_with_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stream:
        def wait_stream(self, other: object) -> None:
            pass

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("operation not permitted when stream is capturing\nand more")

    for name, stand_in in {
        "Stream": lambda device: Stream(),
        "current_stream": Stream,
        "stream": lambda stream: contextlib.nullcontext(),
        "CUDAGraph": lambda: None,
        "graph": refuse,
    }.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    call = CudaGraph(lambda: 1, torch.device("cpu"))
    assert call() == 1
    with pytest.raises(InputError) as caught:
        call()
    assert str(caught.value) == (
        "CATID2_CUDA_GRAPH: a training step cannot be captured as a CUDA graph (operation not permitted when stream "
        "is capturing); set it to 0, which launches every kernel by itself"
    )


def test_a_closed_step_holds_no_capture() -> None:
    """NCCL waits forever when a process group is left whose calls a graph still holds."""
    run, calls = started(dense=True, hidden=(12,)), []

    def capture(function: Callable[[], Taken]) -> Recorded:
        call = Recorded(function)
        calls.append(weakref.ref(call))
        return call

    run.step = DenseStep(run.model, run.config, ALONE, 50, capture)
    batch = torch.arange(50)
    run.step.take(run.matrix[batch], run.labels[batch], generator(), 0.0, warmup=False)
    assert calls[0]() is not None
    run.step.close()
    assert calls[0]() is None
    assert all(parameter.grad is None for parameter in run.model.parameters())


# --- batches of one size ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("documents", "batches"), [(10, 3), (10, 5), (7, 1), (11, 11)])
def test_batches_of_one_size_leave_out_less_than_a_document_each(documents: int, batches: int) -> None:
    order = torch.randperm(documents, generator=generator())
    dealt = deal(order, batches, one_size=True)
    assert [len(batch) for batch in dealt] == [documents // batches] * batches
    assert torch.equal(torch.cat(dealt), order[: documents - documents % batches])


def test_what_an_epoch_leaves_out_is_not_what_the_next_one_does() -> None:
    run = started(True, catalogue(203))
    left = [set(range(203)) - set(torch.cat(run.batches_of(epoch)).tolist()) for epoch in range(5)]
    assert {len(documents) for documents in left} == {203 % run.batches} == {3}
    assert not set.intersection(*left)


@pytest.mark.parametrize("positives", ["all", "one"])
def test_a_dense_run_resumes_to_the_same_bytes(positives: str) -> None:
    case, options = catalogue(203), {"hccl_positives": positives}
    whole = trained(started(True, case, **options), range(SMALL["epochs"]))
    for stop in (1, 3):
        first = started(True, case, **options)
        trained(first, range(stop))
        second = Training(*case, settings(**options), 0, ALONE, dense=True)
        second.restore(first.state())
        _, tensors = trained(second, range(stop, SMALL["epochs"]))
        require_same((second.history, tensors), whole)


def test_losses_of_an_epoch_are_means_over_what_was_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    run = started(True, catalogue(203), warmup_epochs=0)
    take = run.step.take

    def ones(*given: object, **options: object) -> Taken:
        taken = take(*given, **options)
        return taken._replace(terms={name: torch.ones(()) for name in taken.terms})

    monkeypatch.setattr(run.step, "take", ones)
    assert run.run_epoch(0)["reconstruction"] == pytest.approx(1)
