"""Label noise: the corpus's tree with a share of its products in wrong categories."""

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from catid2.runtime.errors import InputError
from catid2.taxonomies.catalogue import Catalogue, Paths

if TYPE_CHECKING:
    from catid2.config.taxonomy import NoisyTaxonomy


def noisy(catalogue: Catalogue, settings: "NoisyTaxonomy", seed: int) -> Paths:
    """Move `share` of the products to the category that `to` says; see catid2.config.taxonomy.

    Raises:
        InputError: the tree has one path; or `to` is parent and the tree has one level.
    """
    paths = list(catalogue.paths)
    generator = np.random.default_rng(seed)
    # A draw for every product: with a larger share the products of a smaller one move to the same places.
    order = generator.permutation(len(paths))
    draws = generator.random(len(paths))
    moved = order[: round(settings.share * len(paths))]
    if not len(moved):
        return paths
    if settings.to == "parent":
        if len(paths[0]) < 2:
            raise InputError(
                "--config", "to: parent, but the tree has one level", "name another kind of noise"
            )
        for row in moved.tolist():
            *above, _, last = paths[row]
            paths[row] = (*above, last, last)
        return paths
    leaves = sorted(set(paths))
    if len(leaves) < 2:
        raise InputError("--config", "the tree has one path, so no product can move", "use another corpus")
    elsewhere = _sibling_leaves(leaves) if settings.to == "sibling" else {}
    place = {leaf: number for number, leaf in enumerate(leaves)}
    for row in moved.tolist():
        if settings.to == "sibling":
            others = elsewhere[paths[row]]
            paths[row] = others[int(draws[row] * len(others))]
        else:
            # one of the other leaves: numbers from its own on are shifted by one
            drawn = int(draws[row] * (len(leaves) - 1))
            paths[row] = leaves[drawn + (drawn >= place[paths[row]])]
    return paths


def _sibling_leaves(leaves: Paths) -> dict[tuple[str, ...], Paths]:
    """Return, for each leaf, the leaves below the siblings of its deepest node that has siblings."""
    below: dict[tuple[str, ...], Paths] = defaultdict(list)
    for leaf in leaves:
        for level in range(len(leaf)):
            below[leaf[:level]].append(leaf)
    found = {}
    for leaf in leaves:
        for level in reversed(range(len(leaf))):
            others = [other for other in below[leaf[:level]] if other[level] != leaf[level]]
            if others:
                found[leaf] = others
                break
    return found
