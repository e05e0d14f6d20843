"""Text vectors without a download: TF-IDF reduced by a truncated SVD (latent semantic analysis).

Deerwester et al., "Indexing by latent semantic analysis" (1990); sub-linear term frequencies as in
Manning et al., "Introduction to Information Retrieval", section 6.4.1. scikit-learn does the work.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from safetensors.numpy import load_file, save_file
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize

from catid2.corpus.text import tokenize
from catid2.runtime.errors import InputError
from catid2.runtime.progress import Progress
from catid2.runtime.tables import read_json, write_json

if TYPE_CHECKING:
    from catid2.config.embed import TfidfSvdEncoder


BLOCK = 2**16  # documents folded in at once
_MODEL = "model.safetensors"


class LsaEncoder:
    """A fitted TF-IDF and SVD, which encodes texts in its space.

    Args:
        config: the settings that it was fitted with.
        words: (V,) the vocabulary.
        idf: (V,) float32 weights of the words.
        components: (dims, V) float32 of the SVD.
    """

    def __init__(
        self, config: TfidfSvdEncoder, words: Sequence[str], idf: np.ndarray, components: np.ndarray
    ):
        self.config, self.words, self.components = config, words, components
        self._vectorizer = _vectorizer(config, vocabulary=words)
        self._vectorizer.idf_ = idf

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return the vectors of n texts, (n, dims) float32; unknown words are ignored."""
        return _scaled(self._vectorizer.transform(texts) @ self.components.T, self.config)

    def save(self, folder: Path) -> None:
        """Write the fitted model to `folder`: words.json and model.safetensors."""
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "words.json", {"words": list(self.words)})
        tensors = {"idf": self._vectorizer.idf_, "components": self.components}
        save_file({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, folder / _MODEL)

    @classmethod
    def load(cls, folder: Path, config: TfidfSvdEncoder) -> LsaEncoder:
        """Return the model that `save` wrote to `folder`; `config` is what it was fitted with."""
        tensors = load_file(folder / _MODEL)
        return cls(config, read_json(folder / "words.json")["words"], tensors["idf"], tensors["components"])


class Lsa(NamedTuple):
    """Vectors of texts, and the encoder that was fitted to them."""

    vectors: Iterable[np.ndarray]  # blocks (n, dims) float32 of the texts, in order
    features: int  # size of the vocabulary
    explained_variance: float  # share of the fitted texts' variance that the dimensions keep
    encoder: LsaEncoder


def tfidf_svd(texts: Sequence[str], config: TfidfSvdEncoder, seed: int) -> Lsa:
    """Return the vectors of `texts`; the same texts, settings and seed give the same vectors.

    If there are more than `fit_documents` texts, the model is fitted to a random sample of that size, and all texts are
    folded in (Deerwester et al., "Folding in") block by block while the vectors are iterated over. A text without words
    gets the zero vector.

    Raises:
        InputError: there are fewer texts, or fewer different words, than dimensions.
    """
    vectorizer = _vectorizer(config)
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
    blocks: Iterable[np.ndarray] = [_scaled(svd.fit_transform(counts), config)]
    words = vectorizer.get_feature_names_out().tolist()
    encoder = LsaEncoder(config, words, vectorizer.idf_, svd.components_)
    if sampled:
        starts = Progress(range(0, len(texts), BLOCK), desc="embed", unit=" blocks of texts")
        blocks = (encoder.encode(texts[start : start + BLOCK]) for start in starts)
    return Lsa(blocks, counts.shape[1], float(svd.explained_variance_ratio_.sum()), encoder)


def _vectorizer(config: TfidfSvdEncoder, vocabulary: Sequence[str] | None = None) -> TfidfVectorizer:
    return TfidfVectorizer(
        analyzer=partial(tokenize, tokenizer=config.tokenizer),
        max_features=config.max_features,
        vocabulary=vocabulary,
        sublinear_tf=True,
        dtype=np.float32,
    )


def _scaled(vectors: np.ndarray, config: TfidfSvdEncoder) -> np.ndarray:
    return normalize(vectors, copy=False) if config.normalize else vectors


def _sample(texts: Sequence[str], number: int, seed: int) -> Iterator[str]:
    """Yield `number` random texts, drawn without replacement, in their order."""
    drawn = np.zeros(len(texts), bool)
    drawn[np.random.default_rng(seed).choice(len(texts), number, replace=False)] = True
    return itertools.compress(texts, drawn)
