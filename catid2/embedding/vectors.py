"""Reading the vectors of a view's documents and of the queries (from embed_queries), checked to belong together."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from catid2.corpus.queries import read_queries
from catid2.runtime.checkpoint import fingerprint
from catid2.runtime.errors import InputError
from catid2.runtime.tables import read_embeddings, read_json, require_finite


class ViewVectors(NamedTuple):
    """Vectors of documents and queries in the same space."""

    documents: np.ndarray  # (N, d) float16, row = doc_id
    queries: np.ndarray  # (Q, d) float16, row = row of queries.parquet
    query_ids: np.ndarray  # (Q,) int64
    sha256: str  # of the description of both: inputs, settings, encoder, versions

    def of_queries(self, query_ids: np.ndarray) -> np.ndarray:
        """Return the vectors (n, d) of the queries with the ids `query_ids` (n,)."""
        order = np.argsort(self.query_ids)
        return self.queries[order[np.searchsorted(self.query_ids, query_ids, sorter=order)]]


def read_vectors(embeddings: Path, queries: Path, documents: int) -> ViewVectors:
    """Return the vectors of a view.

    Args:
        embeddings: VIEW.npy, with VIEW.json, VIEW_queries.npy and VIEW_queries.json in the same folder.
        queries: queries.parquet of the corpus.
        documents: number of documents.

    Raises:
        InputError: a file is missing or damaged, holds a value that is not finite, or belongs to other documents or
            queries.
    """
    matrix = read_embeddings(embeddings, rows=documents)
    require_finite(embeddings, matrix)
    beside = embeddings.with_name(f"{embeddings.stem}_queries.npy")
    description = beside.with_suffix(".json")
    content = read_json(description)
    remedy = "run embed_queries again"
    if content.get("documents") != read_json(embeddings.with_suffix(".json")):
        raise InputError(description, f"of another view or other documents than {embeddings}", remedy)
    table = read_queries(queries, None)
    if content.get("queries_sha256") != queries_digest(table):
        raise InputError(description, f"not of the queries in {queries}", remedy)
    vectors = read_embeddings(beside, rows=len(table))
    require_finite(beside, vectors)
    if vectors.shape[1] != matrix.shape[1]:
        what = f"{vectors.shape[1]} dimensions, those of documents have {matrix.shape[1]}"
        raise InputError(beside, what, remedy)
    return ViewVectors(matrix, vectors, table.column("query_id").to_numpy(), fingerprint(content))


def queries_digest(table: pa.Table) -> str:
    """Return a sha256 of the ids and texts of a table of queries, in order."""
    return fingerprint({name: table.column(name).to_pylist() for name in ("query_id", "query")})
