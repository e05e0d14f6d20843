"""Download public files: resumed where they stopped, checked, and in place whole, all of them or none.

The bytes gather in `NAME.part` beside the target, which survives a kill and a failed job, of which Snakemake removes
the targets; `NAME.part.json` says of which remote file they are, so that a part of another file or another
version is never continued.
"""

import hashlib
import json
import logging
import math
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import httpx
import zstandard
from tqdm import tqdm

from catid2.errors import InputError
from catid2.writing import needs_room, require_ownership

if TYPE_CHECKING:
    from collections.abc import Mapping

    from catid2.config.fetch import RemoteFile

ATTEMPTS = 5  # connections in a row that bring no byte before giving up
BACKOFF = 2.0  # seconds before the second attempt; doubled for each further one
_BLOCK = 1 << 17  # bytes
_CHECK = 1.0  # seconds between two looks at whose the part is
_TIMEOUT = httpx.Timeout(60.0)  # seconds without a byte
_TRANSIENT = (408, 425, 429, 500, 502, 503, 504)

log = logging.getLogger(__name__)


class Fetched(NamedTuple):
    """What was downloaded."""

    path: Path
    size: int  # bytes
    sha256: str


class _Interrupted(Exception):
    """The connection failed in a way that another attempt may mend."""


def fetch(files: "Mapping[Path, RemoteFile]", backoff: float = BACKOFF) -> list[Fetched]:
    """Download each target's remote file, continuing `TARGET.part` if it is of the same file.

    The targets get their names when all are there and checked. When one fails, the parts of the others stay for the
    next call, which only checks them. Broken connections are taken up where they stopped, up to ATTEMPTS times
    without progress. The size (given, or the server's) and the SHA-256 (if given) must agree; a `.zst` file without
    a given SHA-256 is decompressed once.

    Raises:
        InputError: the address is none, or the server has no such file (asked once); what arrived has another size or
            SHA-256, or is no whole zstd stream (the part is removed); the connection keeps failing or the disk is
            full (the part is kept).
    """
    fetched = []
    for target, remote in files.items():
        part, note = _part(target), _note(target)
        with needs_room(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            size = _download(remote, part, note, backoff)
        fetched.append(Fetched(target, size, _checked(remote, part, note, size)))
    require_ownership()
    for target, size, sha256 in fetched:
        os.replace(_part(target), target)
        _note(target).unlink()
        log.info("%s: %d bytes, sha256 %s", target, size, sha256)
    return fetched


def _part(target: Path) -> Path:
    return target.with_name(target.name + ".part")


def _note(target: Path) -> Path:
    return target.with_name(target.name + ".part.json")


def _download(remote: "RemoteFile", part: Path, note: Path, backoff: float) -> int:
    """Fill `part`; return the size it should have."""
    failures, furthest = 0, _size(part)
    with httpx.Client(follow_redirects=True, timeout=_TIMEOUT) as client:
        while True:
            try:
                return _continue(client, remote, part, note)
            except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.TooManyRedirects) as error:
                raise InputError(remote.url, str(error), "correct the address in the config") from None
            except (httpx.RequestError, _Interrupted) as error:
                failures = 0 if _size(part) > furthest else failures + 1
                furthest = max(furthest, _size(part))
                if failures >= ATTEMPTS:
                    raise InputError(
                        remote.url,
                        f"the download fails ({error or type(error).__name__})",
                        "try again; it resumes",
                    ) from None
                pause = backoff * 2 ** max(failures - 1, 0)
                log.warning("%s: %s; again in %.0f s from byte %d", remote.url, error, pause, _size(part))
                time.sleep(pause)


def _continue(client: httpx.Client, remote: "RemoteFile", part: Path, note: Path) -> int:
    """Ask for what `part` lacks and append it; return the whole file's size."""
    known = _read_note(note)
    start = _size(part) if known.get("url") == remote.url else 0
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        # Without the validator a file that was changed on the server would be continued with other bytes.
        if known.get("etag"):
            headers["If-Range"] = known["etag"]
    with client.stream("GET", remote.url, headers=headers) as response:
        if response.status_code in _TRANSIENT:
            raise _Interrupted(f"the server answers {response.status_code}")
        if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            return _already_whole(remote, response, part, start)
        if response.status_code not in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT):
            raise InputError(
                remote.url, f"the server answers {response.status_code}", "correct the address in the config"
            )
        if response.status_code == httpx.codes.OK:
            start = 0  # the server ignores Range, or the file has changed
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            part.unlink(missing_ok=True)
            raise _Interrupted(f"the server sends another range than bytes {start}-")
        size = _whole_size(response, start)
        if remote.size and size and size != remote.size:
            raise InputError(
                remote.url,
                f"{size} bytes on the server, {remote.size} expected",
                "correct size and sha256, or the url",
            )
        size = size or remote.size
        if start == 0:
            part.unlink(missing_ok=True)
            etag = response.headers.get("ETag", "")
            note.write_text(json.dumps({"url": remote.url, "etag": "" if etag.startswith("W/") else etag}))
        _append(response, part, start, size)
    have = _size(part)
    if size and have < size:
        raise _Interrupted(f"the connection ended at byte {have} of {size}")
    return size or have


def _already_whole(remote: "RemoteFile", response: httpx.Response, part: Path, start: int) -> int:
    """Return the size if the server has nothing beyond `start` because the part is whole; else start over."""
    total = response.headers.get("Content-Range", "").rpartition("/")[2]
    if start == remote.size or str(start) == total:
        return start
    part.unlink()
    raise _Interrupted(f"the part of {start} bytes is longer than the file")


def _append(response: httpx.Response, part: Path, start: int, size: int | None) -> None:
    progress = tqdm(total=size, initial=start, unit="B", unit_scale=True, desc=part.stem, mininterval=1)
    checked = -math.inf
    # Two processes at once would mix their bytes, also one that has been told so and flushes a buffer: there is none.
    with progress, part.open("ab", buffering=0) as out:
        for block in response.iter_raw():
            if time.monotonic() - checked > _CHECK:
                require_ownership()
                checked = time.monotonic()
            rest = memoryview(block)
            while rest:  # a disk that fills up takes a piece
                rest = rest[out.write(rest) :]
            progress.update(len(block))
        os.fsync(out.fileno())  # before the rename, or a crash could leave the name without the bytes


def _whole_size(response: httpx.Response, start: int) -> int | None:
    length = response.headers.get("Content-Length")
    return start + int(length) if length else None


def _checked(remote: "RemoteFile", part: Path, note: Path, size: int) -> str:
    """Return the SHA-256 of `part` after comparing size and SHA-256; a part that differs is removed."""
    have = _size(part)
    with part.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    wrong = None
    if have != size:
        wrong = f"{have} bytes, expected {size}"
    elif remote.sha256 and sha256 != remote.sha256:
        wrong = f"sha256 {sha256}, expected {remote.sha256}"
    elif not remote.sha256 and remote.url.endswith(".zst"):
        wrong = _zstd_fault(part)
    if wrong:
        part.unlink()
        note.unlink()
        raise InputError(
            part.with_suffix(""),
            f"{remote.url} brought {wrong}",
            "removed; fetch again or correct the config",
        )
    return sha256


def _zstd_fault(path: Path) -> str | None:
    """Return what keeps `path` from being a whole zstd stream, None if it is one."""
    decompressor, frame = zstandard.ZstdDecompressor(), None
    try:
        with (
            path.open("rb") as file,
            tqdm(total=_size(path), unit="B", unit_scale=True, desc="verify") as progress,
        ):
            while block := file.read(_BLOCK):
                progress.update(len(block))
                while block:  # a stream may be several frames one after the other
                    frame = frame or decompressor.decompressobj()
                    frame.decompress(block)
                    block = frame.unused_data
                    frame = None if frame.eof else frame
    except zstandard.ZstdError as error:
        return f"no zstd stream ({error})"
    return "a zstd stream that is cut" if frame else None


def _read_note(note: Path) -> dict[str, str]:
    """Return what the part is of; {} where there is no note, or a kill left it half-written."""
    try:
        return json.loads(note.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
