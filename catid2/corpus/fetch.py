"""Download public files: resumed where they stopped, checked, and renamed to their targets all together.

The bytes are written to `NAME.part` next to the target. This file survives a kill, and a failed job, whose targets
Snakemake removes. `NAME.part.json` records the remote file and its version, so that a part of another file or another
version is never continued.
"""

import itertools
import json
import logging
import math
import os
import re
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from catid2.corpus.file_formats import HEAD, Format, fault, fault_of_head
from catid2.runtime.contents import file_sha256
from catid2.runtime.errors import InputError
from catid2.runtime.progress import Progress
from catid2.runtime.writing import needs_room, require_ownership

if TYPE_CHECKING:
    from collections.abc import Mapping

    from catid2.config.fetch import RemoteFile

ATTEMPTS = 5  # connections in a row that bring fewer than _LEAST bytes before giving up
BACKOFF = 2.0  # seconds before the second attempt; doubled for each further one
_LEAST = 1 << 16  # bytes; a connection that brings fewer in _WINDOW, or in all, has failed
_WINDOW = 60.0  # seconds
_CHECK = 1.0  # seconds between two looks at whose the part is
_TIMEOUT = httpx.Timeout(60.0)  # seconds without a byte
_TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")  # Content-Range: first byte, size of the file

log = logging.getLogger(__name__)


class _Interrupted(Exception):
    """The connection failed, and another attempt may succeed."""


class _Foreign(Exception):
    """What arrived is not the file; another attempt would not help."""


def fetch(files: "Mapping[Path, tuple[RemoteFile, Format]]", backoff: float = BACKOFF) -> None:
    """Download each target's remote file, continuing `TARGET.part` if it is of the same version of the same file.

    The targets get their names once all files are downloaded and checked. If one fails, the parts of the others stay
    for the next call, which only checks them. Broken connections are resumed, up to ATTEMPTS times without progress.
    The size (given, or the server's) and the SHA-256 (if given) must agree; without a SHA-256, the file is read once
    and must be of its format.

    Args:
        files: by target; the format is the one expected.
        backoff: seconds before the second attempt.

    Raises:
        InputError: the address is not valid, or the server has no such file (asked once); the server sends something
            else (an HTML page, a git-lfs pointer), or more bytes than the file has; what arrived has another size or
            SHA-256, or is damaged (the part is removed); the connection keeps failing or is too slow, or the disk is
            full (the part is kept).
    """
    fetched = []
    for target, (remote, expected) in files.items():
        download = _Download(remote, target, expected)
        with needs_room(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            size = download.run(backoff)
        fetched.append((target, size, download.checked(size)))
    require_ownership()
    for target, size, sha256 in fetched:
        os.replace(_part(target), target)
        _note(target).unlink()
        log.info("%s: %d bytes, sha256 %s", target, size, sha256)


def _part(target: Path) -> Path:
    return target.with_name(target.name + ".part")


def _note(target: Path) -> Path:
    return target.with_name(target.name + ".part.json")


class _Download:
    """The download of one remote file into the part of its target."""

    def __init__(self, remote: "RemoteFile", target: Path, expected: Format):
        self.remote, self.target, self.expected = remote, target, expected
        self.part, self.note = _part(target), _note(target)

    def run(self, backoff: float) -> int:
        """Fill the part; return the size it should have, in bytes."""
        url = self.remote.url
        failures, furthest = 0, self._have()
        with httpx.Client(follow_redirects=True, timeout=_TIMEOUT) as client:
            while True:
                try:
                    return self._continue(client)
                except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.TooManyRedirects) as error:
                    raise InputError(url, str(error), "correct the address in the config") from None
                except _Foreign as error:
                    raise InputError(url, str(error), "correct url, size and sha256 in the config") from None
                except (httpx.RequestError, _Interrupted) as error:
                    have = self._have()
                    if have >= furthest + _LEAST:
                        failures, furthest = 0, have
                    else:
                        failures += 1
                    reason = str(error) or type(error).__name__
                    if failures >= ATTEMPTS:
                        raise InputError(
                            url, f"the download fails ({reason})", "try again; it resumes"
                        ) from None
                    pause = backoff * 2 ** max(failures - 1, 0)
                    log.warning("%s: %s; again in %.0f s from byte %d", url, reason, pause, have)
                    time.sleep(pause)

    def _continue(self, client: httpx.Client) -> int:
        """Request the missing bytes and append them; return the size of the complete file, in bytes."""
        known = _read_note(self.note)
        # Without a validator another version would be taken for the rest, unless the SHA-256 tells.
        validator = known.get("validator") or ""
        same = known.get("url") == self.remote.url and (validator or self.remote.sha256)
        start = self._have() if same else 0
        headers = {"Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
            if validator:
                headers["If-Range"] = validator
        with client.stream("GET", self.remote.url, headers=headers) as response:
            status = response.status_code
            if status in _TRANSIENT:
                raise _Interrupted(f"the server answers {status}")
            if start and status == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                return self._nothing_beyond(response, start)
            if status not in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT):
                raise InputError(
                    self.remote.url, f"the server answers {status}", "correct the address in the config"
                )
            first, size = _range(response)
            if first == 0:  # the server ignores Range, or the file has changed
                start = 0
            elif first != start:
                self._drop()
                raise _Interrupted(f"the server sends another range than bytes {start}-")
            elif (validator and _validator(response.headers) not in ("", validator)) or (
                size and known.get("size") not in (None, size)
            ):
                self._drop()
                raise _Interrupted("the file has changed on the server")
            blocks = _paced(response.iter_raw())
            if start == 0:
                blocks = self._require_expected(blocks)
            self._require_size(size)
            if start == 0:
                self.part.unlink(missing_ok=True)
                kept = {"url": self.remote.url, "validator": _validator(response.headers), "size": size}
                self.note.write_text(json.dumps(kept))
            size = size or self.remote.size
            self._append(blocks, start, size)
        have = self._have()
        if size and have < size:
            raise _Interrupted(f"the connection ended at byte {have} of {size}")
        return size or have

    def _nothing_beyond(self, response: httpx.Response, start: int) -> int:
        """Return the size if the server has nothing beyond `start` because the part is complete; else start again."""
        size = _range(response)[1]
        self._require_size(size)
        if start == (size or self.remote.size):
            return start
        self._drop()
        raise _Interrupted(f"the part of {start} bytes is longer than the file")

    def _require_size(self, size: int | None) -> None:
        if self.remote.size and size and size != self.remote.size:
            raise _Foreign(f"{size} bytes on the server, {self.remote.size} expected")

    def _require_expected(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        """Return the blocks of a body after checking its first bytes; the part on disk is not touched."""
        head = b""
        for block in blocks:
            head += block
            if len(head) >= HEAD:
                break
        if head and (wrong := fault_of_head(head, self.expected)):
            raise _Foreign(f"the server sends {wrong}")
        return itertools.chain([head], blocks)

    def _append(self, blocks: Iterator[bytes], start: int, size: int | None) -> None:
        progress = Progress(total=size, initial=start, unit="B", unit_scale=True, desc=self.target.name)
        have, checked = start, -math.inf
        # Two processes at once would mix their bytes, also one that has been told so and flushes a buffer: there is
        # none.
        with progress, self.part.open("ab", buffering=0) as out:
            for block in blocks:
                now = time.monotonic()
                if now - checked > _CHECK:
                    require_ownership()
                    checked = now
                have += len(block)
                if size and have > size:
                    self._drop()
                    raise _Foreign(f"the server sends more than {size} bytes")
                rest = memoryview(block)
                while rest:  # a disk that fills up takes a piece
                    rest = rest[out.write(rest) :]
                progress.update(len(block))
            os.fsync(out.fileno())  # before the rename, or a crash could leave the name without the bytes

    def checked(self, size: int) -> str:
        """Return the SHA-256 of the part after comparing size and content; a part that differs is removed."""
        have = self._have()
        sha256 = file_sha256(self.part)
        if have != size:
            wrong = f"{have} bytes, expected {size}"
        elif self.remote.sha256:
            wrong = (
                None if sha256 == self.remote.sha256 else f"sha256 {sha256}, expected {self.remote.sha256}"
            )
        else:
            wrong = fault(self.part, self.expected)
        if wrong:
            self._drop()
            raise InputError(
                self.target,
                f"{self.remote.url} brought {wrong}",
                "removed; fetch again or correct the config",
            )
        return sha256

    def _drop(self) -> None:
        self.part.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    def _have(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0


def _paced(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the blocks; raise _Interrupted if they arrive too slowly."""
    since, brought = time.monotonic(), 0
    for block in blocks:
        brought += len(block)
        passed = time.monotonic() - since
        if passed > _WINDOW:
            if brought < _LEAST:
                raise _Interrupted(f"only {brought} bytes in {passed:.0f} s")
            since, brought = time.monotonic(), 0
        yield block


def _range(response: httpx.Response) -> tuple[int | None, int | None]:
    """Return the first byte of the response (None: it does not say), and the size of the complete file."""
    if response.status_code == httpx.codes.OK:
        length = response.headers.get("Content-Length")
        return 0, int(length) if length else None
    match = _RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
    first, size = match.groups() if match else (None, None)
    return int(first) if first else None, int(size) if size not in (None, "*") else None


def _validator(headers: httpx.Headers) -> str:
    """Return what an If-Range may carry (RFC 9110, section 13.1.5): a strong ETag, or a Last-Modified; "" if neither.

    A date is used only if there is no ETag, and if the answer is at least a second later, so that the file cannot
    have changed twice in that second (section 8.8.2.2).
    """
    if etag := headers.get("ETag"):
        return "" if etag.startswith("W/") else etag
    try:
        modified, sent = (parsedate_to_datetime(headers[name]) for name in ("Last-Modified", "Date"))
        return headers["Last-Modified"] if (sent - modified).total_seconds() >= 1 else ""
    except (KeyError, ValueError, TypeError):  # one is missing, no date, or has no time zone
        return ""


def _read_note(note: Path) -> dict[str, str | int | None]:
    """Return which file the part belongs to; {} if there is no note, or only a half-written one."""
    try:
        return json.loads(note.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
