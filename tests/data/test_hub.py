"""Hub datasets through the real, unpatched `datasets` and `huggingface_hub`, against a small Hub on this machine.

The clients read HF_ENDPOINT when they are imported, so they run in processes of their own.
"""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import patience
import preloaded

pytest.importorskip("datasets", reason="needs the extra data")
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

REVISION = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_thisIsASecretToken123"

Files = dict[str, bytes]


class SmallHub(http.server.ThreadingHTTPServer):
    """As much of the Hub's HTTP interface as its clients need to find, list and read datasets."""

    daemon_threads = True

    def __init__(self, repos: dict[str, Files]) -> None:
        super().__init__(("127.0.0.1", 0), RequestHandler)
        self.repos = repos
        self.refusals = {"me/gated": (403, "GatedRepo"), "me/locked": (403, ""), "me/broken": (500, "")}
        self.private = {"me/private"}
        self.downloads: list[str] = []
        self.thread = threading.Thread(target=self.serve_forever, daemon=True)
        self.thread.start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def stop(self) -> None:
        self.shutdown()
        self.server_close()


class RequestHandler(http.server.BaseHTTPRequestHandler):
    """Handles one request to the small Hub."""

    protocol_version = "HTTP/1.1"
    server: SmallHub

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.route()

    def do_GET(self) -> None:
        self.route()

    def do_POST(self) -> None:
        self.route()

    def route(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path).strip("/")
        api = path.startswith("api/")
        parts = path.removeprefix("api/").split("/")
        name, rest = "/".join(parts[1:3]), parts[3:]
        if parts[0] == "datasets" and name in self.server.refusals:
            status, code = self.server.refusals[name]
            self.send(status, b"{}", {"X-Error-Code": code} if code else {})
        elif parts[0] != "datasets" or name not in self.server.repos or not self.may_read(name):
            self.send(401, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif api:
            self.describe(name, self.server.repos[name], rest, body)
        else:
            self.resolve(self.server.repos[name], "/".join(rest[2:]))

    def may_read(self, name: str) -> bool:
        return name not in self.server.private or self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def describe(self, name: str, files: Files, rest: list[str], body: bytes) -> None:
        folders = {path.rpartition("/")[0] for path in files if "/" in path}
        entries = [
            *({"type": "directory", "path": folder, "oid": "0" * 40, "size": 0} for folder in sorted(folders)),
            *(
                {"type": "file", "path": path, "size": len(data), "oid": oid(data)}
                for path, data in sorted(files.items())
            ),
        ]
        if not rest or rest[0] == "revision":
            siblings = [{"rfilename": path} for path in files]
            self.send_json({"id": name, "sha": REVISION, "private": False, "tags": [], "siblings": siblings})
        elif rest[0] == "tree":
            inside = "/".join(rest[2:])
            found = [entry for entry in entries if str(entry["path"]).rpartition("/")[0] == inside]
            if inside and inside not in folders:
                self.send(404, b"{}", {"X-Error-Code": "EntryNotFound"})
            else:
                self.send_json(found)
        else:
            assert rest[0] == "paths-info", rest
            requested = urllib.parse.parse_qs(body.decode()).get("paths", [])
            self.send_json([entry for entry in entries if entry["path"] in requested])

    def resolve(self, files: Files, path: str) -> None:
        if path not in files:
            self.send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": REVISION})
            return
        data = files[path]
        headers = {"ETag": f'"{oid(data)}"', "X-Repo-Commit": REVISION, "Accept-Ranges": "bytes"}
        if self.command == "GET":
            self.server.downloads.append(path)
        if byte_range := self.headers.get("Range"):
            first, _, last = byte_range.removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last or len(data)), len(data) - 1)
            self.send(206, data[start : end + 1], headers | {"Content-Range": f"bytes {start}-{end}/{len(data)}"})
        else:
            self.send(200, data, headers)

    def send_json(self, value: Any) -> None:
        self.send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def oid(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


def parquet(**columns: list[Any]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, row_group_size=100)
    return sink.getvalue()


def jsonl(*rows: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


DOCUMENTS = [f"Document {index}. " + "Some words. " * (index % 30) for index in range(500)]
TWO_CONFIGS = b"""---
configs:
- config_name: first
  data_files:
  - split: train
    path: first/train.jsonl
  - split: validation
    path: first/held.jsonl
- config_name: second
  data_files: second/*.jsonl
---
"""
WIKITEXT_CARD = b"""---
configs:
- config_name: wikitext-2-raw-v1
  data_files:
  - split: train
    path: wikitext-2-raw-v1/train-*
  - split: validation
    path: wikitext-2-raw-v1/validation-*
---
"""
WIKITEXT_ROWS = [
    "",
    " = First = \n",
    "",
    " Text . \n",
    "",
    " = = Part = = \n",
    "",
    " More . \n",
    "",
    " = Second = \n",
    "",
    " End . \n",
]

REPOS: dict[str, Files] = {
    "me/plain": {
        "README.md": b"# plain",
        "data/train-00000-of-00001.parquet": parquet(text=DOCUMENTS, id=list(range(500))),
    },
    "me/configs": {
        "README.md": TWO_CONFIGS,
        "first/train.jsonl": jsonl({"text": "one"}, {"text": ""}, {"text": None}, {"text": "two"}),
        "first/held.jsonl": jsonl({"text": "held"}),
        "second/train.jsonl": jsonl(*({"body": f"body {index}", "id": index} for index in range(40))),
    },
    "me/testonly": {"test.jsonl": jsonl({"text": "one"})},
    "me/numbers": {"train.jsonl": jsonl({"id": 1}, {"id": 2})},
    "me/program": {"program.py": b"raise SystemExit('code from the Hub was run')"},
    "me/nothing": {"README.md": b"# nothing"},
    "me/private": {"train.jsonl": jsonl(*({"text": f"secret {index}"} for index in range(40)))},
    "Salesforce/wikitext": {
        "README.md": WIKITEXT_CARD,
        "wikitext-2-raw-v1/train-00000-of-00001.parquet": parquet(text=WIKITEXT_ROWS),
        "wikitext-2-raw-v1/validation-00000-of-00001.parquet": parquet(text=WIKITEXT_ROWS[:4]),
    },
}

CLIENT = """
import json, os, sys, time
from seedbed.config.schema import DataConfig
from seedbed.data.source import open_source
from seedbed.errors import SeedbedError
for settings in json.loads(sys.argv[1]):
    start, found, messages = time.monotonic(), {}, []
    try:
        source = open_source(DataConfig(**settings), emit=lambda event: messages.append(event.code))
        found["fingerprint"] = source.fingerprint()
        found["train"] = list(source.documents("train"))
        found["validation"] = list(source.documents("validation"))
        if os.environ.get("READ_AGAIN"):
            found["again"] = list(source.documents("train")) == found["train"]
        found["drops"] = dict(source.drops)
    except SeedbedError as error:
        found |= {"error": error.message, "hint": error.hint}
    print(json.dumps(found | {"messages": messages, "elapsed_s": time.monotonic() - start}))
"""


class ClientRun(NamedTuple):
    """The output of a client process: one result for each of the sources that it read."""

    results: list[dict[str, Any]]
    output: str
    elapsed_s: float


def read_sources(
    endpoint: str, home: Path, *sources: str | dict[str, Any], read_again: str = "1", **environment: str
) -> ClientRun:
    """Open and read sources in a process whose Hub is `endpoint` and whose caches are below `home`."""
    settings = [{"source": source} if isinstance(source, str) else source for source in sources]
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
    own = {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(home / "hf"),
        "SEEDBED_CACHE": str(home / "seedbed"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "*",
        "READ_AGAIN": read_again,
    }
    start = time.monotonic()
    client = preloaded.server(preloaded.DATASETS_CLIENT)
    done = client.run(CLIENT, json.dumps(settings), environment=kept | own | environment)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return ClientRun(lines, done.stdout + done.stderr, time.monotonic() - start)


@pytest.fixture(scope="module")
def small_hub() -> Iterator[SmallHub]:
    hub = SmallHub(REPOS)
    yield hub
    hub.stop()


def test_datasets_stream_and_split_by_document(small_hub: SmallHub, tmp_path: Path) -> None:
    client = read_sources(
        small_hub.endpoint,
        tmp_path,
        "hf:me/plain",
        {"source": "hf:me/plain@text", "max_documents": 50, "validation": 0.2},
        "hf:me/configs:first",
        {"source": "hf:me/configs:second", "field": "body", "validation": 0.2},
        "hf:me/configs:second@body",
        "wikitext-2",
    )
    plain, limited, first, second, column, wikitext = client.results

    assert sorted(plain["train"] + plain["validation"]) == sorted(text for text in DOCUMENTS)
    assert 0.03 < len("".join(plain["validation"])) / len("".join(DOCUMENTS)) < 0.07
    assert plain["again"]
    assert plain["messages"] == []

    assert sorted(limited["train"] + limited["validation"]) == sorted(DOCUMENTS[:50])
    assert len({plain["fingerprint"], limited["fingerprint"], first["fingerprint"], second["fingerprint"]}) == 4

    assert (first["train"], first["validation"]) == (["one", "two"], ["held"])
    assert first["drops"] == {"empty": 1, "no text field": 1}
    assert first["messages"] == ["data-skipped"]

    assert len(second["train"]) + len(second["validation"]) == 40
    assert set(column["train"] + column["validation"]) == {f"body {index}" for index in range(40)}

    assert wikitext["train"] == [
        " = First = \n\n Text . \n\n = = Part = = \n\n More . \n",
        " = Second = \n\n End . \n",
    ]
    assert wikitext["validation"] == [" = First = \n\n Text . \n"]
    assert wikitext["messages"] == ["hub-fetch", "wikitext-lines", "wikitext-lines"]


def test_a_file_is_read_once_for_both_splits(tmp_path: Path) -> None:
    hub = SmallHub({"me/plain": REPOS["me/plain"]})
    try:
        result = read_sources(hub.endpoint, tmp_path, "hf:me/plain", read_again="").results[0]
    finally:
        hub.stop()
    assert result["validation"]
    # One download to check the column in the first row, and one to read the file.
    assert hub.downloads.count("data/train-00000-of-00001.parquet") == 2


def test_every_refusal_has_its_message_and_hint(small_hub: SmallHub, tmp_path: Path) -> None:
    expected = {
        "hf:me/configs": ("several configurations", "one of: first, second. Write it as hf:me/configs:CONFIG"),
        "hf:me/configs:third": ("no configuration 'third'", "first, second"),
        "hf:me/plain@body": ("hf:me/plain has no column 'body'. Columns with text: text", "hf:NAME@COLUMN"),
        "hf:me/plain@id": ("is not text. Columns with text: text", "hf:NAME@COLUMN"),
        "hf:me/numbers": ("Columns: id; none is text", "hf:NAME@COLUMN"),
        "hf:me/testonly": ("no train split", "test"),
        "hf:me/program": ("me/program", "parquet"),
        "hf:me/nothing": ("me/nothing", "the files of the dataset"),
        "hf:me/none": ("has no dataset me/none, or it is private", "HF_TOKEN"),
        "hf:me/private": ("has no dataset me/private, or it is private", "HF_TOKEN"),
        "hf:me/gated": ("gated", "/datasets/me/gated"),
        "hf:me/locked": ("HTTP 403", "HF_TOKEN"),
        "hf:me/broken": ("HTTP 500", "later"),
        "hf:not//a name": ("is not a valid dataset name", "hf:OWNER/NAME"),
        "hf:./nowhere": ("no folder", "hf:./FOLDER"),
    }
    client = read_sources(small_hub.endpoint, tmp_path, *expected)
    for (source, (message, hint)), result in zip(expected.items(), client.results, strict=True):
        assert message in result["error"], (source, result)
        assert hint in result["hint"], (source, result)
        assert "train" not in result
    assert "code from the Hub was run" not in client.output


def test_a_token_gives_access_to_a_private_dataset_and_is_never_printed(small_hub: SmallHub, tmp_path: Path) -> None:
    client = read_sources(small_hub.endpoint, tmp_path, "hf:me/private", "hf:me/none", "hf:me/locked", HF_TOKEN=TOKEN)
    assert len(client.results[0]["train"] + client.results[0]["validation"]) == 40
    assert all("error" in result for result in client.results[1:])
    assert TOKEN not in client.output


def test_reading_without_a_network_fails_within_seconds(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"
        client = read_sources(endpoint, tmp_path, "hf:me/plain", "wikitext-2")
    for result in client.results:
        assert f"Cannot reach {endpoint}" in result["error"]
        assert "network" in result["hint"]
        assert result["elapsed_s"] < patience.limit(10)


def test_reading_from_a_hub_that_never_answers_times_out(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        client = read_sources(f"http://127.0.0.1:{silent.getsockname()[1]}", tmp_path, "hf:me/plain")
    assert "Cannot reach" in client.results[0]["error"]
    assert client.results[0]["elapsed_s"] < patience.limit(15)


def test_a_dataset_opened_before_keeps_its_fingerprint_without_a_network(tmp_path: Path) -> None:
    hub = SmallHub(REPOS)
    online = read_sources(hub.endpoint, tmp_path, "hf:me/plain", "wikitext-2").results
    hub.stop()
    offline = read_sources(hub.endpoint, tmp_path, "hf:me/plain").results[0]
    assert offline["fingerprint"] == online[0]["fingerprint"]
    assert offline["messages"] == ["hub-unreachable"]
    assert "Cannot reach" in offline["error"]
    assert offline["elapsed_s"] < patience.limit(10)
    wikitext = read_sources(hub.endpoint, tmp_path, "wikitext-2", HF_HUB_OFFLINE="1").results[0]
    assert wikitext["fingerprint"] == online[1]["fingerprint"]
    assert wikitext["train"] == online[1]["train"]


def test_a_hub_that_is_out_of_order_counts_as_unreachable(tmp_path: Path) -> None:
    hub = SmallHub(REPOS)
    try:
        online = read_sources(hub.endpoint, tmp_path, "hf:me/plain").results[0]
        hub.refusals["me/plain"] = (503, "")
        broken = read_sources(hub.endpoint, tmp_path, "hf:me/plain").results[0]
        hub.refusals["me/plain"] = (403, "")
        refused = read_sources(hub.endpoint, tmp_path, "hf:me/plain").results[0]
    finally:
        hub.stop()
    assert broken["fingerprint"] == online["fingerprint"]
    assert broken["messages"] == ["hub-unreachable"]
    assert "HTTP 503" in broken["error"]
    assert "HTTP 403" in refused["error"]
    assert "fingerprint" not in refused


def test_wikitext_in_the_cache_of_datasets_needs_no_network(small_hub: SmallHub, tmp_path: Path) -> None:
    environment = os.environ | {"HF_ENDPOINT": small_hub.endpoint, "HF_HOME": str(tmp_path / "hf")}
    load = "import datasets; datasets.load_dataset('Salesforce/wikitext', 'wikitext-2-raw-v1')"
    preloaded.server(preloaded.DATASETS_CLIENT).run(load, environment=environment).check_returncode()
    result = read_sources(small_hub.endpoint, tmp_path, "wikitext-2", HF_HUB_OFFLINE="1").results[0]
    assert len(result["train"]) == 2
    assert result["messages"][0] == "hub-unreachable"


def test_a_local_folder_is_read_like_a_hub_dataset(tmp_path: Path) -> None:
    rows = [{"body": text} for text in DOCUMENTS]
    contents: dict[str, Files] = {
        "parquet": {"train.parquet": parquet(body=DOCUMENTS)},
        "jsonl": {"train.jsonl": jsonl(*rows)},
        "edited": {"train.jsonl": jsonl(*rows[:-1], {"body": "Edited."})},
        "split": {"train.jsonl": jsonl({"body": "one"}), "validation.jsonl": jsonl({"body": "held"})},
    }
    for folder, files in contents.items():
        (tmp_path / folder).mkdir()
        for name, data in files.items():
            (tmp_path / folder / name).write_bytes(data)
    sources = [f"hf:{tmp_path}/{folder}@body" for folder in contents]
    whole_parquet, whole_jsonl, edited, split = read_sources("http://127.0.0.1:9", tmp_path, *sources).results
    assert sorted(whole_parquet["train"] + whole_parquet["validation"]) == sorted(DOCUMENTS)
    assert whole_parquet["validation"] == whole_jsonl["validation"]
    assert whole_jsonl["again"]
    assert whole_jsonl["fingerprint"] != edited["fingerprint"]
    assert (split["train"], split["validation"]) == (["one"], ["held"])


@pytest.mark.parametrize("source", ["hf:me/plain", "wikitext-2"])
def test_the_hint_for_a_missing_extra_is_its_install_command(tmp_path: Path, source: str) -> None:
    code = "import sys; sys.modules['datasets'] = None\n" + CLIENT
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps([{"source": source}])],
        capture_output=True,
        text=True,
        check=True,
        timeout=patience.HANG_S,
    )
    result = json.loads(done.stdout)
    assert "needs the package datasets" in result["error"]
    assert result["hint"] == "Install it with: pip install 'seedbed[data]'"


SAVE = """
import sys, datasets
rows = {"text": ["\\ufeffOne\\r\\ntwo"] + [f"Row {n} of a saved dataset." for n in range(60)], "id": list(range(61))}
table = datasets.Dataset.from_dict(rows)
table.save_to_disk(sys.argv[1] + "/alone")
datasets.DatasetDict(train=table, validation=table.select(range(2))).save_to_disk(sys.argv[1] + "/both")
datasets.DatasetDict(test=table).save_to_disk(sys.argv[1] + "/other")
"""


def test_a_dataset_saved_to_disk_is_read_with_normalised_text(tmp_path: Path) -> None:
    preloaded.server(preloaded.DATASETS_CLIENT).run(SAVE, str(tmp_path), environment=os.environ).check_returncode()
    alone, both, other, config = read_sources(
        "http://127.0.0.1:9",
        tmp_path,
        f"hf:{tmp_path}/alone",
        f"hf:{tmp_path}/both",
        f"hf:{tmp_path}/other",
        f"hf:{tmp_path}/alone:config",
    ).results
    assert len(alone["train"]) + len(alone["validation"]) == 61
    assert "One\ntwo" in alone["train"] + alone["validation"]
    assert (len(both["train"]), len(both["validation"])) == (61, 2)
    assert "has no train split" in other["error"]
    assert f"hf:{tmp_path}/other/SPLIT" in other["hint"]
    assert "no configurations" in config["error"]


def test_a_folder_that_contains_a_run_is_refused_and_the_run_named(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_bytes(jsonl(*({"text": f"row {index}"} for index in range(40))))
    run = tmp_path / "runs" / "20260101-000000-000-one"
    run.mkdir(parents=True)
    (run / "meta.json").write_text('{"kind": "train", "created": 1}')
    (run / "config.toml").write_text("")
    (result,) = read_sources("http://127.0.0.1:9", tmp_path, f"hf:{tmp_path}").results
    assert 'a run written by Seedbed, "runs/20260101-000000-000-one"' in result["error"]
    assert "--runs" in result["hint"]
