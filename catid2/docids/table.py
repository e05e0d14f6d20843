"""docids.parquet: the table of DocIDs, written, read and checked against its products."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from catid2.runtime.checkpoint import fingerprint
from catid2.runtime.errors import InputError
from catid2.runtime.tables import docids_columns, read_code_columns, read_table

if TYPE_CHECKING:
    from catid2.docids.assign import Assignment


def read_docids(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Return (doc_ids (N,), codes (N, L)), both int32, of docids.parquet.

    Raises:
        InputError: as read_table; or the file has no column c_0 or no rows.
    """
    table, (codes,) = read_code_columns(path, ["c"], {"doc_id": pa.int32()})
    if not len(table):
        raise InputError(path, "no DocIDs", "run assign_docids on a corpus that holds documents")
    return table.column("doc_id").to_numpy(), codes


def require_same_documents(docids: Path, products: Path) -> None:
    """Check that the DocIDs are those of the products.

    Raises:
        InputError: a row has another doc_id or product_id, or the numbers of rows differ.
    """
    columns = {"doc_id": pa.int32(), "product_id": pa.string()}
    if not read_table(docids, columns).equals(read_table(products, columns)):
        raise InputError(
            docids, f"not the DocIDs of the documents in {products}", "run assign_docids on this corpus"
        )


def docids_digest(docids: Path) -> str:
    """Return a sha256 of the DocIDs and their product_ids, in the order of docids.parquet."""
    names = read_table(docids, {"product_id": pa.string()}).column("product_id")
    # Hashed in pieces, each a JSON list, so that millions of names are never in one list.
    pieces = (names.slice(start, 65_536).to_pylist() for start in range(0, len(names), 65_536))
    digests = [fingerprint({"product_id": piece}) for piece in pieces]
    return fingerprint({"product_id": digests}, read_docids(docids)[1])


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
