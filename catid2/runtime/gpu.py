"""What keeps a GPU busy: blocks compiled into few kernels, and copies that nothing waits for."""

import logging
import os
import shutil
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from torch import Tensor, nn

log = logging.getLogger(__name__)


def compile_blocks(model: nn.Module, device: torch.device, backend: str | Callable = "inductor") -> None:
    """Compile every block of a transformer for a GPU, in place; on a CPU, where it would not pay, do nothing.

    A block is a member of one of the outermost lists of modules. Blocks that do the same share their code. It is made
    when they are first called, for texts of any length, and kept in the folder TORCHINDUCTOR_CACHE_DIR. With
    TORCH_COMPILE_DISABLE=1 in the environment PyTorch compiles nothing.
    """
    if device.type != "cuda":
        return
    if not can_compile():
        log.warning("no C compiler or no headers of Python: without compiled blocks the GPU takes longer")
        return
    for block in blocks(model):
        block.compile(dynamic=True, backend=backend)


def can_compile() -> bool:
    """Return whether Triton finds what it builds its launcher with: a C compiler and the headers of Python."""
    compiler = os.environ.get("CC") or shutil.which("clang") or shutil.which("gcc")
    return compiler is not None and Path(sysconfig.get_path("include"), "Python.h").is_file()


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
