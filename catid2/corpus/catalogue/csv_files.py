"""CSV and TSV files: their dialect, and their records with the lines on which they start.

Python's reader is used because it names the line of a quote that is never closed; DuckDB's drops the rest of the file.
"""

import csv
import itertools
import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from catid2.config.catalogue import CsvQuoting
from catid2.corpus.catalogue.columns import Chunk, Column, chunks_of, place
from catid2.corpus.catalogue.formats import open_text
from catid2.runtime.errors import InputError

_LOG = logging.getLogger(__name__)
_LONGEST_FIELD = 2**31 - 1
_DELIMITERS = (",", "\t", ";", "|")
_SEP = re.compile(r"\ufeff*sep=(.)\s*", re.IGNORECASE)  # a first line that spreadsheets read and write
_QUOTED = re.compile(r'"(?:[^"]|"")*"')  # a field in quotes
_SAY_QUOTING = "set csv_quoting in the config (double, backslash, or none if quotes are part of the texts)"
_QUOTING = {  # of Python's reader
    "double": {"strict": True},
    "backslash": {"strict": True, "escapechar": "\\"},
    "none": {"quoting": csv.QUOTE_NONE},
}


class _Dialect(NamedTuple):
    delimiter: str
    quoting: CsvQuoting


class _Record(NamedTuple):
    line: int  # on which it starts, from 1
    fields: list[str]
    lines: list[str]  # as they stand in the file


def csv_chunks(
    path: Path, columns: Mapping[str, Column], delimiter: str | None, quoting: CsvQuoting | None
) -> Iterator[Chunk]:
    """Yield the columns as texts, empty fields as null; blank rows are skipped.

    A delimiter that is not given is the one that gives the header all columns. A quoting that is not given is the first
    that gives every record as many fields as the header: doubled quotes, a backslash before them, or, in a file with
    tabs and no field in quotes, quotes as part of the text.

    Raises:
        InputError: a column is missing or repeated, or no dialect fits.
    """
    dialect = _find_dialect(path, columns, delimiter, quoting)
    _LOG.info("%s: delimiter %r, quotes: %s", path, *dialect)
    records = _records(path, dialect)
    header = next(records).fields
    places = [place(path, column, header) for column in columns.values()]
    rows = (
        (record.line, [None if number is None else record.fields[number] or None for number in places])
        for record in records
    )
    yield from chunks_of(path, columns, rows)


def _find_dialect(
    path: Path, columns: Mapping[str, Column], delimiter: str | None, quoting: CsvQuoting | None
) -> _Dialect:
    """Return the first dialect in which the complete file can be read."""
    with open_text(path) as file:
        sep = _SEP.fullmatch(file.readline())
    delimiters = (delimiter,) if delimiter else (sep[1],) if sep else _DELIMITERS
    headers = {mark: _header_fault(path, columns, _Dialect(mark, quoting or "double")) for mark in delimiters}
    fitting = [mark for mark, fault in headers.items() if fault is None]
    if not fitting:
        raise _no_columns(path, columns, headers)
    mark = fitting[0]
    guesses = ("double", "backslash", "none") if mark == "\t" else ("double", "backslash")
    faults = []
    for one in (quoting,) if quoting else guesses:
        fault = _fault(path, _Dialect(mark, one), guessed=quoting is None)
        if fault is None:
            return _Dialect(mark, one)
        faults.append(fault)
    raise faults[0]


def _header_fault(
    path: Path, columns: Mapping[str, Column], dialect: _Dialect
) -> tuple[int, InputError] | None:
    """Return the number of the header's fields in a dialect and what is wrong with it; None if it has the columns."""
    header: list[str] = []
    try:
        for record in itertools.islice(_records(path, dialect), 1):
            header = record.fields
        if not header:
            raise InputError(path, "an empty file", "it needs a header and rows")
        if any("\x00" in name for name in header):
            raise InputError(path, "not UTF-8: it has bytes of 0, as UTF-16 has", "write the file as UTF-8")
        for column in columns.values():
            place(path, column, header)
    except InputError as fault:
        return len(header), fault
    return None


def _no_columns(
    path: Path, columns: Mapping[str, Column], headers: Mapping[str, tuple[int, InputError]]
) -> InputError:
    """Return what is wrong with the header, for the delimiter that gives it most fields."""
    for mark in _DELIMITERS:
        if mark not in headers and _header_fault(path, columns, _Dialect(mark, "double")) is None:
            what = f"the header has the columns by csv_delimiter {mark!r}, not by {', '.join(map(repr, headers))}"
            return InputError(path, what, "correct csv_delimiter in the config, or leave it out")
    return max(headers.values(), key=lambda fault: fault[0])[1]


def _fault(path: Path, dialect: _Dialect, guessed: bool) -> InputError | None:
    """Return why the file cannot be read in a dialect, or need not be, if that is guessed; None if it can."""
    records = _records(path, dialect)
    try:
        if guessed and dialect.quoting == "none":
            for record in _records(path, dialect):
                if any(map(_QUOTED.fullmatch, record.fields)):
                    return InputError(path, f"line {record.line} has a field in quotes", _SAY_QUOTING)
        header = next(records).fields
        width = None
        for record in records:
            # Some programs end every row, but not the header, with a delimiter.
            width = width or max(len(record.fields), len(header))
            if len(record.fields) != width or any(record.fields[len(header) :]):
                what = f"line {record.line} has {len(record.fields)} fields, the header {len(header)}"
                remedy = "quote a field that holds the delimiter, or name another csv_delimiter in the config"
                return InputError(path, what, remedy)
            # Texts with line ends and commas are common, texts with line ends and tabs are not.
            if guessed and dialect.delimiter == "\t" and _swallows(record):
                last = record.line + len(record.lines) - 1
                what = f"a quote opens on line {record.line} and closes on line {last}"
                what += f", and each of these lines has {width} fields"
                return InputError(path, what, _SAY_QUOTING)
    except InputError as error:
        return error
    return None


def _swallows(record: _Record) -> bool:
    """Return whether each line of a record of several would be a record itself, if quotes were part of the texts."""
    width = len(record.fields)
    return len(record.lines) > 1 < width and all(line.count("\t") == width - 1 for line in record.lines)


def _records(path: Path, dialect: _Dialect) -> Iterator[_Record]:
    """Yield the records of a CSV file, without byte order marks, a first line `sep=` and blank records.

    Raises:
        InputError: a quote is not closed, or something follows a closed one.
    """
    csv.field_size_limit(_LONGEST_FIELD)
    with open_text(path) as file:
        first = file.readline()
        skipped = 1 if _SEP.fullmatch(first) else 0
        lines: list[str] = []  # of the record

        def kept() -> Iterator[str]:
            for line in itertools.chain([] if skipped else [first.lstrip("\ufeff")], file):
                lines.append(line)
                yield line

        reader = csv.reader(kept(), delimiter=dialect.delimiter, **_QUOTING[dialect.quoting])
        while True:
            lines.clear()
            start = skipped + reader.line_num + 1
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                what = f"line {start}: the record that starts there is not CSV ({error})"
                remedy = f"close every quote, and double those within quotes, or {_SAY_QUOTING}"
                raise InputError(path, what, remedy) from None
            if any(fields):
                yield _Record(start, fields, [*lines])
