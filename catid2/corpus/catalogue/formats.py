"""Which format a file of a catalogue has, by the ending of its name and its first bytes; and its text."""

import contextlib
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TextIO, cast

from catid2.config.catalogue import ENDINGS, Format, named_format
from catid2.runtime.errors import InputError
from catid2.runtime.tables import require_file

_GZIP = b"\x1f\x8b"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")  # byte order marks
_AS_CSV = "save it as CSV (UTF-8)"
_OTHERS = {  # how files start that people give the wrong ending: what they are, and what to do
    b"pk\x03\x04": ("a spreadsheet (.xlsx) or another zip archive", _AS_CSV),
    b"\xd0\xcf\x11\xe0": ("an old spreadsheet (.xls)", _AS_CSV),
    b"par1": ("a parquet file", "end its name in .parquet"),
    b"(\xb5/\xfd": ("compressed by zstd", "decompress it, or compress it by gzip"),
    b"bzh": ("compressed by bzip2", "decompress it, or compress it by gzip"),
    b"\xfd7zxz": ("compressed by xz", "decompress it, or compress it by gzip"),
    b"<!doctype": ("a web page", "download the file itself"),
    b"<html": ("a web page", "download the file itself"),
}


def format_of(path: Path) -> Format:
    """Return how to read a file, by the ending of its name; its first bytes must not contradict it.

    Raises:
        InputError: its ending is unknown; or the text file is missing, a folder, empty or something else.
    """
    known = named_format(path.name)
    if known is None:
        raise InputError(path, "the ending of its name is not known", f"known are {', '.join(ENDINGS)}")
    if known == "parquet":
        return known  # read_footer checks the file, or the parts in a folder
    with require_file(path).open("rb") as file:
        start = file.read(16).lower()
    if not start:
        raise InputError(path, "an empty file", "it needs a header and rows")
    for first, (what, remedy) in _OTHERS.items():
        if start.startswith(first):
            raise InputError(path, f"it is {what}", remedy)
    return known


@contextlib.contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """Open a text file (also gzip, or UTF-16 with a byte order mark) and leave its line ends as they are.

    Bytes that are not UTF-8 become lone surrogates.

    Raises:
        InputError: the file, or within the block what is read of it, is damaged.
    """
    try:
        with contextlib.ExitStack() as stack:
            file = cast(IO[bytes], stack.enter_context(path.open("rb")))
            if _start(file) == _GZIP:
                file = cast(IO[bytes], stack.enter_context(gzip.open(file)))
            wide = _start(file) in _UTF_16
            encoding, errors = ("utf-16", "strict") if wide else ("utf-8-sig", "surrogateescape")
            yield stack.enter_context(io.TextIOWrapper(file, encoding, errors, newline=""))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(path, f"a damaged gzip file ({error})", "compress or download it again") from None
    except UnicodeDecodeError as error:
        raise InputError(path, f"a damaged UTF-16 text ({error.reason})", "write the file as UTF-8") from None


def _start(file: IO[bytes]) -> bytes:
    start = file.read(2)
    file.seek(0)
    return start
