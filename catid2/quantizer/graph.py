"""Calling a function of a GPU again and again without launching its kernels one by one."""

from collections.abc import Callable
from typing import Any

import torch

from catid2.runtime.errors import InputError

SWITCH = "CATID2_CUDA_GRAPH"  # environment variable; 0 launches every kernel by itself


class CudaGraph:
    """Calls `function`; from the second call on as one launch, a CUDA graph.

    The graph repeats the kernels of the function on the same addresses. So the function must read what changes between
    calls from tensors that stay where they are, must not wait for the GPU, and returns the same tensors each time.
    PyTorch's `make_graphed_callables` captures neither an optimiser nor a moving average, and
    `torch.compile(mode="reduce-overhead")` captures compiled pieces alone: a collective call or a custom gradient in
    between is launched as before, silently. This needs no compiler on the GPU's node, and what cannot be captured is an
    error.

    Args:
        function: without arguments.
        device: the GPU.

    Raises:
        InputError: the second call cannot be captured.
    """

    def __init__(self, function: Callable[[], Any], device: torch.device):
        self._function = function
        # Autograd and the optimiser work on the stream of their first call, which must be that of the capture.
        self._stream = torch.cuda.Stream(device)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._called, self._result = False, None

    def __call__(self) -> Any:
        """Return the function's result, whose tensors the next call writes to."""
        if (
            not self._called
        ):  # libraries allocate their workspaces, NCCL connects, the optimiser makes its state
            self._called = True
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                result = self._function()
            torch.cuda.current_stream().wait_stream(self._stream)
            return result
        if self._graph is None:
            self._capture()
        self._graph.replay()
        return self._result

    def _capture(self) -> None:
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=self._stream):  # runs nothing
                self._result = self._function()
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            what = f"a training step cannot be captured as a CUDA graph ({reason})"
            raise InputError(SWITCH, what, "set it to 0, which launches every kernel by itself") from error
        self._graph = graph
