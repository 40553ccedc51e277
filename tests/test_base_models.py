"""Finding the model that --from names, and refusing what cannot be trained on, before a run exists."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import trained_bases
from seedbed import actions
from seedbed.actions.base_models import open_base
from seedbed.config.frozen import dump
from seedbed.config.resolving import resolve
from seedbed.config.roots import TRAIN
from seedbed.errors import SeedbedError, UsageError
from seedbed.runs.base_names import short_name
from seedbed.runs.kinds import KINDS
from seedbed.runs.store import Store


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_bases.make(tmp_path_factory.mktemp("bases") / "small")


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of the model folder, which a test may damage."""
    return shutil.copytree(made, tmp_path / "small")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


def test_a_folder_is_opened_with_its_shape_and_a_fingerprint(folder: Path, store: Store) -> None:
    base = open_base(store, str(folder))
    assert (base.name, base.reference, base.folder) == ("small", str(folder), folder)
    assert (base.model.layers, base.vocab_rows, base.data) == (2, trained_bases.ROWS, None)
    assert len(base.fingerprint) == 64


def test_the_file_of_the_weights_names_its_folder(folder: Path, store: Store) -> None:
    assert open_base(store, f"{folder}/model-00001-of-00002.safetensors").folder == folder


def _unlink(*names: str) -> object:
    def change(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return change


def _edit(**entries: object) -> object:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_bytes()) | entries))

    return change


def _pickled(folder: Path) -> None:
    for file in folder.glob("*.safetensors*"):
        file.unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04")


def _larger_vocabulary(folder: Path) -> None:
    path = folder / "tokenizer.json"
    spec = json.loads(path.read_bytes())
    spec["added_tokens"].append({**spec["added_tokens"][0], "id": 416, "content": "<one more>"})
    path.write_text(json.dumps(spec))


def _unloadable(folder: Path) -> None:
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"pre_tokenizer": {"type": "Foo"}}))


def _damaged_generation_config(folder: Path) -> None:
    (folder / "generation_config.json").write_text("{")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_unlink("config.json"), ("contains no config.json",)),
        (_unlink("tokenizer.json"), ("contains no tokenizer.json",)),
        (_unlink("model-00002-of-00002.safetensors"), ("missing: model-00002-of-00002.safetensors",)),
        (_unlink("model.safetensors.index.json"), ("no model.safetensors",)),
        (_pickled, ("pickle", "save_pretrained")),
        (_edit(model_type="mamba"), ("'mamba'", "It supports")),
        (_edit(hidden_act="relu"), ("hidden_act",)),
        (_larger_vocabulary, ("417 ids", "416 rows")),
        (_unloadable, ("cannot load this tokenizer.json", "Restore it, or download the model again.")),
        (_damaged_generation_config, ("generation_config.json", "is not valid JSON")),
    ],
    ids=[
        "config",
        "tokenizer",
        "shard",
        "index",
        "pickle",
        "family",
        "activation",
        "ids",
        "library",
        "generation config",
    ],
)
def test_an_incomplete_or_unsupported_folder_is_refused_with_the_reason(
    folder: Path, store: Store, change: object, words: tuple[str, ...]
) -> None:
    change(folder)  # type: ignore[operator]
    with pytest.raises(SeedbedError) as caught:
        open_base(store, str(folder))
    for word in words:
        assert word in str(caught.value)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("reference", ["", "no-such-run", "no-such-run@200", "./nothing/here"])
def test_a_reference_that_names_nothing_is_a_usage_error(store: Store, reference: str) -> None:
    with pytest.raises(UsageError):
        open_base(store, reference)


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("/home/me/models/SmolLM2-135M", "SmolLM2-135M"),
        ("hub:owner/Qwen3-0.6B@0123abc", "Qwen3-0.6B"),
        ("20261121-101500-000-nano-stories@400", "nano-stories"),
        ("/cache/models--owner--Qwen3-0.6B/snapshots/0123abc", "Qwen3-0.6B"),
    ],
)
def test_the_short_name_of_a_base(reference: str, name: str) -> None:
    assert short_name(reference) == name


def test_a_new_run_records_its_base_and_is_named_after_it(folder: Path, store: Store, tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text(trained_bases.text())
    resolved = resolve(
        TRAIN,
        flags={"base.model": str(folder), "data.source": f"text:{notes}", "model.context": 16},
        open_base=actions.base_opener(store),
    )
    run = actions.new_run(store, KINDS["train"], resolved)
    assert run.meta()["base"] == str(folder)
    assert run.name() == "small-notes"
    assert run.config.read_text() == dump(resolved.config, resolved.origins)
