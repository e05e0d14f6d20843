"""docids.parquet: the table of DocIDs, read once and passed on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from catid2.runtime.checkpoint import fingerprint
from catid2.runtime.errors import InputError
from catid2.runtime.tables import docids_columns, read_footer, read_table

if TYPE_CHECKING:
    from catid2.docids.assign import Assignment

_IDS = {"doc_id": pa.int32(), "product_id": pa.string()}
_REMEDY = "run assign_docids on this corpus"


@dataclass(frozen=True, eq=False)  # == of arrays is an array
class Docids:
    """The DocIDs of N documents, and the scheme's codes that they were made from."""

    path: Path
    doc_ids: np.ndarray  # (N,) int32
    product_ids: pa.ChunkedArray  # (N,)
    codes: np.ndarray  # (N, L) int32: the DocIDs
    before: np.ndarray  # (N, layers) int32: the scheme's codes, before the repair

    @classmethod
    def read(cls, path: str | Path) -> Docids:
        """Read docids.parquet.

        Raises:
            InputError: as read_table; or the file has no codes of a kind, or no row.
        """
        names = read_footer(path)[0].names
        columns = {}
        for kind in ("c", "before"):
            count = sum(name.startswith(f"{kind}_") for name in names)
            if not count:
                what = f"no columns {kind}_0, {kind}_1, …"
                raise InputError(path, what, "give the docids.parquet of assign_docids")
            columns[kind] = [f"{kind}_{position}" for position in range(count)]
        table = read_table(path, _IDS | dict.fromkeys([*columns["c"], *columns["before"]], pa.int32()))
        if not len(table):
            raise InputError(path, "no DocIDs", "run assign_docids on a corpus that holds documents")
        codes, before = (
            np.stack([table[name].to_numpy() for name in part], axis=1) for part in columns.values()
        )
        return cls(Path(path), table["doc_id"].to_numpy(), table["product_id"], codes, before)

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many codes each position has, (L,): the highest in use and 1."""
        return tuple((self.codes.max(axis=0) + 1).tolist())

    @cached_property
    def digest(self) -> str:
        """A sha256 of the DocIDs and their product_ids, in the order of the file."""
        # Hashed in pieces, each a JSON list, so that millions of names are never in one list.
        starts = range(0, len(self.product_ids), 65_536)
        pieces = (self.product_ids.slice(start, 65_536).to_pylist() for start in starts)
        digests = [fingerprint({"product_id": piece}) for piece in pieces]
        return fingerprint({"product_id": digests}, self.codes)

    def require_documents(self, products: Path) -> None:
        """Raise InputError unless the documents of products.parquet are these, in this order."""
        theirs = read_table(products, _IDS)
        same = self.product_ids.equals(theirs["product_id"])
        if not (same and np.array_equal(self.doc_ids, theirs["doc_id"])):
            raise InputError(self.path, f"not the DocIDs of the documents in {products}", _REMEDY)

    def require_codes(self) -> None:
        """Raise InputError naming the first code that is negative."""
        for kind, codes in (("c", self.codes), ("before", self.before)):
            if (codes < 0).any():
                row, position = np.argwhere(codes < 0)[0].tolist()
                what = f"column '{kind}_{position}', row {row}: a negative code, {codes[row, position]}"
                raise InputError(self.path, what, _REMEDY)


def docids_table(product_ids: pa.Array | Sequence[str], assignment: Assignment) -> pa.Table:
    """Return the table of docids.parquet: row = doc_id, columns as in `tables.docids_columns`."""
    length, layers = assignment.codes.shape[1], assignment.before.shape[1]
    columns = [
        np.arange(len(assignment.codes), dtype=np.int32),
        product_ids,
        *assignment.codes.T,
        *assignment.before.T,
        assignment.moved,
    ]
    schema = pa.schema(list(docids_columns(length, layers).items()))
    return pa.table(
        [pa.array(column, kind) for column, kind in zip(columns, schema.types, strict=True)], schema
    )
