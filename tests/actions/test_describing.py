"""The list of models on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

import hand_made_models as made
from model_hub import COMMIT
from seedbed.actions.describing import describe, list_models
from seedbed.errors import UsageError
from seedbed.runs.store import Store

pytest.importorskip("huggingface_hub", reason="needs the extra hub")


def test_a_name_that_nothing_has_needs_no_other_form(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run") as raised:
        describe(Store(tmp_path / "runs"), "nowhere")
    assert "./nowhere" not in raised.value.hint


def test_the_size_of_a_model_is_that_of_the_weights_that_are_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    whole = made.files()
    shards = made.sharded(whole)
    for name, content in (("whole", whole), ("shards", shards)):
        folder = tmp_path / "hub" / f"models--me--{name}" / "snapshots" / COMMIT
        made.write(folder, {**content, "consolidated.safetensors": b"another copy", "vision.safetensors": b"other"})
    sizes = {row.snapshot.name: row.weight_bytes for row in list_models(Store(tmp_path / "runs")).hub}
    assert sizes == {
        "me/whole": len(whole["model.safetensors"]),
        "me/shards": sum(len(data) for name, data in shards.items() if name.endswith(".safetensors")),
    }
