"""The contents of a checkpoint, and the replacement of one of the same step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from seedbed.checkpoint.marker import damage
from seedbed.checkpoint.reading import load
from seedbed.checkpoint.tensors import read_tensors
from seedbed.checkpoint.writing import Snapshot, save

Make = Callable[..., Snapshot]


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


def test_a_checkpoint_contains_what_was_saved(folder: Path, make: Make) -> None:
    saved = save(folder, make(1000))
    assert saved.path == folder / "step-00001000"
    assert sorted(path.name for path in saved.path.iterdir()) == [
        "DONE",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "optimizer.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "trainer.json",
    ]
    assert saved.size_bytes == sum(path.stat().st_size for path in saved.path.iterdir() if path.name != "DONE")
    loaded = load(saved.path)
    assert loaded.step == 1000
    assert torch.equal(read_tensors(loaded.weights)["model.embed_tokens.weight"], torch.full((5, 3), 1000.0))
    assert torch.equal(read_tensors(loaded.optimizer)["model.norm.weight.exp_avg"], torch.full((3,), 500.0))
    assert loaded.trainer["rng"] == [1, 2, 3]
    assert names(list(folder.iterdir())) == ["step-00001000"], "something was left beside it"


def test_files_in_a_subfolder_are_saved_and_verified(folder: Path, make: Make) -> None:
    name = "additional_chat_templates/rag.jinja"
    snapshot = make(10)
    path = save(folder, snapshot._replace(files={**snapshot.files, name: [b"{{ documents }}"]})).path
    assert (path / name).read_bytes() == b"{{ documents }}"
    assert damage(path) is None
    (path / name).write_bytes(b"{{ documemts }}")
    assert damage(path) == f"{name} was damaged or edited (its checksum differs)"


def test_saving_a_step_again_replaces_its_checkpoint(folder: Path, make: Make) -> None:
    save(folder, make(10, value=1.0))
    save(folder, make(10, value=2.0))
    assert names(list(folder.iterdir())) == ["step-00000010"]
    assert read_tensors(load(folder / "step-00000010").weights)["model.norm.weight"][0] == 2.0


def test_a_damaged_checkpoint_of_the_same_step_is_overwritten(folder: Path, make: Make) -> None:
    weights = save(folder, make(10, value=1.0)).path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-7])
    save(folder, make(10, value=2.0))
    assert read_tensors(load(folder / "step-00000010").weights)["model.norm.weight"][0] == 2.0
