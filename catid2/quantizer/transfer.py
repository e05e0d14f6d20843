"""Sending tensors to a GPU without asking to wait for it."""

import torch
from torch import Tensor


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on `device`, whose earlier launches need not be done. One in pinned memory must not change.

    A plain `Tensor.to` waits for the GPU, which then stands still while the next launches are prepared: a training step
    is bound by launches. From memory that is not pinned CUDA first copies the numbers away; it may wait to do so.
    """
    return tensor.to(device, non_blocking=True)
