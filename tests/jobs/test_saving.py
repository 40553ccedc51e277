"""A full disk does not end a training: the job pauses with a reason, and earlier checkpoints stay valid."""

from __future__ import annotations

import errno
import json
import os
import re
import resource
import signal
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from patience import until
from seedbed import disk_space, files
from seedbed.checkpoint import writer, writing
from seedbed.checkpoint.marker import OPTIMIZER, WEIGHTS
from seedbed.checkpoint.reading import find, load
from seedbed.config.resolving import resolve
from seedbed.config.roots import TRAIN
from seedbed.config.schema import Config
from seedbed.data.build import build_dataset
from seedbed.data.shards import Dataset
from seedbed.errors import SeedbedError
from seedbed.jobs import saving, waiting
from seedbed.jobs.assembling import assemble
from seedbed.jobs.dataset import prepare
from seedbed.jobs.saving import Saver
from seedbed.runs.session import Session
from seedbed.runs.status import status
from seedbed.runs.store import RunDir, Store
from seedbed.train import trainer
from seedbed.train.device import Device
from seedbed.train.hooks import LossMonitorHook
from seedbed.train.horizon import Segment
from seedbed.train.loop import Progress

TINY = (
    "model.layers=2",
    "model.hidden=32",
    "model.heads=2",
    "model.kv_heads=1",
    "model.head_dim=16",
    "model.ffn=64",
    "model.context=32",
    "tokenizer.vocab_size=300",
    "data.stories=40",
    "data.workers=1",
    "train.keep_last=2",
)


class Material(NamedTuple):
    """The config and the dataset of a small training."""

    config: Config
    dataset: Dataset


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    config = resolve(TRAIN, preset="nano", sets=TINY).config
    cache = tmp_path_factory.mktemp("cache")
    return Material(config, build_dataset(config.data, config.tokenizer, cache=cache, emit=lambda _: None))


class Bench:
    """A session on a small disk, with the saver of its training."""

    def __init__(self, session: Session, material: Material, disk: Path, fill: Callable[[Path], Path]) -> None:
        config, dataset = material
        self.session, self.disk, self._fill = session, disk, fill
        self.run = session.run
        parts = assemble(config, dataset, Device(torch.device("cpu"), "CPU", "cpu"), "fp32")
        monitor = LossMonitorHook(session.emit, warmup_steps=0)
        self.saver = Saver(session, config.train, parts, monitor, [Segment(0, 100)], None)
        self.filler = disk / "filler"

    def save(self, step: int) -> None:
        self.session.step = step
        self.saver.save(Progress(step=step, total=100), best=False)

    def fill(self, leave_bytes: int = 0) -> None:
        filler = self._fill(self.disk)
        os.truncate(filler, filler.stat().st_size - leave_bytes)

    def logged(self, kind: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.run.events.read_bytes().splitlines()]
        assert [line["n"] for line in lines] == list(range(len(lines)))
        return [line for line in lines if line["kind"] == kind]

    def statuses(self) -> list[str]:
        return [event["status"] for event in self.logged("run")]

    def good(self) -> list[int]:
        """Steps of the checkpoints that can be loaded."""
        found = find(self.run.checkpoints)
        assert found.skipped == []
        return [load(path).step for path in found.good]


@pytest.fixture
def run(small_disk: Path) -> RunDir:
    return Store(small_disk).create("train", "alpha", "", {})


def wait_until_paused(run: RunDir) -> dict[str, Any]:
    """Wait until the run is paused; its status."""

    def paused() -> dict[str, Any] | None:
        found = status(run)
        return found if found["status"] == "paused" else None

    found = until(paused)
    assert found is not None
    return found


def call_when_paused(bench: Bench, action: Callable[[dict[str, Any]], None]) -> threading.Thread:
    """Start a thread that calls `action` as soon as the run is paused."""

    def act() -> None:
        action(wait_until_paused(bench.run))

    thread = threading.Thread(target=act)
    thread.start()
    return thread


def test_training_pauses_until_there_is_room_for_a_checkpoint(
    run: RunDir, small_disk: Path, fill: Any, material: Material
) -> None:
    with Session(run.path) as session:
        bench = Bench(session, material, small_disk, fill)
        bench.save(1)
        bench.saver.settle()
        bench.fill(leave_bytes=400_000)
        seen: list[dict[str, Any]] = []

        def make_room(found: dict[str, Any]) -> None:
            seen.append(found)
            bench.filler.unlink()

        thread = call_when_paused(bench, make_room)
        bench.save(2)
        thread.join()
        bench.saver.settle()
        assert "The disk is full: a checkpoint needs 2." in seen[0]["reason"]
        assert re.search(r"but only 3\d\d\.\d KiB are free", seen[0]["reason"])
        assert "continues automatically" in seen[0]["hint"]
        assert bench.good() == [1, 2]
        assert bench.statuses() == ["running", "paused", "running"]
        assert not bench.saver.gave_up


def test_a_write_that_runs_out_of_space_is_retried_with_growing_delays(
    run: RunDir, small_disk: Path, fill: Any, material: Material, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Session(run.path) as session:
        bench = Bench(session, material, small_disk, fill)
        bench.save(1)
        bench.saver.settle()
        bench.fill(leave_bytes=300_000)
        # As under a quota, or without free inodes: the file system reports free space.
        for module in (disk_space, saving):
            monkeypatch.setattr(module, "free_bytes", lambda _: 1 << 40)
        seen: list[dict[str, Any]] = []

        def make_room(found: dict[str, Any]) -> None:
            seen.append(found)
            time.sleep(2.5)
            seen.append({"tries": bench.statuses().count("paused")})
            seen.append({"good": bench.good()})
            bench.filler.unlink()

        thread = call_when_paused(bench, make_room)
        bench.save(2)
        bench.saver.settle()
        thread.join()
        assert "A quota may be used up" in seen[0]["reason"]
        assert 1 <= seen[1]["tries"] <= 4, "it retried without a delay"
        assert seen[2]["good"] == [1]
        assert bench.good() == [1, 2]
        assert [path.name for path in run.checkpoints.iterdir() if path.name.startswith(".")] == []
        assert [event["step"] for event in bench.logged("checkpoint")] == [1, 2]
        assert bench.statuses()[-1] == "running"


def test_a_stop_while_there_is_no_room_gives_up_and_names_the_last_checkpoint(
    run: RunDir, small_disk: Path, fill: Any, material: Material
) -> None:
    with Session(run.path) as session:
        bench = Bench(session, material, small_disk, fill)
        bench.save(1)
        bench.saver.settle()
        bench.fill(leave_bytes=400_000)
        thread = call_when_paused(bench, lambda _: os.kill(os.getpid(), signal.SIGTERM))
        bench.save(2)
        thread.join()
        assert bench.saver.gave_up
        bench.saver.poll()
        bench.save(3)  # the step in progress, after which the loop ends
        bench.saver.settle()
        (message,) = bench.logged("message")
        assert message["code"] == "not-saved"
        assert "step-00000001" in message["why"]
        assert run.id in message["why"]
        assert bench.statuses() == ["running", "paused"]
        assert bench.good() == [1]


def test_a_log_without_room_pauses_training_between_two_steps(
    run: RunDir, small_disk: Path, fill: Any, material: Material
) -> None:
    with Session(run.path) as session:
        bench = Bench(session, material, small_disk, fill)
        bench.fill()
        while not session.blocked:
            session.emit_status("running")
        thread = call_when_paused(bench, lambda found: bench.filler.unlink() if "log" in found["reason"] else None)
        bench.saver.poll()
        thread.join()
        assert not session.blocked
        assert bench.statuses()[-2:] == ["paused", "running"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG, errno.EIO])
def test_preparing_data_pauses_while_writes_fail_and_then_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    run = Store(tmp_path).create("train", "alpha", "", {})
    monkeypatch.setenv("SEEDBED_CACHE", str(tmp_path / "cache"))
    broken = [number]
    write = files.write_atomic

    def failing(path: Path, data: bytes | str, **options: Any) -> None:
        if broken and path.suffix == ".ds":
            raise files.storage_error(str(path), OSError(number, os.strerror(number)))
        write(path, data, **options)

    monkeypatch.setattr(files, "write_atomic", failing)
    monkeypatch.setattr(waiting, "_MARGIN_BYTES", 0)
    monkeypatch.setattr(waiting, "_MAX_RETRY_S", 0.5)  # other tests fill and free the same disk
    with Session(run.path) as session:
        thread = threading.Thread(target=lambda: (wait_until_paused(run), broken.clear()))
        thread.start()
        dataset = prepare(resolve(TRAIN, preset="nano", sets=TINY).config, session)
        thread.join()
        assert dataset.train.num_tokens > 0
    logged = [json.loads(line) for line in run.events.read_bytes().splitlines()]
    assert "running" in [event["status"] for event in logged if event["kind"] == "run"][2:]
    paused = next(event for event in logged if event.get("status") == "paused")
    assert files.storage_error("", OSError(number, "")).reason in paused["reason"]
    assert "continues automatically" in paused["hint"]


def test_preparing_data_fails_at_once_if_the_cache_is_not_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Store(tmp_path).create("train", "alpha", "", {})
    (tmp_path / "cache").write_text("a file")
    monkeypatch.setenv("SEEDBED_CACHE", str(tmp_path / "cache"))
    with Session(run.path) as session, pytest.raises(SeedbedError, match="cache"):
        prepare(resolve(TRAIN, preset="nano", sets=TINY).config, session)


@pytest.mark.parametrize(
    ("number", "reason"),
    [(errno.EIO, "input/output error"), (errno.EROFS, "read-only"), (errno.EDQUOT, "could not be written although")],
)
def test_training_pauses_and_retries_a_checkpoint_that_cannot_be_written(
    tmp_path: Path, fill: Any, material: Material, monkeypatch: pytest.MonkeyPatch, number: int, reason: str
) -> None:
    run = Store(tmp_path).create("train", "alpha", "", {})
    broken: list[int] = []
    write = writing._write

    def failing(path: Path, parts: Any) -> tuple[int, str]:
        if broken and path.name == OPTIMIZER:
            raise files.storage_error(str(path), OSError(number, os.strerror(number)))
        return write(path, parts)

    with Session(run.path) as session:
        bench = Bench(session, material, tmp_path, fill)
        bench.save(1)
        bench.saver.settle()
        broken.append(number)
        seen: list[dict[str, Any]] = []

        def repair(found: dict[str, Any]) -> None:
            seen.append(found)
            broken.clear()

        monkeypatch.setattr(writing, "_write", failing)
        thread = call_when_paused(bench, repair)
        bench.save(2)
        bench.saver.settle()
        thread.join()
        assert reason in seen[0]["reason"]
        assert "continues automatically" in seen[0]["hint"]
        assert bench.good() == [1, 2]
        assert [event["step"] for event in bench.logged("checkpoint")] == [1, 2]
        assert bench.statuses()[-1] == "running"
        assert not bench.saver.gave_up


def test_training_pauses_until_the_file_size_limit_is_raised(tmp_path: Path, fill: Any, material: Material) -> None:
    run = Store(tmp_path).create("train", "alpha", "", {})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Session(run.path) as session:
        bench = Bench(session, material, tmp_path, fill)
        bench.save(1)
        bench.saver.settle()
        seen: list[dict[str, Any]] = []

        def raise_limit(found: dict[str, Any]) -> None:
            seen.append(found)
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 10, hard))
            thread = call_when_paused(bench, raise_limit)
            bench.save(2)
            thread.join()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        bench.saver.settle()
        assert "ulimit -f" in seen[0]["reason"]
        assert "ulimit -f unlimited" in seen[0]["hint"]
        assert bench.good() == [1, 2]
        assert bench.statuses() == ["running", "paused", "running"]


def test_only_one_snapshot_is_in_memory_while_the_disk_is_slow(
    tmp_path: Path, fill: Any, material: Material, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Store(tmp_path).create("train", "alpha", "", {})
    encoded, save = trainer.encoded, writer.save
    taken: list[weakref.ref[memoryview]] = []
    at_once: list[int] = []
    slow, writing_now = threading.Event(), threading.Event()

    def counted(tensors: Any) -> Any:
        content = encoded(tensors)
        if len(taken) % 2 == 0:  # the weights; the optimizer's state comes second
            assert not writing_now.is_set(), "a snapshot is taken while another one is written"
            # The thread that wrote may hold its last reference for a moment.
            until(lambda: not any(each() is not None for each in taken))
            at_once.append(len(taken))
        taken.append(weakref.ref(content[-1]))
        return content

    def slowly(*arguments: Any, **options: Any) -> Any:
        writing_now.set()
        slow.wait(2)
        try:
            return save(*arguments, **options)
        finally:
            writing_now.clear()

    monkeypatch.setattr(trainer, "encoded", counted)
    monkeypatch.setattr(writer, "save", slowly)
    with Session(run.path) as session:
        bench = Bench(session, material, tmp_path, fill)
        bench.save(1)
        bench.save(2)
        slow.set()
        bench.saver.settle()
        assert bench.good() == [1, 2]
    assert at_once == [0, 2]


def test_a_checkpoint_that_reads_back_differently_is_written_again(
    tmp_path: Path, fill: Any, material: Material, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Store(tmp_path).create("train", "alpha", "", {})
    publish, damaged = writing.publish_dir, []

    def damaging(prepared: Path, final: Path, **options: Any) -> None:
        publish(prepared, final, **options)
        if not damaged:
            damaged.append(final)
            with (final / WEIGHTS).open("r+b") as handle:
                handle.seek(-1, os.SEEK_END)
                handle.write(b"\x7f")

    monkeypatch.setattr(writing, "publish_dir", damaging)
    with Session(run.path) as session:
        bench = Bench(session, material, tmp_path, fill)
        bench.save(1)
        bench.saver.settle()
        assert damaged
        assert bench.good() == [1]
        paused = next(event for event in bench.logged("run") if event["status"] == "paused")
        assert "different bytes than were written" in paused["reason"]
