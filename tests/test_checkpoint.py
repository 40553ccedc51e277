"""Checkpoints: what is written, what is found, what is refused, what is kept."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save as safetensors_bytes

from seedbed import checkpoint
from seedbed.checkpoint import Snapshot, Writer, find, load, save, take, verify
from seedbed.errors import DiskFullError, SeedbedError, StorageError

TOKENIZER = {
    "tokenizer.json": b'{"model": {}}',
    "tokenizer_config.json": b'{"tokenizer_class": "PreTrainedTokenizerFast"}',
}
Make = Callable[..., Snapshot]


@pytest.fixture
def make() -> Make:
    def snapshot(step: int, value: float | None = None) -> Snapshot:
        value = float(step) if value is None else value
        return Snapshot(
            step=step,
            weights={
                "model.embed_tokens.weight": torch.full((5, 3), value),
                "model.norm.weight": torch.arange(3.0) + value,
            },
            optimizer={"model.norm.weight.exp_avg": torch.full((3,), value / 2)},
            trainer={"progress": {"step": step}, "rng": [1, 2, 3], "best": float("nan")},
            config={"model_type": "qwen3"},
            generation_config={"eos_token_id": 0},
            tokenizer=TOKENIZER,
        )

    return snapshot


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "run" / "checkpoints"


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


def test_a_checkpoint_holds_what_was_saved(folder: Path, make: Make) -> None:
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
    assert torch.equal(loaded.weights["model.embed_tokens.weight"], torch.full((5, 3), 1000.0))
    assert torch.equal(loaded.optimizer["model.norm.weight.exp_avg"], torch.full((3,), 500.0))
    assert loaded.trainer["rng"] == [1, 2, 3]
    assert names(list(folder.iterdir())) == ["step-00001000"], "something was left beside it"


def test_the_weights_file_is_what_safetensors_writes_and_depends_on_weights_alone(folder: Path, make: Make) -> None:
    first, second = save(folder, make(1, value=7.0)).path, save(folder, make(2, value=7.0)).path
    written = (first / "model.safetensors").read_bytes()
    assert written == (second / "model.safetensors").read_bytes()
    with safe_open(first / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}
    assert written == safetensors_bytes(dict(make(7).weights), metadata={"format": "pt"})


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.int64])
def test_every_dtype_and_shape_comes_back(folder: Path, make: Make, dtype: torch.dtype) -> None:
    tensors = {
        "scalar": torch.ones((), dtype=dtype),
        "empty": torch.zeros((0, 3), dtype=dtype),
        "strided": torch.arange(12).reshape(3, 4).to(dtype).mT,
        "é/ü": torch.arange(5).to(dtype),
    }
    loaded = load(save(folder, make(1)._replace(weights=tensors)).path)
    assert loaded.weights.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(loaded.weights[name], tensor)
        assert loaded.weights[name].dtype == dtype


def test_steps_are_ordered_as_numbers(folder: Path, make: Make) -> None:
    for step in (100_000_000, 9000, 10_000, 99_999_999):
        save(folder, make(step))
    assert names(find(folder).good) == ["step-00009000", "step-00010000", "step-99999999", "step-100000000"]


def test_a_folder_that_is_not_there_has_no_checkpoints(tmp_path: Path) -> None:
    assert find(tmp_path / "none") == ([], [])


# ------------------------------------------------------------------------------------------------ damage


def cut(path: Path) -> None:
    data = (path / "model.safetensors").read_bytes()
    (path / "model.safetensors").write_bytes(data[:-7])


def edit(path: Path) -> None:
    data = bytearray((path / "optimizer.safetensors").read_bytes())
    data[-1] ^= 1
    (path / "optimizer.safetensors").write_bytes(data)


def unmark(path: Path) -> None:
    (path / "DONE").unlink()


def mangle(path: Path) -> None:
    (path / "DONE").write_text('{"format": 1, "st')


def empty_marker(path: Path) -> None:
    (path / "DONE").write_text("[]")


def lose(path: Path) -> None:
    (path / "trainer.json").unlink()


def rename(path: Path) -> None:
    marker = json.loads((path / "DONE").read_text())
    (path / "DONE").write_text(json.dumps({**marker, "step": 3}))


def reach_out(path: Path) -> None:
    marker = json.loads((path / "DONE").read_text())
    marker["files"]["../../secret"] = {"size_bytes": 0, "sha256": ""}
    (path / "DONE").write_text(json.dumps(marker))


def newer(path: Path) -> None:
    marker = json.loads((path / "DONE").read_text())
    (path / "DONE").write_text(json.dumps({**marker, "format": 99}))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (cut, "model.safetensors has"),
        (unmark, "never finished"),
        (mangle, "DONE cannot be read"),
        (empty_marker, "does not say what was saved"),
        (lose, "trainer.json is missing"),
        (rename, "its DONE is that of step 3"),
        (reach_out, "does not say what was saved"),
        (newer, "newer version"),
    ],
)
def test_a_spoiled_checkpoint_is_skipped_with_the_reason(
    folder: Path, make: Make, spoil: Callable[[Path], None], reason: str
) -> None:
    save(folder, make(10))
    bad = save(folder, make(20)).path
    spoil(bad)
    found = find(folder)
    assert names(found.good) == ["step-00000010"]
    assert [path for path, _ in found.skipped] == [bad]
    assert reason in found.skipped[0][1]
    with pytest.raises(SeedbedError, match="step-00000020"):
        load(bad)


def test_a_replacement_that_was_cut_off_leaves_the_old_one(folder: Path, make: Make) -> None:
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
    with pytest.raises(SeedbedError, match=rf"{name} is not what was saved"):
        verify(path)
    with pytest.raises(SeedbedError, match="cannot be used"):
        load(path)


@pytest.mark.parametrize(
    ("name", "said"), [("optimizer.safetensors", "optimizer state"), ("trainer.json", "trainer state")]
)
def test_without_optimizer_or_trainer_a_resume_is_refused(folder: Path, make: Make, name: str, said: str) -> None:
    path = save(folder, make(10)).path
    marker = json.loads((path / "DONE").read_text())
    del marker["files"][name]
    (path / "DONE").write_text(json.dumps(marker))
    (path / name).unlink()
    verify(path)
    with pytest.raises(SeedbedError, match=f"holds no {said}"):
        load(path)


# ------------------------------------------------------------------------------------------------ the writer


def test_a_snapshot_does_not_follow_the_weights(folder: Path, make: Make) -> None:
    weight = torch.zeros(4, 6)
    taken = take({"w": weight, "transposed": weight.mT})
    weight.fill_(9.0)
    assert not taken["w"].any()
    assert not taken["transposed"].any()
    assert taken["transposed"].is_contiguous()


def test_the_writer_keeps_the_last_and_the_best(folder: Path, make: Make) -> None:
    writer = Writer(folder, keep_last=2)
    told = []
    for step in (9_000, 10_000, 11_000, 12_000, 13_000):
        writer.submit(make(step), best=step == 10_000)
    writer.close()
    told = writer.poll()
    assert names(find(folder).good) == ["step-00010000", "step-00012000", "step-00013000"]
    assert [event.step for event in told] == [9_000, 10_000, 11_000, 12_000, 13_000]
    assert [event.deleted for event in told] == [
        (),
        (),
        ("checkpoints/step-00009000",),
        (),
        ("checkpoints/step-00011000",),
    ]
    assert told[0].path == "checkpoints/step-00009000"
    assert told[0].size_bytes > 0
    assert writer.poll() == []


def test_the_writer_keeps_every_nth_as_well(folder: Path, make: Make) -> None:
    writer = Writer(folder, keep_last=1, keep_every=1_000)
    for step in (500, 999, 1_000, 9_500, 10_000, 10_500):
        writer.submit(make(step), best=step == 500)
    writer.close()
    kept = ["step-00000500", "step-00001000", "step-00010000", "step-00010500"]
    assert names(find(folder).good) == kept
    again = Writer(folder, keep_last=1, keep_every=0)
    again.submit(make(11_000))
    again.close()
    assert names(find(folder).good) == ["step-00000500", "step-00011000"]


def test_a_later_session_still_knows_the_best_until_a_better_comes(folder: Path, make: Make) -> None:
    writer = Writer(folder, keep_last=1)
    writer.submit(make(1), best=True)
    writer.submit(make(2))
    writer.close()
    again = Writer(folder, keep_last=1)
    again.submit(make(3))
    again.close()
    assert names(find(folder).good) == ["step-00000001", "step-00000003"]
    again.submit(make(4), best=True)
    again.close()
    assert names(find(folder).good) == ["step-00000004"]


def test_keeping_none_still_keeps_one(folder: Path, make: Make) -> None:
    writer = Writer(folder, keep_last=0)
    for step in (1, 2):
        writer.submit(make(step))
    writer.close()
    assert names(find(folder).good) == ["step-00000002"]


def test_a_step_that_exists_is_replaced(folder: Path, make: Make) -> None:
    save(folder, make(10, value=1.0))
    save(folder, make(10, value=2.0))
    assert names(list(folder.iterdir())) == ["step-00000010"]
    assert load(folder / "step-00000010").weights["model.norm.weight"][0] == 2.0


def test_a_spoiled_checkpoint_of_the_same_step_is_written_over(folder: Path, make: Make) -> None:
    cut(save(folder, make(10, value=1.0)).path)
    save(folder, make(10, value=2.0))
    assert load(folder / "step-00000010").weights["model.norm.weight"][0] == 2.0


def test_submit_returns_while_the_write_goes_on(folder: Path, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    real = checkpoint.publish_dir

    def waiting(*args: Any) -> None:
        assert gate.wait(600)
        real(*args)

    monkeypatch.setattr(checkpoint, "publish_dir", waiting)
    writer = Writer(folder)
    begun = time.perf_counter()
    writer.submit(make(1))
    assert writer.poll() == []
    assert time.perf_counter() - begun < 100, "submit waited for the write"
    gate.set()
    writer.close()
    (event,) = writer.poll()
    assert event.stall_s < 10
    assert event.write_s > 0


def test_the_stall_counts_from_where_the_snapshot_began(folder: Path, make: Make) -> None:
    writer = Writer(folder)
    writer.submit(make(1), begun=time.perf_counter() - 3.0)
    writer.close()
    assert 3.0 <= writer.poll()[0].stall_s < 13.0


def test_a_full_disk_surfaces_at_the_next_poll_and_harms_nothing(
    folder: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Writer(folder, keep_last=1)
    writer.submit(make(1))
    writer.close()

    def full(handle: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("seedbed.files.os.fsync", full)
        writer.submit(make(2))
        with pytest.raises(DiskFullError):
            writer.close()
    assert [event.step for event in writer.poll()] == [1]
    assert names(list(folder.iterdir())) == ["step-00000001"], "the unfinished write was left behind"
    assert load(folder / "step-00000001").step == 1
    writer.submit(make(3))
    writer.close()
    assert names(find(folder).good) == ["step-00000003"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 200 kB, where this machine lets us mount one."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = shutil.which("mount")
    if mount is None or sys.platform != "linux":
        pytest.skip("needs Linux's mount to make a small disk")
    made = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if made.returncode != 0:
        pytest.skip(f"cannot mount a small disk here: {made.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_an_old_checkpoint_that_cannot_be_removed_costs_no_new_one(
    folder: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Writer(folder, keep_last=1)
    writer.submit(make(1))
    writer.close()

    def refused(path: Path) -> None:
        raise StorageError(f"Cannot write or read '{path}': permission is denied.")

    with monkeypatch.context() as patch:
        patch.setattr("seedbed.checkpoint.remove_tree", lambda path: refused(path) if path.exists() else None)
        writer.submit(make(2))
        writer.close()
    assert [(event.step, event.deleted) for event in writer.poll()] == [(1, ()), (2, ())]
    writer.submit(make(3))
    writer.close()
    (event,) = writer.poll()
    assert event.deleted == ("checkpoints/step-00000001", "checkpoints/step-00000002"), "they were forgotten"
    assert names(find(folder).good) == ["step-00000003"]


def test_a_disk_that_fills_up_keeps_what_was_saved(small_disk: Path, make: Make) -> None:
    writer = Writer(small_disk, keep_last=2)
    writer.submit(make(1))
    writer.close()
    large = make(2)._replace(weights={"w": torch.ones(60_000)})
    writer.submit(large)
    with pytest.raises(DiskFullError):
        writer.close()
    assert names(list(small_disk.iterdir())) == ["step-00000001"]
    assert load(small_disk / "step-00000001").step == 1
    writer.submit(make(3))
    writer.close()
    assert names(find(small_disk).good) == ["step-00000001", "step-00000003"]


def test_a_write_that_does_not_read_back_deletes_nothing(
    folder: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(folder, make(1))
    monkeypatch.setattr(checkpoint, "sha256_file", lambda path: "0" * 64)
    writer = Writer(folder, keep_last=1)
    writer.submit(make(2))
    with pytest.raises(SeedbedError, match="not what was saved"):
        writer.close()
    assert names(find(folder).good) == ["step-00000001"]


def test_an_error_of_the_code_is_not_swallowed_by_the_thread(folder: Path, make: Make) -> None:
    writer = Writer(folder)
    writer.submit(make(1)._replace(trainer={"not json": object()}))
    with pytest.raises(TypeError):
        writer.close()
    assert list(folder.iterdir()) == []


def test_an_unwritable_folder_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SeedbedError, match="file"):
        Writer(tmp_path / "file" / "checkpoints")


def test_leftovers_are_cleaned_and_nothing_else(folder: Path, make: Make) -> None:
    good = save(folder, make(5)).path
    unfinished = save(folder, make(6)).path
    unmark(unfinished)
    damaged = save(folder, make(7)).path
    cut(damaged)
    (folder / ".step-00000008.abcd1234").mkdir()
    (folder / ".step-00000004.x.gone").mkdir()
    (folder / ".step-00000005.replaced").mkdir()
    (folder / "notes").mkdir()
    Writer(folder)
    assert set(folder.iterdir()) == {good, damaged, folder / "notes"}
