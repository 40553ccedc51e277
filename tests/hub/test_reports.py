"""`seedbed models hub:NAME` describes a model on the Hub from small files and the headers of its weights."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import hand_made_models as made
import patience
from model_hub import COMMIT, ModelHub

pytest.importorskip("huggingface_hub", reason="needs the extra hub")

WHOLE = made.files(pad=1 << 20)
REPOS = {
    "me/tiny": WHOLE,
    "me/sharded": made.sharded(WHOLE),
    "me/pickles": {**{name: data for name, data in WHOLE.items() if "safe" not in name}, "pytorch_model.bin": b"x"},
    "me/wrong": {**WHOLE, "config.json": json.dumps({**made.QWEN3, "num_hidden_layers": 3}).encode()},
}


@pytest.fixture
def hub() -> Iterator[ModelHub]:
    made_hub = ModelHub(REPOS)
    made_hub.cards = {"me/tiny": {"license": "other", "license_name": "our-own"}}
    yield made_hub
    made_hub.stop()


def models(hub: ModelHub, home: Path, *words: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "seedbed", "models", *words],
        env=hub.environment(home),
        cwd=home,
        capture_output=True,
        text=True,
        timeout=patience.HANG_S,
    )
    assert done.returncode == expect, done.stdout + done.stderr
    return done


def report(hub: ModelHub, home: Path, *words: str, expect: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(models(hub, home, *words, "--json", expect=expect).stdout)
    return found


def test_a_model_is_described_before_its_weights_are_downloaded(hub: ModelHub, tmp_path: Path) -> None:
    found = report(hub, tmp_path, "hub:me/tiny")
    assert found["reference"] == f"hub:me/tiny@{COMMIT}"
    assert (found["can_run"], found["parameters"], found["licence"]) == (True, made.PARAMETERS, "our-own")
    assert (found["folder"], found["download_bytes"]) == (None, len(WHOLE["model.safetensors"]))
    assert hub.downloads("model.safetensors") == ["bytes=0-100000"]
    sharded = report(hub, tmp_path, "hub:me/sharded")
    assert (sharded["can_run"], len(sharded["weights"]["files"])) == (True, 2)
    shown = models(hub, tmp_path, "hub:me/tiny").stdout
    assert "not in the cache yet" in shown


def test_a_downloaded_model_is_described_from_the_cache(hub: ModelHub, tmp_path: Path) -> None:
    done = models(hub, tmp_path, "hub:me/tiny", "--download")
    assert f"hub:me/tiny@{COMMIT}" in done.stderr
    found = report(hub, tmp_path, "hub:me/tiny")
    assert found["download_bytes"] is None
    assert Path(found["folder"]).name == COMMIT
    assert "hub:me/tiny" in models(hub, tmp_path).stdout
    hub.stop()
    again = models(hub, tmp_path, "hub:me/tiny")
    assert "Cannot reach" in again.stderr
    assert "Seedbed can generate" in again.stdout


def test_why_a_model_on_the_hub_cannot_be_used_is_told_without_downloading_it(hub: ModelHub, tmp_path: Path) -> None:
    pickled = report(hub, tmp_path, "hub:me/pickles", expect=1)
    assert "pickles (pytorch_model.bin)" in pickled["problems"][0]["text"]
    assert pickled["family"] == "qwen3"
    wrong = report(hub, tmp_path, "hub:me/wrong", expect=1)
    assert wrong["problems"][0]["text"] == "config.json says 3 layers, but the weights have 2."
    assert not hub.downloads("pytorch_model.bin")
    done = models(hub, tmp_path, "hub:me/none", expect=1)
    assert "has no model me/none" in done.stderr
    assert done.stdout == ""
