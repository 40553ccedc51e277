"""A job that waits for its data still handles requests."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from patience import until
from seedbed import files, locks
from seedbed.config.frozen import dump
from seedbed.config.resolving import resolve
from seedbed.config.roots import TRAIN
from seedbed.data.build import build_dataset
from seedbed.jobs.__main__ import run_job
from seedbed.runs import control
from seedbed.runs.control import ResumeOptions, StartCondition
from seedbed.runs.store import RunDir, Store

TINY = ("tokenizer.vocab_size=300", "data.stories=40", "data.workers=1")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    """A run whose dataset is locked by another process (this one)."""
    monkeypatch.setenv("SEEDBED_CACHE", str(tmp_path / "cache"))
    config = resolve(TRAIN, preset="nano", sets=TINY).config
    made = build_dataset(config.data, config.tokenizer, cache=tmp_path / "elsewhere", emit=lambda _: None)
    files.make_dir(tmp_path / "cache" / "datasets")
    lock = locks.Lock(tmp_path / "cache" / "datasets" / f".{made.folder.name}.lock")
    assert lock.acquire()
    return Store(tmp_path / "runs").create("train", "waits", dump(config), {})


def test_a_job_that_waits_for_a_dataset_lock_stops_on_request(run: RunDir) -> None:
    def logged(code: str) -> bool:
        # The last line may not be complete yet, and the log may not exist.
        return run.events.exists() and f'"code":"{code}"'.encode() in run.events.read_bytes()

    def request_stop() -> None:
        until(lambda: logged("dataset-wait"))
        control.write_request(run.control, control.STOP, 1)

    thread = threading.Thread(target=request_stop)
    thread.start()
    assert run_job(run.path, ResumeOptions(), StartCondition()) == 0
    thread.join()
    assert json.loads(run.events.read_bytes().splitlines()[-1])["status"] == "stopped"
