"""The embedding matrix as training reads it: the file itself, or a copy on the GPU if it fits."""

import logging
import warnings
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from catid2.runtime.gpu import send

logger = logging.getLogger(__name__)

# Share of a GPU's free memory that the matrix may take: a step, and the latents at the end of an epoch, need some too.
DEVICE_SHARE = 0.75


class Matrix:
    """An (N, D) float16 matrix; indexing with row numbers returns these rows on `device`.

    A memory map is not copied: on the CPU rows are read from it, so only pages in use take memory, and the kernel can
    reclaim them. On a GPU the matrix is copied there if it takes at most DEVICE_SHARE of the free memory; otherwise
    the CPU gathers each batch into pinned memory and sends it.
    """

    def __init__(self, embeddings: np.ndarray, device: torch.device):
        with warnings.catch_warnings():
            # PyTorch has no read-only tensors; nothing here writes to this one.
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            self._rows = torch.from_numpy(embeddings)
        self.device = device
        self.shape = embeddings.shape
        # A flag, because comparing devices fails: "cuda" is not equal to "cuda:0".
        self._sent_by_batch = False
        size = f"embeddings of {self._rows.nbytes / 1e9:.2f} GB"
        if device.type == "cpu":
            logger.info("%s are read from the file", size)
        elif fits(self._rows.nbytes, torch.cuda.mem_get_info(device)[0]):
            logger.info("%s are on the GPU", size)
            self._rows = self._rows.to(device)
        else:
            logger.info("%s do not fit on the GPU: every batch is sent from the host", size)
            self._sent_by_batch = True

    def __len__(self) -> int:
        """Return N."""
        return len(self._rows)

    def __getitem__(self, rows: Tensor) -> Tensor:
        """Return the rows with the numbers `rows` (n,) int64, on any device, as (n, D) float16 on `self.device`."""
        if not self._sent_by_batch:
            return self._rows[send(rows, self.device)]
        sent = torch.empty(len(rows), self.shape[1], dtype=self._rows.dtype, pin_memory=True)
        torch.index_select(self._rows, 0, rows.cpu(), out=sent)
        return sent.to(self.device, non_blocking=True)  # PyTorch keeps `sent` until the copy is complete

    def mean(self) -> Tensor:
        """Return the mean row, (D,) float32 on `device`, summed in float64."""
        return (sum(part.double().sum(0) for part in self._parts()) / len(self)).float()

    def _parts(self) -> Iterator[Tensor]:
        return (part.to(self.device) for part in self._rows.split(65_536))


def fits(size: int, free: int) -> bool:
    """Return whether to copy a matrix of `size` bytes to a GPU with `free` bytes of free memory."""
    return size <= DEVICE_SHARE * free


def distinct_rows(matrix: np.ndarray, enough: int) -> int:
    """Return how many different rows an (N, D) matrix has; counting stops at `enough`, so few rows are read."""
    seen: set[bytes] = set()
    for row in matrix:
        seen.add(row.tobytes())
        if len(seen) == enough:
            break
    return len(seen)
