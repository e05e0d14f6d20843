"""DuckDB for the corpus stages: in memory, with a limit, spilling to a temporary folder."""

import argparse
import contextlib
import functools
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from catid2.corpus.cleaning import clean_name, text_key
from catid2.runtime.errors import InputError
from catid2.runtime.tables import read_footers, require_column
from catid2.runtime.writing import FULL, MAKE_ROOM, needs_room

_NO_ROOM = re.compile("|".join(["max_temp_directory_size", *map(os.strerror, FULL)]))
BLANKS = r"[\s\p{Z}\p{Cc}]+"  # RE2: white space of any script and control characters
# SQL, of a column or variable `name`: on one line, otherwise as it is written; and whether anything is left of it.
CLEAN_NAME = f"trim(regexp_replace(coalesce(name, ''), '{BLANKS}', ' ', 'g'))"
HAS_NAME = "clean_name(name) <> ''"
_NAMES = 2**16  # clean ones that are kept: a catalogue names the same categories again and again
_PATTERN = re.compile(r"[*?\[]")  # what makes DuckDB take a path for a pattern


class Resources(NamedTuple):
    """What DuckDB may use. The memory limit is its own; Python and Arrow buffers come on top (about 0.5 GB)."""

    memory_limit: str = "2GB"
    threads: int | None = None  # None: all cores
    temp_dir: Path | None = None  # where it spills; None: the system's


def add_resources(parser: argparse.ArgumentParser) -> None:
    """Add the options of a script for Resources."""
    parser.add_argument("--memory-limit", default="2GB", help="DuckDB's memory (default: 2GB)")
    parser.add_argument("--threads", type=int, help="DuckDB's threads (default: all cores)")
    parser.add_argument("--temp-dir", type=Path, help="where DuckDB spills (default: the system's)")


@contextlib.contextmanager
def connect(resources: Resources) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield an in-memory DuckDB that spills into a folder of its own, removed at the end.

    SQL can call `text_key` and `clean_name` of catid2.corpus.cleaning. Folders that killed processes of this host left
    are removed first.

    Raises:
        InputError: a resource that DuckDB does not understand, or, within the block, too little memory or no room to
            spill.
    """
    if resources.temp_dir is not None and not resources.temp_dir.is_dir():
        raise InputError(f"--temp-dir {resources.temp_dir}", "no such folder", "make it, or name another")
    temp_dir = resources.temp_dir or Path(tempfile.gettempdir())
    if _PATTERN.search(os.fspath(temp_dir)):
        raise InputError(
            f"--temp-dir {temp_dir}", "DuckDB takes it for a pattern", "name one without *, ? and ["
        )
    own = f"catid2-duckdb-{socket.gethostname()}-"  # and a process, and random letters
    _remove_leftovers(temp_dir, own)
    with needs_room(temp_dir / own):
        folder = tempfile.TemporaryDirectory(prefix=f"{own}{os.getpid()}-", dir=temp_dir)
    with folder as spill:
        try:
            settings = {"memory_limit": resources.memory_limit, "temp_directory": spill}
            if resources.threads is not None:
                settings["threads"] = str(resources.threads)
            connection = duckdb.connect(":memory:", config=settings)
        except duckdb.Error as error:
            remedy = "write them like --memory-limit 2GB --threads 2"
            raise InputError("--memory-limit, --threads", _first_line(error), remedy) from None
        try:
            # Every table that leaves is sorted; in between, order is free.
            connection.execute("SET preserve_insertion_order = false")
            connection.create_function("text_key", text_key, ["VARCHAR"], "VARCHAR")
            kept = functools.lru_cache(_NAMES)(clean_name)
            connection.create_function("clean_name", kept, ["VARCHAR"], "VARCHAR")
            yield connection
        except duckdb.Error as error:
            if _NO_ROOM.search(str(error)):
                what, remedy = f"no room to spill ({_first_line(error)})", f"{MAKE_ROOM}, or name another"
                raise InputError(f"--temp-dir {temp_dir}", what, remedy) from None
            if not isinstance(error, duckdb.OutOfMemoryException):
                raise
            remedy = "give more memory or fewer threads"
            raise InputError(f"--memory-limit {resources.memory_limit}", _first_line(error), remedy) from None
        finally:
            connection.close()


def _remove_leftovers(temp_dir: Path, prefix: str) -> None:
    """Remove the folders with this prefix whose processes have ended."""
    for folder in temp_dir.iterdir():
        named = re.fullmatch(rf"{re.escape(prefix)}(\d+)-\w+", folder.name)
        if named and not _is_running(int(named[1])):
            shutil.rmtree(folder, ignore_errors=True)  # it may be another user's, or be going already


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


def open_parquet(
    connection: duckdb.DuckDBPyConnection, name: str, path: str | Path, columns: Mapping[str, str]
) -> None:
    """Make the view `name` of a parquet file, or of a folder of parts: `row`, counted from 0, and its columns.

    DuckDB opens every table in this way: through a link with a plain name, because it would read the path as a pattern
    and the names of folders as columns. It finds columns by position, because "Query" and "query" are the same to it.

    Args:
        connection: from `connect`.
        name: of the view.
        path: of the file or folder.
        columns: those of the view, and what they are called in the file.

    Raises:
        InputError: as read_footer; or a column is missing or repeated.
    """
    schema, parts = read_footers(path)
    names = schema.names
    for own in columns.values():
        require_column(path, own, names)
    places = ", ".join(f"c{place}" for place in range(len(names)))
    chosen = "".join(f", c{names.index(own)} AS {ours}" for ours, own in columns.items())
    selects = []
    first = 0
    for part, rows in parts.items():
        table = f"read_parquet({_text(_link(connection, part))}, hive_partitioning = false)"
        selects.append(f"SELECT file_row_number + {first} AS row{chosen} FROM {table} AS part ({places})")
        first += rows
    with reading(path):
        connection.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS {' UNION ALL '.join(selects)}")


def _link(connection: duckdb.DuckDBPyConnection, path: Path) -> str:
    """Make a link to a file in the folder where the connection spills, and return its path."""
    [(folder,)] = connection.execute("SELECT current_setting('temp_directory')").fetchall()
    links = Path(folder, "links")
    links.mkdir(exist_ok=True)
    link = links / f"{sum(1 for _ in links.iterdir())}.parquet"
    link.symlink_to(path.absolute())
    return os.fspath(link)


def _text(value: str) -> str:
    """Return a string of SQL."""
    return "'" + value.replace("'", "''") + "'"


@contextlib.contextmanager
def reading(path: str | Path) -> Iterator[None]:
    """Turn DuckDB's error about a damaged file into one line that names the file."""
    try:
        yield
    except duckdb.OutOfMemoryException:
        raise
    except duckdb.Error as error:
        if _NO_ROOM.search(str(error)):
            raise
        raise InputError(
            path, f"cannot be read ({_first_line(error)})", "download or make it again"
        ) from None


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]


def write_stream(path: str | Path, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> None:
    """Write record batches to a parquet file, one row group per batch, holding one batch at a time."""
    with pq.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True) as writer:
        for batch in batches:
            writer.write_batch(batch.cast(schema))
