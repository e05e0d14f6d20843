"""A hub of models on the loopback address, as huggingface_hub asks it, that cuts, lies and refuses when told to."""

import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from huggingface_hub.utils.sha import git_hash

LARGE = (".safetensors", ".bin", ".h5", ".msgpack")  # in git-lfs there


@dataclass
class Hub:
    """Models, each with its revisions, and how the server behaves."""

    address: str = ""
    models: dict[str, dict[str, dict[str, bytes]]] = field(
        default_factory=dict
    )  # name: commit: file: content
    branches: dict[str, str] = field(default_factory=dict)  # branch or tag: commit, for all models
    gated: bool = False
    token: str | None = None  # needed for everything if set
    cuts: list[int] = field(default_factory=list)  # bytes after which each of the next downloads is cut
    sizes: dict[str, int] = field(default_factory=dict)  # files whose size is told wrongly
    spoilt: dict[str, bytes] = field(default_factory=dict)  # files that are sent with another content
    status: int = 200
    requests: list[str] = field(default_factory=list)  # method, path and Range of each

    def put(self, name: str, files: dict[str, bytes], branch: str = "main") -> str:
        """Publish a commit of a model; return its hash."""
        commit = hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()
        self.models.setdefault(name, {})[commit] = files
        self.branches[branch] = commit
        return commit

    def put_folder(self, name: str, folder: Path, **options: str) -> str:
        """Publish the files of a folder."""
        files = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }
        return self.put(name, files, **options)

    def downloads(self) -> list[str]:
        """Return the files that were asked for, in order."""
        return [
            request.split("/resolve/")[1].split("/", 1)[1]
            for request in self.requests
            if "GET" in request[:3] and "/resolve/" in request
        ]


@contextlib.contextmanager
def serve_hub() -> Iterator[Hub]:
    """Serve an empty hub."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self):
            self._answer()

        def do_GET(self):
            self._answer()

        def _answer(self):
            asked = self.headers.get("Range")
            hub.requests.append(f"{self.command} {self.path}" + (f" {asked}" if asked else ""))
            path = unquote(urlsplit(self.path).path)
            if hub.status != 200:
                return self._fail(hub.status)
            if hub.token and self.headers.get("Authorization") != f"Bearer {hub.token}":
                return self._fail(401)
            if match := re.fullmatch(r"/api/models/(.+?)/revision/(.+)", path):
                return self._list(*match.groups())
            match = re.fullmatch(r"/(.+?)/resolve/(.+?)/(.+)", path)
            return self._send(*match.groups()) if match else self._fail(404)

        def _find(self, name: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
            commits = hub.models.get(name)
            if commits is None:
                self._fail(404, "RepoNotFound")
                return None
            commit = hub.branches.get(revision, revision)
            if commit not in commits:
                self._fail(404, "RevisionNotFound")
                return None
            return commit, commits[commit]

        def _list(self, name: str, revision: str) -> None:
            if found := self._find(name, revision):
                commit, files = found
                siblings = [
                    {"rfilename": file, "size": len(content), "blobId": git_hash(content)}
                    | (
                        {"lfs": {"size": len(content), "sha256": _sha256(content), "pointerSize": 134}}
                        if file.endswith(LARGE)
                        else {}
                    )
                    for file, content in files.items()
                ]
                body = json.dumps({"id": name, "sha": commit, "siblings": siblings}).encode()
                self._headers(200, len(body))
                self.wfile.write(body)

        def _send(self, name: str, revision: str, file: str) -> None:
            found = self._find(name, revision)
            if not found:
                return
            if hub.gated:
                return self._fail(403, "GatedRepo")
            commit, files = found
            if file not in files:
                return self._fail(404, "EntryNotFound")
            etag = _sha256(files[file]) if file.endswith(LARGE) else git_hash(files[file])
            content = hub.spoilt.get(file, files[file])
            asked = self.headers.get("Range")
            start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
            size = hub.sizes.get(file, len(content))
            extra = {"X-Repo-Commit": commit, "ETag": f'"{etag}"', "X-Linked-Size": str(size)}
            if asked:
                extra["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            if self.command == "GET":
                # announced, or the client would send its next request into a connection that is about to close
                extra["Connection"] = "close"
            self._headers(206 if asked else 200, len(content) - start, extra)
            if self.command == "GET":
                body = content[start:]
                self.wfile.write(body[: hub.cuts.pop(0)] if hub.cuts else body)

        def _fail(self, status: int, code: str | None = None) -> None:
            self._headers(status, 0, {"X-Error-Code": code} if code else {})

        def _headers(self, status: int, length: int, extra: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for key, value in ({"Content-Length": str(length)} | (extra or {})).items():
                self.send_header(key, value)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    hub.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
