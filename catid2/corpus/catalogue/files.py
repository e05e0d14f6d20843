"""Files of a catalogue, parquet, CSV or JSON lines, as tables of the database under our names.

Each is checked when it is opened: a wrong file, column or value is a one-line error that names it. Lines of a text
file are counted from 1, as in an editor; rows of a parquet file from 0.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from catid2.corpus.catalogue.columns import ROWS_PER_CHUNK, Chunk, Column, place
from catid2.corpus.catalogue.csv_files import csv_chunks
from catid2.corpus.catalogue.formats import format_of
from catid2.corpus.catalogue.json_files import json_chunks
from catid2.corpus.catalogue.names import NameReader, Unclear
from catid2.corpus.database import BLANKS, CLEAN_NAME, HAS_NAME
from catid2.runtime.errors import InputError, readable
from catid2.runtime.tables import is_text, parquet_parts, read_footer

if TYPE_CHECKING:
    from catid2.config.catalogue import CatalogueConfig

_EDGES = r"^[\s\p{Z}\p{C}]+|[\s\p{Z}\p{C}]+$"  # RE2: white space and invisible characters around a value
_DECIMAL = "[0-9]+[.]0+"  # an id that was a number with gaps in its column, as pandas writes it
_EXACT = 2**53  # a float may stand for several whole numbers from here on
_TYPES = {  # of a column of a parquet file
    "text": ("string",),
    "code": ("string",),
    "id": ("string", "integer", "number"),
    "grade": ("string", "integer", "number"),
    "names": ("list", "string"),
}


class Table(NamedTuple):
    """A table of the database, and the file and columns it is made of."""

    name: str
    path: Path
    columns: Mapping[str, Column]
    unit: str  # what `row` counts: "line" or "row"
    doubts: list[tuple[str, str]]  # what may be meant otherwise, with its remedy


def load_table(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    path: Path,
    columns: Mapping[str, Column],
    config: "CatalogueConfig",
) -> Table:
    """Make `table` of a file: `row`, and each of `columns` as text, or of kind "names" as a list of clean names.

    Control characters and surplus white space are removed from names; null and blank names are removed, and
    `{column}_blank` counts them. White space and invisible characters around ids, grades and codes are removed, and
    the ".0" of ids if all of their column have it. A missing column is null in every row; so is an empty CSV field.

    Raises:
        InputError: the file is missing, damaged, of another format, or has no rows; a column is missing or of another
            type; a cell of names can be read in more than one way.
    """
    used = {name: column for name, column in columns.items() if column.own}
    known = format_of(path)
    unit = "row" if known == "parquet" else "line"
    if known == "parquet":
        chunks = _parquet_chunks(path, used)
    elif known == "json":
        chunks = json_chunks(path, used)
    else:
        chunks = csv_chunks(path, used, config.csv_delimiter, config.csv_quoting)
    readers = {name: NameReader(column.splitting) for name, column in used.items() if column.splitting}
    declared = ", ".join(sql for name, column in columns.items() for sql in _declared(name, column))
    read = ", ".join(sql for name, column in columns.items() for sql in _read(name, column))
    connection.execute(f"CREATE TEMP TABLE {table} (row BIGINT, {declared})")
    rows = 0
    for chunk in chunks:
        arrays = {"row": pa.array(chunk.places, pa.int64())}
        for name, column in used.items():
            if name in readers:
                arrays[name] = _names(path, unit, column, chunk, readers[name], chunk.values[name])
            else:
                arrays[name] = _texts(path, column, chunk.values[name])
        connection.register("chunk", pa.table(arrays))
        connection.execute(f"INSERT INTO {table} SELECT row, {read} FROM chunk")
        connection.unregister("chunk")
        rows += len(chunk.places)
    if not rows:
        raise InputError(path, "no rows", "write the table again")
    for name, column in used.items():
        if column.kind == "id":
            connection.execute(
                f"""
                UPDATE {table} SET {name} = split_part({name}, '.', 1)
                WHERE (SELECT bool_and(regexp_full_match({name}, '{_DECIMAL}')) FROM {table})
                """
            )
    return Table(table, path, columns, unit, _doubts(path, used, readers))


def _declared(name: str, column: Column) -> list[str]:
    """Return what a column becomes in the table, in SQL."""
    return [f"{name} VARCHAR[]", f"{name}_blank INTEGER"] if column.kind == "names" else [f"{name} VARCHAR"]


def _read(name: str, column: Column) -> list[str]:
    """Return how a column is read from a chunk, in SQL."""
    if column.kind == "names":
        if not column.own:
            return ["NULL", "0"]
        clean = f"list_transform({name}, lambda name: {CLEAN_NAME})"
        filled = f"list_filter({clean}, lambda name: {HAS_NAME})"
        return [f"CASE WHEN len({filled}) > 0 THEN {filled} END", f"coalesce(len({name}) - len({filled}), 0)"]
    if not column.own:
        return ["NULL"]
    return [name if column.kind == "text" else f"nullif(regexp_replace({name}, '{_EDGES}', '', 'g'), '')"]


def _doubts(
    path: Path, columns: Mapping[str, Column], readers: Mapping[str, NameReader]
) -> list[tuple[str, str]]:
    """Check the texts of all rows together; return what could mean something else, with its remedy."""
    doubts = []
    for name, reader in readers.items():
        where = f"column {columns[name].own!r}"
        try:
            reader.check()
        except Unclear as unclear:
            raise InputError(path, f"{where}: {unclear}", unclear.remedy) from None
        doubts += [(f"{where}: {what}", remedy) for what, remedy in reader.doubts()]
    return doubts


def _names(
    path: Path, unit: str, column: Column, chunk: Chunk, reader: NameReader, values: pa.Array | list
) -> pa.Array:
    """Return a column of names as lists of texts."""
    cells = values.to_pylist() if isinstance(values, pa.Array) else values
    names = []
    for row, cell in zip(chunk.places, cells, strict=True):
        try:
            names.append(reader.read(cell))
        except Unclear as unclear:
            what = f"column {column.own!r}, {unit} {row}: {unclear}"
            raise InputError(path, what, unclear.remedy) from None
    return pa.array(names, pa.list_(pa.string()))


def _texts(path: Path, column: Column, values: pa.Array | list) -> pa.Array:
    """Return a column of texts, ids or numbers as texts."""
    array = values if isinstance(values, pa.Array) else pa.array(values, pa.string())
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if column.kind == "id" and _kind(array.type) == "number":
        try:
            if pa.types.is_floating(array.type) and (pc.max(pc.abs(array)).as_py() or 0) >= _EXACT:
                raise pa.ArrowInvalid("it has numbers that are too large to be exact")
            array = array.cast(pa.decimal128(38, 0) if pa.types.is_decimal(array.type) else pa.int64())
        except pa.ArrowInvalid as error:
            what = f"column {column.own!r} is {array.type}, but not of whole numbers ({error})"
            raise InputError(path, what, "write ids as texts or integers") from None
    return array.cast(pa.string())


def check_rows(
    connection: duckdb.DuckDBPyConnection, table: Table, column: str, wrong: str, fault: str, remedy: str
) -> None:
    """Raise InputError for the first row for which the SQL condition `wrong` holds, with its value of `column`."""
    found = connection.execute(
        f"SELECT row, {column} FROM {table.name} WHERE {wrong} ORDER BY row LIMIT 1"
    ).fetchall()
    for row, value in found:
        shown = "null" if value is None else repr(value)
        what = f"column {table.columns[column].own!r}, {table.unit} {row}: {shown}{fault}"
        raise InputError(table.path, what, remedy)


def check_filled(connection: duckdb.DuckDBPyConnection, table: Table, *columns: str) -> None:
    """Raise InputError for the first row that is null or blank in one of the columns."""
    for column in columns:
        wrong = f"{column} IS NULL OR regexp_full_match({column}, '({BLANKS})?')"
        check_rows(connection, table, column, wrong, "", "every row needs one")


def check_once(connection: duckdb.DuckDBPyConnection, table: Table, column: str) -> None:
    """Raise InputError for the first row whose value in `column` an earlier row has."""
    found = connection.execute(
        f"""
        SELECT row, {column}, first FROM (SELECT row, {column}, min(row) OVER (PARTITION BY {column}) AS first
            FROM {table.name}) WHERE row > first ORDER BY row LIMIT 1
        """
    ).fetchall()
    for row, value, first in found:
        what = f"column {table.columns[column].own!r}, {table.unit} {row}: {value!r} is there twice"
        raise InputError(table.path, f"{what}, before in {table.unit} {first}", "keep one of the rows")


# --- parquet ------------------------------------------------------------------------------------------


def _parquet_chunks(path: Path, columns: Mapping[str, Column]) -> Iterator[Chunk]:
    """Yield the columns unchanged, after checking that they exist and have the right types."""
    schema, _ = read_footer(path)
    places = {name: place(path, column, schema.names) for name, column in columns.items()}
    fields = {name: schema.field(number) for name, number in places.items() if number is not None}
    for name, field in fields.items():
        allowed = _TYPES[columns[name].kind]
        if _kind(field.type) not in (*allowed, "null"):
            what = f"column {columns[name].own!r} is {field.type}, not {' or '.join(allowed)}"
            raise InputError(path, what, "write it with that type")
    row = 0
    for part in parquet_parts(path):
        try:
            with readable(part), pq.ParquetFile(part) as file:
                for batch in file.iter_batches(
                    ROWS_PER_CHUNK, columns=[field.name for field in fields.values()]
                ):
                    missing = pa.nulls(batch.num_rows)
                    values = {
                        name: batch.column(fields[name].name) if name in fields else missing
                        for name in columns
                    }
                    yield Chunk(range(row, row + batch.num_rows), values)
                    row += batch.num_rows
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise InputError(part, f"cannot be read ({error})", "download or make it again") from None


def _kind(found: pa.DataType) -> str:
    if is_text(found):
        return "string"
    kinds = pa.types
    if kinds.is_dictionary(found):
        found = found.value_type
    if kinds.is_list(found) or kinds.is_large_list(found) or kinds.is_fixed_size_list(found):
        return "list" if _kind(found.value_type) in ("string", "null", "list") else str(found)
    if kinds.is_integer(found):
        return "integer"
    if kinds.is_floating(found) or kinds.is_decimal(found):
        return "number"
    return "null" if kinds.is_null(found) else str(found)
