"""Ids that one file of a catalogue has and another lacks: does the other write them in another way?

Spreadsheets read "00123" as a number and write 123; data frames write 123.0 if a column has gaps.
"""

from typing import NamedTuple

import duckdb

from catid2.corpus.catalogue.files import Table
from catid2.runtime.errors import InputError

_REMEDY = "write the ids of both files as text (spreadsheets drop leading zeros, data frames add .0)"


class _Unknown(NamedTuple):
    """The first row whose id the other file lacks, preferably one whose id it has in another form."""

    row: int
    id: str
    meant: str | None  # the id there that it may stand for
    rows: int  # of unknown ids in all


def check_known(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    column: str,
    known: Table,
    key: str,
    some_are_enough: bool = False,
) -> None:
    """Check that the ids in `column` of `table` are in `key` of `known`; or, if some are enough, one of them.

    If the other file seems to have missing ids in another form, the table gets a doubt.

    Raises:
        InputError: an id that must be there is not.
    """
    unknown = _unknown(connection, table, column, known, key)
    if unknown is None:
        return
    what = f"column {table.columns[column].own!r}, {table.unit} {unknown.row}: {unknown.id!r} is not in {known.path}"
    if unknown.meant:
        what += f", which has {unknown.meant!r}"
    [(rows,)] = connection.execute(f"SELECT count(*) FROM {table.name}").fetchall()
    if not some_are_enough:
        raise InputError(table.path, what, _REMEDY if unknown.meant else "add it there, or remove the row")
    if unknown.rows == rows:
        remedy = _REMEDY if unknown.meant else "check that the files belong together"
        raise InputError(table.path, f"{what} (nor is any other of {rows} rows)", remedy)
    if unknown.meant:
        table.doubts.append((f"{what} ({unknown.rows} of {rows} rows are lost)", _REMEDY))


def _unknown(
    connection: duckdb.DuckDBPyConnection, table: Table, column: str, known: Table, key: str
) -> _Unknown | None:
    found = connection.execute(
        f"""
        WITH unknown AS (
            SELECT row, {column} AS id FROM {table.name} WHERE {column} NOT IN (SELECT {key} FROM {known.name})
        ), form AS (
            SELECT {_plain(key)} AS plain, min({key}) AS meant FROM {known.name} GROUP BY plain
        )
        SELECT row, id, meant, count(*) OVER () FROM unknown LEFT JOIN form ON form.plain = {_plain("id")}
        ORDER BY meant IS NULL, row LIMIT 1
        """
    ).fetchall()
    return _Unknown(*found[0]) if found else None


def _plain(column: str) -> str:
    """Return an id in SQL without what programs may change: leading zeros, ".0" and case."""
    return f"lower(regexp_replace(regexp_replace({column}, '[.]0+$', ''), '^0+(.)', '\\1'))"
