"""Time the training of the RQ-VAE at the size of ESCI us, 386,392 random embeddings of 768 dimensions, 300 epochs.

    python benchmarks/rqvae_epochs.py --device cuda

All four losses with the defaults of the paper's run, in bfloat16 on a GPU; the history's corpus-wide figures of each
epoch and the checkpoints are part of the time. A short run trains 30 epochs, set-up included, and multiplies. Memory is
all that PyTorch takes of the GPU, its CUDA graphs included, without the embeddings.
"""

import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from measured import Measured, Size, from_command_line, timed

from catid2.config.rqvae import RqvaeConfig
from catid2.quantizer.training import train
from catid2.runtime.checkpoint import Checkpoints
from catid2.training.distributed import Group

TREE = (11, 73, 412)


EPOCHS = 300


class Scale(NamedTuple):
    """How much is trained."""

    documents: int
    epochs: int
    batch: int


SCALES: dict[Size, Scale] = {
    "tiny": Scale(600, 2, 300),
    "short": Scale(386_392, 30, 4096),
    "full": Scale(386_392, EPOCHS, 4096),
}


def benchmark(size: Size, device: str = "cpu") -> list[Measured]:
    """Return the seconds of the whole training, and on a GPU its memory."""
    scale, gpu = SCALES[size], device.startswith("cuda")
    generator = np.random.default_rng(0)
    leaf = generator.integers(0, TREE[2], scale.documents)
    second = leaf % TREE[1]
    categories = np.stack([second % TREE[0], 100 + second, 1000 + leaf], axis=1)
    embeddings = np.empty((scale.documents, 768), np.float16)
    for start in range(0, scale.documents, 8192):
        part = embeddings[start : start + 8192]
        part[:] = generator.standard_normal(part.shape, np.float32)
    config = RqvaeConfig(
        epochs=scale.epochs,
        warmup_epochs=max(1, RqvaeConfig().warmup_epochs * scale.epochs // EPOCHS),
        batch_size=scale.batch,
        precision="bfloat16" if gpu else "float32",
        on_collapse="report",  # random embeddings have no clusters to find
    )
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(Path(folder) / "checkpoints", {})
        group = Group(device=torch.device(device))
        seconds = timed(lambda: train(embeddings, categories, config, 0, group, checkpoints), device).seconds
    where = f"{scale.documents} × 768, {scale.epochs} epochs × {EPOCHS // scale.epochs}, {config.precision}"
    seconds *= EPOCHS / scale.epochs
    measured = [Measured("epochs_gpu" if gpu else "", "training of the RQ-VAE", where, seconds, "s")]
    if gpu:
        taken = torch.cuda.max_memory_reserved() - embeddings.nbytes
        what = "memory of this training without the embeddings"
        measured.append(Measured("epochs_memory_gpu", what, where, taken / 1e9, "GB"))
    return measured


if __name__ == "__main__":
    from_command_line(__doc__, benchmark)
