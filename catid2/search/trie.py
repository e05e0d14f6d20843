"""The DocIDs as a prefix tree in tensors, which constrains decoding without a Python object per node.

The tree is stored level by level in compressed sparse row form. A node of depth l is a distinct DocID prefix of l
codes. The nodes of a depth are numbered in lexicographic order of their prefixes, so the children of a node are
adjacent and sorted by code, and the documents below it are a range of leaves. The first levels, of few nodes with many
children, also have a table of all codes, as in STATIC (Su et al., arXiv:2602.22647): its rows need no search.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from catid2.runtime.errors import InputError

TABLE_ENTRIES = 2**24  # of a level, at most: 64 MiB, which holds three levels of 256 codes


class Children(NamedTuple):
    """The children of nodes (…), padded to the widest node of the depth, or to all codes; all of shape (…, width)."""

    codes: torch.Tensor  # int64; ascending, they mean nothing where padded
    nodes: torch.Tensor  # int64, numbers at the next depth; they mean nothing where padded
    valid: torch.Tensor  # bool, False where padded
    every: bool  # the columns are the codes 0, 1, …

    def pick(self, values: torch.Tensor) -> torch.Tensor:
        """Return the values (…, K) of all codes at the children, (…, width)."""
        return values if self.every else values.gather(-1, self.codes)


@dataclass(frozen=True)
class Trie:
    """A prefix tree over N DocIDs of L positions.

    Attributes:
        sizes: how many codes each position has; (L,).
        codes: per position l the last code of each node of depth l + 1; int32.
        offsets: per position l the first child of each node of depth l, then the number of nodes of depth l + 1; int32.
        doc_ids: the document of each leaf; (N,) int32.
        widths: per position the most children of a node; (L,).
        tables: per position the child of each node of depth l by code, (nodes, sizes[l]) int32, -1 where there is none;
            None where it would exceed TABLE_ENTRIES, or have more than two columns per child of the widest node.
    """

    sizes: tuple[int, ...]
    codes: tuple[torch.Tensor, ...]
    offsets: tuple[torch.Tensor, ...]
    doc_ids: torch.Tensor
    widths: tuple[int, ...]
    tables: tuple[torch.Tensor | None, ...]

    @classmethod
    def from_codes(cls, codes: np.ndarray, sizes: Sequence[int], doc_ids: np.ndarray | None = None) -> Trie:
        """Build the tree of `codes`, (N, L) integers, position l in 0..sizes[l]-1; row i is doc_ids[i] (default i).

        Raises:
            InputError: there are no DocIDs, a code is out of range, or two documents have the same DocID.
        """
        codes = np.asarray(codes)
        doc_ids = np.arange(len(codes)) if doc_ids is None else np.asarray(doc_ids)
        if codes.ndim != 2 or 0 in codes.shape or codes.shape[1] != len(sizes):
            raise InputError(
                "DocIDs", f"shape {codes.shape}, not (documents, {len(sizes)})", "give one row per document"
            )
        for position, size in enumerate(sizes):
            wrong = np.flatnonzero((codes[:, position] < 0) | (codes[:, position] >= size))
            if len(wrong):
                what = f"document {doc_ids[wrong[0]]} has code {codes[wrong[0], position]} at position {position}"
                raise InputError("DocIDs", what, f"that position has the codes 0..{size - 1}")

        order = np.lexsort(codes.T[::-1])
        ordered = codes[order]
        new_prefix = np.zeros(len(codes), dtype=bool)  # the row's prefix differs from that of the row before
        new_prefix[0] = True
        parent = np.zeros(len(codes), dtype=np.int32)  # node of each row, at the depth reached so far
        level_codes, level_offsets, widths, tables, n_parents = [], [], [], [], 1
        for column, size in zip(ordered.T, sizes, strict=True):
            new_prefix[1:] |= column[1:] != column[:-1]
            first = np.flatnonzero(new_prefix)
            children = np.bincount(parent[first], minlength=n_parents)
            level_codes.append(torch.from_numpy(column[first].astype(np.int32)))
            level_offsets.append(
                torch.from_numpy(np.concatenate([[0], np.cumsum(children)]).astype(np.int32))
            )
            widths.append(int(children.max()))
            table = None
            if n_parents * size <= TABLE_ENTRIES and size <= 2 * widths[-1]:
                table = np.full((n_parents, size), -1, dtype=np.int32)
                table[parent[first], column[first]] = np.arange(len(first))
            tables.append(None if table is None else torch.from_numpy(table))
            parent = (np.cumsum(new_prefix) - 1).astype(np.int32)
            n_parents = len(first)
        if n_parents < len(codes):
            row = int(np.flatnonzero(~new_prefix)[0])
            what = (
                f"documents {doc_ids[order[row - 1]]} and {doc_ids[order[row]]} share {ordered[row].tolist()}"
            )
            raise InputError("DocIDs", what, "repair the collisions first (assign_docids)")
        leaves = torch.from_numpy(doc_ids[order].astype(np.int32))
        return cls(
            tuple(sizes), tuple(level_codes), tuple(level_offsets), leaves, tuple(widths), tuple(tables)
        )

    @property
    def depth(self) -> int:
        """Number of positions L."""
        return len(self.sizes)

    def __len__(self) -> int:
        """Number of documents N."""
        return len(self.doc_ids)

    def to(self, device: torch.device | str) -> Trie:
        """Return the tree on `device`."""
        return replace(
            self,
            codes=tuple(level.to(device) for level in self.codes),
            offsets=tuple(level.to(device) for level in self.offsets),
            doc_ids=self.doc_ids.to(device),
            tables=tuple(None if table is None else table.to(device) for table in self.tables),
        )

    def subtree(self, allowed: torch.Tensor) -> Trie:
        """Return the tree of some of the documents, at least one: those whose entry of `allowed`, by doc_id, is true.

        Costs one pass over the nodes. The order of documents and the scores of their DocIDs stay the same.
        """
        kept = allowed[self.doc_ids.long()]  # of the leaves; in the loop, of the nodes one position deeper
        doc_ids = self.doc_ids[kept]
        levels = []
        for codes, offsets in zip(reversed(self.codes), reversed(self.offsets), strict=True):
            before = functional.pad(kept.cumsum(0), (1, 0))[offsets.long()]
            children = before.diff()
            parents = children > 0
            own = functional.pad(children[parents].cumsum(0), (1, 0)).to(offsets.dtype)
            levels.append((codes[kept], own, int(children.max())))
            kept = parents
        codes, offsets, widths = zip(*reversed(levels), strict=True)
        # Without tables: to fill them would cost more than the few searches of a filter gain.
        return Trie(self.sizes, codes, offsets, doc_ids, widths, (None,) * self.depth)

    def children(self, nodes: torch.Tensor, position: int) -> Children:
        """Return the children of `nodes` (…) of depth `position`."""
        table = self.tables[position]
        if table is not None:
            child = table[nodes].long()
            codes = torch.arange(self.sizes[position], device=nodes.device).expand(child.shape)
            return Children(codes, child, child >= 0, every=True)
        first = self.offsets[position][nodes].long().unsqueeze(-1)
        end = self.offsets[position][nodes + 1].long().unsqueeze(-1)
        child = first + torch.arange(self.widths[position], device=nodes.device)
        valid = child < end
        child = child.masked_fill(~valid, 0)
        return Children(self.codes[position][child].long(), child, valid, every=False)

    def descend(self, nodes: torch.Tensor, codes: torch.Tensor, position: int) -> torch.Tensor:
        """Return the child with code `codes` (…) of each of `nodes` (…) of depth `position`; -1 if there is none.

        Node -1 has no children. The binary searches of all nodes run together, in log2(width) steps.
        """
        known = nodes.clamp(min=0)
        low, end = self.offsets[position][known].long(), self.offsets[position][known + 1].long()
        high = end
        level = self.codes[position]
        for _ in range(self.widths[position].bit_length()):
            middle = (low + high) // 2
            right = (level[middle.clamp(max=len(level) - 1)] < codes) & (low < high)
            low, high = torch.where(right, middle + 1, low), torch.where(right, high, middle)
        found = (nodes >= 0) & (low < end) & (level[low.clamp(max=len(level) - 1)] == codes)
        return torch.where(found, low, -1)

    def leaves(self, nodes: torch.Tensor, depth: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the first leaf below each of `nodes` (…) of `depth`, and the end of the range."""
        first, end = nodes, nodes + 1
        for offsets in self.offsets[depth:]:
            first, end = offsets[first].long(), offsets[end].long()
        return first, end
