"""A tree from words or flat tags: each document follows its most widespread word, level by level."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from catid2.corpus.text import tokenize
from catid2.taxonomies.catalogue import OTHER, Catalogue, Paths

if TYPE_CHECKING:
    from catid2.config.taxonomy import KeywordsTaxonomy, TagsTaxonomy


def keywords(catalogue: Catalogue, settings: "KeywordsTaxonomy", seed: int) -> Paths:
    """Return the tree of the words of the texts; `seed` has no part in it."""
    words = [tokenize(text, settings.tokenizer) for text in catalogue.texts]
    return widespread_first(words, settings.levels, settings.least_documents, settings.widest)


def tags(catalogue: Catalogue, settings: "TagsTaxonomy", seed: int) -> Paths:
    """Return the tree of the documents' tags; `seed` has no part in it."""
    return widespread_first(catalogue.tags, settings.levels, settings.least_documents, settings.widest)


def widespread_first(terms: Sequence[Sequence[str]], levels: int, least: int, widest: float) -> Paths:
    """Grow a prefix tree in which terms come in the order of how many documents of the node have them.

    The order of FP-trees (Han, Pei and Yin 2000), counted anew within each node, so that a level is divided by
    what is widespread there. A term that stands above is not used again below.

    Args:
        terms: (N,) the terms of each document; repetitions do not count.
        levels: depth of the tree.
        least: a node of fewer documents is not divided, a term of fewer documents of the node divides nothing.
        widest: a term of more than this share of a node's documents divides nothing.

    Returns:
        (N,) paths; what is not divided repeats the name above it, or OTHER at level 1.
    """
    sets = [frozenset(words) for words in terms]
    paths: list[tuple[str, ...]] = [()] * len(sets)
    nodes: dict[tuple[str, ...], list[int]] = {(): list(range(len(sets)))}
    for _ in range(levels):
        below: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for path, rows in nodes.items():
            rank = _ranks(path, [sets[row] for row in rows], least, widest)
            for row in rows:
                name = min(sets[row] & rank.keys(), key=rank.__getitem__, default=None)
                if name is None:
                    name = OTHER if rank or not path else path[-1]
                paths[row] = (*path, name)
                below[paths[row]].append(row)
        nodes = below
    return paths


def _ranks(path: tuple[str, ...], sets: list[frozenset[str]], least: int, widest: float) -> dict[str, int]:
    """Return the terms that divide a node, each with its place: the most widespread first, then by name."""
    if len(sets) < least:
        return {}
    counts = Counter(term for terms in sets for term in terms)
    for above in path:
        counts.pop(above, None)
    most = widest * len(sets)
    fit = [term for term, count in counts.items() if least <= count <= most]
    fit.sort(key=lambda term: (-counts[term], term))
    return {term: place for place, term in enumerate(fit)}
