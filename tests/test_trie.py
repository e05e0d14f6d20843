"""The trie against a dictionary of sets."""

import numpy as np
import pytest
import torch
from retriever_case import random_codes, write_docids

from catid2.docids.table import Docids
from catid2.runtime.errors import InputError
from catid2.search import trie as trie_module
from catid2.search.trie import Trie

CASES = [(1, (3, 3)), (7, (2, 3, 4)), (300, (8, 8, 8)), (512, (8, 8, 8)), (40, (4, 4, 2, 2, 9)), (5, (7,))]


def prefixes(codes: np.ndarray, depth: int) -> list[tuple[int, ...]]:
    """Return the distinct prefixes of a depth in lexicographic order: the nodes."""
    return sorted({tuple(row[:depth]) for row in codes.tolist()})


@pytest.mark.parametrize("entries", [0, trie_module.TABLE_ENTRIES])
@pytest.mark.parametrize(("documents", "sizes"), CASES)
def test_children_are_those_of_a_dictionary(documents, sizes, entries, monkeypatch):
    monkeypatch.setattr(trie_module, "TABLE_ENTRIES", entries)
    codes = random_codes(documents, sizes)
    trie = Trie.from_codes(codes, sizes)
    for position in range(len(sizes)):
        nodes, below = prefixes(codes, position), prefixes(codes, position + 1)
        found = trie.children(torch.arange(len(nodes)), position)
        for row, prefix in enumerate(nodes):
            expected = [(node, child[-1]) for node, child in enumerate(below) if child[:-1] == prefix]
            valid = found.valid[row]
            assert (
                list(zip(found.nodes[row][valid].tolist(), found.codes[row][valid].tolist(), strict=True))
                == expected
            )
        assert trie.widths[position] == found.valid.sum(1).max()
        values = torch.randn(len(nodes), sizes[position])
        assert torch.equal(found.pick(values)[found.valid], values.gather(1, found.codes)[found.valid])


@pytest.mark.parametrize(("documents", "sizes"), CASES)
def test_descending_finds_each_document_and_nothing_else(documents, sizes):
    codes = random_codes(documents, sizes)
    trie = Trie.from_codes(codes, sizes)
    every = np.stack(np.meshgrid(*[np.arange(size) for size in sizes], indexing="ij"), -1).reshape(
        -1, len(sizes)
    )
    nodes = torch.zeros(len(every), dtype=torch.long)
    for position in range(len(sizes)):
        nodes = trie.descend(nodes, torch.from_numpy(every[:, position]), position)
    owner = {tuple(row): document for document, row in enumerate(codes.tolist())}
    expected = [owner.get(tuple(row), -1) for row in every.tolist()]
    assert torch.where(nodes >= 0, trie.doc_ids[nodes.clamp(min=0)], -1).tolist() == expected


def test_a_level_has_a_table_unless_it_would_be_large_or_mostly_empty(monkeypatch):
    codes = random_codes(300, (8, 8, 20))  # the 64 nodes of depth 2 have about five children each
    has_table = [table is not None for table in Trie.from_codes(codes, (8, 8, 20)).tables]
    assert has_table == [True, True, max(np.unique(codes[:, :2], axis=0, return_counts=True)[1]) >= 10]
    monkeypatch.setattr(trie_module, "TABLE_ENTRIES", 63)
    assert [table is not None for table in Trie.from_codes(codes, (8, 8, 20)).tables] == [True, False, False]


def test_leaves_below_a_node_are_the_documents_with_its_prefix():
    sizes = (4, 3, 5)
    codes = random_codes(30, sizes)
    trie = Trie.from_codes(codes, sizes)
    for depth in range(len(sizes) + 1):
        nodes = prefixes(codes, depth)
        first, end = trie.leaves(torch.arange(len(nodes)), depth)
        for node, prefix in enumerate(nodes):
            expected = [
                document for document, row in enumerate(codes.tolist()) if tuple(row[:depth]) == prefix
            ]
            assert sorted(trie.doc_ids[first[node] : end[node]].tolist()) == expected


def test_the_order_of_rows_does_not_matter():
    sizes = (4, 4, 4)
    codes = random_codes(50, sizes)
    order = np.random.default_rng(1).permutation(50)
    one, other = Trie.from_codes(codes, sizes), Trie.from_codes(codes[order], sizes, order)
    for a, b in zip(
        (*one.codes, *one.offsets, one.doc_ids), (*other.codes, *other.offsets, other.doc_ids), strict=True
    ):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        ([[0, 1], [1, 0], [0, 1]], r"documents 0 and 2 share \[0, 1\]"),
        ([[0, 1], [1, 3]], "document 1 has code 3 at position 1"),
        ([[0, 1], [-1, 2]], "document 1 has code -1 at position 0"),
        (np.zeros((0, 2), int), "shape"),
        ([[0, 1, 2]], "shape"),
    ],
)
def test_unusable_docids_are_named(codes, message):
    with pytest.raises(InputError, match=message):
        Trie.from_codes(np.array(codes), (2, 3))


def test_docids_are_read_as_written(tmp_path):
    codes = random_codes(20, (3, 3, 3, 7))
    write_docids(tmp_path / "docids.parquet", codes, [str(row) for row in range(20)])
    docids = Docids.read(tmp_path / "docids.parquet")
    assert np.array_equal(docids.codes, codes)
    assert np.array_equal(docids.doc_ids, np.arange(20))
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "docids.parquet").read_bytes()[:-20])
    with pytest.raises(InputError, match="not a complete parquet file"):
        Docids.read(tmp_path / "cut.parquet")


@pytest.mark.parametrize(("documents", "sizes"), CASES)
@pytest.mark.parametrize("share", [0.05, 0.5, 1.0])
def test_a_subtree_is_the_tree_of_the_allowed_documents(documents, sizes, share):
    codes = random_codes(documents, sizes)
    rng = np.random.default_rng(documents)
    allowed = rng.random(documents) < share
    allowed[rng.integers(documents)] = True
    found = Trie.from_codes(codes, sizes).subtree(torch.from_numpy(allowed))
    expected = Trie.from_codes(codes[allowed], sizes, np.flatnonzero(allowed))
    assert (found.sizes, found.widths) == (expected.sizes, expected.widths)
    for own, other in zip(
        (*found.codes, *found.offsets, found.doc_ids),
        (*expected.codes, *expected.offsets, expected.doc_ids),
        strict=True,
    ):
        assert own.dtype == other.dtype
        assert torch.equal(own, other)
