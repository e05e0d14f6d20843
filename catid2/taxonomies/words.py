"""A tree from words or flat tags: each document goes to its most widespread word, level by level."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from catid2.corpus.text import tokenize
from catid2.taxonomies.catalogue import OTHER, Catalogue, Paths

if TYPE_CHECKING:
    from catid2.config.taxonomy import KeywordsTaxonomy, TagsTaxonomy


def keywords(catalogue: Catalogue, settings: "KeywordsTaxonomy", seed: int) -> Paths:
    """Return the tree of the words of the texts; `seed` is unused."""
    words = [tokenize(text, settings.tokenizer) for text in catalogue.texts]
    return widespread_first(words, settings.levels, settings.least_documents, settings.widest)


def tags(catalogue: Catalogue, settings: "TagsTaxonomy", seed: int) -> Paths:
    """Return the tree of the documents' tags; `seed` is unused."""
    return widespread_first(catalogue.tags, settings.levels, settings.least_documents, settings.widest)


def widespread_first(terms: Sequence[Sequence[str]], levels: int, least: int, widest: float) -> Paths:
    """Grow a prefix tree whose terms are ordered by the number of documents that have them, in each node.

    This is the order of FP-trees (Han, Pei and Yin 2000), but counted within each node, so that a node is split by the
    terms that are frequent there. A term is used only once in a path.

    Args:
        terms: (N,) terms of each document; repetitions do not count.
        levels: depth of the tree.
        least: a node with fewer documents is not split, and a term of fewer documents of the node is not used.
        widest: a term of more than this share of a node's documents is not used.

    Returns:
        (N,) paths; a node that is not split repeats its name at the lower levels, or OTHER at level 1.
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
    """Return the rank of each term that can split a node: most documents first, then by name."""
    if len(sets) < least:
        return {}
    counts = Counter(term for terms in sets for term in terms)
    for above in path:
        counts.pop(above, None)
    most = widest * len(sets)
    fit = [term for term, count in counts.items() if least <= count <= most]
    fit.sort(key=lambda term: (-counts[term], term))
    return {term: place for place, term in enumerate(fit)}
