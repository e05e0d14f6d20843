"""The products of one locale as numbers: type, attributes, brand, identity. About 30 bytes a product."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from catid2.simulate.draws import Draws, zipf_weights
from catid2.simulate.tree import Tree
from catid2.simulate.words import SLOTS

if TYPE_CHECKING:
    from catid2.config.simulate import SimulateConfig

TRAIN_ONLY, TEST_ONLY, BOTH = range(3)
ASKABLE = (*SLOTS, "brand")  # what a query can ask besides the type; the columns of `attributes`
BRAND = len(SLOTS)
_BRANDS_OF_A_SECTION = 60
_PLACE_SHARES = (0.5, 0.25, 0.25)  # of a type's products, for each of `Tree.places`


class Catalogue(NamedTuple):
    """N products of one locale."""

    locale: str
    text: np.ndarray  # (N,) int32 row whose text a product has: its own, or that of the product it duplicates
    identity: np.ndarray  # (N,) int64 number of the product id over all locales
    type: np.ndarray  # (N,) int16
    section: np.ndarray  # (N,) int16 where it stands: one of `Tree.places` of its type
    attributes: np.ndarray  # (N, 7) int16 value of each of ASKABLE, -1 where it has none
    pool: np.ndarray  # (N,) int8 which split's queries may be judged against it


def draw_catalogue(
    locale: str, config: "SimulateConfig", tree: Tree, draws: Draws, first: int, us: Catalogue | None
) -> Catalogue:
    """Return the products of a locale whose own identities start at `first`.

    A share of them are products of `us` (same id, type and attributes), a share are copies of an earlier row
    under an id of their own.
    """
    rows = np.arange(config.locales[locale].products)
    type_ = draws.weighted(f"{locale}/type", rows, tree.weight)
    attributes = np.full((len(rows), len(ASKABLE)), -1, dtype=np.int16)
    for slot, name in enumerate(SLOTS):
        start, number = tree.choices[type_, slot].T
        attributes[:, slot] = np.where(
            number > 0, start + _skewed(draws, f"{locale}/{name}", rows, type_, number), -1
        )
    rank = draws.weighted(f"{locale}/brand", rows, zipf_weights(_BRANDS_OF_A_SECTION, 0.8))
    brand = (tree.section[type_] * 37 + rank * 11) % len(tree.brands)
    unbranded = draws.happens(f"{locale}/unbranded", rows, config.nulls.brand)
    attributes[:, BRAND] = np.where(unbranded, -1, brand)
    place = draws.weighted(f"{locale}/place", rows, np.array(_PLACE_SHARES))
    section = tree.places[type_, place]
    identity = first + rows
    text = rows.copy()

    shared = np.zeros(len(rows), dtype=bool)
    if us is not None:
        shared = draws.happens(f"{locale}/shared", rows, config.shared_share)
        theirs = draws.permutation(f"{locale}/shared-with", len(us.type))[: shared.sum()]
        for mine, of_us in (
            (identity, us.identity),
            (type_, us.type),
            (section, us.section),
            (attributes, us.attributes),
        ):
            mine[shared] = of_us[theirs]

    copies = draws.happens(f"{locale}/duplicate", rows, config.duplicate_share) & ~shared & (rows > 0)
    text[copies] = draws.choice(f"{locale}/duplicate-of", rows, rows)[copies]
    while copies[text].any():  # a copy of a copy has the text of the first
        text = text[text]
    return Catalogue(
        locale=locale,
        text=text.astype(np.int32),
        identity=identity,
        type=type_[text].astype(np.int16),
        section=section[text].astype(np.int16),
        attributes=attributes[text],
        pool=draws.weighted(
            f"{locale}/pool", rows, _pool_weights(config.test_share, config.seen_share)
        ).astype(np.int8),
    )


def _skewed(draws: Draws, stream: str, rows: np.ndarray, type_: np.ndarray, number: np.ndarray) -> np.ndarray:
    """(N,) rank in [0, number), low ranks more often; which value is ranked first differs by type."""
    rank = np.floor(draws.uniform(stream, rows) ** 2.5 * number).astype(np.int64)
    return (rank + type_ * 5) % np.maximum(number, 1)


def _pool_weights(test_share: float, seen_share: float) -> np.ndarray:
    """Shares of TRAIN_ONLY, TEST_ONLY and BOTH that judge each product of either side about equally often.

    With y = TEST_ONLY + BOTH and BOTH / y = seen_share, equal density on both sides means
    test_share / y = (1 - test_share) / (1 - TEST_ONLY).
    """
    test_side = test_share / ((1 - test_share) + test_share * (1 - seen_share))
    test_only = (1 - seen_share) * test_side
    return np.array([1 - test_side, test_only, test_side - test_only])


def product_ids(identity: np.ndarray, is_book: np.ndarray) -> np.ndarray:
    """Return the ids as an ASCII array 'S10': ten digits for books (as ISBN-10), B0 and eight letters or digits else.

    Both are one-to-one (the factors are coprime to the ranges) and scatter neighbours: ids carry no order.
    """
    letters = np.frombuffer(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", dtype=np.uint8)
    scattered = (identity * 1_234_577_771 + 987_654_321) % 36**8
    asin = letters[_digits(scattered, 36, 8)]
    isbn = letters[_digits((identity * 617_289_187 + 12_345) % 10**9, 10, 9)]
    text = np.empty((len(identity), 10), dtype=np.uint8)
    text[:, :2], text[:, 2:] = letters[[11, 0]], asin
    text[is_book, 0] = letters[0]
    text[is_book, 1:] = isbn[is_book]
    return text.view("S10").ravel()


def _digits(number: np.ndarray, base: int, count: int) -> np.ndarray:
    """(n, count) digits of each number, the highest first."""
    return number[:, None] // base ** np.arange(count - 1, -1, -1) % base
