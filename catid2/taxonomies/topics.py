"""A tree from text: topics, and topics within each topic."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.decomposition import NMF
from sklearn.feature_extraction.text import TfidfVectorizer

from catid2.corpus.text import tokenize
from catid2.runtime.errors import InputError
from catid2.runtime.progress import Progress
from catid2.taxonomies.catalogue import OTHER, Catalogue, Paths

if TYPE_CHECKING:
    from catid2.config.taxonomy import TopicsTaxonomy

NAME_WORDS = 3
ROUNDS = 200  # iterations of NMF, for each node


def topics(catalogue: Catalogue, settings: "TopicsTaxonomy", seed: int) -> Paths:
    """Assign each document to its topic of largest weight, level by level.

    Topics are found by non-negative matrix factorisation of TF-IDF (Xu, Liu and Gong, SIGIR 2003), with scikit-learn. A
    topic is named after its NAME_WORDS heaviest words.

    Raises:
        InputError: the texts have no words, or fewer words than `branches`.
    """
    vectorizer = TfidfVectorizer(
        analyzer=partial(tokenize, tokenizer=settings.tokenizer),
        max_features=settings.max_features,
        max_df=0.5,
        min_df=2,
        sublinear_tf=True,
        dtype=np.float32,
    )
    try:
        weights = vectorizer.fit_transform(Progress(catalogue.texts, desc="count words", unit=" texts"))
    except ValueError as error:  # scikit-learn's "empty vocabulary" or "no terms remain"
        raise InputError("taxonomy", str(error), "check the template") from None
    words = vectorizer.get_feature_names_out()
    if len(words) < settings.branches:
        what = f"{settings.branches} topics, but {len(words)} words that occur in several documents"
        raise InputError("taxonomy.branches", what, f"set it to {len(words)} or less, or check the template")
    paths: list[tuple[str, ...]] = [()] * weights.shape[0]
    nodes = [np.arange(weights.shape[0])]
    progress = Progress(desc="divide", total=settings.levels * len(paths), unit=" documents")
    for _ in range(settings.levels):
        below = []
        for rows in nodes:
            above = paths[rows[0]]
            if len(rows) < max(settings.least_documents, settings.branches):
                names, labels = [above[-1] if above else OTHER], np.zeros(len(rows), np.int64)
            else:
                names, labels = _divide(weights[rows], words, settings.branches, seed)
            for row, label in zip(rows.tolist(), labels.tolist(), strict=True):
                paths[row] = (*above, names[label])
            progress.update(len(rows))
            below += [rows[labels == label] for label in np.unique(labels)]
        nodes = below
    progress.close()
    return paths


def _divide(weights: csr_matrix, words: np.ndarray, branches: int, seed: int) -> tuple[list[str], np.ndarray]:
    """Return the names of the topics, OTHER last, and the topic (M,) of each document of `weights` (M, words)."""
    model = NMF(branches, init="nndsvda", random_state=seed, max_iter=ROUNDS, tol=1e-3)
    shares = model.fit_transform(weights)
    labels = shares.argmax(axis=1)
    labels[shares.max(axis=1) <= 0] = branches
    return [*_distinct(_name(topic, words) for topic in model.components_), OTHER], labels


def _name(topic: np.ndarray, words: np.ndarray) -> str:
    heaviest = sorted(range(len(topic)), key=lambda word: (-topic[word], words[word]))[:NAME_WORDS]
    return " / ".join(words[heaviest])


def _distinct(names: Sequence[str]) -> list[str]:
    """Number repeated names, because siblings with the same name would be one node."""
    seen: dict[str, int] = {}
    distinct = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        distinct.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return distinct
