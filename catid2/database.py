"""DuckDB as the corpus stages use it: in memory, under a limit, spilling to a folder that goes away."""

import contextlib
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from catid2.artifacts import InputError

BLANKS = r"[\s\p{Z}\p{Cc}]+"  # RE2: white space of any script and control characters


class Resources(NamedTuple):
    """What DuckDB may use. The memory limit is its own; Python and Arrow buffers come on top (about 0.5 GB)."""

    memory_limit: str = "2GB"
    threads: int | None = None  # None: all cores
    temp_dir: Path | None = None  # where it spills; None: the system's


@contextlib.contextmanager
def connect(resources: Resources) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield an in-memory DuckDB that spills into a folder of its own, removed at the end.

    Raises:
        InputError: a resource that DuckDB does not understand, or, within the block, too little memory.
    """
    if resources.temp_dir is not None and not resources.temp_dir.is_dir():
        raise InputError(f"--temp-dir {resources.temp_dir}", "no such folder", "make it, or name another")
    with tempfile.TemporaryDirectory(prefix="catid2-", dir=resources.temp_dir) as spill:
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
            yield connection
        except duckdb.OutOfMemoryException as error:
            remedy = "give more memory, fewer threads or a --temp-dir with more room"
            raise InputError(f"--memory-limit {resources.memory_limit}", _first_line(error), remedy) from None
        finally:
            connection.close()


@contextlib.contextmanager
def reading(path: str | Path) -> Iterator[None]:
    """Turn what DuckDB says about a damaged file into one line that names it."""
    try:
        yield
    except duckdb.OutOfMemoryException:
        raise
    except duckdb.Error as error:
        raise InputError(
            path, f"cannot be read ({_first_line(error)})", "download or make it again"
        ) from None


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]


def write_stream(path: str | Path, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> None:
    """Write record batches to a parquet file, a row group each, without holding them all."""
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch.cast(schema))
