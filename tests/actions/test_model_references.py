"""Names of models that name nothing usable: the message says what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from seedbed.actions.model_references import locate
from seedbed.errors import UsageError
from seedbed.runs.store import Store


@pytest.mark.parametrize(
    ("files", "missing"),
    [
        (("tokenizer.json",), "no config.json"),
        (("config.json", "pytorch_model.bin"), "no weights"),
    ],
)
def test_a_folder_that_is_no_model_is_refused_with_what_it_lacks(
    tmp_path: Path, files: tuple[str, ...], missing: str
) -> None:
    folder = tmp_path / "models" / "small"
    folder.mkdir(parents=True)
    for name in files:
        (folder / name).write_text("{}")
    with pytest.raises(UsageError, match=missing) as raised:
        locate(Store(tmp_path / "runs"), str(folder))
    assert f"seedbed models {folder}" in raised.value.hint


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
