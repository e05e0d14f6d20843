"""ESCI-S, scraped records of ESCI's products as zstd JSON lines: the category path of each.

Scraped records are dirty, so what is wrong with one is not an error but its `state`, which is counted.
"""

import os
from pathlib import Path

import pyarrow as pa
import zstandard

from catid2.artifacts import require_file
from catid2.database import CLEAN_NAME, Resources, connect, reading, write_stream
from catid2.errors import InputError
from catid2.writing import atomic

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
    "bad_category": "a record whose category is no list of names",
    "no_asin": "a JSON object without an asin",
    "broken_line": "a line that is no JSON object, or not valid UTF-8",
}

# DuckDB holds two buffers of this size per thread. The longest records are reviews of a few MB.
_LONGEST_RECORD = 32 * 2**20  # bytes
_ROWS_PER_GROUP = 2**15  # of the parquet file


def extract_categories(source: str | Path, target: str | Path, resources: Resources) -> dict[str, int]:
    """Write the table CATEGORY_PATHS of the ESCI-S file `source`; return how many lines are in each state.

    Of every record only asin, locale and category stay in memory. Names lose control characters and surplus white
    space; null and blank names are removed. A name that comes twice in a path stays.

    Raises:
        InputError: the file is missing, no zstd or cut short; a record is longer than 32 MiB; or no line is usable.
    """
    source = check_whole_zstd(source)
    with connect(resources) as connection, reading(source):
        connection.execute(
            f"""
            CREATE TEMP TABLE record AS
            SELECT CASE WHEN json_type(asin) = 'VARCHAR' THEN nullif(trim(asin ->> '$'), '') END AS asin,
                CASE WHEN json_type(locale) = 'VARCHAR' THEN lower(trim(locale ->> '$')) END AS locale,
                category, coalesce(asin, locale, category, type) IS NULL AS broken
            FROM read_json($path, format = 'newline_delimited', compression = 'zstd', ignore_errors = true,
                columns = {{type: 'JSON', asin: 'JSON', locale: 'JSON', category: 'JSON'}},
                maximum_object_size = {_LONGEST_RECORD})
            """,
            {"path": source},
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
            SELECT category, of_names, names, list_filter(names, lambda name: name <> '') AS filled FROM named
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
            remedy = "expected JSON lines with asin, locale and category"
            raise InputError(source, f"no line is a record with a category ({found})", remedy)
        with atomic(target) as aside:
            columns = ", ".join(CATEGORY_PATHS)
            rows = connection.sql(f"SELECT {columns} FROM line ORDER BY {columns}")
            write_stream(aside, rows.to_arrow_reader(_ROWS_PER_GROUP), pa.schema(CATEGORY_PATHS))
    return states


def check_whole_zstd(path: str | Path) -> str:
    """Check that `path` is made of whole zstd frames, without decompressing it; return it.

    DuckDB takes the end of a cut file for its end. A frame is a header and blocks that tell their length, the last
    one marked (RFC 8878, section 3.1.1), so a walk from block to block finds where it should end.

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
    return os.fspath(path)
