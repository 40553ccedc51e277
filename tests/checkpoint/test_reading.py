"""Which checkpoints are found: a damaged one is skipped with a reason and is not loaded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from seedbed.checkpoint.marker import verify
from seedbed.checkpoint.reading import find, load
from seedbed.checkpoint.writer import Writer
from seedbed.checkpoint.writing import Snapshot, save
from seedbed.errors import SeedbedError

Make = Callable[..., Snapshot]


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


def test_steps_are_ordered_as_numbers(folder: Path, make: Make) -> None:
    for step in (100_000_000, 9000, 10_000, 99_999_999):
        save(folder, make(step))
    assert names(find(folder).good) == ["step-00009000", "step-00010000", "step-99999999", "step-100000000"]


def test_a_missing_folder_has_no_checkpoints(tmp_path: Path) -> None:
    assert find(tmp_path / "none") == ([], [])


def truncate_weights(path: Path) -> None:
    data = (path / "model.safetensors").read_bytes()
    (path / "model.safetensors").write_bytes(data[:-7])


def remove_marker(path: Path) -> None:
    (path / "DONE").unlink()


def truncate_marker(path: Path) -> None:
    (path / "DONE").write_text('{"format": 1, "st')


def empty_marker(path: Path) -> None:
    (path / "DONE").write_text("[]")


def remove_trainer_state(path: Path) -> None:
    (path / "trainer.json").unlink()


def change_step(path: Path) -> None:
    marker = json.loads((path / "DONE").read_text())
    (path / "DONE").write_text(json.dumps({**marker, "step": 3}))


def list_outside_file(path: Path) -> None:
    marker = json.loads((path / "DONE").read_text())
    marker["files"]["../../secret"] = {"size_bytes": 0, "sha256": ""}
    (path / "DONE").write_text(json.dumps(marker))


def set_newer_format(path: Path) -> None:
    marker = json.loads((path / "DONE").read_text())
    (path / "DONE").write_text(json.dumps({**marker, "format": 99}))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (truncate_weights, "model.safetensors has"),
        (remove_marker, "it is unfinished"),
        (truncate_marker, "DONE file cannot be read"),
        (empty_marker, "does not list the saved files"),
        (remove_trainer_state, "trainer.json is missing"),
        (change_step, "its DONE file belongs to step 3"),
        (list_outside_file, "does not list the saved files"),
        (set_newer_format, "newer version"),
    ],
)
def test_a_damaged_checkpoint_is_skipped_with_the_reason(
    folder: Path, make: Make, damage: Callable[[Path], None], reason: str
) -> None:
    save(folder, make(10))
    bad = save(folder, make(20)).path
    damage(bad)
    found = find(folder)
    assert names(found.good) == ["step-00000010"]
    assert [path for path, _ in found.skipped] == [bad]
    assert reason in found.skipped[0][1]
    with pytest.raises(SeedbedError, match="step-00000020"):
        load(bad)


def test_an_interrupted_replacement_leaves_the_old_checkpoint(folder: Path, make: Make) -> None:
    old = save(folder, make(10)).path
    aside = old.rename(folder / ".step-00000010.replaced")
    old.mkdir()
    (old / "model.safetensors").write_text("half")
    assert find(folder).good == [aside]
    assert load(aside).step == 10
    Writer(folder)
    assert find(folder) == ([old], [])
    assert load(old).step == 10


@pytest.mark.parametrize(
    "name", ["model.safetensors", "optimizer.safetensors", "trainer.json", "config.json", "tokenizer.json"]
)
def test_an_edited_file_of_the_same_size_is_refused(folder: Path, make: Make, name: str) -> None:
    path = save(folder, make(10)).path
    data = bytearray((path / name).read_bytes())
    data[len(data) // 2] ^= 1
    (path / name).write_bytes(data)
    with pytest.raises(SeedbedError, match=rf"{name} was damaged or edited"):
        verify(path)
    with pytest.raises(SeedbedError, match="cannot be used"):
        load(path)


@pytest.mark.parametrize(
    ("name", "missing"), [("optimizer.safetensors", "optimizer state"), ("trainer.json", "trainer state")]
)
def test_a_checkpoint_without_optimizer_or_trainer_state_is_not_loaded(
    folder: Path, make: Make, name: str, missing: str
) -> None:
    path = save(folder, make(10)).path
    marker = json.loads((path / "DONE").read_text())
    del marker["files"][name]
    (path / "DONE").write_text(json.dumps(marker))
    (path / name).unlink()
    verify(path)
    with pytest.raises(SeedbedError, match=f"has no {missing}"):
        load(path)
