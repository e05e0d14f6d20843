"""The category tree: from paths of names to numbered nodes.

A node is a PATH, not a name: "Accessories" under "Phones" and "Accessories" under "Cameras" are two nodes. A name
that is repeated further down its path is another node, so a tree has no cycle. Below one parent, names that differ only
in spelling ("DVDs", "dvds", the same in full width) are one node.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from catid2.corpus.cleaning import clean_name, name_key
from catid2.runtime.tables import CATEGORIES

# The path of every product of a catalogue without categories: as deep as a tree can be, one node a level.
PLACEHOLDER = ("all",) * 9


class Tree(NamedTuple):
    """A category tree, and the nodes of each path."""

    nodes: pa.Table  # columns CATEGORIES, row = node
    ancestors: np.ndarray  # (paths, levels) int32: the node of each path at each level


class Spelled(NamedTuple):
    """Paths in which every node has one spelling."""

    paths: list[tuple[str, ...]]  # in the order of those given
    merged: int  # nodes that had several spellings


def one_spelling(paths: Sequence[tuple[str, ...]], n_docs: Sequence[int]) -> Spelled:
    """Give each node the spelling that most documents use (of equally frequent ones the bytewise first), cleaned.

    Args:
        paths: distinct paths, from the top down, names as they are written.
        n_docs: documents at each path.
    """
    keys = [tuple(map(name_key, path)) for path in paths]
    spellings: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)  # of each node
    for path, key, count in zip(paths, keys, n_docs, strict=True):
        for level, name in enumerate(path, start=1):
            spellings[key[:level]][name] += count
    most = {node: min(names, key=lambda name: (-names[name], name)) for node, names in spellings.items()}
    shown = {node: clean_name(name) for node, name in most.items()}
    spelled = [tuple(shown[key[:level]] for level in range(1, len(key) + 1)) for key in keys]
    return Spelled(spelled, sum(len(names) > 1 for names in spellings.values()))


def build_tree(paths: Sequence[tuple[str, ...]], n_docs: Sequence[int]) -> Tree:
    """Number the nodes of `paths`, level by level and bytewise by path within a level.

    Args:
        paths: category paths, from the top down, all of the same length, in any order.
        n_docs: documents at each path; a node's count is the sum over the paths below it.

    Raises:
        ValueError: no path, or paths of different lengths.
    """
    lengths = {len(path) for path in paths}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(f"paths need one length of at least 1, not {sorted(lengths)}")
    (levels,) = lengths
    below: dict[tuple[str, ...], int] = {}  # documents below each node
    for path, count in zip(paths, n_docs, strict=True):
        for level in range(1, levels + 1):
            below[path[:level]] = below.get(path[:level], 0) + count
    # Python compares strings by code point, which is the bytewise order of UTF-8.
    order = sorted(below, key=lambda path: (len(path), path))
    node = {path: number for number, path in enumerate(order)}
    columns = {
        "node": range(len(order)),
        "parent": [node.get(path[:-1], -1) for path in order],
        "level": [len(path) for path in order],
        "name": [path[-1] for path in order],
        "n_docs": [below[path] for path in order],
    }
    ancestors = [[node[path[:level]] for level in range(1, levels + 1)] for path in paths]
    return Tree(pa.table(columns, schema=pa.schema(CATEGORIES)), np.array(ancestors, dtype=np.int32))
