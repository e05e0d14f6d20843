"""Decoding to an intermediate node of the trie and ranking the documents below it by dense score.

The paper holds down latency online in this way: fewer decoder steps, and one matrix product over a few
hundred documents. Queries are encoded by the encoder that made the documents' embeddings.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch.nn import functional

from catid2.artifacts import read_embeddings, read_json
from catid2.beam import Beams
from catid2.errors import InputError
from catid2.trie import Trie

if TYPE_CHECKING:
    from catid2.config.embed import ViewConfig

BATCH_TOKENS = 16_384  # tokens of queries encoded at once, padding included


class DenseRanking(NamedTuple):
    """How the documents below a node are ranked.

    Attributes:
        depth: decoder steps, 1..L-1: nodes of this depth are searched by beams.
        queries: (Q, d) unit vectors of the queries, in their order.
        documents: (N, d) unit vectors, row = doc_id.
    """

    depth: int
    queries: torch.Tensor
    documents: torch.Tensor

    def rank(
        self, trie: Trie, found: Beams, rows: np.ndarray, width: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return doc_ids (B, width) and cosines (B, width), best first, of the queries `rows` (B,).

        All documents below a query's nodes compete, whatever the node's own score; padding is -1 and -inf.
        """
        doc_ids = torch.full((len(rows), width), -1, dtype=torch.int32, device=found.nodes.device)
        scores = torch.full((len(rows), width), float("-inf"), device=found.nodes.device)
        for row, (nodes, query) in enumerate(zip(found.nodes, self.queries[rows], strict=True)):
            first, end = trie.leaves(nodes[nodes >= 0], self.depth)
            # Leaves of all nodes side by side: each range counts on from its first leaf.
            lengths = end - first
            starts = (first - lengths.cumsum(0) + lengths).repeat_interleave(lengths)
            leaves = starts + torch.arange(len(starts), device=starts.device)
            below = trie.doc_ids[leaves].sort().values  # ties: the lower doc_id first
            best = (self.documents[below] @ query).sort(descending=True, stable=True)
            kept = min(width, len(below))
            doc_ids[row, :kept] = below[best.indices[:kept]]
            scores[row, :kept] = best.values[:kept]
        return doc_ids, scores


class DocumentVectors(NamedTuple):
    """Embeddings of a view that can encode queries too."""

    matrix: np.ndarray  # (N, d) float16, row = doc_id
    description: Path  # VIEW.json
    view: ViewConfig
    identity: str | None  # of the encoder that made them


def open_vectors(depth: int, codes: np.ndarray, embeddings: Path | None) -> DocumentVectors:
    """Open the documents' vectors, and check all that can be checked before a model is loaded.

    Args:
        depth: nodes of this depth are to be decoded.
        codes: the DocIDs, (N, L).
        embeddings: VIEW.npy of a view with a transformer encoder, VIEW.json beside it.

    Raises:
        InputError: DocIDs are not deeper than `depth`; no embeddings are given, they are of other documents,
            or their encoder cannot encode queries.
    """
    documents, length = codes.shape
    if depth >= length:
        raise InputError(
            "rank_below_level", f"{depth}, but DocIDs have {length} positions", "set a lower level"
        )
    if embeddings is None:
        raise InputError("rank_below_level", "needs the documents' vectors", "pass --embeddings VIEW.npy")
    from catid2.config.base import validate
    from catid2.config.embed import ViewConfig

    description = embeddings.with_suffix(".json")
    content = read_json(description)
    view = validate(ViewConfig, content.get("view"), str(description))
    if view.encoder.kind != "hf":
        remedy = "use embeddings of a view with `encoder: {kind: hf, …}`"
        raise InputError(description, f"a {view.encoder.kind} view does not encode queries", remedy)
    return DocumentVectors(
        read_embeddings(embeddings, rows=documents), description, view, content.get("identity")
    )


def dense_ranking(
    depth: int, documents: DocumentVectors, queries: Sequence[str], prefix: str, device: torch.device
) -> DenseRanking:
    """Encode the queries as the documents were encoded.

    Args:
        depth: nodes of this depth are decoded.
        documents: what is ranked.
        queries: their texts.
        prefix: what the encoder wants before a query, such as "query: " for E5 models.
        device: where vectors are kept and compared.

    Raises:
        InputError: the encoder is not the one that made the documents' vectors, or gives vectors that are not finite.
    """
    from catid2.encoders import TransformerEncoder

    config = documents.view.encoder.model_copy(update={"prefix": prefix})
    encoder = TransformerEncoder(config, device, BATCH_TOKENS)
    if encoder.identity != documents.identity:
        what = f"made with {config.model} {documents.identity}, which now is {encoder.identity}"
        raise InputError(documents.description, what, "run embed again, or restore the encoder")
    vectors = torch.from_numpy(encoder.encode(queries)).float()
    if not vectors.isfinite().all():
        raise InputError(config.model, "a query's vector is not finite in float16", "use another encoder")
    matrix = torch.from_numpy(np.array(documents.matrix, np.float32))
    return DenseRanking(depth, _unit(vectors).to(device), _unit(matrix).to(device))


def _unit(vectors: torch.Tensor) -> torch.Tensor:
    return functional.normalize(vectors, dim=1)
