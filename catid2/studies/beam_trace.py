"""Where the search of one method loses relevant documents, for the queries that the report shows in detail."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import torch

from catid2.docids.table import Docids
from catid2.evaluation.per_query import read_per_query, require_test_queries, telling_queries
from catid2.evaluation.recall import read_test_judgements
from catid2.retriever.retrieve import Corpus, load
from catid2.runtime.tables import TRACE, require_dense
from catid2.search.trace import Standing, trace
from catid2.training.distributed import process_group

if TYPE_CHECKING:
    from catid2.config.retrieve import RetrieveConfig

log = logging.getLogger(__name__)

BATCH = 32  # queries decoded together


class Shown(NamedTuple):
    """Which queries are traced: the `queries` most telling ones by a metric."""

    judgements: Path
    per_query: Path  # {study}_per_query.parquet
    metric: str
    queries: int


def beam_trace(config: RetrieveConfig, retriever: Path, corpus: Corpus, shown: Shown) -> pa.Table:
    """Return the table TRACE of a method's relevant documents, sorted by query, document and position.

    Batches are not those of `retrieve`, so scores may differ in the last bits.

    Raises:
        InputError: as `catid2.retriever.retrieve.retrieve`, `read_per_query` and `read_test_judgements`; or a query of
            the table is no test query of the corpus.
    """
    with process_group() as group, torch.inference_mode():
        model, trie, queries, query_ids, dense = load(config, retriever, corpus, group.device)
        every = read_per_query(shown.per_query, shown.metric)
        require_test_queries(shown.per_query, every, query_ids)
        chosen = np.sort(telling_queries(every, shown.queries))
        judgements = read_test_judgements(shown.judgements, pl.Series(query_ids), len(trie))
        relevant = [one.relevant(judgements, shown.judgements) for one in every]
        documents = [sorted({doc for docs in relevant for doc in docs.get(query, ())}) for query in chosen]
        docids = Docids.read(corpus.docids)
        require_dense(corpus.docids, docids.doc_ids, "run assign_docids on this corpus")
        rows = np.searchsorted(query_ids, chosen)
        found: list[Standing] = []
        for start in range(0, len(chosen), BATCH):
            batch = slice(start, start + BATCH)
            codes = [docids.codes[own] for own in documents[batch]]
            encoded = model.batch(queries, rows[batch]).to(group.device)
            depth = dense.depth if dense else None
            found += [
                standing._replace(query=start + standing.query)
                for standing in trace(model.scorer(), trie, encoded, codes, config.beams, depth)
            ]
        log.info("%d queries, %d relevant documents", len(chosen), sum(map(len, documents)))
    columns = {
        "query_id": [chosen[one.query] for one in found],
        "doc_id": [documents[one.query][one.document] for one in found],
    }
    columns |= {name: [getattr(one, name) for one in found] for name in TRACE if name not in columns}
    return pa.table(columns, pa.schema(TRACE)).sort_by(
        [(name, "ascending") for name in ("query_id", "doc_id", "position")]
    )
