"""A small Hub on this machine: as much of the Hub's HTTP interface as its client needs to list and download models."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import threading
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import patience

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER_COMMIT = "89abcdef0123456789abcdef0123456789abcdef"
TOKEN = "hf_thisIsASecretToken123"

Files = Mapping[str, bytes]


class ModelHub(http.server.ThreadingHTTPServer):
    """A Hub whose repositories are dictionaries; files in safetensors format are stored with a SHA-256, as with Git LFS."""

    daemon_threads = True

    def __init__(self, repos: Mapping[str, Files]) -> None:
        super().__init__(("127.0.0.1", 0), _RequestHandler)
        self.repos = dict(repos)
        self.cards: dict[str, dict[str, Any]] = {}
        self.refusals: dict[str, tuple[int, str]] = {}
        self.private: set[str] = set()
        self.gated: set[str] = set()
        """Models whose description is public, and whose files are not."""
        self.redirects = False
        """Whether files in safetensors format are on another host, to which the Hub redirects."""
        self.strangers: list[str | None] = []
        """The access tokens that the other host got."""
        self.announced: dict[str, int] = {}
        """File -> a size that the list of files names instead of the true one."""
        self.altered: set[str] = set()
        """Files of which other bytes are sent than those whose checksum is announced."""
        self.cut_at: dict[str, int] = {}
        """File -> the number of bytes after which the next connection that sends it is closed; once."""
        self.hold_at: dict[str, int] = {}
        """File -> the number of bytes after which it waits until `go_on` is set."""
        self.go_on = threading.Event()
        self.held = threading.Event()
        """Set when a file waits."""
        self.requests: list[str] = []
        """Method, path and range of each request."""
        self._thread = threading.Thread(target=self.serve_forever, daemon=True)
        self._thread.start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def stop(self) -> None:
        self.go_on.set()
        self.shutdown()
        self.server_close()

    def downloads(self, name: str) -> list[str]:
        """The ranges with which the content of a file was asked for; "" for the whole file."""
        found = [request.split(" ") for request in self.requests]
        return [each[2] for each in found if each[0] == "GET" and each[1].endswith("/" + name)]

    def environment(self, home: Path, **more: str) -> dict[str, str]:
        """The environment of a process whose Hub this is and whose caches are below `home`."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
        own = {
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(home / "hf"),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "NO_PROXY": "*",
            "SEEDBED_CACHE": str(home / "seedbed"),
            "SEEDBED_RUNS": str(home / "runs"),
        }
        return kept | own | more


class _RequestHandler(http.server.BaseHTTPRequestHandler):
    """Handles one request to the small Hub."""

    protocol_version = "HTTP/1.1"
    server: ModelHub

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.route()

    def do_GET(self) -> None:
        self.route()

    def route(self) -> None:
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path).strip("/")
        if path.startswith("cdn/"):
            self.server.strangers.append(self.headers.get("Authorization"))
            name, path = "/".join(path.split("/")[1:3]), "/".join(path.split("/")[3:])
            self.content(self.server.repos[name][path], path)
            return
        self.server.requests.append(f"{self.command} {path} {self.headers.get('Range') or ''}")
        quoted = urllib.parse.urlsplit(self.path).path.strip("/").removeprefix("api/models/").split("/")
        parts = [urllib.parse.unquote(part) for part in quoted]  # a revision may contain a slash
        name, rest = "/".join(parts[:2]), parts[2:]
        if name in self.server.refusals:
            status, code = self.server.refusals[name]
            self.send(status, b"{}", {"X-Error-Code": code} if code else {})
        elif name not in self.server.repos or not self.may_read(name):
            self.send(401, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif rest and rest[1] not in ("main", "branch/x", COMMIT):
            self.send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        elif path.startswith("api/"):
            self.describe(name)
        elif name in self.server.gated:
            self.send(403, b"{}", {"X-Error-Code": "GatedRepo"})
        else:
            self.resolve(name, "/".join(rest[2:]))

    def may_read(self, name: str) -> bool:
        return name not in self.server.private or self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def describe(self, name: str) -> None:
        siblings = []
        for path, data in self.server.repos[name].items():
            size = self.server.announced.get(path, len(data))
            each: dict[str, Any] = {"rfilename": path, "size": size, "blobId": git_id(data)}
            if path.endswith(".safetensors"):
                each["lfs"] = {"sha256": sha256(data), "size": size, "pointerSize": 130}
            siblings.append(each)
        card = self.server.cards.get(name)
        told = {"id": name, "sha": COMMIT, "private": False, "tags": [], "siblings": siblings, "cardData": card}
        self.send(200, json.dumps(told).encode(), {"Content-Type": "application/json"})

    def resolve(self, name: str, path: str) -> None:
        files = self.server.repos[name]
        if path not in files:
            self.send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
        elif self.server.redirects and path.endswith(".safetensors"):
            headers = {
                "Location": f"http://localhost:{self.server.server_port}/cdn/{name}/{path}",
                "X-Linked-Etag": f'"{sha256(files[path])}"',
                "X-Linked-Size": str(len(files[path])),
                "X-Repo-Commit": COMMIT,
            }
            self.send(302, b"", headers)
        else:
            self.content(files[path], path)

    def content(self, data: bytes, path: str) -> None:
        etag = sha256(data) if path.endswith(".safetensors") else git_id(data)
        if path in self.server.altered:
            data = bytes(byte ^ 255 for byte in data)
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if byte_range := self.headers.get("Range"):
            first, _, last = byte_range.removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last or len(data)), len(data) - 1)
            headers["Content-Range"] = f"bytes {start}-{end}/{len(data)}"
            self.send(206, data[start : end + 1], headers, path)
        else:
            self.send(200, data, headers, path)

    def send(self, status: int, body: bytes, headers: dict[str, str], path: str = "") -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        cut = self.server.cut_at.pop(path, None)
        hold = self.server.hold_at.pop(path, None)
        stop = cut if cut is not None else hold if hold is not None else len(body)
        try:
            self.wfile.write(body[:stop])
            if cut is not None:
                self.close_connection = True
                self.connection.close()
            elif hold is not None:
                self.wfile.flush()
                self.server.held.set()
                self.server.go_on.wait(patience.HANG_S)
                self.wfile.write(body[hold:])
        except OSError:
            self.close_connection = True  # the client is gone


def git_id(data: bytes) -> str:
    """The id of a file's content in Git."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
