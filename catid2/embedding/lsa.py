"""Text vectors without a download: TF-IDF reduced by a truncated SVD (latent semantic analysis).

Deerwester et al., "Indexing by latent semantic analysis" (1990); sub-linear term frequencies as in
Manning et al., "Introduction to Information Retrieval", section 6.4.1. scikit-learn does the work.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from safetensors.numpy import load_file, save_file
from scipy.sparse import csr_array

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

    It does what scikit-learn's `transform` does, without the import, which takes longer than a search.

    Args:
        config: the settings that it was fitted with.
        words: (V,) the vocabulary.
        idf: (V,) float32 weights of the words.
        components: (dims, V) float32 of the SVD.
    """

    def __init__(
        self, config: TfidfSvdEncoder, words: Sequence[str], idf: np.ndarray, components: np.ndarray
    ):
        self.config, self.words, self.idf, self.components = config, words, idf, components
        self._columns = {word: column for column, word in enumerate(words)}

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return the vectors of n texts, (n, dims) float32; unknown words are ignored."""
        columns, counts, ends = [], [], [0]
        for text in texts:
            found = Counter(map(self._columns.get, tokenize(text, self.config.tokenizer)))
            found.pop(None, None)
            columns.extend(sorted(found))
            counts.extend(found[column] for column in sorted(found))
            ends.append(len(columns))
        weights = (np.log(np.array(counts, np.float32)) + 1) * self.idf[np.array(columns, np.int64)]
        rows = csr_array((weights, columns, ends), shape=(len(texts), len(self.words)))
        rows.data /= np.repeat(
            _lengths(np.sqrt(rows.multiply(rows).sum(axis=1, dtype=np.float64))), np.diff(ends)
        )
        vectors = rows @ self.components.T
        if self.config.normalize:
            vectors /= _lengths(np.linalg.norm(vectors, axis=1))[:, None]
        return vectors

    def save(self, folder: Path) -> None:
        """Write the fitted model to `folder`: words.json and model.safetensors."""
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "words.json", {"words": list(self.words)})
        tensors = {"idf": self.idf, "components": self.components}
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
    # Imported late: a search needs only the encoder.
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize

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
    vectors = svd.fit_transform(counts)
    blocks: Iterable[np.ndarray] = [normalize(vectors, copy=False) if config.normalize else vectors]
    words = vectorizer.get_feature_names_out().tolist()
    encoder = LsaEncoder(config, words, vectorizer.idf_, svd.components_)
    if sampled:
        starts = Progress(range(0, len(texts), BLOCK), desc="embed", unit=" blocks of texts")
        blocks = (encoder.encode(texts[start : start + BLOCK]) for start in starts)
    return Lsa(blocks, counts.shape[1], float(svd.explained_variance_ratio_.sum()), encoder)


def _lengths(lengths: np.ndarray) -> np.ndarray:
    """Return lengths of vectors to divide by: 1 for a vector of zeros."""
    return np.where(lengths > 0, lengths, 1).astype(np.float32)


def _sample(texts: Sequence[str], number: int, seed: int) -> Iterator[str]:
    """Yield `number` random texts, drawn without replacement, in their order."""
    drawn = np.zeros(len(texts), bool)
    drawn[np.random.default_rng(seed).choice(len(texts), number, replace=False)] = True
    return itertools.compress(texts, drawn)
