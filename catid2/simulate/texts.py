"""The texts of products, by column: vocabulary gathered and joined by Arrow, no Python per row.

Every attribute of a product occurs somewhere: in the title by its name, in a bullet point by its name or in
the description by its other name. Sentences without information begin as others of the section do and end as others
of the type do, so that texts follow the tree, as real ones do even where the categories are left out.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catid2.simulate.catalogue import BRAND, Catalogue
from catid2.simulate.draws import Draws
from catid2.simulate.tree import Tree, heading
from catid2.simulate.words import LANGUAGES, LOCALES, SLOTS

if TYPE_CHECKING:
    from catid2.config.simulate import SimulateConfig

_COLOR = SLOTS.index("color")
_MODELS = 4000


class Texts(NamedTuple):
    """Texts of n products; the fields a product lacks are null."""

    title: pa.Array
    description: pa.Array
    bullets: pa.Array  # one a line
    brand: pa.Array
    color: pa.Array


class TextMaker:
    """Makes the texts of one locale's products, any rows at a time."""

    def __init__(self, catalogue: Catalogue, config: "SimulateConfig", tree: Tree, draws: Draws):
        self._catalogue, self._config, self._tree, self._draws = catalogue, config, tree, draws
        self._column = LOCALES.index(catalogue.locale)
        self._language = LANGUAGES[catalogue.locale]
        without = (catalogue.attributes[:, _COLOR] < 0).mean()
        self._color_null = max(0.0, (config.nulls.color - without) / max(1 - without, 1e-9))
        self._type_names = [word.names[self._column] for word in tree.types]
        self._type_synonyms = [word.synonyms[self._column] for word in tree.types]
        self._value_names = [word.names[self._column] for word in tree.values]
        self._value_synonyms = [word.synonyms[self._column] for word in tree.values]

    def texts(self, rows: np.ndarray) -> Texts:
        """Return the texts of these rows."""
        source = self._catalogue.text[rows]
        attributes = self._catalogue.attributes[source]
        no_bullets = self._happens("no-bullets", source, self._config.nulls.bullets)
        no_description = self._happens("no-description", source, self._config.nulls.description)
        in_title = self._mentions(
            "title", source, attributes, self._config.title_share, no_bullets & no_description
        )
        in_bullets = self._mentions("bullets", source, attributes, 0.5, ~in_title.T & no_description)
        unsaid = ~in_title & ~(in_bullets & ~no_bullets[:, None])
        in_description = self._mentions("description", source, attributes, 0.6, unsaid.T)
        no_color = self._happens("no-color", source, self._color_null) | (attributes[:, _COLOR] < 0)
        return Texts(
            title=self._title(source, attributes, in_title),
            description=_null_where(no_description, self._description(source, attributes, in_description)),
            bullets=_null_where(no_bullets, self._bullets(source, attributes, in_bullets)),
            brand=_take([latin for latin, _ in self._tree.brands], attributes[:, BRAND]),
            color=_take(self._value_names, np.where(no_color, -1, attributes[:, _COLOR])),
        )

    def _happens(self, what: str, source: np.ndarray, share: float) -> np.ndarray:
        return self._draws.happens(f"{self._catalogue.locale}/text/{what}", source, share)

    def _choice(self, what: str, source: np.ndarray, n: int) -> np.ndarray:
        return self._draws.choice(f"{self._catalogue.locale}/text/{what}", source, n)

    def _mentions(
        self, where: str, source: np.ndarray, attributes: np.ndarray, share: float, always: np.ndarray
    ) -> np.ndarray:
        """(n, 6) which slots a text says: those in `always` (n,) or (6, n), the others by chance."""
        said = np.stack([self._happens(f"{where}/{slot}", source, share) for slot in SLOTS])
        return (said | always).T & (attributes[:, : len(SLOTS)] >= 0)

    def _title(self, source: np.ndarray, attributes: np.ndarray, said: np.ndarray) -> pa.Array:
        kind = self._catalogue.type[source]
        renamed = self._happens("title-synonym", source, self._config.synonym_share / 2)
        names = self._type_names + self._type_synonyms
        branded = self._happens("title-brand", source, 0.7)
        parts = {
            "type": _take([heading(name) for name in names], kind + renamed * len(self._type_names)),
            "brand": _take(
                [latin for latin, _ in self._tree.brands], np.where(branded, attributes[:, BRAND], -1)
            ),
            "model": _take(
                [f"{chr(65 + n % 26)}{chr(65 + n // 26 % 26)}-{n % 997:03d}" for n in range(_MODELS)],
                np.where(
                    self._happens("title-model", source, 0.3), self._choice("model", source, _MODELS), -1
                ),
            ),
        }
        for slot, name in enumerate(SLOTS):
            form = self._language.in_title.get(name, "{}")
            words = [heading(form.format(value)) for value in self._value_names]
            parts[name] = _take(words, np.where(said[:, slot], attributes[:, slot], -1))
        orders = [
            _join([parts[part] for part in order.split(" ")], " ") for order in self._language.title_orders
        ]
        return pc.choose(pa.array(self._choice("title-order", source, len(orders))), *orders)

    def _bullets(self, source: np.ndarray, attributes: np.ndarray, said: np.ndarray) -> pa.Array:
        lines = self._sentences(
            "bullets", self._language.bullets, self._value_names, source, attributes, said
        )
        most = max(1, int(self._config.filler_sentences))
        fillers = 1 + self._choice("bullet-fillers", source, most)  # at least one: no bullets is not ""
        lines += [self._filler(f"bullet-filler-{n}", source, fillers > n) for n in range(most)]
        mark = _take(
            self._language.marks,
            self._choice("mark", source, len(self._language.marks)) * self._happens("marked", source, 0.25),
        )
        marked = [pc.binary_join_element_wise(mark, line, "") for line in lines]
        return _join(marked, "\n")

    def _description(self, source: np.ndarray, attributes: np.ndarray, said: np.ndarray) -> pa.Array:
        language, kind = self._language, self._catalogue.type[source]
        openings = [form.format(name) for form in language.openings for name in self._type_synonyms]
        opening = self._choice("opening", source, len(language.openings)) * len(self._type_synonyms) + kind
        sentences = [_take(openings, opening)]
        sentences += self._sentences(
            "says", language.sentences, self._value_synonyms, source, attributes, said
        )
        most = int(2 * self._config.filler_sentences)
        fillers = self._choice("fillers", source, most + 1)
        sentences += [self._filler(f"filler-{n}", source, fillers > n) for n in range(most)]
        sentences.append(self._pairing(source, kind))
        html = self._happens("html", source, self._config.html_share)
        newline = ~html & self._happens("newlines", source, 0.15)
        gap = _take([language.gap, "<br><br>", "\n"], html + 2 * newline)
        body = _join(sentences, gap)
        return pc.binary_join_element_wise(
            _take(["", "<p>"], html * 1), body, _take(["", "</p>"], html * 1), ""
        )

    def _sentences(
        self,
        where: str,
        forms: dict[str, list[str]],
        words: list[str],
        source: np.ndarray,
        attributes: np.ndarray,
        said: np.ndarray,
    ) -> list[pa.Array]:
        """One array per slot: the attribute put in one of the slot's forms, null where it is not said."""
        arrays = []
        for slot, name in enumerate(SLOTS):
            vocabulary = [form.format(word) for form in forms[name] for word in words]
            form = self._choice(f"{where}-form/{name}", source, len(forms[name]))
            arrays.append(
                _take(vocabulary, np.where(said[:, slot], form * len(words) + attributes[:, slot], -1))
            )
        return arrays

    def _filler(self, what: str, source: np.ndarray, shown: np.ndarray) -> pa.Array:
        language = self._language
        end = "" if language.gap == "" else "."
        gap = language.gap
        vocabulary = [f"{a}{gap}{b}{end}" for a in language.filler_starts for b in language.filler_ends]
        starts, ends = len(language.filler_starts), len(language.filler_ends)
        start = self._phrase("start", what, source, self._catalogue.section[source], starts)
        chosen = start * ends + self._phrase("end", what, source, self._catalogue.type[source], ends)
        return _take(vocabulary, np.where(shown, chosen, -1))

    def _phrase(self, part: str, what: str, source: np.ndarray, node: np.ndarray, n: int) -> np.ndarray:
        """(rows,) number of a phrase in [0, n): for `topical_share` of them one of two that go with the node."""
        which = self._choice(f"{what}-{part}-which", source, 2)
        own = self._choice(f"{part}-of-node", 2 * node.astype(np.int64) + which, n)
        topical = self._happens(f"{what}-{part}-topical", source, self._config.topical_share)
        return np.where(topical, own, self._choice(f"{what}-{part}", source, n))

    def _pairing(self, source: np.ndarray, kind: np.ndarray) -> pa.Array:
        """Half the descriptions name a complement: a word that matches a query the product is not for."""
        tree, forms = self._tree, self._language.pairings
        by_section = np.argsort(tree.section, kind="stable")
        starts = np.searchsorted(tree.section[by_section], np.arange(len(tree.sections) + 1))
        other = tree.complement[tree.section[kind]]
        drawn = self._draws.uniform(f"{self._catalogue.locale}/text/pairing", source)
        partner = by_section[starts[other] + (drawn * (starts[other + 1] - starts[other])).astype(np.int64)]
        vocabulary = [form.format(name) for form in forms for name in self._type_names]
        chosen = self._choice("pairing-form", source, len(forms)) * len(self._type_names) + partner
        return _take(vocabulary, np.where(self._happens("paired", source, 0.5), chosen, -1))


def _take(vocabulary: list[str], index: np.ndarray) -> pa.Array:
    """Return vocabulary[index] as a string array, null where the index is negative."""
    return pa.array(vocabulary).take(pa.array(index, mask=index < 0))


def _join(parts: list[pa.Array], gap: str | pa.Array) -> pa.Array:
    """Join row by row, leaving out nulls."""
    return pc.binary_join_element_wise(*parts, gap, null_handling="skip")


def _null_where(missing: np.ndarray, array: pa.Array) -> pa.Array:
    return pc.if_else(pa.array(missing), pa.scalar(None, pa.string()), array)
