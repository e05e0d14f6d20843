"""Why a product was found, or where the search lost it: its DocID, position by position."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from catid2.runtime.errors import InputError
from catid2.search.trace import trace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from catid2.index.index import Index, Way


class Prefix(NamedTuple):
    """The products whose DocIDs start with the same codes."""

    codes: tuple[int, ...]
    products: int
    category: tuple[
        str, ...
    ]  # names of the most common node of the level that is as deep as the prefix, or the last
    share: float  # of the products that are in it


class Position(NamedTuple):
    """How a product's prefix stood at one position of the search."""

    prefix: Prefix
    probability: float  # of the last code, given the query and the codes before
    rank: int  # of the prefix among the candidates, from 1
    candidates: int
    kept: bool  # it was among the beams


class Explanation(NamedTuple):
    """The path of one product through the beam search; it ends where no beam holds its prefix."""

    product_id: str
    positions: list[Position]

    @property
    def lost_at(self) -> int | None:
        """The position, from 1, at which the prefix left the beams; None if it never did."""
        last = len(self.positions)
        return None if self.positions[-1].kept else last


def explain(
    index: Index,
    query: str,
    product_ids: Sequence[str],
    *,
    k: int = 10,
    allowed: np.ndarray | None = None,
    by: Sequence[Way] = ("docid",),
    beams: int | None = None,
    below: int | None = None,
) -> list[Explanation]:
    """Return for each product how its DocID stood in the search for `query`.

    Args:
        index: which holds the products.
        query: a text.
        product_ids: products, found or expected.
        k, allowed, by, beams, below: of the search that is explained (`Index.search`); only what DocIDs find is.

    Raises:
        InputError: as `Index.search`; the query is blank, a product is not in the index, or it is not allowed.
    """
    if not query.strip():
        raise InputError("query", "blank", "give a text")
    index.check([query], k, allowed, by, below)
    rows = index.require(product_ids)
    for name, row in zip(product_ids, rows, strict=True):
        if allowed is not None and not allowed[row]:
            raise InputError(f"product {name!r}", "the filter (allowed, category) leaves it out", "widen it")
    codes = index.codes[rows]
    encoded = index.retriever.batch(index.encoded([query]), np.zeros(1, int)).to(index.device)
    with torch.inference_mode():
        standings = trace(
            index.retriever.scorer(),
            index.subtree(allowed),
            encoded,
            [codes],
            index.beams(k, beams, below, by),
            index.level(below),
        )
        found: list[list[Position]] = [[] for _ in rows]
        before = [0.0] * len(rows)
        for one in standings:
            own = tuple(codes[one.document, : one.position].tolist())
            probability = float(np.exp(one.score - before[one.document]))
            before[one.document] = one.score
            found[one.document].append(
                Position(
                    describe_prefix(index, own, allowed), probability, one.rank, one.candidates, one.kept
                )
            )
    return [Explanation(name, positions) for name, positions in zip(product_ids, found, strict=True)]


def describe_prefix(index: Index, codes: Sequence[int], allowed: np.ndarray | None = None) -> Prefix:
    """Return which products, of those that are `allowed` (N,), have DocIDs that start with `codes`.

    Raises:
        InputError: no DocID does.
    """
    below = products_below(index, codes)
    if allowed is not None:
        below = below[allowed[below]]
    level = min(len(codes), index.category_ids.shape[1])
    if not level:
        return Prefix(tuple(codes), len(below), (), 0.0)
    _, first, counts = np.unique(index.category_ids[below, level - 1], return_index=True, return_counts=True)
    most = int(counts.argmax())
    names = index.categories[below[first[most]]][:level]
    return Prefix(tuple(codes), len(below), names, float(counts[most] / len(below)))


def products_below(index: Index, codes: Sequence[int]) -> np.ndarray:
    """Return the doc_ids whose DocIDs start with `codes`, in the order of the DocIDs; errors as `describe_prefix`."""
    node = torch.zeros(1, dtype=torch.long, device=index.device)
    for position, code in enumerate(codes[: index.trie.depth]):
        node = index.trie.descend(node, torch.tensor([code], device=index.device), position)
    if len(codes) > index.trie.depth or int(node) < 0:
        name = "-".join(map(str, codes))
        raise InputError(f"DocID {name}", "no product has it", "take the codes from a result of this index")
    first, end = index.trie.leaves(node, len(codes))
    return index.trie.doc_ids[int(first) : int(end)].cpu().numpy()
