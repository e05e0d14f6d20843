"""Codes of a trained RQ-VAE: CAT-ID² if trained with its losses, TIGER without them."""

from typing import TYPE_CHECKING

from catid2.docids.schemes.coding import Documents, Quantised
from catid2.quantizer.latents import encode, reconstruction_error
from catid2.quantizer.model import RQVAE
from catid2.runtime.errors import InputError

if TYPE_CHECKING:
    from catid2.config.schemes import RqvaeScheme


def rqvae(documents: Documents, settings: "RqvaeScheme", seed: int) -> Quantised:
    """Return the latents of all documents and the codebooks of the model; `seed` is not used.

    Raises:
        InputError: the model is missing or cannot be used, or as `latents.encode`.
    """
    if documents.model is None:
        raise InputError("--model", "missing", "name the RQ-VAE that train_rqvae made, or another scheme")
    model = RQVAE.load(documents.model)
    latents = encode(model, documents.embeddings, documents.order, documents.where)
    return Quantised(
        latents,
        model.codebooks.numpy(),
        lambda codes: reconstruction_error(model, documents.embeddings, latents, codes),
    )
