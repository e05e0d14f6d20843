"""Residual k-means on the embeddings: quantisation without a trained encoder (RK-means of GRID)."""

from typing import TYPE_CHECKING

import torch

from catid2.docids.schemes.coding import Documents, Quantised
from catid2.quantizer.codebooks import ResidualQuantizer
from catid2.quantizer.codes import distortion, standardized
from catid2.runtime.tables import require_finite

if TYPE_CHECKING:
    from catid2.config.schemes import ResidualKmeansScheme


def residual_kmeans(documents: Documents, settings: "ResidualKmeansScheme", seed: int) -> Quantised:
    """Set the codebooks, layer by layer, by k-means on the residuals of the standardised embeddings.

    The result is that of an RQ-VAE whose encoder and decoder are the identity, so the reconstruction error is the
    distortion. It is comparable with an RQ-VAE's if both use the same `standardize`.

    Raises:
        InputError: an embedding is not finite.
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
