"""The fingerprint of a model folder's weights: equal for copies, different after any training, cheap for large files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import trained_bases
from seedbed.checkpoint import fingerprint
from seedbed.checkpoint.fingerprint import weight_files, weights_fingerprint
from seedbed.errors import SeedbedError


@pytest.fixture(params=["whole", "sampled"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model folder whose files are hashed whole, or by blocks as very large ones are."""
    if request.param == "sampled":
        monkeypatch.setattr(fingerprint, "_WHOLE_BYTES", 0)
        monkeypatch.setattr(fingerprint, "_BLOCK_BYTES", 64)
    return trained_bases.make(tmp_path / "base")


def test_a_copy_has_the_same_fingerprint_whatever_its_other_files_are(folder: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(folder, tmp_path / "copied")
    (copied / "config.json").write_text("{}")
    assert weights_fingerprint(copied) == weights_fingerprint(folder)


def test_weights_that_were_trained_further_have_another_fingerprint(folder: Path, tmp_path: Path) -> None:
    before = weights_fingerprint(folder)
    for file in weight_files(folder):
        tensors = {
            name: (each.float() * 1.01).bfloat16()
            for name, each in trained_bases.weights().items()
            if _is_in(file, name)
        }
        save_file(tensors, file, metadata={"format": "pt"})
    assert weights_fingerprint(folder) != before


def _is_in(file: Path, name: str) -> bool:
    index = json.loads((file.parent / "model.safetensors.index.json").read_bytes())
    return bool(index["weight_map"][name] == file.name)


def test_a_missing_shard_is_named(folder: Path) -> None:
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(SeedbedError, match="missing: model-00002-of-00002"):
        weights_fingerprint(folder)


def test_pickled_weights_are_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04")
    with pytest.raises(SeedbedError, match="pickle") as caught:
        weights_fingerprint(tmp_path)
    assert "safetensors" in caught.value.hint


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SeedbedError, match=r"no model\.safetensors"):
        weights_fingerprint(tmp_path)


def test_a_damaged_header_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprint, "_WHOLE_BYTES", 0)
    save_file({"a": torch.zeros(8)}, tmp_path / "model.safetensors")
    data = bytearray((tmp_path / "model.safetensors").read_bytes())
    data[:8] = (1 << 40).to_bytes(8, "little")
    (tmp_path / "model.safetensors").write_bytes(data)
    with pytest.raises(SeedbedError, match="damaged"):
        weights_fingerprint(tmp_path)
