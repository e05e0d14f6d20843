"""What every ID scheme takes and gives."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Documents(NamedTuple):
    """What a scheme may read of a corpus of N documents; row = doc_id."""

    embeddings: np.ndarray  # (N, D) float16, for instance a memory map
    categories: np.ndarray  # (N, H) nodes of the category tree, coarse to fine
    # (N,) rows by product_id: work in this order, so that an ID does not hang on the row's place
    order: np.ndarray
    where: Path  # the file of the embeddings, for messages
    model: Path | None  # folder of the trained RQ-VAE, for a scheme that is `trained`


class Quantised(NamedTuple):
    """Vectors and the codebooks that code them residually; documents may share codes until a repair."""

    latents: np.ndarray  # (N, d) float32
    codebooks: np.ndarray  # (L, K, d) float32
    reconstruction_error: Callable[[np.ndarray], float]  # of codes (N, L): mean ‖d − d̂‖² over documents


class Unique(NamedTuple):
    """Codes that are a document's own from the start."""

    codes: np.ndarray  # (N, L) int32
    sizes: tuple[int, ...]  # how many codes each position has; (L,)


Coding = Quantised | Unique
