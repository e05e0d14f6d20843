"""DuckDB as the corpus stages use it: in memory, under a limit, spilling to a folder that goes away."""

import contextlib
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from catid2.cleaning import text_key
from catid2.errors import InputError
from catid2.writing import FULL, MAKE_ROOM, needs_room

_NO_ROOM = re.compile("|".join(["max_temp_directory_size", *map(os.strerror, FULL)]))
BLANKS = r"[\s\p{Z}\p{Cc}]+"  # RE2: white space of any script and control characters
CLEAN_NAME = (
    f"trim(regexp_replace(coalesce(name, ''), '{BLANKS}', ' ', 'g'))"  # SQL, of a column or variable `name`
)


class Resources(NamedTuple):
    """What DuckDB may use. The memory limit is its own; Python and Arrow buffers come on top (about 0.5 GB)."""

    memory_limit: str = "2GB"
    threads: int | None = None  # None: all cores
    temp_dir: Path | None = None  # where it spills; None: the system's


@contextlib.contextmanager
def connect(resources: Resources) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield an in-memory DuckDB that spills into a folder of its own, removed at the end; SQL has `text_key`.

    Folders that killed processes of this host left are removed at the start.

    Raises:
        InputError: a resource that DuckDB does not understand, or, within the block, too little memory or no room to
            spill.
    """
    if resources.temp_dir is not None and not resources.temp_dir.is_dir():
        raise InputError(f"--temp-dir {resources.temp_dir}", "no such folder", "make it, or name another")
    temp_dir = resources.temp_dir or Path(tempfile.gettempdir())
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
    """Remove the folders with this prefix whose processes are no more."""
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


@contextlib.contextmanager
def reading(path: str | Path) -> Iterator[None]:
    """Turn what DuckDB says about a damaged file into one line that names it."""
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
    """Write record batches to a parquet file, a row group each, without holding them all."""
    with pq.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True) as writer:
        for batch in batches:
            writer.write_batch(batch.cast(schema))
