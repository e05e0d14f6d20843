"""Which products are judged for a query, and the label of each, from type and attributes alone."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from catid2.simulate.catalogue import ASKABLE, TEST_ONLY, TRAIN_ONLY, Catalogue
from catid2.simulate.deck import Deck
from catid2.simulate.draws import Draws
from catid2.simulate.queries import PATTERNS, Queries
from catid2.simulate.tree import COMPLEMENT, MATCH, SIBLING, UNRELATED, Tree

if TYPE_CHECKING:
    from catid2.config.simulate import LabelShares, SimulateConfig

LABELS = "ESCI"
E, S, C, I = range(4)  # noqa: E741
_RADIX = 1024  # above the number of values and of brands
_ROUNDS = 4  # of dealing; what is dealt in one may turn out to have another label


class Judgements(NamedTuple):
    """J judged pairs, by query."""

    query: np.ndarray  # (J,) int64 row of Queries
    product: np.ndarray  # (J,) int64 row of Catalogue
    label: np.ndarray  # (J,) int8 place in LABELS


def label(relation: np.ndarray, asks: np.ndarray, attributes: np.ndarray) -> np.ndarray:
    """Return the labels (n,) of n pairs.

    E: the type is one asked for and has every attribute asked for. S: such a type without them all, or a
    sibling of it. C: of the section that goes with it. I: anything else.

    Args:
        relation: (n,) how the product's type stands to the query's target, from `Tree.relation`.
        asks: (n, 7) values asked for, -1 = not asked.
        attributes: (n, 7) values the product has.
    """
    meets = ((asks < 0) | (asks == attributes)).all(axis=1)
    other = np.select([relation == COMPLEMENT, relation == UNRELATED], [C, I], S)
    return np.where((relation == MATCH) & meets, E, other).astype(np.int8)


def draw_judgements(
    catalogue: Catalogue, queries: Queries, config: "SimulateConfig", tree: Tree, draws: Draws
) -> Judgements:
    """Return the judged pairs of a locale, by query, within a query in random order.

    Test queries are judged against the products of the test side only, train queries against the train side.
    Products judged least so far go first, so that few are never judged.
    """
    locale = catalogue.locale
    rows = np.arange(len(queries.text))
    mean = config.locales[locale].judgements_per_query
    wanted = np.rint(mean * (0.5 + draws.uniform(f"{locale}/judged", rows))).astype(np.int64)
    shuffled = draws.permutation(f"{locale}/deck", len(catalogue.type))
    pairs = []
    for test, absent in ((False, TEST_ONLY), (True, TRAIN_ONLY)):
        members = np.flatnonzero(queries.test == test)
        side = _Side(catalogue, queries, tree, members, shuffled[catalogue.pool[shuffled] != absent])
        roundings = np.stack([draws.uniform(f"{locale}/judged/{name}", members) for name in "SC"])
        pairs += side.judge(wanted[members], config.labels, roundings)
    query, product, kind = (np.concatenate(columns) for columns in zip(*pairs, strict=True))
    order = np.lexsort((draws.uniform(f"{locale}/judgement-order", query * 2**31 + product), query))
    return Judgements(query[order], product[order], kind[order])


class _Side:
    """The queries of one split and the products that may be judged for them."""

    def __init__(
        self, catalogue: Catalogue, queries: Queries, tree: Tree, members: np.ndarray, products: np.ndarray
    ):
        self._catalogue, self._tree, self._members, self._products = catalogue, tree, members, products
        self._target, self._source = queries.target[members], queries.source[members]
        self._asks = queries.asks[members].astype(np.int64)
        self._head = self._target > tree.name.max()
        self._kind = catalogue.type[products].astype(np.int64)
        self._used = np.zeros(len(catalogue.type), dtype=np.int64)  # judgements of each product so far

    def judge(self, wanted: np.ndarray, shares: "LabelShares", roundings: np.ndarray) -> list[Judgements]:
        """Return about `wanted` judgements a query, in the labels' shares.

        A query that few products meet gets fewer exact ones, others get more: the cap that makes the share
        right over all is found first.
        """
        tree, source = self._tree, self._source
        supply = np.zeros(len(wanted), dtype=np.int64)
        for keys, hands, key in self._exact_keys():
            supply[hands] = Deck(self._products, keys).size(key)
        exact = _cap_to_share(supply, wanted, shares.E)
        rest = wanted - exact
        others = max(shares.S + shares.C + shares.I, 1e-9)
        substitutes = np.floor(rest * shares.S / others + roundings[0]).astype(np.int64).clip(max=rest)
        complements = (
            np.floor(rest * shares.C / others + roundings[1]).astype(np.int64).clip(max=rest - substitutes)
        )

        found = [
            self._take(E, MATCH, self._deck(keys), key, exact[hands], hands)
            for keys, hands, key in self._exact_keys()
        ]
        everyone, one_key = np.arange(len(wanted)), np.zeros(len(wanted), dtype=np.int64)
        near = np.where(self._head, len(tree.sections) + tree.department[source], tree.section[source])
        partner = tree.complement[tree.section[source]]
        sections = tree.section[self._kind]
        departments = len(tree.sections) + tree.department[self._kind]
        targets = self._deck(tree.name[self._kind], tree.name.max() + 1 + sections)
        found.append(self._take(S, MATCH, targets, self._target, substitutes, everyone))
        # Real substitutes stand in the node of the exact products as often as those do: siblings only fill up.
        siblings = substitutes - np.bincount(
            np.searchsorted(self._members, found[-1].query), minlength=len(rest)
        )
        found.append(self._take(S, SIBLING, self._deck(sections, departments), near, siblings, everyone))
        found.append(self._take(C, COMPLEMENT, self._deck(sections), partner, complements, everyone))
        irrelevant = rest - substitutes - complements
        anything = self._deck(np.zeros_like(sections))
        found.append(self._take(I, UNRELATED, anything, one_key, irrelevant, everyone))
        return found

    def _exact_keys(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield (keys of the products, places in members, their keys), one for each kind of question.

        A product meets a query in everything where their keys are the same.
        """
        tree, asked = self._tree, self._asks >= 0
        attributes = self._catalogue.attributes[self._products]
        for head, node in (
            (False, tree.name[self._kind]),
            (True, tree.name.max() + 1 + tree.section[self._kind]),
        ):
            for names in PATTERNS:
                columns = [ASKABLE.index(name) for name in names]
                shape = np.isin(np.arange(len(ASKABLE)), columns)
                hands = np.flatnonzero((self._head == head) & (asked == shape).all(axis=1))
                if len(hands):
                    asked_for = _keys(self._target[hands], self._asks[hands], columns)
                    yield _keys(node, attributes, columns), hands, asked_for

    def _deck(self, *keys: np.ndarray) -> Deck:
        """Return the products under each of the keys (n,), the least judged first."""
        order = np.argsort(self._used[self._products], kind="stable")
        return Deck(np.tile(self._products[order], len(keys)), np.concatenate([key[order] for key in keys]))

    def _take(
        self,
        wanted_label: int,
        wanted_relation: int,
        deck: Deck,
        key: np.ndarray,
        count: np.ndarray,
        hands: np.ndarray,
    ) -> Judgements:
        """Deal up to `count` products of the wanted label and relation to the queries at `hands`, the others aside."""
        taken: list[Judgements] = []
        lacking = count.copy()
        for _ in range(_ROUNDS):
            hand, product = deck.deal(key, lacking)
            query = hands[hand]
            relation = self._tree.relation[self._target[query], self._catalogue.type[product]]
            kind = label(relation, self._asks[query], self._catalogue.attributes[product])
            right = (kind == wanted_label) & (relation == wanted_relation)
            taken.append(Judgements(hand[right], product[right], kind[right]))
            lacking -= np.bincount(hand[right], minlength=len(lacking))
        hand, product, kind = (np.concatenate(columns) for columns in zip(*taken, strict=True))
        # A deck dealt to its end begins again: a later round may bring the same product.
        _, once = np.unique(hand * len(self._used) + product, return_index=True)
        hand, product, kind = hand[once], product[once], kind[once]
        self._used += np.bincount(product, minlength=len(self._used))
        return Judgements(self._members[hands[hand]], product, kind)


def _keys(node: np.ndarray, attributes: np.ndarray, columns: list[int]) -> np.ndarray:
    key = node.astype(np.int64)
    for column in columns:
        key = key * _RADIX + attributes[:, column] + 1
    return key


def _cap_to_share(supply: np.ndarray, wanted: np.ndarray, share: float) -> np.ndarray:
    """Return min(supply, round(cap · wanted)) for the one cap in [0, 1] that comes closest to the share."""
    low, high = 0.0, 1.0
    for _ in range(30):
        cap = (low + high) / 2
        if np.minimum(supply, np.rint(cap * wanted)).sum() < share * wanted.sum():
            low = cap
        else:
            high = cap
    return np.minimum(supply, np.rint(high * wanted)).astype(np.int64)
