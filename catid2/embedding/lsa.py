"""Text vectors without a download: TF-IDF reduced by a truncated SVD (latent semantic analysis).

Deerwester et al., "Indexing by latent semantic analysis" (1990); sub-linear term frequencies as in
Manning et al., "Introduction to Information Retrieval", section 6.4.1. scikit-learn does the work.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize

from catid2.corpus.text import tokenize
from catid2.runtime.errors import InputError
from catid2.runtime.progress import Progress

if TYPE_CHECKING:
    from catid2.config.embed import TfidfSvdEncoder


BLOCK = 2**16  # documents folded in at once


class Lsa(NamedTuple):
    """Vectors of texts, and a function that encodes other texts in the same space."""

    vectors: Iterable[np.ndarray]  # blocks (n, dims) float32 of the texts, in order
    features: int  # size of the vocabulary
    explained_variance: float  # share of the fitted texts' variance that the dimensions keep
    encode: Callable[[Sequence[str]], np.ndarray]  # n texts → (n, dims) float32; unknown words are ignored


def tfidf_svd(texts: Sequence[str], config: TfidfSvdEncoder, seed: int) -> Lsa:
    """Return the vectors of `texts`; the same texts, settings and seed give the same vectors.

    If there are more than `fit_documents` texts, the model is fitted to a random sample of that size, and all texts are
    folded in (Deerwester et al., "Folding in") block by block while the vectors are iterated over. A text without words
    gets the zero vector.

    Raises:
        InputError: there are fewer texts, or fewer different words, than dimensions.
    """
    vectorizer = TfidfVectorizer(
        analyzer=partial(tokenize, tokenizer=config.tokenizer),
        max_features=config.max_features,
        sublinear_tf=True,
        dtype=np.float32,
    )
    sampled = len(texts) > config.fit_documents
    try:
        learnt = _sample(texts, config.fit_documents, seed) if sampled else texts
        size = min(config.fit_documents, len(texts))
        counts = vectorizer.fit_transform(Progress(learnt, desc="count words", total=size, unit=" texts"))
    except ValueError as error:  # scikit-learn's "empty vocabulary"
        raise InputError("texts of the view", str(error), "check the template") from None
    if config.dims >= min(counts.shape):
        what = f"{config.dims} dimensions, but {counts.shape[0]} texts with {counts.shape[1]} words"
        raise InputError("encoder.dims", what, f"set it below {min(counts.shape)}")
    svd = TruncatedSVD(config.dims, random_state=seed)

    def scaled(vectors: np.ndarray) -> np.ndarray:
        return normalize(vectors, copy=False) if config.normalize else vectors

    def encode(others: Sequence[str]) -> np.ndarray:
        return scaled(svd.transform(vectorizer.transform(others)))

    blocks: Iterable[np.ndarray] = [scaled(svd.fit_transform(counts))]
    if sampled:
        starts = Progress(range(0, len(texts), BLOCK), desc="embed", unit=" blocks of texts")
        blocks = (encode(texts[start : start + BLOCK]) for start in starts)
    return Lsa(blocks, counts.shape[1], float(svd.explained_variance_ratio_.sum()), encode)


def _sample(texts: Sequence[str], number: int, seed: int) -> Iterator[str]:
    """Yield `number` random texts, drawn without replacement, in their order."""
    drawn = np.zeros(len(texts), bool)
    drawn[np.random.default_rng(seed).choice(len(texts), number, replace=False)] = True
    return itertools.compress(texts, drawn)
