"""catid2.corpus.tree: the tree agrees with counts made without it, on real names and on made-up ones."""

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catid2.corpus.cleaning import clean_name
from catid2.corpus.tree import build_tree, one_spelling
from catid2.runtime.tables import CATEGORIES

BESTBUY = Path(__file__).parents[2] / "shared" / "data" / "bestbuy_categories.json"


def test_a_small_tree_is_numbered_level_by_level():
    tree = build_tree([("b", "x"), ("a", "x"), ("a", "a")], [1, 2, 3])
    assert tree.nodes.to_pylist() == [
        {"node": 0, "parent": -1, "level": 1, "name": "a", "n_docs": 5},
        {"node": 1, "parent": -1, "level": 1, "name": "b", "n_docs": 1},
        {"node": 2, "parent": 0, "level": 2, "name": "a", "n_docs": 3},
        {"node": 3, "parent": 0, "level": 2, "name": "x", "n_docs": 2},
        {"node": 4, "parent": 1, "level": 2, "name": "x", "n_docs": 1},
    ]
    assert tree.ancestors.tolist() == [[1, 4], [0, 3], [0, 2]]
    assert {field.name: field.type for field in tree.nodes.schema} == CATEGORIES


names = st.sampled_from(["a", "b", "é", "z\U0001f600", "\uffee", "A"])
same_length = st.integers(1, 4).flatmap(
    lambda levels: st.lists(st.tuples(*[names] * levels), min_size=1, unique=True)
)


@given(paths=same_length, data=st.data())
def test_any_tree(paths, data):
    n_docs = data.draw(st.lists(st.integers(1, 9), min_size=len(paths), max_size=len(paths)))
    tree = build_tree(paths, n_docs)
    nodes = tree.nodes.to_pylist()
    assert [node["node"] for node in nodes] == list(range(len(nodes)))
    # Following the parents up from a path's last node spells the path.
    for path, ancestors in zip(paths, tree.ancestors, strict=True):
        node, spelled = int(ancestors[-1]), []
        while node != -1:
            spelled.insert(0, nodes[node]["name"])
            assert nodes[node]["level"] == len(path) - len(spelled) + 1
            node = nodes[node]["parent"]
        assert tuple(spelled) == path
    # One node per distinct prefix, and every level holds all documents.
    assert len(nodes) == len({path[:level] for path in paths for level in range(1, len(path) + 1)})
    for level in range(1, len(paths[0]) + 1):
        assert sum(node["n_docs"] for node in nodes if node["level"] == level) == sum(n_docs)
    # The order of the paths given does not matter, and names are in the bytewise order of UTF-8.
    assert build_tree(paths[::-1], n_docs[::-1]).nodes.equals(tree.nodes)
    top = [node["name"].encode() for node in nodes if node["level"] == 1]
    assert top == sorted(top)


@pytest.mark.parametrize("paths", [[], [()], [("a",), ("a", "b")]])
def test_paths_of_no_common_length_are_refused(paths):
    with pytest.raises(ValueError, match="one length"):
        build_tree(paths, [1] * len(paths))


@pytest.mark.skipif(not BESTBUY.exists(), reason=f"the real category tree is not at {BESTBUY}")
def test_real_names_repeated_under_several_parents():
    listed = json.loads(BESTBUY.read_text(encoding="utf-8"))
    named = [
        [step["name"] for step in node["path"] if step["name"]] for node in listed
    ]  # some names are null
    deep = [tuple(path) for path in named if len(path) >= 3]
    counts = Counter(path[:3] for path in deep)
    tree = build_tree(list(counts), list(counts.values()))
    nodes = tree.nodes.to_pylist()
    under_level_2 = Counter(name for _, _, name in set(counts))
    repeated = {name for name, parents in under_level_2.items() if parents > 1}
    assert repeated, "the real tree repeats names"
    found = Counter(node["name"] for node in nodes if node["level"] == 3)
    assert found == under_level_2
    assert sum(node["n_docs"] for node in nodes if node["level"] == 1) == len(deep)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Décoration", "De\u0301coration"),
        ("Home & Kitchen", "Home &amp; Kitchen"),
        ("Home & Kitchen", "Home\u00a0&  Kitchen\u200b"),
        ("DVD", "ＤＶＤ"),
        ("DVD", "\ufeffdvd"),
        ("ガンダム", "ｶﾞﾝﾀﾞﾑ"),
        ("office", "o\ufb03ce"),
        ("STRASSE", "straße"),
        ("Soft­ware", "Software"),
        ("کتاب‌ها", "کتابها"),
    ],
)
def test_spellings_of_one_name_are_one_node(one, other):
    spelled = one_spelling([("Shop", one), ("Shop", other), ("shop", one)], [3, 2, 2])
    assert spelled.paths == [("Shop", clean_name(one))] * 3
    assert spelled.merged == 2
    tree = build_tree(spelled.paths, [3, 2, 2])
    assert tree.nodes["n_docs"].to_pylist() == [7, 7]


@pytest.mark.parametrize(
    ("one", "other"),
    [("Saft", "Säft"), ("か", "が"), ("A B", "AB"), ("AT&T", "ATT"), ("T&regs", "T®s"), ("①", "2")],
)
def test_other_names_are_other_nodes(one, other):
    assert one_spelling([(one,), (other,)], [1, 1]) == ([(one,), (other,)], 0)


def test_the_most_frequent_spelling_is_shown_and_of_several_the_first():
    paths = [("toys", "a"), ("Toys", "b"), ("TOYS", "c"), ("Toys", "d"), ("Home", "toys"), ("Home", "Toys")]
    spelled = one_spelling(paths, [5, 2, 1, 4, 1, 1])
    assert [path[0] for path in spelled.paths] == ["Toys"] * 4 + ["Home"] * 2
    assert [path[1] for path in spelled.paths] == ["a", "b", "c", "d", "Toys", "Toys"]
    assert spelled.merged == 2  # "toys" at the top, and below Home
