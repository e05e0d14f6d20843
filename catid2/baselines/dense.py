"""Dense search: the documents nearest to each test query in the space of an encoder."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from catid2.corpus.queries import read_queries
from catid2.embedding.vectors import read_vectors
from catid2.runtime.errors import InputError
from catid2.runtime.tables import read_footer
from catid2.search.exact_search import nearest
from catid2.search.rankings import run_table

if TYPE_CHECKING:
    from catid2.config.dense import DenseConfig

log = logging.getLogger(__name__)


def search_dense(config: DenseConfig, embeddings: Path, products: Path, queries: Path) -> pa.Table:
    """Return the run (RUN columns) of the test queries, in the order of their ids.

    A query with a zero vector has no rows.

    Args:
        config: how many documents to return.
        embeddings: the documents' vectors; their description and the queries' vectors are in the same folder.
        products: corpus/products.parquet.
        queries: corpus/queries.parquet.

    Raises:
        InputError: a file cannot be used, the files do not belong together, or there are no test queries.
    """
    test = read_queries(queries, "test")
    if not len(test):
        raise InputError(queries, "no test query", "build the corpus with its test split")
    query_ids = test.column("query_id").to_numpy()
    vectors = read_vectors(embeddings, queries, read_footer(products)[1])
    found = nearest(vectors.of_queries(query_ids), vectors.documents, config.top_k)
    silent = int(np.count_nonzero(found.doc_ids[:, 0] < 0))
    log.info(
        "%d queries, %d documents, %d queries without a result", len(test), len(vectors.documents), silent
    )
    return run_table(query_ids, found)
