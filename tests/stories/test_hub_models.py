"""Models of the Hub as bases and in other commands: recorded with their commit, and in use when the Hub is gone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import trained_bases
from model_hub import COMMIT, ModelHub
from seedbed.config.frozen import load_frozen
from seedbed.config.roots import TRAIN

pytest.importorskip("huggingface_hub", reason="needs the extra hub")

NAME = "hub:me/small"
EXACT = f"{NAME}@{COMMIT}"
SETTINGS = (
    "train.batch_size=2",
    "train.micro_batch=2",
    "train.precision=fp32",
    "train.compile=off",
    "train.threads=1",
    "train.eval_every=0",
    "train.eval_tokens=200",
    "train.sample_prompts=[]",
    "data.workers=1",
)
KEPT = ("SEEDBED_RUNS", "SEEDBED_CACHE", "NO_COLOR", "PYTHONWARNINGS")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the model that the Hub has."""
    return trained_bases.make(tmp_path_factory.mktemp("bases") / "small")


@pytest.fixture
def hub(folder: Path) -> Iterator[ModelHub]:
    made = ModelHub({"me/small": {path.name: path.read_bytes() for path in folder.iterdir()}})
    yield made
    made.stop()


@pytest.fixture
def online(workspace: Any, hub: ModelHub) -> Any:
    """A workspace with a text, whose Hub is `hub` and whose cache of the Hub is the folder hf."""
    own = {key: workspace.environment[key] for key in KEPT}
    workspace.environment = hub.environment(workspace.folder) | own
    (workspace.folder / "notes.txt").write_text(trained_bases.text(1500))
    return workspace


def test_a_run_records_the_commit_of_its_base_and_needs_the_hub_no_more(hub: ModelHub, online: Any) -> None:
    sets = [word for each in SETTINGS for word in ("--set", each)]
    given = ("--from", NAME, "--data", "text:notes.txt", "--steps", "3", "--context", "16", "--device", "cpu")
    online.seedbed("train", *given, *sets)
    run = online.run_dir()
    base = load_frozen(run / "config.toml", TRAIN).base
    assert base.model == json.loads((run / "meta.json").read_bytes())["base"] == EXACT
    assert Path(base.folder or "").name == COMMIT
    assert run.name.endswith("-small-notes")
    assert hub.downloads("model-00001-of-00002.safetensors") == [""]
    hub.stop()
    steps = online.steps(run)
    online.seedbed("train", "--like", run.name)
    assert online.steps(online.run_dir()) == steps, "the same run from the commit in the cache"
    shutil.rmtree(online.folder / "hf")
    online.seedbed("resume", run.name, "--more-steps", "2")
    assert online.steps(run)[-1][0] == 5


def test_generate_and_evaluate_take_a_model_of_the_hub_and_then_its_copy(
    hub: ModelHub, online: Any, folder: Path
) -> None:
    prompt = ("--prompt", "the fox", "-n", "6", "--temp", "0", "--json")
    expected = json.loads(online.seedbed("generate", str(folder), *prompt).stdout)["text"]
    first = online.seedbed("generate", NAME, *prompt)
    assert EXACT in first.stderr
    found = json.loads(first.stdout)
    assert (found["text"], Path(found["checkpoint"]).name) == (expected, COMMIT)

    def evaluated(*words: str) -> list[dict[str, Any]]:
        found = json.loads(online.seedbed("evaluate", *words, "--json").stdout)
        return [{key: model[key] for key in ("name", "nats", "bits_per_byte")} for model in found["models"]]

    both = evaluated(NAME, str(folder), "--data", "text:notes.txt", "--max-tokens", "500")
    assert [model["name"] for model in both] == [f"{NAME}@{COMMIT[:7]}", "small"]
    assert both[0] | {"name": "small"} == both[1]
    hub.stop()
    offline = online.seedbed("generate", NAME, *prompt)
    assert "Cannot reach" in offline.stderr
    assert json.loads(offline.stdout)["text"] == expected
    assert evaluated("--like", "latest") == both
    assert evaluated(NAME, "--like", "latest") == both[:1]
