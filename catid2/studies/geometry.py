"""What embeddings, latents, residuals and codes know of the categories: distances, and probes on held-out documents.

The vectors of a document are its embedding, its latent z, and `residual_l`, what the first l codes leave of z (r_l in
the paper; residual_L is what the DocID loses). Its codes are `code_l`, only the l-th, and `prefix_l`, the first l
together. Layers count from 1, as in the figures. Codes are those before the repair.

Documents are drawn and processed in the order of their product_id, so the order of rows changes no figure.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import numpy as np
from pydantic import Field, TypeAdapter, ValidationError

from catid2.corpus.products import canonical_order, read_products
from catid2.docids.table import Docids
from catid2.quantizer.codes import greedy_codes, prefix_ids, residuals, standardized
from catid2.quantizer.latents import encode
from catid2.quantizer.model import RQVAE
from catid2.runtime.errors import InputError
from catid2.runtime.tables import read_embeddings, read_json, require_finite

if TYPE_CHECKING:
    from catid2.config.geometry import GeometryConfig

# Share of documents that another batch's rounding may code otherwise: those between two codes equally near.
ROUNDED = 0.01
REMEDY = "run measure_geometry again"

Name = Annotated[str, Field(pattern=r"^(embedding|latent|(residual|code|prefix)_[1-9][0-9]{0,3})$")]
Share = Annotated[float, Field(ge=0, le=1)]
Distance = Annotated[float, Field(ge=0, le=2)]
Count = Annotated[int, Field(ge=1)]


class Inputs(NamedTuple):
    """The files of one method; `model` is the folder of its RQ-VAE, if it has one."""

    embeddings: Path
    products: Path
    docids: Path
    model: Path | None


class Sample(NamedTuple):
    """The n sampled documents, in the order of their product_id."""

    rows: np.ndarray  # (n,) doc_ids
    train: np.ndarray  # (n,) bool: probes are fitted on these, and measured on the others; both hold some


@dataclass(frozen=True)
class Level:
    """One level of the category tree. The top of this module explains the keys."""

    # that the sample has
    categories: Count
    # accuracy of naming the most frequent category of the training documents: chance
    majority: Share
    # share of held-out documents whose category a training document has: no probe knows others
    ceiling: Share
    # of a probe, on held-out documents
    accuracy: dict[Name, Share]
    # mean cosine distance of documents of one category, and of two; None: no such pair
    within: dict[Name, Distance | None]
    between: dict[Name, Distance | None]


@dataclass(frozen=True)
class Geometry:
    """The content of geometry.json."""

    documents: Count  # of the corpus
    sampled: Count
    held_out: Count  # of the sampled
    levels: Annotated[list[Level], Field(min_length=1)]  # coarse to fine


def measure(config: "GeometryConfig", inputs: Inputs) -> Geometry:
    """Return what the vectors and codes of a method know of the categories, level by level.

    Raises:
        InputError: a file cannot be used, or the files do not have the same documents, view and model.
    """
    product_ids, categories = read_products(inputs.products)
    if not categories.shape[1]:
        raise InputError(inputs.products, "column 'category_id_1' is missing", "build the corpus again")
    embeddings = read_embeddings(inputs.embeddings, rows=len(product_ids))
    require_finite(inputs.embeddings, embeddings)
    docids = Docids.read(inputs.docids)
    docids.require_documents(inputs.products)
    docids.require_codes()
    order = canonical_order(product_ids, inputs.products)
    if len(order) < 2:
        raise InputError(inputs.products, "a single document", "measure a corpus of several")

    sample = draw_sample(order, config)
    codes, categories = docids.before[sample.rows], categories[sample.rows]
    vectors = {"embedding": embeddings[sample.rows].astype(np.float64)}
    if inputs.model:
        vectors |= latent_vectors(RQVAE.load(inputs.model), embeddings[sample.rows], codes, inputs)
    return Geometry(
        documents=len(order),
        sampled=len(sample.rows),
        held_out=int((~sample.train).sum()),
        levels=[_level(vectors, codes, labels, sample.train, config.ridge) for labels in categories.T],
    )


def read_geometry(path: str | Path) -> Geometry:
    """Return the content of a geometry.json.

    Raises:
        InputError: the file is missing or no JSON, or a key is missing or has a value of another kind.
    """
    try:
        return TypeAdapter(Geometry).validate_python(read_json(path))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        raise InputError(path, f"key {key!r}: {first['msg']}", REMEDY) from None


# --- documents --------------------------------------------------------------------------------------


def draw_sample(order: np.ndarray, config: "GeometryConfig") -> Sample:
    """Draw documents of a corpus, and those of them that are held out.

    Args:
        order: (N,) doc_ids in the order of their product_id, N > 1.
        config: how many, the share held out (one document or more, but not all), and the seed.
    """
    random = np.random.default_rng(config.seed)
    size = min(config.documents, len(order))
    rows = order[np.sort(random.choice(len(order), size, replace=False))]
    held_out = min(max(round(config.held_out * size), 1), size - 1)
    train = np.ones(size, bool)
    train[random.choice(size, held_out, replace=False)] = False
    return Sample(rows, train)


def latent_vectors(
    model: RQVAE, embeddings: np.ndarray, codes: np.ndarray, inputs: Inputs
) -> dict[str, np.ndarray]:
    """Return `latent` and `residual_1` … `residual_L`, each (n, d) float64, of documents with these codes.

    Args:
        model: a trained RQ-VAE.
        embeddings: (n, D) float16.
        codes: (n, L).
        inputs: the files that these come from, for messages.

    Raises:
        InputError: the model does not give these codes to these embeddings.
    """
    latents = encode(model, embeddings, np.arange(len(embeddings)), inputs.embeddings)
    codebooks = model.codebooks.numpy()
    remedy = "give the view, RQ-VAE and DocIDs of one method and seed"
    if codes.shape[1] != len(codebooks) or codes.max() >= codebooks.shape[1]:
        what = f"not codes of the RQ-VAE in {inputs.model} ({len(codebooks)} layers of {codebooks.shape[1]} codes)"
        raise InputError(inputs.docids, what, remedy)
    other = (greedy_codes(latents, codebooks) != codes).any(axis=1).mean()
    if other > ROUNDED:
        what = f"the RQ-VAE in {inputs.model} codes {other:.0%} of the embeddings in {inputs.embeddings} otherwise"
        raise InputError(inputs.docids, what, remedy)
    return {"latent": latents.astype(np.float64)} | {
        f"residual_{layer}": residuals(latents, codebooks, codes[:, :layer])
        for layer in range(1, len(codebooks) + 1)
    }


def _level(
    vectors: dict[str, np.ndarray], codes: np.ndarray, labels: np.ndarray, train: np.ndarray, ridge: float
) -> Level:
    """Measure one level of the tree: `labels` are the documents' categories (n,)."""
    accuracy = {name: linear_probe(space, labels, train, ridge) for name, space in vectors.items()}
    for layer in range(codes.shape[1]):
        accuracy[f"code_{layer + 1}"] = code_probe(codes[:, [layer]], labels, train)
        accuracy[f"prefix_{layer + 1}"] = code_probe(codes[:, : layer + 1], labels, train)
    distances = {name: mean_distances(space, labels) for name, space in vectors.items()}
    return Level(
        categories=len(np.unique(labels)),
        majority=code_probe(codes[:, :0], labels, train),
        ceiling=float(np.isin(labels[~train], labels[train]).mean()),
        accuracy=accuracy,
        within={name: pair[0] for name, pair in distances.items()},
        between={name: pair[1] for name, pair in distances.items()},
    )


# --- distances and probes ---------------------------------------------------------------------------


def mean_distances(vectors: np.ndarray, labels: np.ndarray) -> tuple[float | None, float | None]:
    """Return the mean cosine distance over all pairs within a category, and over all pairs between two.

    Exact in one pass: the similarities of all pairs of a set of unit vectors add up to ‖Σx‖² − Σ‖x‖².

    Args:
        vectors: (n, d); the mean over documents is subtracted first, as in the RQ-VAE's standardisation.
        labels: (n,) categories.

    Returns:
        None if there is no such pair. A document at the mean has distance 1 to all others.
    """
    unit = standardized(vectors, np.arange(len(vectors)), "center").astype(np.float64)
    sizes, sums = _sums(unit, np.unique(labels, return_inverse=True)[1])
    alone = float(np.square(unit).sum())
    alike = float(np.square(sums).sum())
    whole = float(np.square(unit.sum(axis=0)).sum())
    pairs_within = int((sizes**2).sum()) - len(unit)
    pairs_between = len(unit) ** 2 - int((sizes**2).sum())

    def distance(similarity: float, pairs: int) -> float | None:
        return min(max(1 - similarity / pairs, 0.0), 2.0) if pairs else None

    return distance(alike - alone, pairs_within), distance(whole - alike, pairs_between)


def linear_probe(vectors: np.ndarray, labels: np.ndarray, train: np.ndarray, ridge: float) -> float:
    """Return the accuracy, on held-out documents, of a linear classifier of the category.

    Linear discriminant analysis (Hastie et al., The Elements of Statistical Learning, 4.3) in closed form. Ridge
    regression onto indicators also has a closed form, but with many categories in few dimensions it never names most
    of them (masking, 4.2).

    Args:
        vectors: (n, d), scaled here to mean 0 and variance 1 over the training documents.
        labels: (n,) categories.
        train: (n,) bool; the probe is fitted on these.
        ridge: added to each dimension's variance within categories.
    """
    centred = vectors - vectors[train].mean(axis=0)
    deviation = centred[train].std(axis=0)
    scaled = np.divide(centred, deviation, out=np.zeros_like(centred), where=deviation > 1e-12)
    known, category = np.unique(labels[train], return_inverse=True)
    sizes, means = _sums(scaled[train], category)
    means /= sizes[:, None]
    inner = scaled[train] - means[category]
    covariance = inner.T @ inner / len(inner) + ridge * np.eye(scaled.shape[1])
    weights = np.linalg.solve(covariance, means.T)  # (d, categories)
    scores = scaled[~train] @ weights + np.log(sizes) - np.einsum("cd,dc->c", means, weights) / 2
    return float((known[scores.argmax(axis=1)] == labels[~train]).mean())


def code_probe(codes: np.ndarray, labels: np.ndarray, train: np.ndarray) -> float:
    """Return the accuracy, on held-out documents, of naming the category most frequent under a document's codes.

    A linear probe of one-hot codes amounts to this. For codes (n, l) that no training document has, their longest
    beginning that one has decides; without codes (l = 0) all documents get the most frequent category. Of equally
    frequent categories, the one with the lowest number is named.
    """
    known, category = np.unique(labels, return_inverse=True)
    answers = np.full(len(labels), np.bincount(category[train]).argmax())
    for prefix in prefix_ids(codes).T:
        pairs, counts = np.unique(prefix[train] * len(known) + category[train], return_counts=True)
        owner, name = np.divmod(pairs, len(known))
        best = np.lexsort((name, -counts, owner))
        best = best[np.r_[True, np.diff(owner[best]) > 0]]  # the first of each prefix
        answer = np.full(prefix.max() + 1, -1)
        answer[owner[best]] = name[best]
        answers = np.where(answer[prefix] < 0, answers, answer[prefix])
    return float((known[answers] == labels)[~train].mean())


def _sums(vectors: np.ndarray, category: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the size (C,) and the sum (C, d) of each category 0..C-1 of (n, d) vectors; none is empty."""
    sizes = np.bincount(category)
    starts = np.r_[0, np.cumsum(sizes)[:-1]]
    return sizes, np.add.reduceat(vectors[np.argsort(category, kind="stable")], starts, axis=0)
