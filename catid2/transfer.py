"""Sending tensors to a GPU without waiting for it."""

import torch
from torch import Tensor


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on `device`, without waiting until a GPU has done what was launched before.

    A plain `Tensor.to` waits, and the GPU then stands still while the next launches are prepared: a training step is
    bound by launches. From memory that is not pinned CUDA first copies the numbers away, so they may change at once.
    """
    return tensor.to(device, non_blocking=True)
