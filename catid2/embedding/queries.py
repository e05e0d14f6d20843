"""Encode the queries of a corpus with the encoder of a view's documents: a float16 row per query.

A transformer is loaded again and must be the one that made the documents' vectors. TF-IDF with an SVD is fitted again
to the same documents with the same seed and must give the same vectors. So changed documents are detected.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from catid2.config.base import validate
from catid2.config.embed import ViewConfig
from catid2.corpus.queries import read_queries
from catid2.corpus.text import DocumentTexts
from catid2.embedding.vectors import queries_digest
from catid2.runtime.errors import InputError
from catid2.runtime.tables import read_embeddings, read_json, write_json
from catid2.runtime.writing import atomic

if TYPE_CHECKING:
    from catid2.embedding.encoders import TransformerEncoder
    from catid2.embedding.lsa import LsaEncoder

log = logging.getLogger(__name__)

BATCH_TOKENS = 16_384  # tokens of queries encoded at once, padding included
# Tolerance between the vectors of two fits: float16, and sums in another order in other threads.
SAME = 0.01


class Corpus(NamedTuple):
    """Input files: the vectors of a view's documents (VIEW.npy, with VIEW.json next to it), and their corpus."""

    embeddings: Path
    products: Path
    queries: Path


class Outputs(NamedTuple):
    """Output files: the matrix (.npy, row = row of queries.parquet) and its description (.json)."""

    matrix: Path
    metadata: Path


def embed_queries(prefix: str, corpus: Corpus, outputs: Outputs) -> None:
    """Write the (Q, d) float16 matrix of all queries, train and test, in the space of a view's documents.

    Args:
        prefix: text before every query, in place of the documents' prefix.
        corpus: the documents' vectors, products and queries.
        outputs: files to write.

    Raises:
        InputError: a file cannot be used; the encoder no longer gives the documents' vectors; or a query's vector is
            not finite in float16.
    """
    description = corpus.embeddings.with_suffix(".json")
    documents = read_json(description)
    view = validate(ViewConfig, documents.get("view"), f"{description}: view")
    table = read_queries(corpus.queries, None)
    if not len(table):
        raise InputError(corpus.queries, "no queries", "build the corpus with some")
    texts = [prefix + text for text in table.column("query").to_pylist()]
    encoder = load_encoder(view, corpus.embeddings, corpus.products)
    vectors = encoder.encode(texts).astype(np.float16)
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        what = f"the vector of query {table.column('query_id')[int(bad[0])]} is not finite in float16"
        raise InputError(corpus.queries, what, "set encoder.normalize, or use another encoder")
    details = {
        "queries": len(vectors),
        "dims": vectors.shape[1],
        "query_prefix": prefix,
        "queries_sha256": queries_digest(table),
        "documents": documents,
    }
    with atomic(outputs.matrix, outputs.metadata) as (matrix_aside, metadata_aside):
        with matrix_aside.open("wb") as file:
            np.save(file, vectors)
        write_json(metadata_aside, details)
    log.info("%s: %d queries, %d dimensions", outputs.matrix, *vectors.shape)


def load_encoder(view: ViewConfig, embeddings: Path, products: Path) -> TransformerEncoder | LsaEncoder:
    """Return the encoder that made the documents' vectors; it puts no prefix before a text.

    Args:
        view: the view of the documents.
        embeddings: VIEW.npy, with VIEW.json next to it.
        products: products.parquet of the corpus.

    Raises:
        InputError: a file cannot be used, or the encoder no longer gives the documents' vectors.
    """
    description = embeddings.with_suffix(".json")
    made = read_json(description)
    if view.encoder.kind == "tfidf_svd":
        return _fit_again(view, made.get("seed"), embeddings, products)
    import torch  # tfidf_svd does not need it

    from catid2.embedding.encoders import TransformerEncoder

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    encoder = TransformerEncoder(view.encoder.model_copy(update={"prefix": ""}), device, BATCH_TOKENS)
    if encoder.identity != made.get("identity"):
        what = f"made with {view.encoder.model} {made.get('identity')}, which now is {encoder.identity}"
        raise InputError(description, what, "run embed again, or restore the encoder")
    return encoder


def _fit_again(view: ViewConfig, seed: Any, embeddings: Path, products: Path) -> LsaEncoder:
    from catid2.embedding.lsa import tfidf_svd  # a GPU node may lack scikit-learn

    documents = DocumentTexts(products, view.template, view.max_characters)
    matrix = read_embeddings(embeddings, rows=len(documents))
    fitted = tfidf_svd(documents, view.encoder, seed)
    end, same = 0, True
    for block in fitted.vectors:
        start, end = end, end + len(block)
        same &= np.allclose(matrix[start:end], block, rtol=0, atol=SAME)
    if not same:
        what = f"not the vectors that its encoder now gives the documents in {products}"
        raise InputError(embeddings, what, "run embed again")
    return fitted.encoder
