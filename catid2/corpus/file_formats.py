"""Checks the format of a downloaded file by its bytes: a server may answer 200 and send something else."""

import gzip
import json
import zlib
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet
import zstandard

from catid2.runtime.errors import readable
from catid2.runtime.progress import Progress
from catid2.runtime.tables import LFS_POINTER

Format = Literal["parquet", "zstd", "gzip", "json"]

HEAD = 512  # bytes, enough for `fault_of_head`
_BLOCK = 1 << 17  # bytes
# The first bytes of a file; JSON may have white space before them, a zstd stream a frame that decoders skip.
_MAGIC: dict[Format, tuple[bytes, ...]] = {
    "parquet": (b"PAR1",),
    "zstd": (b"\x28\xb5\x2f\xfd", *(bytes([0x50 + n]) + b"\x2a\x4d\x18" for n in range(16))),
    "gzip": (b"\x1f\x8b",),
    "json": (b"{", b"["),
}
_NAMES: dict[Format, str] = {"parquet": "parquet", "zstd": "zstd", "gzip": "gzip", "json": "JSON"}
_OTHERS = {
    "a git-lfs pointer instead of the file": LFS_POINTER,
    "a gzip file": b"\x1f\x8b",
    "a zip archive": b"PK\x03\x04",
    "a parquet file": b"PAR1",
    "a zstd file": b"\x28\xb5\x2f\xfd",
}


def fault_of_head(head: bytes, expected: Format) -> str | None:
    """Return what a file is instead of `expected`, by its first bytes (HEAD, or all it has); None if it may be one."""
    start = head.lstrip() if expected == "json" else head
    if start.startswith(_MAGIC[expected]):
        return None
    return f"{_name(head)}, not a {_NAMES[expected]} file"


def _name(head: bytes) -> str:
    for name, magic in _OTHERS.items():
        if head.startswith(magic):
            return name
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head")):
        return "an HTML page"
    if text.startswith(b"<?xml"):
        return "an XML document"
    return f"something that starts with {head[:20]!r}" if head else "nothing"


def fault(path: Path, expected: Format) -> str | None:
    """Return why the file `path` is no complete `expected` file; None if it is one.

    A compressed file is read to its end, one of JSON into memory.
    """
    with readable(path), path.open("rb") as file:
        head = file.read(HEAD)
    faults = {"parquet": _parquet_fault, "zstd": _zstd_fault, "gzip": _gzip_fault, "json": _json_fault}
    return fault_of_head(head, expected) or faults[expected](path)


def _parquet_fault(path: Path) -> str | None:
    try:
        with readable(path):  # what cannot be read may be whole
            pa.parquet.read_metadata(path)
    except (pa.ArrowInvalid, OSError) as error:
        return f"a parquet file that is cut or damaged ({error})"
    return None


def _zstd_fault(path: Path) -> str | None:
    decompressor, frame = zstandard.ZstdDecompressor(), None
    try:
        with (
            readable(path),
            path.open("rb") as file,
            Progress(total=path.stat().st_size, unit="B", unit_scale=True, desc="verify") as progress,
        ):
            while block := file.read(_BLOCK):
                progress.update(len(block))
                while block:  # a stream may be several frames one after the other
                    frame = frame or decompressor.decompressobj()
                    frame.decompress(block)
                    block = frame.unused_data
                    frame = None if frame.eof else frame
    except zstandard.ZstdError as error:
        return f"a zstd file that is damaged ({error})"
    return "a zstd file that is cut" if frame else None


def _gzip_fault(path: Path) -> str | None:
    try:
        with readable(path), gzip.open(path) as file:
            while file.read(_BLOCK):
                pass
    except (OSError, EOFError, zlib.error) as error:
        return f"a gzip file that is cut or damaged ({error})"
    return None


def _json_fault(path: Path) -> str | None:
    try:
        with readable(path):
            json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        return f"a JSON file that is cut or damaged ({error})"
    return None
