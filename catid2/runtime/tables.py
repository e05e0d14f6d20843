"""Files between stages: their columns, checked reading, and atomic writing (catid2.runtime.writing).

A reader raises InputError with the file, the place in it and the remedy.
"""

import contextlib
import json
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from catid2.runtime.errors import InputError, did_you_mean, readable
from catid2.runtime.writing import atomic

# --- columns of the tables between stages ------------------------------------------------------------

LABELS = ("E", "S", "C", "I")  # exact, substitute, complement, irrelevant
SPLITS = ("train", "test")
QUERIES = {"query_id": pa.int64(), "query": pa.string(), "split": pa.string()}
JUDGEMENTS = {
    "query_id": pa.int64(),
    "doc_id": pa.int32(),
    "label": pa.string(),  # one of LABELS
    "split": pa.string(),  # one of SPLITS
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
# beam_trace.parquet: a row per query, relevant document and position, up to the one where the document leaves the beams
TRACE = {
    "query_id": pa.int64(),
    "doc_id": pa.int32(),
    "position": pa.int32(),  # from 1
    "rank": pa.int32(),  # of the prefix among the candidates of the position, from 1
    "candidates": pa.int32(),
    "kept": pa.bool_(),  # the prefix is among the beams
    "score": pa.float32(),  # sum of the log-probabilities of the prefix's codes
}
TAGS = {"product_id": pa.string(), "tags": pa.list_(pa.string())}  # products with tags, by product_id
MADE_BY = "retriever"  # in a run's metadata: the kind of retriever that made it; missing if none did
METRIC = "(recall|ndcg|success)@[1-9][0-9]{0,8}"  # the columns of a study's table that are metrics
TEXT_FIELDS = ("title", "brand", "color", "bullets", "description")


def products_columns(levels: int) -> dict[str, pa.DataType]:
    """Return the columns of corpus/products.parquet with `levels` category levels; ids are nodes of CATEGORIES."""
    text = {name: pa.string() for name in ("product_id", *TEXT_FIELDS)}
    names = {f"category_{level}": pa.string() for level in range(1, levels + 1)}
    ids = {f"category_id_{level}": pa.int32() for level in range(1, levels + 1)}
    return {"doc_id": pa.int32()} | text | names | ids


def docids_columns(length: int, layers: int) -> dict[str, pa.DataType]:
    """Return the columns of docids.parquet: DocIDs of `length` positions, made from codes of `layers` layers."""
    codes = {f"c_{position}": pa.int32() for position in range(length)}
    before = {f"before_{layer}": pa.int32() for layer in range(layers)}
    return {"doc_id": pa.int32(), "product_id": pa.string()} | codes | before | {"moved": pa.bool_()}


# --- tables -----------------------------------------------------------------------------------------

# First bytes of the pointer that git-lfs leaves in place of a file that it has not downloaded.
LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_SHOWN = 500  # characters of a list of columns


def require_file(path: str | Path) -> Path:
    """Return `path` as a Path.

    Raises:
        InputError: the file is missing, cannot be read, or is a pointer of git-lfs.
    """
    path = Path(path)
    with readable(path):
        if path.is_dir():
            raise InputError(path, "a folder, not a file", "name the file")
        if not path.is_file():
            what = "a link that leads to no file" if path.is_symlink() else "no such file"
            raise InputError(path, what, "run the stage that makes it, or correct the path in the config")
        with path.open("rb") as file:
            start = file.read(len(LFS_POINTER))
    if start == LFS_POINTER:
        raise InputError(
            path, "a git-lfs pointer, not the file itself", "run `git lfs pull` in its repository"
        )
    return path


def parquet_parts(path: str | Path) -> list[Path]:
    """Return the files of a parquet table: the file itself, or the parts in a folder of Spark or Polars, by name.

    Files whose names start with `_` or `.` are skipped: writers keep notes in them (_SUCCESS). Rows are numbered
    through all parts, as in pandas.

    Raises:
        InputError: as require_file; or the folder has no parts or holds folders.
    """
    path = Path(path)
    if not path.is_dir():
        return [require_file(path)]
    with readable(path):
        parts = sorted(part for part in path.iterdir() if part.name[0] not in "_.")
    folders = [part for part in parts if part.is_dir()]
    if folders or not parts:
        what = (
            f"its parts are in folders ({folders[0].name})" if folders else "a folder without parquet files"
        )
        raise InputError(path, what, "write the table as one file, or as a folder of files")
    return [require_file(part) for part in parts]


def read_footer(path: str | Path) -> tuple[pa.Schema, int]:
    """Return the columns and the number of rows of a parquet file, or of a folder of parts.

    Raises:
        InputError: as parquet_parts; or a file is truncated or not parquet, or two parts have different columns.
    """
    schema, parts = read_footers(path)
    return schema, sum(parts.values())


def read_footers(path: str | Path) -> tuple[pa.Schema, dict[Path, int]]:
    """Return the columns of a parquet table, and the number of rows of each of its files; errors as in read_footer."""
    first, *others = parquet_parts(path)
    schema, rows = _read_footer(first)
    parts = {first: rows}
    for part in others:
        found, parts[part] = _read_footer(part)
        if not found.equals(schema):
            what = f"its columns are {_listed(found)}, those of {first.name} {_listed(schema)}"
            raise InputError(part, what, "write all parts with the same columns")
    return schema, parts


def _read_footer(path: Path) -> tuple[pa.Schema, int]:
    with _whole_parquet(path), pq.ParquetFile(path) as file:
        return file.schema_arrow, file.metadata.num_rows


def _listed(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)


def require_column(path: str | Path, name: str, names: Sequence[str]) -> None:
    """Raise InputError unless `name` occurs once in `names`, the columns of a file."""
    if names.count(name) != 1:
        raise no_column(path, name, names, "is there twice" if name in names else "is missing")


def no_column(path: str | Path, name: str, names: Sequence[str], fault: str) -> InputError:
    """Return the error of a column that is missing from a file with the columns `names`, or is there twice."""
    hint = did_you_mean(name, names) if fault == "is missing" else ""
    listed = ", ".join(names)
    listed = listed if len(listed) <= _SHOWN else listed[:_SHOWN] + "…"
    return InputError(path, f"column {name!r} {fault}", f"{hint}it has {listed}")


# KeyError: with a damaged footer Arrow can list a column that it then does not find.
_NO_PARQUET = (pa.ArrowException, OSError, UnicodeDecodeError, KeyError)


@contextlib.contextmanager
def _whole_parquet(path: Path) -> Iterator[None]:
    try:
        with readable(path):
            yield
    except _NO_PARQUET as error:
        raise InputError(
            path, f"not a complete parquet file ({error})", "make or download it again"
        ) from None


def row_group_sizes(path: str | Path) -> list[int]:
    """Return the rows of each row group of a parquet file.

    Raises:
        InputError: as read_footer.
    """
    path = require_file(path)
    with _whole_parquet(path), pq.ParquetFile(path) as file:
        return [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]


def read_table(
    path: str | Path, columns: Mapping[str, pa.DataType], row_groups: Sequence[int] | None = None
) -> pa.Table:
    """Return the named columns of a parquet file, checked for presence and type, in the order asked for.

    With `row_groups` only these are read, and messages count rows within them. A folder of parts is read as one table,
    without row groups.

    Raises:
        InputError: the file is missing, truncated, damaged or not parquet; a column is missing or of another type, or a
            column of numbers or flags holds a null.
    """
    if Path(path).is_dir():
        return pa.concat_tables(read_table(part, columns) for part in parquet_parts(path))
    path = require_file(path)
    with _whole_parquet(path):
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            schema = file.schema_arrow
            for name, kind in columns.items():
                require_column(path, name, schema.names)
                if schema.field(name).type != kind:
                    found = schema.field(name).type
                    raise InputError(
                        path, f"column {name!r} is {found}, not {kind}", "write it with that type"
                    )
            groups = range(file.num_row_groups) if row_groups is None else row_groups
            table = file.read_row_groups(list(groups), columns=list(columns)).select(list(columns))
        table.validate(full=True)  # from damaged bytes Arrow makes strings that are not UTF-8
    for name, kind in columns.items():
        if not pa.types.is_string(kind) and table.column(name).null_count:
            row = table.column(name).to_pylist().index(None)
            raise InputError(path, f"column {name!r}, row {row}: null", "every row needs a value there")
    return table


def read_strings(path: str | Path, names: Sequence[str]) -> pa.Table:
    """Return columns of a user's parquet file as strings, whichever of Arrow's string types they have.

    Raises:
        InputError: as read_table.
    """
    schema = read_footer(path)[0]
    found = {name: schema.field(name).type for name in names if name in schema.names}
    kinds = {name: found[name] if name in found and is_text(found[name]) else pa.string() for name in names}
    return read_table(path, kinds).cast(pa.schema(dict.fromkeys(names, pa.string()).items()))


def is_text(kind: pa.DataType) -> bool:
    """Return whether a type is a string type of Arrow, or a dictionary of strings (pandas' categorical columns)."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def require_dense(path: str | Path, doc_ids: np.ndarray, remedy: str) -> None:
    """Raise InputError unless the column doc_id of a file, (N,) integers, is 0..N-1 in order and N is at least 1."""
    if not len(doc_ids):
        raise InputError(path, "no products", remedy)
    wrong = doc_ids != np.arange(len(doc_ids))
    if wrong.any():
        row = int(wrong.argmax())
        what = f"column 'doc_id', row {row}: {doc_ids[row]}, not {row}: doc_id is not 0..N-1 in order"
        raise InputError(path, what, remedy)


def write_table(path: str | Path, table: pa.Table) -> None:
    """Write a parquet file atomically; the same table gives the same bytes."""
    with atomic(path) as aside:
        pq.write_table(table, aside, compression="zstd", write_page_checksum=True)


def read_json(path: str | Path) -> dict[str, Any]:
    """Return the object in a JSON file; InputError if the file is missing, not JSON or not an object."""
    path = require_file(path)
    try:
        with readable(path):
            content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # ValueError also for a number with thousands of digits
        raise InputError(path, f"not JSON ({error})", "make it again") from None
    if not isinstance(content, dict):
        raise InputError(path, f"a JSON {type(content).__name__}, not an object", "make it again")
    return content


def write_json(path: str | Path, content: Any) -> None:
    """Write JSON with sorted keys, atomically."""
    with atomic(path) as aside:
        aside.write_text(
            json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8"
        )


# Errors of NumPy with a damaged file: it parses the header as Python source and maps whatever shape it finds there.
_NO_MATRIX = (
    *(OSError, EOFError, ValueError, TypeError, SyntaxError, tokenize.TokenError),
    *(OverflowError, RecursionError, MemoryError),
)


def read_embeddings(path: str | Path, rows: int | None = None) -> np.ndarray:
    """Return a memory map of an (N, d) float16 embedding matrix, row = doc_id.

    Raises:
        InputError: the file is missing, truncated, or of another type or shape, or does not have `rows` rows.
    """
    path = require_file(path)
    try:
        with readable(path):
            matrix = np.load(path, mmap_mode="r", allow_pickle=False)
    except _NO_MATRIX as error:
        raise InputError(path, f"not a complete .npy matrix ({error})", "run embed again") from None
    if path.stat().st_size != matrix.offset + matrix.nbytes:  # a damaged shape may still fit into the file
        what = f"not a complete .npy matrix (more bytes than a shape of {matrix.shape} needs)"
        raise InputError(path, what, "run embed again")
    if matrix.ndim != 2 or not matrix.shape[1] or matrix.dtype != np.float16:
        found = f"{matrix.dtype} of shape {matrix.shape}"
        raise InputError(path, f"{found}, not a float16 matrix (documents, dimensions)", "run embed again")
    if rows is not None and len(matrix) != rows:
        raise InputError(path, f"{len(matrix)} rows for {rows} documents", "run embed on this corpus")
    return matrix


def require_finite(path: str | Path, embeddings: np.ndarray) -> None:
    """Raise InputError, naming the first row, if (N, d) embeddings hold NaN or infinity."""
    for start in range(0, len(embeddings), 65_536):
        bad = ~np.isfinite(embeddings[start : start + 65_536]).all(axis=1)
        if bad.any():
            row = start + int(bad.argmax())
            raise InputError(path, f"row {row}: a value is not finite", "run embed again")
