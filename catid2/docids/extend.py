"""DocIDs of products that came after training: new ones get free DocIDs, the old ones keep theirs.

A retriever knows as many codes per position as its training used, so new DocIDs use these alone. The DocID of a product
that left is free.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from catid2.corpus.products import canonical_order
from catid2.docids.repair import Assign, cheapest, make_distinct
from catid2.docids.sinkhorn import assign_by_plan
from catid2.quantizer.codes import greedy_codes
from catid2.runtime.errors import InputError

if TYPE_CHECKING:
    from catid2.config.docids import DocidsConfig


def extend(
    latents: np.ndarray,
    codebooks: np.ndarray,
    product_ids: pa.Array | Sequence[str],
    taken: np.ndarray,
    sizes: Sequence[int],
    config: DocidsConfig,
) -> np.ndarray:
    """Return the DocIDs (M, L') int32 of new documents: unique, and none of them `taken`.

    They are made as `catid2.docids.assign.assign` makes those of a corpus: greedy codes, and the configured repair for
    the documents whose DocID is taken or wanted twice. An extra digit (repair `digit`) is the lowest free one. Where
    all digits below a code are taken, documents move to the nearest code that has room, as `transport` moves them.

    Args:
        latents: (M, d) of the new documents, in any order.
        codebooks: (L, K, d).
        product_ids: (M,) distinct names of the new documents; only they break ties.
        taken: (N, L') distinct DocIDs of the old documents; L' = L + 1 with an extra digit, otherwise L.
        sizes: how many codes the retriever knows at each position; (L',).
        config: the settings that the old DocIDs were made with.

    Raises:
        InputError: as `require_extensible`; a product_id is null or occurs twice; or fewer than M DocIDs are free.
    """
    require_extensible(config)
    known = [codebook[:size] for codebook, size in zip(codebooks, sizes, strict=False)]
    assign: Assign = cheapest
    if config.repair == "sinkhorn":
        assign = partial(
            assign_by_plan, epsilon=config.sinkhorn_epsilon, iterations=config.sinkhorn_iterations
        )
    elif config.repair == "digit":
        # A layer whose codewords are all zero: every digit is as near as any other.
        known.append(np.zeros((sizes[-1], codebooks.shape[2])))
        assign = _lowest
    order = canonical_order(product_ids)
    latents = latents[order]
    codes = np.empty((len(latents), len(known)), np.int32)
    codes[order] = make_distinct(latents, known, greedy_codes(latents, known), assign, taken).codes
    return codes


def _lowest(costs: list[np.ndarray]) -> list[np.ndarray]:
    """Assign the lowest free codes in canonical order (see Assign)."""
    return [np.flatnonzero(np.isfinite(cost[0]))[: len(cost)] for cost in costs]


def require_extensible(config: DocidsConfig) -> None:
    """Raise InputError unless new documents can get unique DocIDs next to those made with these settings."""
    if not config.scheme.trained:
        what = f"{config.scheme.kind!r} has no trained model that gives codes to new products"
        raise InputError("docids.scheme", what, "use rqvae, or make the DocIDs of all products anew")
    if config.repair not in ("transport", "sinkhorn", "digit"):
        raise InputError(
            "docids.repair", f"{config.repair!r} may leave collisions", "use transport, sinkhorn or digit"
        )
