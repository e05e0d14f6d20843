"""Downloads against a server on 127.0.0.1 that serves, cuts, refuses, changes and lies."""

import errno
import gzip
import hashlib
import io
import json
import os
import random
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
import zstandard
from breakage import make_unreadable
from in_process import run_here

from catid2.config.fetch import FetchEsciConfig, FetchEsciSampleConfig, RemoteFile
from catid2.corpus import fetch as module
from catid2.corpus import file_formats
from catid2.corpus.fetch import ATTEMPTS
from catid2.corpus.fetch import fetch as fetch_all
from catid2.runtime.errors import InputError
from catid2.runtime.writing import claim


def parquet(seed: int) -> bytes:
    """Return a parquet file of about 300 kB that does not compress."""
    column = pa.array([random.Random(seed).randbytes(300_000)])
    file = io.BytesIO()
    pa.parquet.write_table(
        pa.table({"bytes": column}), file, compression="none", use_dictionary=False, write_statistics=False
    )
    return file.getvalue()


CONTENT = parquet(0)
OTHER = parquet(1)  # of the same size
SHA256 = hashlib.sha256(CONTENT).hexdigest()
SCRIPTS = Path(__file__).parent.parent / "scripts"


@dataclass
class Site:
    """One file on a server, and how the server behaves."""

    address: str = ""
    content: bytes = CONTENT
    etag: str | None = '"1"'
    dates: dict[str, str] = field(default_factory=dict)  # Last-Modified and Date
    status: int = 200
    chunked: bool = False  # no Content-Length
    heeds_if_range: bool = True
    total: int | None = None  # size told in Content-Range; None: the true one
    pause: float = 0.0  # seconds before each further piece of 1000 bytes
    accepts_ranges: bool = True
    cuts: list[int] = field(default_factory=list)  # bytes after which each of the next answers is cut
    busy: int = 0  # so many answers are 503 first
    ranges: list[str | None] = field(default_factory=list)  # Range of each request
    # by name: other content than that of all other names
    others: dict[str, bytes] = field(default_factory=dict)
    conditions: list[str] = field(default_factory=list)  # If-Range of those that had one

    def url(self, name: str = "file.parquet") -> str:
        return f"{self.address}/{name}"


@pytest.fixture
def site():
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            wanted = self.headers.get("Range")
            site.ranges.append(wanted)
            if site.busy or site.status != 200:
                self.send_response(503 if site.busy else site.status)
                site.busy = max(0, site.busy - 1)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            content = site.others.get(self.path.removeprefix("/"), site.content)
            start, whole = 0, len(content)
            validators = {site.etag, site.dates.get("Last-Modified")}
            condition = self.headers.get("If-Range")
            if condition is not None:
                site.conditions.append(condition)
            current = condition is None or condition in validators or not site.heeds_if_range
            if wanted and site.accepts_ranges and current:
                start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start and start >= whole:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{whole}")
                self.end_headers()
                return
            self.send_response_only(206 if start else 200)
            # announced, or the client would send its next request into a connection that is about to close
            self.send_header("Connection", "close")
            for name, value in ({"ETag": site.etag} | site.dates).items():
                if value:
                    self.send_header(name, value)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{whole - 1}/{site.total or whole}")
            if site.chunked:
                self.send_header("Transfer-Encoding", "chunked")
            else:
                self.send_header("Content-Length", str(whole - start))
            self.end_headers()
            body = content[start:]
            body = body[: site.cuts.pop(0)] if site.cuts else body
            if site.chunked:
                body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
            for first in range(0, len(body), 1000 if site.pause else max(len(body), 1)):
                self.wfile.write(body[first : first + 1000] if site.pause else body)
                time.sleep(site.pause)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    site.address = f"http://127.0.0.1:{server.server_port}"
    yield site
    server.shutdown()
    thread.join()
    server.server_close()


def fetch(remote: RemoteFile, target: Path, **options: float) -> None:
    fetch_all({target: (remote, "parquet")}, **options)


def leave_part(site: Site, target: Path, content: bytes, **note: str | int | None) -> None:
    """Leave what a killed download leaves."""
    target.with_name(target.name + ".part").write_bytes(content)
    text = json.dumps({"url": site.url(), "validator": site.etag, "size": len(site.content)} | note)
    target.with_name(target.name + ".part.json").write_text(text)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_arrives_whole_and_alone(site, tmp_path):
    remote = RemoteFile(url=site.url(), size=len(CONTENT), sha256=SHA256)
    fetch(remote, tmp_path / "deep" / "file.parquet")
    assert (tmp_path / "deep" / "file.parquet").read_bytes() == CONTENT
    assert names(tmp_path / "deep") == ["file.parquet"]


def test_a_cut_connection_is_taken_up_where_it_ended(site, tmp_path):
    site.cuts = [100_000, 50_000]
    fetch(RemoteFile(url=site.url(), sha256=SHA256), tmp_path / "file", backoff=0)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert site.ranges == [None, "bytes=100000-", "bytes=150000-"]


def test_a_killed_download_is_taken_up_by_the_next_start(site, tmp_path):
    site.cuts, site.content = [100_000], zstandard.compress(CONTENT)
    sha256 = hashlib.sha256(site.content).hexdigest()
    config = json.dumps({"esci_s": {"url": site.url(), "sha256": sha256}})
    interrupted = (
        "import sys, catid2.corpus.fetch, os; catid2.corpus.fetch.time.sleep = lambda _: os._exit(9);"
        "sys.argv[0] = sys.argv.pop(1); import runpy; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    script = [str(SCRIPTS / "fetch_esci_s.py"), "--config", config, "--output", str(tmp_path / "file")]
    killed = subprocess.run([sys.executable, "-c", interrupted, *script], capture_output=True)
    assert killed.returncode == 9
    assert names(tmp_path) == [".owner-file", "file.part", "file.part.json"]
    done = subprocess.run([sys.executable, *script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert sha256 in done.stderr
    assert site.ranges == [None, "bytes=100000-"]
    assert (tmp_path / "file").read_bytes() == site.content
    assert names(tmp_path) == ["file"]


def test_a_wrong_checksum_names_both_and_leaves_nothing(site, tmp_path):
    with pytest.raises(InputError, match=f"{tmp_path}/file: .*sha256 {SHA256}, expected {'0' * 64}"):
        fetch(RemoteFile(url=site.url(), sha256="0" * 64), tmp_path / "file")
    assert names(tmp_path) == []


def test_a_size_that_differs_from_the_expected_is_refused_before_the_download(site, tmp_path):
    with pytest.raises(InputError, match=f"{len(CONTENT)} bytes on the server, 7 expected"):
        fetch(RemoteFile(url=site.url(), size=7), tmp_path / "file")
    assert names(tmp_path) == []


def test_a_server_without_ranges_starts_over(site, tmp_path):
    site.accepts_ranges, site.cuts = False, [100_000]
    fetch(RemoteFile(url=site.url(), sha256=SHA256), tmp_path / "file", backoff=0)
    assert site.ranges == [None, "bytes=100000-"]
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_file_that_changed_on_the_server_is_not_continued(site, tmp_path):
    site.cuts = [100_000] * (ATTEMPTS + 1)
    site.accepts_ranges = False  # every attempt starts over and gets no further
    with pytest.raises(InputError, match="the download fails"):
        fetch(RemoteFile(url=site.url()), tmp_path / "file", backoff=0)
    site.cuts, site.accepts_ranges, site.etag, site.content = [], True, '"2"', OTHER
    fetch(RemoteFile(url=site.url()), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == OTHER


def test_a_part_of_another_file_is_not_continued(site, tmp_path):
    leave_part(site, tmp_path / "file", b"something else", url=site.url("other"))
    fetch(RemoteFile(url=site.url(), sha256=SHA256), tmp_path / "file")
    assert site.ranges == [None]
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_part_without_a_note_or_with_half_a_note_is_not_continued(site, tmp_path):
    for note in (None, '{"url": "htt'):
        (tmp_path / "file.part").write_bytes(b"something else")
        if note:
            (tmp_path / "file.part.json").write_text(note)
        fetch(RemoteFile(url=site.url(), sha256=SHA256), tmp_path / "file")
    assert site.ranges == [None, None]


def test_a_part_that_is_already_whole_is_only_checked(site, tmp_path):
    leave_part(site, tmp_path / "file", CONTENT)
    fetch(RemoteFile(url=site.url(), size=len(CONTENT), sha256=SHA256), tmp_path / "file")
    assert site.ranges == [f"bytes={len(CONTENT)}-"]
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_part_that_is_longer_than_the_file_is_dropped(site, tmp_path):
    leave_part(site, tmp_path / "file", CONTENT + b"more")
    fetch(RemoteFile(url=site.url(), sha256=SHA256), tmp_path / "file", backoff=0)
    assert site.ranges == [f"bytes={len(CONTENT) + 4}-", None]
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_missing_file_is_one_line_and_no_retry(site, tmp_path):
    site.status = 404
    with pytest.raises(InputError, match="the server answers 404"):
        fetch(RemoteFile(url=site.url()), tmp_path / "file")
    assert len(site.ranges) == 1
    assert names(tmp_path) == []


def test_a_busy_server_is_asked_again_but_not_for_ever(site, tmp_path):
    site.busy = ATTEMPTS - 1
    fetch(RemoteFile(url=site.url(), sha256=SHA256), tmp_path / "file", backoff=0)
    site.busy = ATTEMPTS
    with pytest.raises(InputError, match="the server answers 503"):
        fetch(RemoteFile(url=site.url(), sha256=SHA256), tmp_path / "other", backoff=0)
    assert len(site.ranges) == 2 * ATTEMPTS


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (lambda whole: whole + whole, None),  # several frames are one stream
        (lambda whole: b"\x5a\x2a\x4d\x18\x03\0\0\0abc" + whole, None),  # as pzstd begins
        (lambda whole: whole[:-1], "brought a zstd file that is cut"),
        (lambda whole: whole[:500] + bytes(8) + whole[508:], "brought a zstd file that is damaged"),
        (lambda _: b"", "brought nothing, not a zstd file"),
        (lambda _: b"\x1f\x8b\x08\0", "the server sends a gzip file, not a zstd file"),
    ],
)
def test_zstd_without_a_checksum_is_decompressed(site, tmp_path, spoil, fault):
    site.content = spoil(zstandard.ZstdCompressor(write_checksum=True).compress(CONTENT * 2))
    target = tmp_path / "esci.json.zst"
    if not site.content:  # an answer of no bytes
        site.chunked = True
    remote = {target: (RemoteFile(url=site.url("download?id=1")), "zstd")}
    if fault is None:
        fetch_all(remote)
        assert names(tmp_path) == ["esci.json.zst"]
    else:
        with pytest.raises(InputError, match=fault):
            fetch_all(remote, backoff=0)
        assert names(tmp_path) == []


def test_parquet_without_a_checksum_is_opened(site, tmp_path):
    site.content = CONTENT[:-1]
    with pytest.raises(
        InputError, match=f"{tmp_path}/file: .* brought a parquet file that is cut or damaged"
    ):
        fetch(RemoteFile(url=site.url()), tmp_path / "file")
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("kind", "content", "fault"),
    [
        ("gzip", gzip.compress(CONTENT), None),
        ("gzip", gzip.compress(CONTENT)[:-1], "brought a gzip file that is cut or damaged"),
        ("gzip", zstandard.compress(CONTENT), "the server sends a zstd file, not a gzip file"),
        ("json", b'{"a": [1]}', None),
        ("json", b" \n\t[1]\n", None),
        ("json", b' \n"text"', "the server sends something that starts with .*, not a JSON file"),
        ("json", b'{"a": [1]', "brought a JSON file that is cut or damaged"),
        ("json", b"<html>sign in</html>", "the server sends an HTML page, not a JSON file"),
    ],
)
def test_gzip_and_json_without_a_checksum_are_read(site, tmp_path, kind, content, fault):
    site.content = content
    remote = {tmp_path / "file": (RemoteFile(url=site.url()), kind)}
    if fault is None:
        fetch_all(remote)
        assert names(tmp_path) == ["file"]
    else:
        with pytest.raises(InputError, match=fault):
            fetch_all(remote, backoff=0)
        assert names(tmp_path) == []


@pytest.mark.parametrize("kind", ["parquet", "zstd"])
def test_a_file_that_cannot_be_read_is_not_called_damaged(tmp_path, monkeypatch, kind):
    file = tmp_path / "file"
    make_unreadable(file)
    unreadable = pytest.raises(InputError, match=r"/file: cannot be read \(Input/output error\)")
    with unreadable:
        file_formats.fault(file, kind)
    file.unlink()
    file.write_bytes(CONTENT if kind == "parquet" else zstandard.compress(CONTENT))
    assert file_formats.fault(file, kind) is None

    def refused(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    opener = "pyarrow.parquet.read_metadata" if kind == "parquet" else "catid2.corpus.file_formats.Progress"
    monkeypatch.setattr(opener, refused if kind == "parquet" else lambda **_: refused())
    with unreadable:
        file_formats.fault(file, kind)


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1108857465\n"


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(
    ("body", "name"),
    [
        (POINTER, "a git-lfs pointer"),
        (b"\n<!DOCTYPE html><html><body>Sign in</body></html>", "an HTML page"),
        (b"\xef\xbb\xbf<HTML>" + b" " * 600_000, "an HTML page"),
        (b"<?xml version='1.0'?><Error/>", "an XML document"),
        (b"PK\x03\x04", "a zip archive"),
        (b"not found", "something that starts with b'not found'"),
    ],
)
def test_another_thing_served_with_200_is_named_and_asked_for_once(site, tmp_path, body, name, chunked):
    site.content, site.chunked = body, chunked
    for known in ({}, {"size": len(CONTENT), "sha256": SHA256}):
        site.ranges.clear()
        with pytest.raises(InputError) as caught:
            fetch(RemoteFile(url=site.url(), **known), tmp_path / "file")
        assert str(caught.value).startswith(f"{site.url()}: the server sends {name}")
        assert str(caught.value).endswith("; correct url, size and sha256 in the config")
        assert site.ranges == [None]
        assert names(tmp_path) == []


def test_a_page_in_place_of_the_rest_leaves_the_part(site, tmp_path):
    leave_part(site, tmp_path / "file", CONTENT[:1000])
    site.content, site.accepts_ranges = b"<html>log in to this network</html>", False
    with pytest.raises(InputError, match="an HTML page"):
        fetch(RemoteFile(url=site.url()), tmp_path / "file")
    assert (tmp_path / "file.part").read_bytes() == CONTENT[:1000]
    site.content, site.accepts_ranges = CONTENT, True
    fetch(RemoteFile(url=site.url()), tmp_path / "file")
    assert site.ranges == ["bytes=1000-", "bytes=1000-"]
    assert (tmp_path / "file").read_bytes() == CONTENT


MODIFIED = "Sat, 28 Nov 2026 08:00:00 GMT"
DATES = {"Last-Modified": MODIFIED, "Date": "Sun, 29 Nov 2026 08:00:00 GMT"}


@pytest.mark.parametrize(
    ("etag", "dates", "validator"),
    [
        ('"1"', {}, '"1"'),
        ('"1"', DATES, '"1"'),
        (None, DATES, MODIFIED),
        (None, DATES | {"Date": MODIFIED}, None),  # it may change again in that second
        (None, {"Last-Modified": MODIFIED}, None),
        (None, {"Last-Modified": "yesterday", "Date": DATES["Date"]}, None),
        ('W/"1"', DATES, None),  # where there is any ETag, the date must not be used
        (None, {}, None),
    ],
)
def test_a_part_is_continued_on_a_strong_validator_alone(site, tmp_path, etag, dates, validator):
    site.etag, site.dates, site.cuts = etag, dates, [100_000]
    fetch(RemoteFile(url=site.url()), tmp_path / "file", backoff=0)
    assert site.conditions == ([validator] if validator else [])
    assert site.ranges == [None, "bytes=100000-" if validator else None]
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_without_a_validator_a_known_sha256_lets_a_part_be_continued_and_finds_mixed_versions(site, tmp_path):
    site.etag, site.cuts = None, [100_000]
    fetch(RemoteFile(url=site.url(), sha256=SHA256), tmp_path / "file", backoff=0)
    assert site.ranges == [None, "bytes=100000-"]
    leave_part(site, tmp_path / "other", OTHER[:1000], validator="")
    with pytest.raises(InputError, match=f"{tmp_path}/other: .* brought sha256 .*, expected {SHA256}"):
        fetch(RemoteFile(url=site.url(), sha256=SHA256), tmp_path / "other")
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize(
    "change",
    [
        {"etag": '"2"', "heeds_if_range": False},  # the answer's own ETag tells
        {"total": len(CONTENT) + 1},  # the size in Content-Range tells
    ],
)
def test_a_rest_of_another_version_is_not_appended(site, tmp_path, change):
    leave_part(site, tmp_path / "file", OTHER[:1000])
    for key, value in change.items():
        setattr(site, key, value)
    fetch(RemoteFile(url=site.url()), tmp_path / "file", backoff=0)
    assert site.ranges == ["bytes=1000-", None]
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_the_size_in_content_range_must_be_the_expected_one(site, tmp_path):
    leave_part(site, tmp_path / "file", CONTENT[:1000], size=None)
    site.total = len(CONTENT) + 1
    remote = RemoteFile(url=site.url(), size=len(CONTENT))
    with pytest.raises(InputError, match=f"{len(CONTENT) + 1} bytes on the server, {len(CONTENT)} expected"):
        fetch(remote, tmp_path / "file")


def test_a_body_that_is_longer_than_the_file_is_cut_off(site, tmp_path):
    site.content, site.chunked = CONTENT + bytes(10_000_000), True
    remote = RemoteFile(url=site.url(), size=len(CONTENT), sha256=SHA256)
    with pytest.raises(InputError, match=f"the server sends more than {len(CONTENT)} bytes"):
        fetch(remote, tmp_path / "file")
    assert names(tmp_path) == []
    assert site.ranges == [None]


def test_a_chunked_body_without_a_known_size_is_the_file(site, tmp_path):
    site.chunked = True
    fetch(RemoteFile(url=site.url()), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_416_to_the_first_request_is_one_line(site, tmp_path):
    site.status = 416
    with pytest.raises(InputError, match="the server answers 416"):
        fetch(RemoteFile(url=site.url()), tmp_path / "file")
    assert site.ranges == [None]


@pytest.mark.parametrize("brought", [1, 600, 5000])
def test_a_few_bytes_a_connection_are_no_progress(site, tmp_path, brought):
    site.cuts = [brought] * 1000
    with pytest.raises(InputError, match="the download fails"):
        fetch(RemoteFile(url=site.url()), tmp_path / "file", backoff=0)
    assert len(site.ranges) == ATTEMPTS


def test_a_trickle_is_given_up(site, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_WINDOW", 0.1)
    site.pause = 0.02  # six seconds for the file
    started = time.monotonic()
    with pytest.raises(
        InputError, match=r"the download fails \(only \d+ bytes in 0 s\); try again; it resumes"
    ):
        fetch(RemoteFile(url=site.url()), tmp_path / "file", backoff=0)
    assert time.monotonic() - started < 3
    assert len(site.ranges) == ATTEMPTS
    assert 0 < (tmp_path / "file.part").stat().st_size < len(CONTENT)


def test_a_stall_is_given_up(site, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_TIMEOUT", 0.05)
    site.pause = 0.2
    with pytest.raises(InputError, match="the download fails"):
        fetch(RemoteFile(url=site.url()), tmp_path / "file", backoff=0)
    assert len(site.ranges) == ATTEMPTS


def test_a_full_disk_is_one_line_and_keeps_the_part(site, tmp_path, monkeypatch):
    def write_some(download, blocks, start, size):
        download.part.write_bytes(CONTENT[:1000])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module._Download, "_append", write_some)
        with pytest.raises(
            InputError, match=f"^{tmp_path}/file: cannot be written .No space left on device.; make room"
        ):
            fetch(RemoteFile(url=site.url(), sha256=SHA256), tmp_path / "file")
    fetch(RemoteFile(url=site.url(), sha256=SHA256), tmp_path / "file")
    assert site.ranges == [None, "bytes=1000-"]


def test_a_download_that_another_took_over_adds_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_CHECK", 0)
    target, part = tmp_path / "file", tmp_path / "file.part"

    def blocks():
        yield b"old "
        with claim(target):  # another process; it may be done before the next look
            with part.open("ab") as newer:
                newer.write(b"new")
            yield b"stale"

    download = module._Download(RemoteFile(url="http://host/"), target, "parquet")
    with claim(target), pytest.raises(InputError, match="taken over"):
        download._append(blocks(), 0, None)
    assert part.read_bytes() == b"old new"


def test_a_block_that_the_disk_takes_in_pieces_is_written_whole(tmp_path, monkeypatch):
    part = tmp_path / "file.part"

    class Pieces(io.FileIO):
        def write(self, block):
            return super().write(block[:7])

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda path, mode, buffering: Pieces(path, mode.replace("b", "")))
        download = module._Download(RemoteFile(url="http://host/"), tmp_path / "file", "parquet")
        download._append(iter([CONTENT[:100]]), 0, 100)
    assert part.read_bytes() == CONTENT[:100]


def test_the_script_fetches_both_files_and_says_errors_in_one_line(site, tmp_path):
    remote = {"url": site.url(), "size": len(CONTENT), "sha256": SHA256}
    outputs = ["--examples", str(tmp_path / "examples"), "--products", str(tmp_path / "products")]

    def run(config: dict) -> subprocess.CompletedProcess:
        command = [sys.executable, str(SCRIPTS / "fetch_esci.py"), "--config", json.dumps(config), *outputs]
        return subprocess.run(command, capture_output=True, text=True)

    assert run({"examples": remote, "products": remote}).returncode == 0
    assert names(tmp_path) == ["examples", "products"]
    wrong = run({"examples": remote | {"sha256": "0" * 64}, "products": remote})
    assert wrong.returncode == 1
    assert wrong.stderr.splitlines()[-1].startswith(f"error: {tmp_path}/examples: ")
    assert "Traceback" not in wrong.stderr


def test_a_file_that_is_there_outlives_the_failure_of_the_other(site, tmp_path):
    targets = (tmp_path / "examples", tmp_path / "products")
    site.cuts = [len(CONTENT), 100_000]
    first = RemoteFile(url=site.url("examples"), sha256=SHA256)
    wrong = RemoteFile(url=site.url(), sha256="0" * 64)
    with pytest.raises(InputError, match="sha256"):
        fetch_all({targets[0]: (first, "parquet"), targets[1]: (wrong, "parquet")}, backoff=0)
    assert names(tmp_path) == ["examples.part", "examples.part.json"]
    site.ranges.clear()
    right = RemoteFile(url=site.url(), sha256=SHA256)
    fetch_all({targets[0]: (first, "parquet"), targets[1]: (right, "parquet")})
    assert site.ranges == [f"bytes={len(CONTENT)}-", None]
    assert [target.read_bytes() == CONTENT for target in targets] == [True, True]
    assert names(tmp_path) == ["examples", "products"]


def test_the_sample_is_three_files_of_two_formats(site, tmp_path):
    site.others = {"products": gzip.compress(CONTENT), "judgements": b'{"a": 1}', "pairs": b"[2]"}
    config = {
        name: {"url": site.url(name), "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in site.others.items()
    }
    options = [word for name in config for word in (f"--{name}", tmp_path / name)]
    wrong = config | {"pairs": config["pairs"] | {"sha256": "0" * 64}}
    done = run_here("fetch_esci_sample", ["--config", json.dumps(wrong), *options])
    assert (done.code, len(done.errors)) == (1, 1)
    assert done.errors[0].startswith(f"error: {tmp_path}/pairs: ")
    parts = [f"{name}.part{end}" for name in ("judgements", "products") for end in ("", ".json")]
    assert names(tmp_path) == parts  # of no file is the name there before all are complete
    site.ranges.clear()
    done = run_here("fetch_esci_sample", ["--config", json.dumps(config), *options])
    assert (done.code, done.errors) == (0, [])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == site.others
    whole = [f"bytes={config[name]['size']}-" for name in ("products", "judgements")]
    assert site.ranges == [*whole, None]


@pytest.mark.parametrize("url", ["https:///file", "http://host:eighty/file"])
def test_an_address_that_is_none_is_one_line_and_no_retry(tmp_path, url):
    with pytest.raises(InputError, match="correct the address in the config"):
        fetch(RemoteFile(url=url), tmp_path / "file", backoff=60)


def test_the_defaults_are_the_published_files():
    sample = FetchEsciSampleConfig()
    assert sum(remote.size for remote in (sample.products, sample.judgements, sample.pairs)) == 6_310_533
    config = FetchEsciConfig()
    assert config.examples.size == 51_286_808
    assert config.products.size == 1_108_857_465
    assert config.products.url.endswith("/shopping_queries_dataset/shopping_queries_dataset_products.parquet")
