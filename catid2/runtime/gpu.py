"""What keeps a GPU busy: blocks compiled into few kernels, and copies that nothing waits for."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn


def compile_blocks(model: nn.Module, device: torch.device, backend: str | Callable = "inductor") -> None:
    """Compile every block of a transformer for a GPU, in place; on a CPU, where it would not pay, do nothing.

    A block is a member of one of the outermost lists of modules. Blocks that do the same share their code. It is made
    when they are first called, for texts of any length, and kept in the folder TORCHINDUCTOR_CACHE_DIR. It needs a C
    compiler; with TORCH_COMPILE_DISABLE=1 in the environment PyTorch compiles nothing.
    """
    if device.type == "cuda":
        for block in blocks(model):
            block.compile(dynamic=True, backend=backend)


def uncompiled(device: torch.device) -> AbstractContextManager:
    """Return a context in which compiled blocks run as they are written."""
    return torch.compiler.set_stance("force_eager") if device.type == "cuda" else nullcontext()


def blocks(model: nn.Module) -> Iterator[nn.Module]:
    """Yield the members of the outermost lists of modules."""
    for child in model.children():
        yield from child if isinstance(child, nn.ModuleList) else blocks(child)


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on `device`; from pinned memory, because a copy to a GPU would otherwise wait for its work."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
