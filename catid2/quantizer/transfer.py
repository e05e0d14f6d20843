"""Sending tensors to a GPU without waiting for it."""

import torch
from torch import Tensor


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """Return the tensor on `device`, without waiting for the GPU. A tensor in pinned memory must not change afterwards.

    A plain `Tensor.to` waits until the GPU is idle, and the GPU then waits for the next launches, which bound the time
    of a training step. CUDA first copies memory that is not pinned to a buffer of its own; it may wait for that.
    """
    return tensor.to(device, non_blocking=True)
