"""Names of models that name nothing usable: the message says what is missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import hand_made_models as made
from seedbed.actions.base_models import open_base
from seedbed.actions.describing import describe
from seedbed.actions.model_references import ChosenModel, locate
from seedbed.errors import SeedbedError, UsageError
from seedbed.runs.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (("tokenizer.json",), "contains no config.json, so it is not a model folder"),
        (("adapter_config.json", "adapter_model.safetensors"), "contains an adapter, not a whole model"),
        (("small.Q4_0.gguf",), "contains no config.json, only small.Q4_0.gguf"),
        (("config.json",), "There is no model.safetensors"),
        (("config.json", "pytorch_model.bin"), "The weights are a pickle (pytorch_model.bin)"),
    ],
)
def test_a_folder_that_is_no_model_is_refused_as_the_report_on_it_says(
    tmp_path: Path, store: Store, files: tuple[str, ...], message: str
) -> None:
    folder = tmp_path / "models" / "small"
    folder.mkdir(parents=True)
    for name in files:
        (folder / name).write_text(json.dumps(made.QWEN3) if name == "config.json" else "{}")
    problem = describe(store, str(folder)).problems[0]
    assert message in problem.text
    for opened in (locate, open_base):  # of `generate` and `evaluate`; of `train --from`
        with pytest.raises(SeedbedError) as raised:
            opened(store, f"{folder.parent}/../models/small/")
        assert raised.value.message.endswith(problem.text)
        assert str(folder) in raised.value.message
        assert ".." not in raised.value.message
        assert raised.value.hint == problem.hint


@pytest.mark.parametrize("name", ["config.json", "pytorch_model.bin"])
def test_a_file_in_a_model_folder_is_refused_with_its_folder(tmp_path: Path, store: Store, name: str) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    for each in ("config.json", "pytorch_model.bin"):
        (folder / each).write_text("{}")
    for opened in (locate, open_base, describe):
        with pytest.raises(UsageError) as raised:
            opened(store, f"{folder}/./{name}")
        assert raised.value.message == f'"{folder / name}" is a file, not a model folder.'
        assert raised.value.hint == f"Give its folder: {folder}"


def test_the_working_directory_is_a_model_folder_too(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.write(tmp_path / "small", made.files())
    monkeypatch.chdir(tmp_path / "small")
    found = locate(store, ".")
    assert isinstance(found, ChosenModel)
    assert found.folder == tmp_path / "small"


def test_a_run_has_priority_over_a_file_of_its_name(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = store.create("train", "alpha", "", {})
    (tmp_path / "alpha").write_text("a text")
    monkeypatch.chdir(tmp_path)
    found = locate(store, "alpha")
    assert isinstance(found, ChosenModel)
    assert found.run is not None
    assert found.run.path == run.path


@pytest.mark.parametrize(
    ("reference", "message", "hint"),
    [
        ("HuggingFaceTB/SmolLM2-135M", "no model folder and no run", "hub:HuggingFaceTB/SmolLM2-135M"),
        ("./nowhere", "no model folder and no run at", "Check the path"),
        ("/no/where/at/all", "no model folder and no run at", "Check the path"),
        ("nowhere", "no run", "./nowhere"),
    ],
)
def test_a_reference_to_nothing_says_what_else_may_be_meant(
    tmp_path: Path, reference: str, message: str, hint: str
) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        locate(Store(tmp_path / "runs"), reference)
    assert hint in raised.value.hint


def test_a_folder_with_the_name_of_no_run_is_named_in_the_hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad").mkdir()
    with pytest.raises(UsageError) as raised:
        locate(Store(tmp_path / "runs"), "bad")
    assert raised.value.hint.endswith("To use the folder of that name, write ./bad.")
