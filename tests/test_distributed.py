"""Two gloo ranks give the losses, gradients and codebooks of one process."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp
from rqvae_case import catalogue, settings

from catid2.quantizer.codebooks import ResidualQuantizer
from catid2.quantizer.contrast import plan_contrast
from catid2.quantizer.losses import cscl, disl, hccl, quantisation_loss
from catid2.quantizer.training import Training, train
from catid2.runtime.checkpoint import Checkpoints
from catid2.runtime.errors import InputError
from catid2.training.distributed import (
    Group,
    any_rank,
    from_first,
    gather,
    gather_with_gradient,
    process_group,
    sum_over_ranks,
)

BATCH = 31  # odd: the ranks' parts differ


def losses(group: Group) -> dict[str, torch.Tensor]:
    """Return every loss in float64, summed over ranks, and the gradients that it sends to weights and codebooks."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(BATCH, 6, dtype=torch.float64, generator=generator)
    weight = torch.randn(6, 4, dtype=torch.float64, generator=generator, requires_grad=True)
    back = torch.randn(4, 6, dtype=torch.float64, generator=generator, requires_grad=True)
    categories = torch.randint(0, 4, (BATCH,), generator=generator)
    parents = categories // 2
    quantizer = ResidualQuantizer(2, 5, 4, "gradient").double()
    quantizer.codebooks.data = torch.randn(2, 5, 4, dtype=torch.float64, generator=generator)
    own = x[group.shard(BATCH)]
    quantized = quantizer(own @ weight, distance_gradient=True)
    reconstruction = own @ weight @ back
    plan = plan_contrast(categories, parents, "all", generator, tile_rows=4)
    drawn = plan_contrast(categories, parents, "one", generator, tile_rows=4)
    or_self = plan_contrast(categories, parents, "one_or_self", generator, tile_rows=4)
    every = {
        "hccl": hccl(quantized.residuals[1], plan, "cosine", 0.5, "mean", group),
        "hccl_drawn": hccl(quantized.residuals[0], drawn, "l2", 0.5, "sum", group),
        "hccl_or_self": hccl(quantized.residuals[0], or_self, "cosine", 0.1, "mean", group),
        "cscl": cscl(quantized.distances, "batch_mean", 1.0, group, BATCH),
        "disl": disl(reconstruction, x, None, "cosine", 0.5, "mean", group),
        "disl_blocks": disl(reconstruction, x, 6, "l2", 0.5, "sum", group),
        "disl_blocks_batched": disl(reconstruction, x, 6, "cosine", 0.5, "sum", group, batched=True),
        "rq": sum(quantisation_loss(own, reconstruction, quantized, "sum", BATCH)),
    }
    results = {}
    for name, loss in every.items():
        parameters = (weight, back, quantizer.codebooks)
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True, materialize_grads=True)
        results[name] = sum_over_ranks(loss, group)
        for parameter, gradient in zip(("weight", "back", "codebooks"), gradients, strict=True):
            results[f"{name} to {parameter}"] = sum_over_ranks(gradient, group)
    quantizer.float().follow(quantizer(own.float() @ weight.float()), group)
    results["codebooks"] = quantizer.codebooks.detach()
    return results


def step(group: Group, dense: bool = False) -> dict[str, torch.Tensor]:
    """Return the weights' gradients and the codebooks after one training step on the whole model."""
    options = {"batch_size": 101, "hccl_negatives": 20, "hccl_positives": "one"} if dense else {}
    run = Training(*catalogue(202), settings(**options), 0, group, dense)
    run.initialise_codebooks(epoch=0)
    batch = torch.arange(101)
    run.step.take(run.matrix[batch], run.labels[batch], torch.Generator().manual_seed(0), 1e-3, warmup=False)
    gradients = {name: p.grad for name, p in run.model.named_parameters() if p.grad is not None}
    return gradients | {"codebooks": run.model.codebooks.detach()}


def dense_step(group: Group) -> dict[str, torch.Tensor]:
    """Return the same for the step of a GPU."""
    return step(group, dense=True)


def gathered(group: Group) -> dict[str, torch.Tensor]:
    """Gather with and without gradient; each rank's loss weighs a row by its number and the rank's."""
    rows = torch.arange(5.0)[group.shard(5)].unsqueeze(1).requires_grad_()
    every = gather_with_gradient(rows, 5, group)
    weights = torch.arange(5.0).unsqueeze(1) * (group.rank + 1)
    (every * weights).sum().backward()
    return {"rows": gather(rows, 5, group), "every": every.detach(), "gradient": gather(rows.grad, 5, group)}


def history(group: Group, folder: Path) -> dict[str, torch.Tensor]:
    """Train for some epochs with a stop in between, and return the history."""
    histories = []
    for batches in ("random", "category"):
        checkpoints = Checkpoints(folder, {"run": batches})
        for epochs in (4, 6):
            config = settings(epochs=epochs, schedule="constant", batches=batches)
            rows = train(*catalogue(), config, 0, group, checkpoints, checkpoint_seconds=0).history
        histories += [[row[name] for name in sorted(row)] for row in rows]
    return {"history": torch.tensor(histories)}


def _work(rank: int, port: int, folder: Path) -> None:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    with process_group() as group:
        assert (group.rank, group.world_size, group.is_first) == (rank, 2, rank == 0)
        results = {"losses": losses(group), "step": step(group), "gathered": gathered(group)}
        results["dense_step"] = dense_step(group)
        results["history"] = history(group, folder / "state")
        answers = [any_rank(False), any_rank(rank == 0), any_rank(rank == 1), any_rank(True)]
        results["any_rank"] = {"answers": torch.tensor(answers)}
        contents = [b"", b"of rank 0" if rank == 0 else b"other", b"" if rank == 0 else b"other"]
        assert [from_first(content, group) for content in contents] == [b"", b"of rank 0", b""]
    torch.save(results, folder / f"{rank}.pt")


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, torch.Tensor]]]:
    """Return what each of two ranks computed."""
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.spawn(_work, args=(port, folder), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.slow
@pytest.mark.parametrize("compute", [losses, step, dense_step])
def test_two_ranks_equal_one_process(ranks: list, compute: Callable) -> None:
    alone = compute(Group())
    for results in ranks:
        assert results[compute.__name__].keys() == alone.keys()
        for name, expected in alone.items():
            scale = max(1.0, expected.abs().max().item())
            difference = (results[compute.__name__][name] - expected).abs().max().item()
            assert difference <= 1e-6 * scale, name


@pytest.mark.slow
def test_a_resumed_run_on_two_ranks_has_the_history_of_one(ranks: list, tmp_path: Path) -> None:
    alone = history(Group(), tmp_path)["history"]
    assert torch.equal(
        ranks[0]["history"]["history"].nan_to_num(), ranks[1]["history"]["history"].nan_to_num()
    )
    torch.testing.assert_close(ranks[0]["history"]["history"], alone, rtol=1e-3, atol=1e-3, equal_nan=True)


def test_gathered_rows_come_in_order_and_get_the_gradients_of_all_ranks(ranks: list) -> None:
    rows = torch.arange(5.0).unsqueeze(1)
    for results in ranks:
        assert torch.equal(results["gathered"]["rows"], rows)
        assert torch.equal(results["gathered"]["every"], rows)
        assert torch.equal(results["gathered"]["gradient"], rows * (1 + 2))


@pytest.mark.parametrize(("total", "world_size"), [(10, 3), (2, 2), (7, 1), (3, 5)])
def test_shards_cover_everything_once(total: int, world_size: int) -> None:
    shards = [Group(rank, world_size).shard(total) for rank in range(world_size)]
    covered = [row for shard in shards for row in range(total)[shard]]
    assert covered == list(range(total))
    sizes = [shard.stop - shard.start for shard in shards]
    assert max(sizes) - min(sizes) <= 1


def test_any_rank_asks_all(ranks: list) -> None:
    for results in ranks:
        assert results["any_rank"]["answers"].tolist() == [False, True, True, True]
    assert any_rank(True)  # alone
    assert not any_rank(False)


def test_a_rank_without_a_gpu_is_a_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(InputError, match="rank 2 of the node has no GPU, there are 2"), process_group():
        pass


def test_alone_without_a_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    with process_group() as group:
        assert (group.rank, group.world_size) == (0, 1)
    assert not torch.distributed.is_initialized()
