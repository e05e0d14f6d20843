"""Files between stages: their columns, and reading and writing that is checked and whole.

A reader names the file, the place and the remedy when something is wrong (`InputError`); a writer
writes aside and renames, so that an output is there whole or not at all. Hard kills leave only
names that start with `.tmp-`, which the next write of the same output removes.
"""

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

# --- columns of the tables between stages (design: the interface others rely on) ---------------------

QUERIES = {"query_id": pa.int64(), "query": pa.string(), "split": pa.string()}
JUDGEMENTS = {
    "query_id": pa.int64(),
    "doc_id": pa.int32(),
    "label": pa.string(),  # E, S, C or I
    "split": pa.string(),  # train or test
    "seen": pa.bool_(),  # does the document occur in a training pair?
}
CATEGORIES = {
    "node": pa.int32(),  # dense over the whole tree, level by level
    "parent": pa.int32(),  # -1 at level 1
    "level": pa.int32(),  # 1..H
    "name": pa.string(),
    "n_docs": pa.int32(),
}
RUN = {"query_id": pa.int64(), "doc_id": pa.int32(), "rank": pa.int32(), "score": pa.float32()}  # rank from 1
TEXT_FIELDS = ("title", "brand", "color", "bullets", "description")


def products_columns(levels: int) -> dict[str, pa.DataType]:
    """Columns of corpus/products.parquet for a tree of `levels` levels; ids are nodes of CATEGORIES."""
    text = {name: pa.string() for name in ("product_id", *TEXT_FIELDS)}
    names = {f"category_{level}": pa.string() for level in range(1, levels + 1)}
    ids = {f"category_id_{level}": pa.int32() for level in range(1, levels + 1)}
    return {"doc_id": pa.int32()} | text | names | ids


def docids_columns(length: int, layers: int) -> dict[str, pa.DataType]:
    """Columns of docids.parquet: DocIDs of `length` positions, made from the codes of `layers` layers."""
    codes = {f"c_{position}": pa.int32() for position in range(length)}
    before = {f"before_{layer}": pa.int32() for layer in range(layers)}
    return {"doc_id": pa.int32(), "product_id": pa.string()} | codes | before | {"moved": pa.bool_()}


# --- errors -----------------------------------------------------------------------------------------


class InputError(Exception):
    """An input that cannot be used. Its text is one line: where, what is wrong, what to do."""

    def __init__(self, where: str | Path, what: str, remedy: str):
        super().__init__(" ".join(f"{where}: {what}; {remedy}".split()))


# --- whole or not at all ----------------------------------------------------------------------------


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def atomic(*paths: str | Path) -> Iterator[Any]:
    """Yield one temporary path per target (one path if one target); rename all when the block succeeds.

    A temporary path lies beside its target under a fixed name `.tmp-NAME`, so a killed writer's
    remains are replaced by the next one. Targets may be files or folders; a folder is created by the block.
    """
    targets = [Path(path) for path in paths]
    temporary = [target.with_name(f".tmp-{target.name}") for target in targets]
    for target, aside in zip(targets, temporary, strict=True):
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            _remove(aside)
        except OSError as error:
            raise InputError(target, f"cannot be written ({error.strerror})", "name another place") from None
    try:
        yield temporary[0] if len(temporary) == 1 else temporary
        for aside in temporary:
            _sync(aside)
        for target, aside in zip(targets, temporary, strict=True):
            if target.is_dir():
                shutil.rmtree(target)
            os.replace(aside, target)
    except BaseException as error:
        for aside in temporary:
            _remove(aside)
        if isinstance(error, OSError) and error.errno in FULL:
            raise InputError(
                targets[0], f"cannot be written ({error.strerror})", "make room and run again"
            ) from None
        raise


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Flush a file, or each file of a folder, to the disk before it gets its final name."""
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    for file in files:
        with file.open("rb") as handle:
            os.fsync(handle.fileno())


# --- tables -----------------------------------------------------------------------------------------


def require_file(path: str | Path) -> Path:
    """Return `path` as a Path, or raise InputError if no such file is there."""
    path = Path(path)
    if not path.is_file():
        raise InputError(
            path, "no such file", "run the stage that makes it, or correct the path in the config"
        )
    return path


def read_table(path: str | Path, columns: Mapping[str, pa.DataType]) -> pa.Table:
    """Return the named columns of a parquet file, checked for presence and type, in the order asked for.

    Raises:
        InputError: the file is missing, cut or no parquet; a column is missing, of another type or holds a
            null where it is a number or a flag.
    """
    path = require_file(path)
    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            for name, kind in columns.items():
                if name not in schema.names:
                    raise InputError(path, f"column {name!r} is missing", f"it has {', '.join(schema.names)}")
                if schema.field(name).type != kind:
                    found = schema.field(name).type
                    raise InputError(
                        path, f"column {name!r} is {found}, not {kind}", "write it with that type"
                    )
            table = file.read(columns=list(columns)).select(list(columns))
    except (pa.ArrowException, OSError) as error:
        raise InputError(path, f"not a whole parquet file ({error})", "make or download it again") from None
    for name, kind in columns.items():
        if not pa.types.is_string(kind) and table.column(name).null_count:
            row = table.column(name).to_pylist().index(None)
            raise InputError(path, f"column {name!r}, row {row}: null", "every row needs a value there")
    return table


def write_table(path: str | Path, table: pa.Table) -> None:
    """Write a parquet file, whole or not at all; the same table gives the same bytes."""
    with atomic(path) as aside:
        pq.write_table(table, aside, compression="zstd")


def read_json(path: str | Path) -> Any:
    """Return the content of a JSON file; InputError if it is missing or no JSON."""
    path = require_file(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(path, f"not JSON ({error})", "make it again") from None


def write_json(path: str | Path, content: Any) -> None:
    """Write JSON with sorted keys, whole or not at all."""
    with atomic(path) as aside:
        aside.write_text(
            json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8"
        )


def read_embeddings(path: str | Path, rows: int | None = None) -> np.ndarray:
    """Return a memory map of an (N, d) float16 embedding matrix, row = doc_id.

    Raises:
        InputError: the file is missing, cut, of another shape or type, or has not `rows` rows.
    """
    path = require_file(path)
    try:
        matrix = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise InputError(path, f"not a whole .npy matrix ({error})", "run embed again") from None
    if matrix.ndim != 2 or matrix.dtype != np.float16:
        found = f"{matrix.dtype} of shape {matrix.shape}"
        raise InputError(path, f"{found}, not a float16 matrix (documents, dimensions)", "run embed again")
    if rows is not None and len(matrix) != rows:
        raise InputError(path, f"{len(matrix)} rows for {rows} documents", "run embed on this corpus")
    return matrix
