"""Downloads against a server on 127.0.0.1 that serves, cuts, refuses, changes and lies."""

import errno
import hashlib
import io
import json
import random
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
import zstandard

from catid2 import fetch as module
from catid2.config.fetch import FetchEsciConfig, RemoteFile
from catid2.errors import InputError
from catid2.fetch import ATTEMPTS, Fetched
from catid2.fetch import fetch as fetch_all
from catid2.writing import claim

CONTENT = random.Random(0).randbytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
SCRIPTS = Path(__file__).parent.parent / "scripts"


@dataclass
class Site:
    """One file on a server, and how the server behaves."""

    address: str = ""
    content: bytes = CONTENT
    etag: str = '"1"'
    status: int = 200
    accepts_ranges: bool = True
    cuts: list[int] = field(default_factory=list)  # bytes after which each of the next answers is cut
    busy: int = 0  # so many answers are 503 first
    ranges: list[str | None] = field(default_factory=list)  # Range of each request

    def url(self, name: str = "file.parquet") -> str:
        return f"{self.address}/{name}"


@pytest.fixture
def site():
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            wanted = self.headers.get("Range")
            site.ranges.append(wanted)
            if site.busy or site.status != 200:
                self.send_response(503 if site.busy else site.status)
                site.busy = max(0, site.busy - 1)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            start = 0
            if wanted and site.accepts_ranges and self.headers.get("If-Range", site.etag) == site.etag:
                start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(site.content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(site.content)}")
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header(
                    "Content-Range", f"bytes {start}-{len(site.content) - 1}/{len(site.content)}"
                )
            self.send_header("Content-Length", str(len(site.content) - start))
            self.send_header("ETag", site.etag)
            self.end_headers()
            body = site.content[start:]
            self.wfile.write(body[: site.cuts.pop(0)] if site.cuts else body)
            self.close_connection = True

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


def fetch(remote: RemoteFile, target: Path, **options: float) -> Fetched:
    [fetched] = fetch_all({target: remote}, **options)
    return fetched


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_arrives_whole_and_alone(site, tmp_path):
    remote = RemoteFile(url=site.url(), size=len(CONTENT), sha256=SHA256)
    fetched = fetch(remote, tmp_path / "deep" / "file.parquet")
    assert fetched == (tmp_path / "deep" / "file.parquet", len(CONTENT), SHA256)
    assert fetched.path.read_bytes() == CONTENT
    assert names(fetched.path.parent) == ["file.parquet"]


def test_a_cut_connection_is_taken_up_where_it_ended(site, tmp_path):
    site.cuts = [100_000, 50_000]
    fetch(RemoteFile(url=site.url(), sha256=SHA256), tmp_path / "file", backoff=0)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert site.ranges == [None, "bytes=100000-", "bytes=150000-"]


def test_a_killed_download_is_taken_up_by_the_next_start(site, tmp_path):
    site.cuts = [100_000]
    config = json.dumps({"esci_s": {"url": site.url(), "sha256": SHA256}})
    interrupted = (
        "import sys, catid2.fetch, os; catid2.fetch.time.sleep = lambda _: os._exit(9);"
        "sys.argv[0] = sys.argv.pop(1); import runpy; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    script = [str(SCRIPTS / "fetch_esci_s.py"), "--config", config, "--output", str(tmp_path / "file")]
    killed = subprocess.run([sys.executable, "-c", interrupted, *script], capture_output=True)
    assert killed.returncode == 9
    assert names(tmp_path) == [".owner-file", "file.part", "file.part.json"]
    done = subprocess.run([sys.executable, *script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert SHA256 in done.stderr
    assert site.ranges == [None, "bytes=100000-"]
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert names(tmp_path) == ["file"]


def test_a_wrong_checksum_names_both_and_leaves_nothing(site, tmp_path):
    with pytest.raises(InputError, match=f"{tmp_path}/file: .*sha256 {SHA256}, expected {'0' * 64}"):
        fetch(RemoteFile(url=site.url(), sha256="0" * 64), tmp_path / "file")
    assert names(tmp_path) == []


def test_a_size_that_differs_from_the_expected_is_refused_before_the_download(site, tmp_path):
    with pytest.raises(InputError, match="300000 bytes on the server, 7 expected"):
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
    site.cuts, site.accepts_ranges, site.etag, site.content = [], True, '"2"', CONTENT[::-1]
    fetch(RemoteFile(url=site.url()), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT[::-1]


def test_a_part_of_another_file_is_not_continued(site, tmp_path):
    (tmp_path / "file.part").write_bytes(b"something else")
    (tmp_path / "file.part.json").write_text(json.dumps({"url": site.url("other"), "etag": site.etag}))
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
    (tmp_path / "file.part").write_bytes(CONTENT)
    (tmp_path / "file.part.json").write_text(json.dumps({"url": site.url(), "etag": site.etag}))
    fetch(RemoteFile(url=site.url(), size=len(CONTENT), sha256=SHA256), tmp_path / "file")
    assert site.ranges == ["bytes=300000-"]
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_part_that_is_longer_than_the_file_is_dropped(site, tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT + b"more")
    (tmp_path / "file.part.json").write_text(json.dumps({"url": site.url(), "etag": site.etag}))
    fetch(RemoteFile(url=site.url(), sha256=SHA256), tmp_path / "file", backoff=0)
    assert site.ranges == ["bytes=300004-", None]
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
        (lambda whole: whole[:-1], "a zstd stream that is cut"),
        (lambda whole: whole[:500] + bytes(8) + whole[508:], "no zstd stream"),
        (lambda _: b"<html>sign in</html>", "no zstd stream"),
    ],
)
def test_zstd_without_a_checksum_is_decompressed(site, tmp_path, spoil, fault):
    frame = zstandard.ZstdCompressor(write_checksum=True).compress(CONTENT * 2)
    site.content = spoil(frame)
    remote = RemoteFile(url=site.url("esci.json.zst"))
    if fault is None:
        fetch(remote, tmp_path / "esci.json.zst")
        assert names(tmp_path) == ["esci.json.zst"]
    else:
        with pytest.raises(InputError, match=fault):
            fetch(remote, tmp_path / "esci.json.zst")
        assert names(tmp_path) == []


def test_a_full_disk_is_one_line_and_keeps_the_part(site, tmp_path, monkeypatch):
    def write_some(response, part, start, size):
        part.write_bytes(CONTENT[:1000])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module, "_append", write_some)
        with pytest.raises(
            InputError, match=f"^{tmp_path}/file: cannot be written .No space left on device.; make room"
        ):
            fetch(RemoteFile(url=site.url(), sha256=SHA256), tmp_path / "file")
    fetch(RemoteFile(url=site.url(), sha256=SHA256), tmp_path / "file")
    assert site.ranges == [None, "bytes=1000-"]


def test_a_download_that_another_took_over_adds_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_CHECK", 0)
    target, part = tmp_path / "file", tmp_path / "file.part"

    class Response:
        def iter_raw(self):
            yield b"old "
            with claim(target):  # another process; it may be done before the next look
                with part.open("ab") as newer:
                    newer.write(b"new")
                yield b"stale"

    with claim(target), pytest.raises(InputError, match="taken over"):
        module._append(Response(), part, 0, None)
    assert part.read_bytes() == b"old new"


def test_a_block_that_the_disk_takes_in_pieces_is_written_whole(tmp_path, monkeypatch):
    part = tmp_path / "file.part"

    class Pieces(io.FileIO):
        def write(self, block):
            return super().write(block[:7])

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda path, mode, buffering: Pieces(path, mode.replace("b", "")))
        module._append(SimpleNamespace(iter_raw=lambda: iter([CONTENT[:100]])), part, 0, 100)
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
    with pytest.raises(InputError, match="sha256"):
        fetch_all({targets[0]: first, targets[1]: RemoteFile(url=site.url(), sha256="0" * 64)}, backoff=0)
    assert names(tmp_path) == ["examples.part", "examples.part.json"]
    site.ranges.clear()
    fetch_all({targets[0]: first, targets[1]: RemoteFile(url=site.url(), sha256=SHA256)})
    assert site.ranges == ["bytes=300000-", None]
    assert [target.read_bytes() == CONTENT for target in targets] == [True, True]
    assert names(tmp_path) == ["examples", "products"]


@pytest.mark.parametrize("url", ["https:///file", "http://host:eighty/file"])
def test_an_address_that_is_none_is_one_line_and_no_retry(tmp_path, url):
    with pytest.raises(InputError, match="correct the address in the config"):
        fetch(RemoteFile(url=url), tmp_path / "file", backoff=60)


def test_the_defaults_are_the_published_files():
    config = FetchEsciConfig()
    assert config.examples.size == 51_286_808
    assert config.products.size == 1_108_857_465
    assert config.products.url.endswith("/shopping_queries_dataset/shopping_queries_dataset_products.parquet")
