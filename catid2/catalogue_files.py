"""Tables of one's own, parquet or CSV (UTF-8, with a header), as tables of the database under our names.

Each is checked when it is opened: a wrong file, column or value becomes one line that names it. Rows are counted
from 0, in CSV files below the header.
"""

import csv
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import duckdb
import pyarrow as pa

from catid2.artifacts import is_text, read_footer, require_file
from catid2.database import BLANKS, CLEAN_NAME, HAS_NAME, open_parquet, reading
from catid2.errors import InputError

_ROWS_PER_BATCH = 2**14
_SURROGATES = re.compile("[\udc80-\udcff]")  # what Python makes of bytes that are not UTF-8
_LONGEST_FIELD = 2**31 - 1


class Column(NamedTuple):
    """A column of a file: what it is called there (None: it is not there), and what it may hold."""

    own: str | None
    kinds: tuple[str, ...] = ("string",)  # of a parquet file; a CSV file holds strings
    separator: str | None = None  # of a column of kind "list": splits it if it is a string


class Table(NamedTuple):
    """A table of the database, and the file and columns it is made of."""

    name: str
    path: Path
    columns: Mapping[str, Column]


ID = ("string", "integer")
GRADE = ("string", "integer", "number")
NAMES = ("list",)


def load_table(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    path: Path,
    columns: Mapping[str, Column],
    delimiter: str,
) -> Table:
    """Make `table` of a file: `row`, and each of `columns` as text, or of kind "list" as a list of clean names.

    Names lose control characters and surplus white space; `{column}_blank` counts the null and blank ones, which are
    removed. A column that is not there is null in every row, and so is an empty field of a CSV file.

    Raises:
        InputError: the file is missing, damaged, neither parquet nor CSV, or has no rows; a column is missing or of
            another type.
    """
    used = {name: column for name, column in columns.items() if column.own}
    if path.suffix.lower() == ".parquet":
        lists = _parquet_lists(path, used)
        _load_parquet(connection, path, used)
    elif path.suffix.lower() == ".csv":
        lists = set()
        _load_csv(connection, path, used, delimiter)
    else:
        raise InputError(path, "neither .parquet nor .csv", "write it as one of these, and end its name so")
    parts = ["row"]
    for name, column in columns.items():
        if column.kinds != NAMES:
            parts.append(f"{name if column.own else 'NULL'}::VARCHAR AS {name}")
        elif not column.own:
            parts.append(f"NULL::VARCHAR[] AS {name}, 0 AS {name}_blank")
        else:
            names = (
                name if name in lists else f"string_split({name}::VARCHAR, {_text(_separator(path, column))})"
            )
            clean = f"list_transform({names}::VARCHAR[], lambda name: {CLEAN_NAME})"
            filled = f"list_filter({clean}, lambda name: {HAS_NAME})"
            parts.append(f"CASE WHEN len({filled}) > 0 THEN {filled} END AS {name}")
            parts.append(f"coalesce(len({names}) - len({filled}), 0)::INTEGER AS {name}_blank")
    with reading(path):
        connection.execute(f"CREATE TEMP TABLE {table} AS SELECT {', '.join(parts)} FROM own")
        connection.execute("DROP TABLE IF EXISTS own_rows; DROP VIEW own")
    [(rows,)] = connection.execute(f"SELECT count(*) FROM {table}").fetchall()
    if not rows:
        raise InputError(path, "no rows", "write the table again")
    return Table(table, path, columns)


def check_rows(
    connection: duckdb.DuckDBPyConnection, table: Table, column: str, wrong: str, fault: str, remedy: str
) -> None:
    """Raise InputError for the first row for which the SQL condition `wrong` holds, with its value of `column`."""
    found = connection.execute(
        f"SELECT row, {column} FROM {table.name} WHERE {wrong} ORDER BY row LIMIT 1"
    ).fetchall()
    for row, value in found:
        shown = "null" if value is None else repr(value)
        what = f"column {table.columns[column].own!r}, row {row}: {shown}{fault}"
        raise InputError(table.path, what, remedy)


def check_filled(connection: duckdb.DuckDBPyConnection, table: Table, *columns: str) -> None:
    """Raise InputError for the first row that is null or blank in one of the columns."""
    for column in columns:
        wrong = f"{column} IS NULL OR regexp_full_match({column}, '({BLANKS})?')"
        check_rows(connection, table, column, wrong, "", "every row needs one")


def check_once(connection: duckdb.DuckDBPyConnection, table: Table, column: str) -> None:
    """Raise InputError for the first row whose value in `column` an earlier row has."""
    again = f"SELECT row FROM {table.name} QUALIFY row_number() OVER (PARTITION BY {column} ORDER BY row) > 1"
    check_rows(connection, table, column, f"row IN ({again})", " is there twice", "keep one of the rows")


def _text(value: str) -> str:
    """Return a string of SQL."""
    return "'" + value.replace("'", "''") + "'"


def _separator(path: Path, column: Column) -> str:
    if column.separator is None:
        what = f"column {column.own!r} is text, not a list of names"
        raise InputError(path, what, "give its category_separator or tag_separator in the config")
    return column.separator


# --- parquet ------------------------------------------------------------------------------------------


def _parquet_lists(path: Path, columns: Mapping[str, Column]) -> set[str]:
    """Check that the columns are there and of the right types; return which of them are lists."""
    schema, _ = read_footer(path)
    found = {}
    for name, column in columns.items():
        if schema.names.count(column.own) != 1:
            raise _no_column(path, column.own, schema.names)
        kind = schema.field(column.own).type
        found[name] = _kind(kind)
        allowed = (*column.kinds, "string") if column.kinds == NAMES else column.kinds
        if found[name] not in (*allowed, "null"):
            what = f"column {column.own!r} is {kind}, not {' or '.join(allowed)}"
            raise InputError(path, what, "write it with that type")
    return {name for name, kind in found.items() if kind == "list"}


def _kind(found: pa.DataType) -> str:
    if is_text(found):
        return "string"
    kinds = pa.types
    if kinds.is_dictionary(found):
        found = found.value_type
    if kinds.is_list(found) or kinds.is_large_list(found) or kinds.is_fixed_size_list(found):
        return "list" if _kind(found.value_type) in ("string", "null") else str(found)
    if kinds.is_integer(found):
        return "integer"
    if kinds.is_floating(found):
        return "number"
    return "null" if kinds.is_null(found) else str(found)


def _load_parquet(connection: duckdb.DuckDBPyConnection, path: Path, columns: Mapping[str, Column]) -> None:
    open_parquet(
        connection, "own", path, {name: column.own for name, column in columns.items() if column.own}
    )


def _no_column(path: Path, column: str, names: list[str]) -> InputError:
    fault = "is there twice" if column in names else "is missing"
    return InputError(path, f"column {column!r} {fault}", f"it has {', '.join(names)}")


# --- CSV ----------------------------------------------------------------------------------------------
# By Python's reader: it names the line of a quote that is never closed, where DuckDB's drops the rest of the file.


def _load_csv(
    connection: duckdb.DuckDBPyConnection, path: Path, columns: Mapping[str, Column], delimiter: str
) -> None:
    types = ", ".join(f"{name} VARCHAR" for name in columns)
    connection.execute(f"CREATE TEMP TABLE own_rows (row BIGINT, {types})")
    for batch in _csv_batches(path, columns, delimiter):
        connection.register("batch", batch)
        connection.execute("INSERT INTO own_rows SELECT * FROM batch")
        connection.unregister("batch")
    connection.execute("CREATE TEMP VIEW own AS SELECT * FROM own_rows")


def _csv_batches(path: Path, columns: Mapping[str, Column], delimiter: str) -> Iterator[pa.RecordBatch]:
    """Yield `row` and the columns, empty fields as null."""
    records = _records(require_file(path), delimiter)
    header = next(records, None)
    if header is None:
        raise InputError(path, "an empty file", "it needs a header and rows")
    places = []
    for column in columns.values():
        if header.count(column.own) != 1:
            raise _no_column(path, column.own, header)
        places.append(header.index(column.own))
    values: list[list[str | None]] = [[] for _ in places]
    first = 0  # row of the batch's first record

    def batch() -> pa.RecordBatch:
        rows = pa.array(range(first, first + len(values[0])), pa.int64())
        arrays = [pa.array(column, pa.string()) for column in values]
        return pa.RecordBatch.from_arrays([rows, *arrays], names=["row", *columns])

    for record in records:
        if len(record) != len(header):
            what = f"row {first + len(values[0])} has {len(record)} fields, the header {len(header)}"
            raise InputError(
                path,
                what,
                "quote a field that holds the delimiter, or name another csv_delimiter in the config",
            )
        for column, place in zip(values, places, strict=True):
            if _SURROGATES.search(record[place]):
                what = f"column {header[place]!r}, row {first + len(column)}: not UTF-8"
                raise InputError(path, what, "write the file as UTF-8")
            column.append(record[place] or None)
        if len(values[0]) == _ROWS_PER_BATCH:
            yield batch()
            first += _ROWS_PER_BATCH
            values = [[] for _ in places]
    yield batch()


def _records(path: Path, delimiter: str) -> Iterator[list[str]]:
    """Yield the records of a CSV file, blank lines left out.

    Raises:
        InputError: a quote is not closed, or something follows a closed one.
    """
    csv.field_size_limit(_LONGEST_FIELD)
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        line = 1
        while True:
            try:
                record = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                what = f"line {line}: a record starts there that is not CSV ({error})"
                raise InputError(path, what, "close every quote, and double those within quotes") from None
            line = reader.line_num + 1
            if record:
                yield record
