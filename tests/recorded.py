"""A stand-in for a CUDA graph on a CPU."""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

ATEN = torch.ops.aten
# What a graph cannot hold: results that the CPU waits for, or whose shape depends on the values.
REFUSED = {
    ATEN._local_scalar_dense,
    ATEN.nonzero,
    ATEN.masked_select,
    ATEN._unique2,
    ATEN.unique_dim,
    ATEN.equal,
}


class Recorded(TorchDispatchMode):
    """Calls a function as CudaGraph does: the first call runs it, the second records it, the others repeat the record.

    The record has the operations and their tensors, nothing of Python: a number that the CPU changes between
    calls stays what it was in the record.
    """

    def __init__(self, function: Callable[[], Any]):
        super().__init__()
        self.function, self.record, self.result, self.calls = function, [], None, 0

    def __call__(self) -> Any:
        self.calls += 1
        if self.calls == 1:
            return self.function()
        if self.calls == 2:
            with self:
                self.result = self.function()
        else:
            self.repeat()
        return self.result

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        if operation.overloadpacket in REFUSED:
            raise RuntimeError(f"{operation} is not permitted in a graph")
        outputs = operation(*args, **(kwargs or {}))
        self.record.append((operation, args, kwargs or {}, outputs))
        return outputs

    @torch.no_grad()
    def repeat(self) -> None:
        for operation, args, kwargs, outputs in self.record:
            again = operation(*args, **kwargs)
            for old, new in zip(tree_leaves(outputs), tree_leaves(again), strict=True):
                if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)
