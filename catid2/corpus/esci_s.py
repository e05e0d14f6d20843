"""ESCI-S, scraped records of ESCI's products as zstd JSON lines: the category path of each.

Scraped records are dirty, so a fault of a record is no error but its `state`, which is counted. DuckDB parses the
records; Python's parser reads those that DuckDB refuses (a lone surrogate, a control character).
"""

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import duckdb
import pyarrow as pa
import zstandard

from catid2.corpus.database import CLEAN_NAME, HAS_NAME, Resources, connect, reading, write_stream
from catid2.runtime.errors import InputError
from catid2.runtime.tables import require_file
from catid2.runtime.writing import atomic

# What is made of ESCI-S: one row per line of it that is not blank, sorted.
CATEGORY_PATHS = {
    "asin": pa.string(),
    "locale": pa.string(),
    "path": pa.list_(pa.string()),  # from the top down; null unless the state is "usable"
    "state": pa.string(),  # one of STATES
    "blank_names": pa.int32(),  # null or blank names, which were removed from the path
}
STATES = {
    "usable": "a record with a category path",
    "no_category": "a record whose category is missing, null or a list without names",
    "bad_category": "a record whose category is no list of names, or not valid UTF-8",
    "no_asin": "a JSON object without an asin",
    "broken_line": "a line that is no JSON object",
}

_FIELDS = ("type", "asin", "locale", "category")  # that are read of a record
_LONGEST_RECORD = 2**26  # characters; the longest records are reviews of a few million
_LONGEST_WINDOW = 2**31  # bytes, of `zstd --ultra --long=31`
_BYTES_PER_PIECE = 2**20
_CHARACTERS_PER_BATCH = 2**25
_RECORDS_PER_TASK = 2**12  # of a batch, for one of DuckDB's threads
_OBJECTS = re.compile(r"\s*(\[\s*\{|\{\s*\n)")  # how an array of records, or a pretty-printed one, starts
_BETWEEN = re.compile(r"[\s,\[\]]*")
_SURROGATES = re.compile("[\ud800-\udfff]")
_ROWS_PER_GROUP = 2**15  # of the parquet file


def extract_categories(source: str | Path, target: str | Path, resources: Resources) -> dict[str, int]:
    """Write the table CATEGORY_PATHS of the ESCI-S file `source`; return how many lines are in each state.

    Only asin, locale and category of a record are kept in memory. Control characters and surplus white space are
    removed from names, and null and blank names from paths; a name that a path repeats is kept.

    Raises:
        InputError: the file is missing, no zstd, cut short or damaged; a record is too long; or no record is usable.
    """
    source = check_whole_zstd(source)
    with connect(resources) as connection, reading(source):
        columns = ", ".join(f"{field} JSON" for field in _FIELDS)
        connection.execute(f"CREATE TEMP TABLE raw ({columns})")
        for batch in _batches(_records(_text(source), source)):
            refused = _parse(connection, batch)
            refused = _parse(connection, [_made_strict(record) for record in refused])
            _parse(connection, ["{}"] * len(refused))
        connection.execute(
            """
            CREATE TEMP TABLE record AS
            SELECT CASE WHEN json_type(asin) = 'VARCHAR' THEN nullif(trim(asin ->> '$'), '') END AS asin,
                CASE WHEN json_type(locale) = 'VARCHAR' THEN lower(trim(locale ->> '$')) END AS locale,
                category, coalesce(asin, locale, category, type) IS NULL AS broken
            FROM raw
            """
        )
        # Many records share a category, about forty each: every one is taken apart once.
        connection.execute(
            f"""
            CREATE TEMP TABLE category AS
            WITH typed AS (
                SELECT DISTINCT category, category IS NULL OR json_type(category) = 'ARRAY' AND len(list_filter(
                    json_type(category, '$[*]'), lambda kind: kind NOT IN ('VARCHAR', 'NULL'))) = 0 AS of_names
                FROM record
            ), named AS (
                SELECT category, of_names, CASE WHEN of_names THEN list_transform(from_json(category, '["VARCHAR"]'),
                    lambda name: {CLEAN_NAME}) END AS names
                FROM typed
            )
            SELECT category, of_names, names, list_filter(names, lambda name: {HAS_NAME}) AS filled FROM named
            """
        )
        connection.execute(
            """
            CREATE TEMP TABLE line AS
            SELECT asin, locale, CASE WHEN broken THEN 'broken_line' WHEN asin IS NULL THEN 'no_asin'
                    WHEN NOT of_names THEN 'bad_category'
                    WHEN coalesce(len(filled), 0) = 0 THEN 'no_category' ELSE 'usable' END AS state,
                CASE WHEN state = 'usable' THEN filled END AS path,
                coalesce(len(names) - len(filled), 0)::INTEGER AS blank_names
            FROM record JOIN category ON record.category IS NOT DISTINCT FROM category.category
            """
        )
        counts = connection.execute("SELECT state, count(*) FROM line GROUP BY state").fetchall()
        states = dict.fromkeys(STATES, 0) | dict(counts)
        if not states["usable"]:
            found = ", ".join(f"{count} {state}" for state, count in states.items() if count) or "it is empty"
            remedy = "expected JSON lines: a record a line, with asin, locale and category"
            raise InputError(source, f"no line is a record with a category ({found})", remedy)
        with atomic(target) as aside:
            columns = ", ".join(CATEGORY_PATHS)
            rows = connection.sql(f"SELECT {columns} FROM line ORDER BY {columns}")
            write_stream(aside, rows.to_arrow_reader(_ROWS_PER_GROUP), pa.schema(CATEGORY_PATHS))
    return states


# --- from bytes to records ----------------------------------------------------------------------------


def _text(path: Path) -> Iterator[str]:
    """Yield the text of a zstd file, without a byte order mark, in pieces; a byte that is not UTF-8 as an escape."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")(_ESCAPED)
    with path.open("rb") as file:
        decompressor = zstandard.ZstdDecompressor(max_window_size=_LONGEST_WINDOW)
        reader = decompressor.stream_reader(file, read_across_frames=True)
        try:
            while piece := reader.read(_BYTES_PER_PIECE):
                yield decoder.decode(piece)
        except zstandard.ZstdError as error:
            raise InputError(path, f"cannot be decompressed ({error})", "download it again") from None
    yield decoder.decode(b"", final=True)


def _escape(error: UnicodeError) -> tuple[str, int]:
    """Handle bytes that are not UTF-8 as `surrogateescape` does, but write the lone surrogates as JSON escapes."""
    assert isinstance(error, UnicodeDecodeError)
    return "".join(f"\\udc{byte:02x}" for byte in error.object[error.start : error.end]), error.end


_ESCAPED = "catid2.json_escape"
codecs.register_error(_ESCAPED, _escape)


def _records(pieces: Iterator[str], path: Path) -> Iterator[str]:
    """Yield the records of a text: lines, elements of an array, or pretty-printed objects."""
    first = next(pieces)
    read = _objects if _OBJECTS.match(first) else _lines
    return read(chain([first], pieces), path)


def _lines(pieces: Iterable[str], path: Path) -> Iterator[str]:
    """Yield the lines that are not blank."""
    number, rest = 1, ""  # of the line that is cut off at the end of a piece
    for piece in pieces:
        *lines, rest = (rest + piece).split("\n")
        number += len(lines)
        yield from (line for line in lines if line and not line.isspace())
        if len(rest) > _LONGEST_RECORD:
            what = f"line {number} has more than {_LONGEST_RECORD:,} characters"
            raise InputError(path, what, "expected JSON lines, a record a line")
    if rest and not rest.isspace():
        yield rest


def _objects(pieces: Iterable[str], path: Path) -> Iterator[str]:
    """Yield the JSON values between white space, commas and the brackets of an array."""
    decoder = json.JSONDecoder(strict=False)
    number, text, place = 0, "", 0
    for piece in pieces:
        text, place = text[place:] + piece, 0
        while (start := _BETWEEN.match(text, place).end()) < len(text):
            try:
                _, place = decoder.raw_decode(text, start)
            except (ValueError, RecursionError):  # at the end of the piece a value may be cut off
                place = start
                break
            number += 1
            yield text[start:place]
        if len(text) - place > _LONGEST_RECORD:
            break
    if _BETWEEN.match(text, place).end() < len(text):
        what = f"not JSON after {number} records of an array, or of records over several lines"
        raise InputError(path, what, "write it as JSON lines, a record a line")


def _parse(connection: duckdb.DuckDBPyConnection, records: list[str]) -> list[str]:
    """Add the fields of records to the table `raw`; return the records that DuckDB takes for no JSON."""
    if not records:
        return []
    places = ", ".join(f"'$.{field}'" for field in _FIELDS)
    chosen = ", ".join(f"nullif(fields[{place}], 'null')" for place in range(1, len(_FIELDS) + 1))
    parts = [
        records[first : first + _RECORDS_PER_TASK] for first in range(0, len(records), _RECORDS_PER_TASK)
    ]
    connection.register("batch", pa.table({"text": pa.chunked_array(parts, pa.string())}))
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE parsed AS
        SELECT fields, CASE WHEN fields IS NULL THEN text END AS text
        FROM (SELECT text, TRY(json_extract(text, [{places}])) AS fields FROM batch)
        """
    )
    connection.unregister("batch")
    connection.execute(f"INSERT INTO raw SELECT {chosen} FROM parsed WHERE fields IS NOT NULL")
    return [text for (text,) in connection.execute("SELECT text FROM parsed WHERE fields IS NULL").fetchall()]


def _batches(records: Iterable[str]) -> Iterator[list[str]]:
    batch, characters = [], 0
    for record in records:
        batch.append(record)
        characters += len(record)
        if characters > _CHARACTERS_PER_BATCH:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _made_strict(record: str) -> str:
    """Return the fields of a record that strict JSON does not allow; "" if it is not JSON at all.

    A lone surrogate, or a byte that is not UTF-8, affects only the field that contains it.
    """
    try:
        # Of a key that stands there twice the first counts, as in DuckDB.
        values = json.loads(record, strict=False, object_pairs_hook=lambda pairs: dict(reversed(pairs)))
        found = {field: values[field] for field in _FIELDS if isinstance(values, dict) and field in values}
        texts = {field: json.dumps(value, ensure_ascii=False) for field, value in found.items()}
    except (ValueError, RecursionError):
        return ""
    return json.dumps({field: "" if _SURROGATES.search(texts[field]) else found[field] for field in found})


def check_whole_zstd(path: str | Path) -> Path:
    """Check that `path` consists of complete zstd frames, without decompressing it; return it.

    Decompression does not notice that a file was cut. A frame is a header and blocks that state their length, and the
    last block is marked (RFC 8878, section 3.1.1), so stepping from block to block finds where the frame should end.

    Raises:
        InputError: the file is missing, empty, no zstd, or cut.
    """
    path = require_file(path)
    size = path.stat().st_size
    cut = InputError(path, f"cut short at {size} bytes", "download it again")
    if not size:
        raise InputError(path, "an empty file", "download it again")
    with path.open("rb") as file:
        position = 0
        while position < size:
            file.seek(position)
            head = file.read(18)  # the longest frame header
            if len(head) >= 8 and int.from_bytes(head[1:4], "little") == 0x184D2A and head[0] >> 4 == 5:
                position += 8 + int.from_bytes(head[4:8], "little")  # skippable frame
                continue
            try:
                frame = zstandard.get_frame_parameters(head)
                position += zstandard.frame_header_size(head)
            except zstandard.ZstdError as error:
                what = f"no zstd frame at byte {position} ({error})"
                raise InputError(path, what, "download it again, or compress it with zstd") from None
            last = False
            while not last:
                file.seek(position)
                block = file.read(3)
                if len(block) < 3:
                    raise cut
                header = int.from_bytes(block, "little")
                last, run, length = header & 1, (header >> 1) & 3 == 1, header >> 3
                position += 3 + (1 if run else length)  # a run-length block holds one byte
            position += 4 if frame.has_checksum else 0
        if position > size:
            raise cut
    return path
