"""Text vectors without a download: TF-IDF reduced by a truncated SVD (latent semantic analysis).

Deerwester et al., "Indexing by latent semantic analysis" (1990); sub-linear term frequencies as in
Manning et al., "Introduction to Information Retrieval", section 6.4.1. scikit-learn does the work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize

from catid2.errors import InputError
from catid2.text import tokenize

if TYPE_CHECKING:
    from catid2.config.embed import TfidfSvdEncoder


class Lsa(NamedTuple):
    """Vectors of texts, and what encodes other texts in the same space."""

    vectors: np.ndarray  # (N, dims) float32
    features: int  # words counted
    explained_variance: float  # share of the variance that the dimensions keep
    encode: Callable[[Sequence[str]], np.ndarray]  # n texts → (n, dims) float32; unknown words do not count


def tfidf_svd(texts: Sequence[str], config: TfidfSvdEncoder, seed: int) -> Lsa:
    """Return the vectors of `texts`; the same texts, settings and seed give the same vectors.

    A text without words has the zero vector.

    Raises:
        InputError: the texts hold fewer texts or different words than the dimensions asked for.
    """
    vectorizer = TfidfVectorizer(
        analyzer=partial(tokenize, tokenizer=config.tokenizer),
        max_features=config.max_features,
        sublinear_tf=True,
        dtype=np.float32,
    )
    try:
        counts = vectorizer.fit_transform(texts)
    except ValueError as error:  # scikit-learn's "empty vocabulary"
        raise InputError("texts of the view", str(error), "check the template") from None
    if config.dims >= min(counts.shape):
        what = f"{config.dims} dimensions asked of {counts.shape[0]} texts with {counts.shape[1]} words"
        raise InputError("encoder.dims", what, f"set it below {min(counts.shape)}")
    svd = TruncatedSVD(config.dims, random_state=seed)

    def scaled(vectors: np.ndarray) -> np.ndarray:
        return normalize(vectors, copy=False) if config.normalize else vectors

    def encode(others: Sequence[str]) -> np.ndarray:
        return scaled(svd.transform(vectorizer.transform(others)))

    vectors = scaled(svd.fit_transform(counts))
    return Lsa(vectors, counts.shape[1], float(svd.explained_variance_ratio_.sum()), encode)
