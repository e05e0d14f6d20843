"""Distributed training: set-up under torchrun, and gathering tensors with or without gradient.

The convention of the RQ-VAE's losses: each rank returns its *share* of the global loss, so the shares sum to the loss,
and parameter gradients are summed (not averaged) over ranks. With one process nothing is sent.
"""

import contextlib
import datetime
import functools
import itertools
import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import safetensors.torch
import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

from catid2.runtime.checkpoint import Checkpoints, State
from catid2.runtime.errors import InputError
from catid2.runtime.ranks import read_ranks

log = logging.getLogger(__name__)

CPU = torch.device("cpu")
# Ranks may wait while the first one validates or writes files. torchrun notices a lost peer long before.
PEER_TIMEOUT = datetime.timedelta(minutes=30)


@dataclass(frozen=True)
class Group:
    """A process and its peers: its rank, their number, and the device of the process."""

    rank: int = 0
    world_size: int = 1
    device: torch.device = CPU

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes files."""
        return self.rank == 0

    def shard(self, total: int) -> slice:
        """Return this rank's slice of `total` rows; slices are in rank order, and sizes differ by at most one."""
        return slice(*_bounds(total, self.world_size)[self.rank : self.rank + 2])


@contextlib.contextmanager
def process_group() -> Iterator[Group]:
    """Join the group of torchrun's processes; without torchrun the group is this process alone.

    The backend is nccl with CUDA and gloo without. The group is left at the end of the block; after an error with nccl
    only when the process ends, because leaving waits for work on the GPU that a lost peer never finishes.

    Raises:
        InputError: the node has fewer GPUs than ranks.
    """
    rank, world_size, local = read_ranks()
    device = _device(local)
    if world_size == 1:
        yield Group(0, 1, device)
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PEER_TIMEOUT)
    try:
        yield Group(rank, world_size, device)
    except BaseException:
        if device.type == "cpu":
            _leave()
        raise
    _leave()


def _device(local_rank: int) -> torch.device:
    """Return the device of a rank."""
    if not torch.cuda.is_available():
        return CPU
    if local_rank >= torch.cuda.device_count():
        what = f"rank {local_rank} of the node has no GPU, there are {torch.cuda.device_count()}"
        raise InputError("--gpus", what, "start as many ranks as the node has GPUs")
    device = torch.device("cuda", local_rank)
    torch.cuda.set_device(device)
    return device


def _leave() -> None:
    _control_group.cache_clear()
    dist.destroy_process_group()


def gather(rows: Tensor, total: int, group: Group) -> Tensor:
    """Return the `total` rows of all ranks in rank order, without gradient.

    Args:
        rows: (n, …), this rank's `group.shard(total)`.
        total: number of rows over all ranks.
        group: this process and its peers.
    """
    if group.world_size == 1:
        return rows.detach()
    bounds = _bounds(total, group.world_size)
    sizes = [end - start for start, end in itertools.pairwise(bounds)]
    padded = rows.new_zeros(max(sizes), *rows.shape[1:])
    padded[: len(rows)] = rows.detach()
    parts = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(parts, padded)
    return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])


def gather_with_gradient(rows: Tensor, total: int, group: Group) -> Tensor:
    """As `gather`, with gradient: that of a row is the sum over the ranks' shares of the loss."""
    if group.world_size == 1:
        return rows
    return _Gather.apply(rows, total, group)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx, rows: Tensor, total: int, group: Group) -> Tensor:
        ctx.own, ctx.group = group.shard(total), group
        return gather(rows, total, group)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor):
        return sum_over_ranks(gradient, ctx.group)[ctx.own], None, None


def sum_over_ranks(tensor: Tensor, group: Group) -> Tensor:
    """Return the elementwise sum over ranks, without gradient."""
    tensor = tensor.detach()
    if group.world_size > 1:
        tensor = tensor.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(tensor)
    return tensor


def sum_gradients(parameters: Iterable[Tensor], group: Group) -> None:
    """Replace each parameter's gradient by its sum over ranks, in one collective call."""
    if group.world_size == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = sum_over_ranks(torch.cat([gradient.flatten() for gradient in gradients]), group)
    parts = flat.split([gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))


def from_first(content: bytes, group: Group) -> bytes:
    """Return the first rank's `content`; that of the others is ignored."""
    if group.world_size == 1:
        return content
    size = torch.tensor([len(content)], device=group.device)
    dist.broadcast(size, 0)
    values = torch.empty(int(size), dtype=torch.uint8, device=group.device)
    if group.is_first:
        values.copy_(torch.from_numpy(np.frombuffer(content, np.uint8).copy()))
    dist.broadcast(values, 0)
    return values.cpu().numpy().tobytes()


def saved_state(checkpoints: Checkpoints, group: Group, own: tuple[str, ...] = ()) -> State | None:
    """Return the saved state that the first rank reads, on every rank: other nodes may not see the newest file yet.

    Args:
        checkpoints: of the run.
        group: this process and its peers.
        own: prefixes of the names of tensors that only the first rank gets.
    """
    state = checkpoints.load() if group.is_first else None
    tensors = {} if state is None else state.tensors
    shared = [name for name in tensors if not name.startswith(own)]
    told = json.dumps(None if state is None else [state.progress, shared])
    told = json.loads(from_first(told.encode(), group))
    if told is None:
        return None
    progress, shared = told
    if group.world_size > 1:
        for name in shared:  # one by one, so that the state of a large model is never in memory twice
            content = safetensors.torch.save({name: tensors[name]}) if group.is_first else b""
            tensors |= safetensors.torch.load(from_first(content, group))
    return State(tensors, progress)


def report_peak_memory(group: Group) -> None:
    """Log the first rank's peak GPU memory; nothing on a CPU."""
    if group.is_first and group.device.type == "cuda":
        log.info("peak GPU memory %.1f GiB", torch.cuda.max_memory_allocated(group.device) / 2**30)


def wait_for_all(group: Group) -> None:
    """Return once every rank has called this."""
    if group.world_size > 1:
        dist.barrier()


def any_rank(flag: bool) -> bool:
    """Return whether `flag` is true on any rank. Every rank must call this and gets the same answer.

    It sends a byte between the CPUs, over a separate gloo group, so that it does not wait for a GPU to finish its work.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return flag
    answer = torch.tensor([flag], dtype=torch.uint8)
    dist.all_reduce(answer, dist.ReduceOp.MAX, group=_control_group(dist.group.WORLD))
    return bool(answer.item())


@functools.lru_cache(maxsize=1)
def _control_group(default: dist.ProcessGroup) -> dist.ProcessGroup:
    """Return the gloo group that belongs to the default group `default`."""
    return dist.new_group(backend="gloo", timeout=PEER_TIMEOUT)


def _bounds(total: int, world_size: int) -> list[int]:
    return [total * rank // world_size for rank in range(world_size + 1)]
