"""The category tree and the vocabulary behind it, as arrays indexed by product type.

Level 1 is the department, level 2 the section, level 3 the product type; some types continue by the values of
their attributes (audience, style, material, feature), down to level 7, so that names such as "Women" or
"Waterproof" stand under many parents. As in shops, products of one type may stand in more than one section: what a
query asks for follows from the type, so relevance does not follow the tree everywhere.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from catid2.simulate.draws import Draws, zipf_weights
from catid2.simulate.words import (
    BRANDS,
    DEPARTMENTS,
    FAMILIES,
    LOCALES,
    SECTIONS,
    SLOTS,
    TYPES,
    VALUES,
    Word,
    word,
)

if TYPE_CHECKING:
    from catid2.config.simulate import SimulateConfig

DEEPER_SLOTS = ("audience", "style", "material", "feature")  # levels 4 to 7
DEPTH_WEIGHTS = (0.35, 0.3, 0.18, 0.09, 0.08)  # of the types, for depths 3 to 7
BOOKS = "Books"

# How a product type stands to what a query asks for.
UNRELATED, COMPLEMENT, SIBLING, MATCH = range(4)


class Tree(NamedTuple):
    """T types in S sections in D departments; V attribute values; B brands.

    A target is what a query can name: one of the M names of types (0..M-1) or a section (M..M+S-1).
    """

    departments: list[Word]
    sections: list[Word]
    types: list[Word]
    values: list[Word]
    brands: list[tuple[str, str]]  # in Latin letters and in katakana
    department: np.ndarray  # (T,) of a type
    section: np.ndarray  # (T,) of a type
    name: np.ndarray  # (T,) target of a type's name; types of the same name share it
    complement: np.ndarray  # (S,) section that goes with a section
    weight: np.ndarray  # (T,) probability of a type
    depth: np.ndarray  # (T,) levels of a whole category path, 3..7
    places: np.ndarray  # (T, 3) sections where a type's products stand, from `_places`
    choices: np.ndarray  # (T, 6, 2) first value and number of values of each slot; 0 values: does not apply
    relation: np.ndarray  # (M + S, T) UNRELATED, COMPLEMENT, SIBLING or MATCH

    @property
    def is_book(self) -> np.ndarray:
        """(T,) True for the types of the books department."""
        return self.department == [word.names[0] for word in self.departments].index(BOOKS)


def build_tree(draws: Draws, config: "SimulateConfig") -> Tree:
    """Return the tree with its popularity: Zipf by level, each level's ranks drawn by the seed."""
    department_index = {row["us"]: d for d, row in enumerate(DEPARTMENTS)}
    section_index = {row["us"]: s for s, row in enumerate(SECTIONS)}
    section_of = np.array([section_index[row["section"]] for row in TYPES])
    of_section = np.array([department_index[row["department"]] for row in SECTIONS])
    department_of = of_section[section_of]
    complement = np.array([section_index[row["complement"]] for row in SECTIONS])

    names: dict[str, int] = {}
    name = np.array([names.setdefault(row["us"], len(names)) for row in TYPES])

    weight = _popularity(draws, department_of, section_of, config.zipf_exponent)
    books = department_of == department_index[BOOKS]
    weight = np.where(
        books,
        config.book_share * weight / weight[books].sum(),
        (1 - config.book_share) * weight / weight[~books].sum(),
    )

    groups = [row["group"] for row in VALUES]
    places = {group: (groups.index(group), groups.count(group)) for group in groups}
    families = [FAMILIES[SECTIONS[s]["family"]] for s in section_of]
    choices = np.array([[places.get(group, (0, 0)) for group in taken] for taken in families])
    deeper = [SLOTS.index(slot) for slot in DEEPER_SLOTS]
    available = (choices[:, deeper, 1] > 0).sum(axis=1)
    depth = 3 + draws.weighted("tree/depth", np.arange(len(TYPES)), np.array(DEPTH_WEIGHTS))
    return Tree(
        departments=list(map(word, DEPARTMENTS)),
        sections=list(map(word, SECTIONS)),
        types=list(map(word, TYPES)),
        values=list(map(word, VALUES)),
        brands=BRANDS,
        department=department_of,
        section=section_of,
        name=name,
        complement=complement,
        weight=weight,
        places=_places(draws, section_of, of_section, config),
        depth=np.minimum(depth, 3 + available),
        choices=choices,
        relation=_relations(name, section_of, department_of, complement),
    )


def _popularity(draws: Draws, department: np.ndarray, section: np.ndarray, exponent: float) -> np.ndarray:
    """(T,) product of the Zipf weights of a type's department, section and own rank among its siblings."""
    weight = np.ones(len(section))
    for level, group, member in (
        ("department", np.zeros_like(department), department),
        ("section", department, section),
        ("type", section, np.arange(len(section))),
    ):
        for parent in np.unique(group):
            members = np.unique(member[group == parent])
            ranks = draws.permutation(f"tree/{level}/{parent}", len(members))
            shares = np.zeros(member.max() + 1)
            shares[members] = zipf_weights(len(members), exponent)[ranks]
            weight *= np.where(group == parent, shares[member] / shares.sum(), 1)
    return weight


def _places(
    draws: Draws, section: np.ndarray, department: np.ndarray, config: "SimulateConfig"
) -> np.ndarray:
    """(T, 3) a type's own section, its second one in the same department, and its second one in another.

    A type without one has its own section there. `department` (S,) is that of each section.
    """
    types, sections = np.arange(len(section)), np.arange(len(department))
    within = department[section][:, None] == department  # (T, S)
    order = draws.uniform("tree/second", types[:, None] * len(sections) + sections)
    near = np.where(within & (section[:, None] != sections), order, -1).argmax(axis=1)
    far = np.where(within, -1, order).argmax(axis=1)
    has_near = draws.happens("tree/second-section", types, config.second_section_share)
    has_far = draws.happens("tree/second-department", types, config.second_department_share)
    return np.stack([section, np.where(has_near, near, section), np.where(has_far, far, section)], axis=1)


def _relations(
    name: np.ndarray, section: np.ndarray, department: np.ndarray, complement: np.ndarray
) -> np.ndarray:
    """(M + S, T) how each type stands to each target.

    The types of the target's node match, its siblings are what else is under the parent, and complements
    are the types of the sections that go with it.
    """
    by_name = np.arange(name.max() + 1)[:, None] == name
    by_section = np.arange(len(complement))[:, None] == section
    inside = np.concatenate([by_name, by_section])  # (M + S, T)
    relation = np.full(inside.shape, UNRELATED, dtype=np.int8)
    for target, matches in enumerate(inside):
        under = section if target < len(by_name) else department
        relation[target, np.isin(under, under[matches])] = SIBLING
        relation[target, np.isin(section, complement[section[matches]])] = COMPLEMENT
        relation[target, matches] = MATCH
    return relation


def category_paths(
    tree: Tree, locale: str, type_: np.ndarray, section: np.ndarray, slots: np.ndarray, depth: np.ndarray
) -> list[list[str]]:
    """Return the category paths, top-down, of products with these types, sections, (n, 6) slots and depths."""
    column = LOCALES.index(locale)
    department = dict(zip(tree.section.tolist(), tree.department.tolist(), strict=True))
    tops = [
        [heading(tree.departments[department[s]].names[column]), heading(word.names[column])]
        for s, word in enumerate(tree.sections)
    ]
    names = [heading(word.names[column]) for word in tree.types]
    words = [heading(word.names[column]) for word in tree.values] + [""]
    deeper = slots[:, [SLOTS.index(slot) for slot in DEEPER_SLOTS]]
    paths = []
    columns = (type_.tolist(), section.tolist(), deeper.tolist(), depth.tolist())
    for kind, under, row, levels in zip(*columns, strict=True):
        path = [*tops[under], names[kind]]
        if levels > 3:
            path += [words[value] for value in row if value >= 0]
        paths.append(path[:levels])
    return paths


def heading(name: str) -> str:
    """Return a name as a category is written: the first letter of each longer word in upper case."""
    return " ".join(
        word if word in ("and", "y", "de", "e") else word[:1].upper() + word[1:] for word in name.split(" ")
    )
