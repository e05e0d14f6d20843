"""Residual k-means in the space of the embeddings: quantisation without an encoder to train (RK-means of GRID)."""

from typing import TYPE_CHECKING

import torch

from catid2.docids.schemes.coding import Documents, Quantised
from catid2.quantizer.codebooks import ResidualQuantizer
from catid2.quantizer.codes import distortion
from catid2.runtime.tables import require_finite

if TYPE_CHECKING:
    from catid2.config.schemes import ResidualKmeansScheme
from catid2.quantizer.codes import standardized


def residual_kmeans(documents: Documents, settings: "ResidualKmeansScheme", seed: int) -> Quantised:
    """Set the codebooks layer by layer by k-means on the residuals of the standardised embeddings.

    Codes and repair are those of an RQ-VAE whose encoder and decoder change nothing, so the reconstruction error
    is the distortion, and compares with the RQ-VAE's where both standardise alike.

    Raises:
        InputError: an embedding is no finite number.
    """
    layers, size = settings.sizes()
    require_finite(documents.where, documents.embeddings)
    latents = standardized(documents.embeddings, documents.order, settings.standardize)
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randperm(len(latents), generator=generator)[: settings.kmeans_documents].sort().values
    quantizer = ResidualQuantizer(layers, size, latents.shape[1])
    sample = torch.from_numpy(latents[documents.order[drawn.numpy()]])
    quantizer.initialise(sample, count=1.0, generator=generator)
    codebooks = quantizer.codebooks.detach().numpy()
    return Quantised(latents, codebooks, lambda codes: distortion(latents, codebooks, codes))
