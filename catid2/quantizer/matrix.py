"""The embedding matrix as training reads it: the file itself, or a copy on the GPU where it fits."""

import logging
import warnings
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from catid2.quantizer.transfer import send

logger = logging.getLogger(__name__)

# Of the memory that is free on a GPU: a step and the latents of an epoch's end need some as well.
DEVICE_SHARE = 0.75


class Matrix:
    """An (N, D) float16 matrix whose rows are read by number, and arrive on `device`.

    A memory map is not copied. On the CPU rows are read out of it, so that only pages in use count, and the kernel
    may take them back. On a GPU the whole matrix is copied there if it takes at most DEVICE_SHARE of the free
    memory; if not, each batch is gathered by the CPU into pinned memory and sent.
    """

    def __init__(self, embeddings: np.ndarray, device: torch.device):
        with warnings.catch_warnings():
            # torch knows no read-only tensors; nothing here writes to this one
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            self._rows = torch.from_numpy(embeddings)
        self.device = device
        self.shape = embeddings.shape
        # Kept, since devices do not compare: "cuda" is not "cuda:0", where its tensors are.
        self._sent_by_batch = False
        size = f"embeddings of {self._rows.nbytes / 1e9:.2f} GB"
        if device.type == "cpu":
            logger.info("%s are read from the file", size)
        elif fits(self._rows.nbytes, torch.cuda.mem_get_info(device)[0]):
            logger.info("%s lie on the GPU", size)
            self._rows = self._rows.to(device)
        else:
            logger.info("%s do not fit on the GPU: every batch is sent from the host", size)
            self._sent_by_batch = True

    def __len__(self) -> int:
        """Return N."""
        return len(self._rows)

    def __getitem__(self, rows: Tensor) -> Tensor:
        """Return the rows (n,) int64, on any device, as (n, D) float16 on `device`."""
        if not self._sent_by_batch:
            return self._rows[send(rows, self.device)]
        sent = torch.empty(len(rows), self.shape[1], dtype=self._rows.dtype, pin_memory=True)
        torch.index_select(self._rows, 0, rows.cpu(), out=sent)
        return sent.to(self.device, non_blocking=True)  # torch keeps `sent` until it has arrived

    def mean(self) -> Tensor:
        """Return the mean row, (D,) float32 on `device`, summed in float64, in parts."""
        return (sum(part.double().sum(0) for part in self._parts()) / len(self)).float()

    def _parts(self) -> Iterator[Tensor]:
        return (part.to(self.device) for part in self._rows.split(65_536))


def fits(size: int, free: int) -> bool:
    """Return whether a matrix of `size` bytes is to lie on a GPU with `free` bytes."""
    return size <= DEVICE_SHARE * free


def distinct_rows(matrix: np.ndarray, enough: int) -> int:
    """Return how many different rows an (N, D) matrix has, or `enough` if it has that many: few are then read."""
    seen: set[bytes] = set()
    for row in matrix:
        seen.add(row.tobytes())
        if len(seen) == enough:
            break
    return len(seen)
