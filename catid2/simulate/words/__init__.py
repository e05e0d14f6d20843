"""The simulator's words in English, Spanish and Japanese, read from the tables and phrases next to this module.

- `departments.tsv`, `sections.tsv`, `types.tsv`: the category tree, level by level. A section has a family of
  attributes and a complementary section. The same English name in several sections is one name of several types.
- `values.tsv`: attribute values by group. `families.tsv`: the group that a family takes for each slot; empty where
  the slot does not apply.
- `brands.tsv`: first and last parts of invented brands.
- `us.yaml`, `es.yaml`, `jp.yaml`: how a language puts words together.

A column of a locale holds a thing's name, `LOCALE_other` what people also call it. A product's title shows one of the
two, so words alone do not match a query with the other.
"""

from pathlib import Path
from typing import NamedTuple

import yaml
from pyarrow import csv

LOCALES = ("us", "es", "jp")
SLOTS = ("color", "material", "audience", "size", "style", "feature")


class Word(NamedTuple):
    """A thing's name and other name, each in the order of LOCALES."""

    names: tuple[str, ...]
    synonyms: tuple[str, ...]


class Language(NamedTuple):
    """The phrases of one locale. `{}` stands for the word."""

    gap: str  # between sentences
    title_orders: list[str]  # the parts of a title, space-separated
    query_order: str
    in_title: dict[str, str]  # how a part is said in a title or query, where it is not the bare word
    bullets: dict[str, list[str]]  # by slot: say an attribute by its name
    sentences: dict[str, list[str]]  # by slot: say an attribute by its other name
    openings: list[str]  # say the type by its other name
    pairings: list[str]  # name a type of the complementary section
    filler_starts: list[str]
    filler_ends: list[str]
    marks: list[str]  # before a bullet point
    query_extras: list[str]
    attribute_names: dict[str, str]  # keys of `attrs` in ESCI-S
    review_titles: list[str]
    review_texts: list[str]
    review_date: str
    price: str


def word(row: dict[str, str]) -> Word:
    """Return the word of a table's row; a thing without another name has its name twice."""
    names = tuple(row[locale] for locale in LOCALES)
    return Word(names, tuple(row.get(f"{locale}_other", row[locale]) for locale in LOCALES))


def _table(file: str) -> list[dict[str, str]]:
    return csv.read_csv(
        Path(__file__).with_name(file), parse_options=csv.ParseOptions(delimiter="\t")
    ).to_pylist()


def _language(file: str) -> Language:
    return Language(**yaml.safe_load(Path(__file__).with_name(file).read_text(encoding="utf-8")))


DEPARTMENTS = _table("departments.tsv")
SECTIONS = _table("sections.tsv")
TYPES = _table("types.tsv")
VALUES = _table("values.tsv")
FAMILIES = {row["family"]: [row[slot] for slot in SLOTS] for row in _table("families.tsv")}
LANGUAGES = {"us": _language("us.yaml"), "es": _language("es.yaml"), "jp": _language("jp.yaml")}
_PARTS = _table("brands.tsv")
BRANDS = [
    (first["latin"] + last["latin"], first["katakana"] + last["katakana"])
    for first in _PARTS
    if first["place"] == "first"
    for last in _PARTS
    if last["place"] == "last"
]
