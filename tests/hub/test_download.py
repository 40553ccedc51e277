"""Models of the Hub through the real, unpatched `huggingface_hub`, against a small Hub on this machine.

The client reads HF_ENDPOINT when it is imported, so it runs in a process of its own.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import hand_made_models as made
import patience
import preloaded
from model_hub import COMMIT, OTHER_COMMIT, TOKEN, ModelHub

pytest.importorskip("huggingface_hub", reason="needs the extra hub")

CHUNK = 10 << 20
"""The client writes pieces of this size."""
WHOLE = made.files()
LARGE = made.files(pad=2 * CHUNK + 12345)
BLOCKED = {"pytorch_model.bin": b"pickle", "onnx/model.onnx": b"onnx", "original/consolidated.00.pth": b"pickle"}
EXTRAS = {
    "README.md": b"---\nlicense: apache-2.0\n---\n# model",
    "additional_chat_templates/tool_use.jinja": b"{{ messages }}",
    "chat_template.jinja": b"{{ messages }}",
    "generation_config.json": b"{}",
}
NO_WEIGHTS = {name: data for name, data in WHOLE.items() if name != "model.safetensors"}
SHARDED = made.sharded(WHOLE)

REPOS: dict[str, dict[str, bytes]] = {
    "me/tiny": {**WHOLE, **EXTRAS, **BLOCKED},
    "me/sharded": {**SHARDED, "consolidated.safetensors": b"another copy"},
    "me/halved": {name: data for name, data in SHARDED.items() if not name.startswith("model-00002")},
    "me/pickles": {**NO_WEIGHTS, "pytorch_model.bin": b"pickle"},
    "me/gguf": {**NO_WEIGHTS, "model.Q4_0.gguf": b"gguf"},
    "me/adapter": {"adapter_model.safetensors": b"adapter", "adapter_config.json": b"{}"},
    "me/bare": {"model.safetensors": WHOLE["model.safetensors"]},
    "me/wordless": {name: data for name, data in WHOLE.items() if name != "tokenizer.json"},
    "me/older": {"tokenizer.model": b"x", **{name: WHOLE[name] for name in ("config.json", "model.safetensors")}},
    "me/stranger": {**WHOLE, "config.json": b'{"model_type": "gemma2"}'},
    "me/private": WHOLE,
    "me/gated": WHOLE,
    "me/terms": WHOLE,
    "me/locked": WHOLE,
    "me/broken": WHOLE,
}

CLIENT = """
import json, sys
from pathlib import Path
from seedbed.actions.model_references import resolve
from seedbed.errors import SeedbedError
from seedbed.runs.store import Store
for reference in json.loads(sys.argv[1]):
    told = []
    try:
        chosen = resolve(Store(Path("runs")), reference, on_progress=told.append)
        found = {"hub": chosen.hub, "folder": str(chosen.model_path()), "note": chosen.note}
        found["files"] = sorted(str(path.relative_to(chosen.folder)) for path in chosen.folder.rglob("*") if path.is_file())
    except SeedbedError as error:
        found = {"error": error.message, "hint": error.hint, "exit": error.exit_code}
    print(json.dumps({**found, "told": told}))
heavy = {"torch", "numpy", "transformers", "safetensors", "tokenizers", "datasets"} & set(sys.modules)
assert not heavy, heavy
"""


def resolve(
    hub: ModelHub, home: Path, *references: str, code: str = CLIENT, **environment: str
) -> list[dict[str, Any]]:
    """What each reference is resolved to, or the error, in a process whose Hub is `hub`."""
    client = preloaded.server(preloaded.HUB_CLIENT)
    done = client.run(code, json.dumps(references), environment=hub.environment(home, **environment), folder=home)
    assert done.returncode == 0, done.stderr
    assert TOKEN not in done.stdout + done.stderr
    assert done.stderr == "", "the client wrote something"
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def hub() -> Iterator[ModelHub]:
    made_hub = ModelHub(REPOS)
    made_hub.refusals = {"me/gated": (403, "GatedRepo"), "me/locked": (403, ""), "me/broken": (500, "")}
    made_hub.private = {"me/private"}
    made_hub.gated = {"me/terms"}
    yield made_hub
    made_hub.stop()


def test_a_model_is_downloaded_once_with_the_files_that_it_needs(hub: ModelHub, tmp_path: Path) -> None:
    first, again = resolve(hub, tmp_path, "hub:me/tiny", "hub:me/tiny@branch/x")
    assert first["hub"] == again["hub"] == f"hub:me/tiny@{COMMIT}"
    assert first["files"] == sorted({**WHOLE, **EXTRAS})
    folder = Path(first["folder"])
    for name, data in {**WHOLE, **EXTRAS}.items():
        assert (folder / name).read_bytes() == data
    assert not any(hub.downloads(name.rpartition("/")[2]) for name in BLOCKED)
    assert len(hub.downloads("model.safetensors")) == 1
    asked = len(hub.requests)
    pinned, offline = resolve(hub, tmp_path, f"hub:me/tiny@{COMMIT}", first["hub"])
    assert pinned["folder"] == offline["folder"] == first["folder"]
    assert len(hub.requests) == asked, "a commit in the cache was asked for again"


def test_a_sharded_model_is_downloaded_as_its_index_lists_it(hub: ModelHub, tmp_path: Path) -> None:
    (found,) = resolve(hub, tmp_path, "hub:me/sharded")
    assert found["files"] == sorted(SHARDED)
    assert not hub.downloads("consolidated.safetensors")
    told = [each[0] for each in found["told"]]
    assert told, "no progress"


def test_a_connection_that_breaks_is_continued_where_it_stopped(hub: ModelHub, tmp_path: Path) -> None:
    hub.repos["me/large"] = LARGE
    hub.cut_at = {"model.safetensors": CHUNK + 777}
    (found,) = resolve(hub, tmp_path, "hub:me/large")
    assert (Path(found["folder"]) / "model.safetensors").read_bytes() == LARGE["model.safetensors"]
    assert hub.downloads("model.safetensors") == ["", f"bytes={CHUNK}-"]
    whole = len(LARGE["model.safetensors"])
    assert found["told"][-1] == ["verifying", "model.safetensors", whole, whole]


def test_a_download_that_was_interrupted_is_continued_by_the_next_process(hub: ModelHub, tmp_path: Path) -> None:
    hub.repos["me/large"] = LARGE
    hub.hold_at = {"model.safetensors": CHUNK + 777}
    words = [sys.executable, "-m", "seedbed", "models", "hub:me/large", "--download"]
    process = subprocess.Popen(
        words, env=hub.environment(tmp_path), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    patience.until(lambda: hub.held.is_set() or process.poll() is not None)
    assert process.poll() is None, process.communicate()
    partial = patience.until(lambda: next(tmp_path.rglob("*.incomplete"), None))
    patience.until(lambda: partial.stat().st_size == CHUNK)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=patience.HANG_S)
    assert process.returncode == 130, err
    assert (out, err) == ("", "")
    assert not list(tmp_path.rglob("snapshots/*/model.safetensors")), "a part of the file counts as the whole"
    assert partial.stat().st_size == CHUNK
    (offline,) = resolve(hub, tmp_path, "hub:me/large", HF_HUB_OFFLINE="1")
    assert "not in the local cache" in offline["error"]

    (found,) = resolve(hub, tmp_path, "hub:me/large")
    assert (Path(found["folder"]) / "model.safetensors").read_bytes() == LARGE["model.safetensors"]
    assert hub.downloads("model.safetensors") == ["", f"bytes={CHUNK}-"]
    assert not list(tmp_path.rglob("*.incomplete"))


def test_a_file_with_a_wrong_checksum_is_not_kept(hub: ModelHub, tmp_path: Path) -> None:
    hub.repos["me/large"] = LARGE
    hub.altered = {"model.safetensors"}
    (found,) = resolve(hub, tmp_path, "hub:me/large")
    assert "checksum differs" in found["error"]
    assert not list(tmp_path.rglob("snapshots/*/model.safetensors"))
    hub.altered = set()
    (found,) = resolve(hub, tmp_path, "hub:me/large")
    assert (Path(found["folder"]) / "model.safetensors").read_bytes() == LARGE["model.safetensors"]


def test_every_refusal_has_its_message_and_hint(hub: ModelHub, tmp_path: Path) -> None:
    expected = {
        "hub:me/none": ("has no model me/none, or it is private", "HF_TOKEN"),
        "hub:me/private": ("has no model me/private, or it is private", "HF_TOKEN"),
        "hub:me/gated": ("The model me/gated is gated", f"{hub.endpoint}/me/gated"),
        "hub:me/terms": ("The model me/terms is gated", "HF_TOKEN"),
        "hub:me/locked": ("HTTP 403", "HF_TOKEN"),
        "hub:me/broken": ("HTTP 500", "later"),
        "hub:me/tiny@v9": ("no such revision", "commits/main"),
        f"hub:me/tiny@{OTHER_COMMIT}": ("no such revision", "commits/main"),
        "hub:me/pickles": ("pickles (pytorch_model.bin), which can run any code", "safetensors"),
        "hub:me/gguf": ("it has model.Q4_0.gguf", "safetensors"),
        "hub:me/adapter": ("is an adapter", "model that it was trained on"),
        "hub:me/bare": ("has no config.json", "format of transformers"),
        "hub:me/halved": ("has no model-00002-of-00002.safetensors, which its model.safetensors.index.json lists", ""),
        "hub:me/stranger": ("'gemma2'", ""),
        "hub:me/wordless": (f"hub:me/wordless@{COMMIT} has no tokenizer.json.", "local folder"),
        f"hub:me/older@{COMMIT}": (f'hub:me/older@{COMMIT} has no tokenizer.json, only "tokenizer.model".', "fast"),
        f"hub:me/terms@{COMMIT}": ("The model me/terms is gated", f"Accept its terms at {hub.endpoint}/me/terms"),
    }
    results = resolve(hub, tmp_path, *expected)
    for (reference, (message, hint)), result in zip(expected.items(), results, strict=True):
        assert message in result.get("error", ""), (reference, result)
        assert hint in result["hint"], (reference, result)
        assert result["exit"] == 1
    assert not hub.downloads("model.safetensors"), "weights that cannot be used were downloaded"
    assert not hub.downloads("pytorch_model.bin")


def test_a_token_gives_access_to_a_private_model(hub: ModelHub, tmp_path: Path) -> None:
    (found,) = resolve(hub, tmp_path, "hub:me/private", HF_TOKEN=TOKEN)
    assert found["files"] == sorted(WHOLE)


def test_another_host_that_has_the_weights_gets_no_token(hub: ModelHub, tmp_path: Path) -> None:
    hub.repos["me/private"] = LARGE
    hub.redirects = True
    hub.cut_at = {"model.safetensors": CHUNK + 777}
    (found,) = resolve(hub, tmp_path, "hub:me/private", HF_TOKEN=TOKEN)
    assert (Path(found["folder"]) / "model.safetensors").read_bytes() == LARGE["model.safetensors"]
    assert len(hub.strangers) == 2
    assert set(hub.strangers) == {None}


def test_a_cache_that_cannot_be_written_is_named(hub: ModelHub, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (found,) = resolve(hub, tmp_path, "hub:me/tiny", HF_HUB_CACHE=str(tmp_path / "file" / "cache"))
    assert str(tmp_path / "file") in found["error"]
    assert "part of its path is a file" in found["error"]


def test_a_model_in_the_cache_needs_no_network(hub: ModelHub, tmp_path: Path) -> None:
    (online,) = resolve(hub, tmp_path, "hub:me/tiny")
    hub.stop()
    begun = time.monotonic()
    (down, missing) = resolve(hub, tmp_path, "hub:me/tiny", "hub:me/sharded")
    assert down["folder"] == online["folder"]
    assert f"Cannot reach {hub.endpoint}" in down["note"]
    assert COMMIT[:12] in down["note"]
    assert f"Cannot reach {hub.endpoint}" in missing["error"]
    assert "network" in missing["hint"]
    offline, absent = resolve(hub, tmp_path, "hub:me/tiny", "hub:me/sharded", HF_HUB_OFFLINE="1")
    assert (offline["folder"], offline["note"]) == (online["folder"], "")
    assert "not in the local cache, and HF_HUB_OFFLINE is set" in absent["error"]
    assert time.monotonic() - begun < patience.limit(20)


def test_a_tokenizer_that_the_cache_lacks_is_downloaded_at_a_commit_too(hub: ModelHub, tmp_path: Path) -> None:
    pinned = f"hub:me/tiny@{COMMIT}"
    (whole,) = resolve(hub, tmp_path, pinned)
    (Path(whole["folder"]) / "tokenizer.json").unlink()
    (again,) = resolve(hub, tmp_path, pinned)
    assert again == {**whole, "told": []}
    assert len(hub.downloads("model.safetensors")) == 1


def test_a_commit_without_a_tokenizer_is_used_if_the_hub_cannot_be_reached(hub: ModelHub, tmp_path: Path) -> None:
    pinned = f"hub:me/tiny@{COMMIT}"
    (whole,) = resolve(hub, tmp_path, pinned)
    (Path(whole["folder"]) / "tokenizer.json").unlink()
    hub.refusals["me/tiny"] = (500, "")
    (broken,) = resolve(hub, tmp_path, pinned)
    assert broken["folder"] == whole["folder"]
    assert "HTTP 500" in broken["note"]
    hub.stop()
    (down,) = resolve(hub, tmp_path, pinned)
    assert down["folder"] == whole["folder"]
    assert f"Cannot reach {hub.endpoint}" in down["note"]
    (offline,) = resolve(hub, tmp_path, pinned, HF_HUB_OFFLINE="1")
    for found in (broken, down, offline):
        assert found["note"].endswith("The cache has no tokenizer.json of me/tiny.")


def test_a_commit_without_a_tokenizer_says_that_the_hub_was_asked_for_it_and_refused(
    hub: ModelHub, tmp_path: Path
) -> None:
    pinned = f"hub:me/tiny@{COMMIT}"
    (whole,) = resolve(hub, tmp_path, pinned)
    (Path(whole["folder"]) / "tokenizer.json").unlink()
    hub.refusals["me/tiny"] = (403, "GatedRepo")
    (gated,) = resolve(hub, tmp_path, pinned)
    assert f"{pinned} is in the cache without tokenizer.json, for which the Hub was asked" in gated["error"]
    assert "The model me/tiny is gated." in gated["error"]
    assert f"{hub.endpoint}/me/tiny" in gated["hint"]
    assert gated["exit"] == 1


def test_an_index_that_names_files_elsewhere_is_refused(hub: ModelHub, tmp_path: Path) -> None:
    index = json.dumps({"weight_map": {"a": "../model.safetensors"}}).encode()
    hub.repos["me/outside"] = {**SHARDED, "model.safetensors.index.json": index}
    (found,) = resolve(hub, tmp_path, "hub:me/outside")
    assert f"hub:me/outside@{COMMIT}: model.safetensors.index.json lists" in found["error"]
    assert "no name of a file" in found["error"]


def test_a_hub_that_never_answers_is_given_up(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        hub = ModelHub({})
        try:
            endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
            (found,) = resolve(hub, tmp_path, "hub:me/tiny", HF_ENDPOINT=endpoint)
        finally:
            hub.stop()
    assert f"Cannot reach {endpoint}" in found["error"]


def test_a_disk_that_is_too_small_is_refused_before_weights_are_downloaded(hub: ModelHub, tmp_path: Path) -> None:
    hub.announced = {"model.safetensors": 1 << 60}
    (found,) = resolve(hub, tmp_path, "hub:me/tiny")
    assert "needs 1024.0 PiB more" in found["error"]
    assert "HF_HUB_CACHE" in found["hint"]
    assert not hub.downloads("model.safetensors")


def test_the_hint_for_the_missing_package_is_its_install_command(hub: ModelHub, tmp_path: Path) -> None:
    code = "import sys; sys.modules['huggingface_hub'] = None\n" + CLIENT
    (found,) = resolve(hub, tmp_path, "hub:me/tiny", code=code)
    assert "huggingface_hub, which is not installed" in found["error"]
    assert found["hint"] == "Install it with: pip install 'seedbed[hub]'"
