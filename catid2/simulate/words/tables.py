"""Read the word tables: one line per thing, its names in the three languages side by side.

    # department | departamento | 部門
    ## section | sección | 区分 @family > complementary section
    name = other name | nombre = otro nombre | 名前 = 別名

The other name is what people also call the thing; a product's title shows one name, so a query with the
other is not met by words alone. The same English name in several sections is one name of several types.
"""

from typing import NamedTuple

from catid2.simulate.words import attributes, household, living, technology, wearables

LOCALES = ("us", "es", "jp")


class Word(NamedTuple):
    """A thing's name and other name, each in the order of LOCALES."""

    names: tuple[str, ...]
    synonyms: tuple[str, ...]


class Section(NamedTuple):
    """A level-2 node: its names, family of attributes, complementary section and product types."""

    word: Word
    family: str
    complement: str  # English name of a section
    types: tuple[Word, ...]


class Department(NamedTuple):
    """A level-1 node and its sections."""

    word: Word
    sections: tuple[Section, ...]


def departments() -> tuple[Department, ...]:
    """Return the whole tree of product types, in the order of the tables."""
    found: list[tuple[Word, list[tuple[Word, str, str, list[Word]]]]] = []
    for table in (wearables.TABLE, technology.TABLE, household.TABLE, living.TABLE):
        for line in filter(None, table.splitlines()):
            if line.startswith("## "):
                names, _, rest = line[3:].rpartition(" @")
                family, _, complement = rest.partition(" > ")
                found[-1][1].append((_word(names), family, complement, []))
            elif line.startswith("# "):
                found.append((_word(line[2:]), []))
            else:
                found[-1][1][-1][3].append(_word(line))
    return tuple(
        Department(word, tuple(Section(*section[:3], tuple(section[3])) for section in sections))
        for word, sections in found
    )


def values() -> dict[str, tuple[Word, ...]]:
    """Return the attribute values by group, in the order of the table."""
    groups: dict[str, list[Word]] = {}
    for line in filter(None, attributes.VALUES.splitlines()):
        if line.startswith("# "):
            groups[line[2:]] = group = []
        else:
            group.append(_word(line))
    return {name: tuple(group) for name, group in groups.items()}


def _word(line: str) -> Word:
    """Parse 'a = b | c = d | e = f'; a thing without another name has its name twice."""
    pairs = [cell.strip().partition(" = ") for cell in line.split("|")]
    if len(pairs) != len(LOCALES):
        raise ValueError(f"one cell per locale is needed: {line!r}")
    names = tuple(name for name, _, _ in pairs)
    return Word(names, tuple(other or name for name, _, other in pairs))
