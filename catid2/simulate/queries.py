"""Queries: what each asks for, as numbers, and the words it uses.

A query is made from a product of its split's side (so that at least that one meets it): it names the type or,
as a head query, the section, and asks for none to three of the product's attributes. Words are the things'
names or other names.
"""

import unicodedata
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from catid2.runtime.errors import InputError
from catid2.simulate.catalogue import ASKABLE, BRAND, TEST_ONLY, TRAIN_ONLY, Catalogue
from catid2.simulate.draws import Draws
from catid2.simulate.tree import Tree
from catid2.simulate.words import LANGUAGES, LOCALES

if TYPE_CHECKING:
    from catid2.config.simulate import SimulateConfig

# Attributes asked for together, with their weights: the longer tail asks for more.
PATTERNS = {
    (): 20, ("color",): 8, ("material",): 7, ("audience",): 8, ("style",): 6, ("feature",): 8, ("size",): 5,
    ("brand",): 7, ("color", "material"): 5, ("color", "audience"): 6, ("audience", "feature"): 5,
    ("material", "style"): 4, ("feature", "size"): 4, ("brand", "color"): 3, ("style", "audience"): 4,
    ("color", "audience", "style"): 2, ("material", "size", "feature"): 2, ("brand", "feature"): 2,
}  # fmt: skip
HEAD_PATTERNS = 8  # a head query asks for one attribute at most
_LEAST_NEW = 0.01  # share of a round of candidates that must be new for another round


class Queries(NamedTuple):
    """Q queries of one locale, with distinct texts."""

    text: list[str]
    target: np.ndarray  # (Q,) int64 target of the tree: a name of types, or a section
    asks: np.ndarray  # (Q, 7) int16 value of each of ASKABLE asked for, -1 = not asked
    source: np.ndarray  # (Q,) int64 type of the product it was made from
    test: np.ndarray  # (Q,) bool
    small: np.ndarray  # (Q,) bool


def draw_queries(catalogue: Catalogue, config: "SimulateConfig", tree: Tree, draws: Draws) -> Queries:
    """Return the queries of a locale.

    Raises:
        InputError: the words do not give that many distinct queries.
    """
    locale, size = catalogue.locale, config.locales[catalogue.locale]
    sides = [np.flatnonzero(catalogue.pool != TEST_ONLY), np.flatnonzero(catalogue.pool != TRAIN_ONLY)]
    texts: dict[str, int] = {}  # text -> candidate number
    rounds: list[Queries] = []
    while len(texts) < size.queries:
        before = len(texts)
        candidates = len(rounds) * size.queries + np.arange(size.queries)
        rounds.append(_candidates(candidates, sides, catalogue, config, tree, draws))
        for candidate, text in zip(candidates.tolist(), rounds[-1].text, strict=True):
            texts.setdefault(text, candidate)
        if len(texts) - before < _LEAST_NEW * size.queries:
            raise InputError(
                f"locales.{locale}.queries",
                f"the words give only {len(texts)} distinct queries",
                "ask for fewer",
            )
    kept = np.array(list(texts.values())[: size.queries])
    every = [np.concatenate(columns)[kept] for columns in list(zip(*rounds, strict=True))[1:]]
    return Queries([text for text in texts][: size.queries], *every)


def _candidates(
    numbers: np.ndarray,
    sides: list[np.ndarray],
    catalogue: Catalogue,
    config: "SimulateConfig",
    tree: Tree,
    draws: Draws,
) -> Queries:
    """Return one query per number; their texts need not be distinct."""
    locale = catalogue.locale
    test = draws.happens(f"{locale}/query/test", numbers, config.test_share)
    drawn = draws.uniform(f"{locale}/query/product", numbers)
    product = np.where(
        test, sides[1][(drawn * len(sides[1])).astype(int)], sides[0][(drawn * len(sides[0])).astype(int)]
    )
    kind = catalogue.type[product].astype(np.int64)
    head = draws.happens(f"{locale}/query/head", numbers, config.head_share)
    weights = np.array(list(PATTERNS.values()), dtype=float)
    pattern = draws.weighted(f"{locale}/query/pattern", numbers, weights)
    pattern = np.where(
        head, draws.weighted(f"{locale}/query/head-pattern", numbers, weights[:HEAD_PATTERNS]), pattern
    )
    asked = np.array([[name in names for name in ASKABLE] for names in PATTERNS])[pattern]
    asks = np.where(asked, catalogue.attributes[product], -1)
    queries = Queries(
        text=[],
        target=np.where(head, tree.name.max() + 1 + tree.section[kind], tree.name[kind]),
        asks=asks,
        source=kind,
        test=test,
        small=draws.happens(f"{locale}/query/small", numbers, config.locales[locale].small_share),
    )
    return queries._replace(text=_texts(numbers, queries, head, locale, config, tree, draws))


def _texts(
    numbers: np.ndarray,
    queries: Queries,
    head: np.ndarray,
    locale: str,
    config: "SimulateConfig",
    tree: Tree,
    draws: Draws,
) -> list[str]:
    """Return each query's words, in the order of its language."""
    column, language = LOCALES.index(locale), LANGUAGES[locale]
    order = language.query_order.split(" ")
    renamed = np.stack(
        [
            draws.happens(f"{locale}/query/other-{part}", numbers, config.synonym_share)
            for part in ("type", *ASKABLE)
        ],
        axis=1,
    )
    extra = draws.choice(f"{locale}/query/extra", numbers, len(language.query_extras))
    extra = np.where(draws.happens(f"{locale}/query/with-extra", numbers, 0.12), extra, -1)
    plain = draws.happens(f"{locale}/query/plain", numbers, 0.3)
    texts = []
    columns = (queries.source, queries.asks, head, renamed, extra, plain)
    rows = zip(*(values.tolist() for values in columns), strict=True)
    for kind, asks, is_head, other, addition, without_accents in rows:
        word = tree.sections[tree.section[kind]] if is_head else tree.types[kind]
        said = {"type": (word.synonyms if other[0] else word.names)[column]}
        for slot, (name, value) in enumerate(zip(ASKABLE, asks, strict=True)):
            if value >= 0 and slot == BRAND:
                said[name] = tree.brands[value][1 if locale == "jp" and other[1 + slot] else 0]
            elif value >= 0:
                choice = tree.values[value].synonyms if other[1 + slot] else tree.values[value].names
                form = "{}" if locale == "jp" else language.in_title.get(name, "{}")
                said[name] = form.format(choice[column])
        words = [said[part] for part in order if part in said]
        if addition >= 0:
            words.append(language.query_extras[addition])
        text = " ".join(words).lower()
        texts.append(_without_accents(text) if without_accents and locale == "es" else text)
    return texts


def _without_accents(text: str) -> str:
    """Return the text as many type it: 'sofá' becomes 'sofa'."""
    return "".join(
        letter for letter in unicodedata.normalize("NFD", text) if not unicodedata.combining(letter)
    )
