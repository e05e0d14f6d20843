"""Latents of a corpus, and its reconstruction error.

This always runs on the CPU: it takes seconds, and the same model then gives the same DocIDs on every machine with the
same libraries. Rows are batched in the order of their product_ids, so that a document's row in the corpus does not
change its batch, and with it the rounding.
"""

from pathlib import Path

import numpy as np
import torch

from catid2.quantizer.codes import residuals
from catid2.quantizer.model import RQVAE
from catid2.runtime.errors import InputError
from catid2.runtime.tables import require_finite

BATCH = 4096  # documents


@torch.inference_mode()
def encode(model: RQVAE, embeddings: np.ndarray, order: np.ndarray, where: str | Path) -> np.ndarray:
    """Return the latents (N, d) float32 of all documents, row = row of `embeddings`.

    Args:
        model: a trained RQ-VAE on the CPU.
        embeddings: (N, D), for instance a memory map of float16.
        order: (N,) rows in the order of batching (`catid2.corpus.products.canonical_order`).
        where: the file of the embeddings, for messages.

    Raises:
        InputError: D is not the model's input dimension, or a row holds NaN or infinity.
    """
    if embeddings.shape[1] != model.architecture.input_dim:
        have = f"{embeddings.shape[1]} dimensions, but the RQ-VAE takes {model.architecture.input_dim}"
        raise InputError(where, have, "use the embeddings that the RQ-VAE was trained on")
    require_finite(where, embeddings)
    latents = np.empty((len(embeddings), model.architecture.latent_dim), np.float32)
    for rows in _batches(order):
        latents[rows] = model.encode(torch.from_numpy(embeddings[rows])).numpy()
    return latents


@torch.inference_mode()
def reconstruction_error(
    model: RQVAE, embeddings: np.ndarray, latents: np.ndarray, codes: np.ndarray
) -> float:
    """Return the mean over documents of ||d - D(ẑ)||²: d is the standardised embedding, ẑ the sum of the codewords.

    Args:
        model: a trained RQ-VAE on the CPU.
        embeddings: (N, D).
        latents: (N, d), of `encode`.
        codes: (N, L).
    """
    codebooks = model.codebooks.numpy()
    total = 0.0
    for rows in _batches(np.arange(len(embeddings))):
        quantised = latents[rows] - residuals(latents[rows], codebooks, codes[rows])
        x = model.standardize(torch.from_numpy(embeddings[rows]))
        error = model.decode(torch.from_numpy(quantised.astype(np.float32))) - x
        total += error.square().sum().item()
    return total / len(embeddings)


def _batches(order: np.ndarray) -> list[np.ndarray]:
    return np.split(order, range(BATCH, len(order), BATCH))
