"""A training job in this process: how it ends, in what order it works, and which events it emits."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from seedbed.config.frozen import dump, load_frozen
from seedbed.config.resolving import resolve
from seedbed.config.roots import TRAIN
from seedbed.data import validation
from seedbed.jobs import assembling
from seedbed.jobs.__main__ import run_job
from seedbed.jobs.training import advice
from seedbed.runs.control import ResumeOptions, StartCondition
from seedbed.runs.session import Session
from seedbed.runs.status import status
from seedbed.runs.store import RunDir, Store
from tiny import MODEL_AND_DATA

TINY = (
    *MODEL_AND_DATA,
    "train.batch_size=2",
    "train.steps=4",
    "train.compile=off",
    "train.precision=fp32",
    "train.sample_tokens=2",
)

Train = Callable[..., RunDir]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def train(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Train:
    """Trains a very small model with some settings; returns its run."""
    monkeypatch.setenv("SEEDBED_CACHE", str(cache))

    def trained(*sets: str, expect: int = 0) -> RunDir:
        resolved = resolve(TRAIN, preset="nano", sets=(*TINY, *sets))
        run = Store(tmp_path / "runs").create("train", "tiny", dump(resolved.config, resolved.origins), {})
        assert run_job(run.path, ResumeOptions(), StartCondition()) == expect, status(run)["reason"]
        return run

    return trained


def events(run: RunDir) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run.events.read_text().splitlines()]


def test_a_run_with_a_far_too_high_learning_rate_fails_and_suggests_a_lower_one(train: Train) -> None:
    run = train("optimizer.name=adamw", "optimizer.lr=1e5", "train.steps=60", "train.eval_every=0", expect=1)
    found = status(run)
    assert found["status"] == "failed"
    assert found["step"] < 60
    assert "gradient" in found["reason"] or "loss" in found["reason"]
    assert f"seedbed train --like {run.id} --set optimizer.lr=0.001" in found["hint"]
    assert "seedbed resume" not in found["hint"]
    again = resolve(TRAIN, base=load_frozen(run.config, TRAIN), sets=["optimizer.lr=0.001"]).config
    assert (again.optimizer.lr, again.train.steps) == (0.001, 60)


def test_a_run_emits_a_save_phase_around_its_last_checkpoint(train: Train) -> None:
    emitted = events(train())
    phases = [(event["name"], event.get("done", False)) for event in emitted if event["kind"] == "phase"]
    assert phases[-2:] == [("save", False), ("save", True)]
    last = next(event["n"] for event in reversed(emitted) if event["kind"] == "checkpoint")
    begun, ended = (event["n"] for event in emitted if event["kind"] == "phase" and event["name"] == "save")
    assert begun < last < ended


@pytest.mark.parametrize(
    ("sets", "precision", "rate"),
    [
        (("optimizer.lr=0.02",), "bf16", "optimizer.lr=0.01`, or use --precision fp32."),
        (("optimizer.lr=5",), "fp32", "optimizer.lr=0.02`."),
        (("optimizer.name=adamw", "optimizer.lr=6e-4"), "fp32", "optimizer.lr=0.0003`."),
    ],
)
def test_the_advice_is_a_lower_learning_rate(tmp_path: Path, sets: tuple[str, ...], precision: str, rate: str) -> None:
    run = Store(tmp_path).create("train", "some-run", "", {})
    hint = advice(resolve(TRAIN, sets=sets).config, precision, run.path)
    assert hint.endswith(rate)
    assert f"seedbed train --like {run.id}" in hint
    assert "resume repeats" in hint


@pytest.mark.parametrize("seed", [2**63 - 1, 2**63 - 3])
def test_the_largest_seeds_train_to_the_end_with_a_sample(train: Train, seed: int) -> None:
    run = train(f"train.seed={seed}")
    assert status(run)["status"] == "completed"
    assert [event["kind"] for event in events(run)].count("sample") == 1


def test_a_failed_sample_is_a_warning_and_the_run_completes_and_saves(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Iterator[str]:
        raise RuntimeError("no text today")

    monkeypatch.setattr(assembling, "text_stream", broken)
    run = train()
    assert status(run)["status"] == "completed"
    assert any("no text today" in warning for warning in status(run)["warnings"])
    assert (run.checkpoints / "step-00000004" / "DONE").is_file()


def evals(run: RunDir) -> list[tuple[int, float, int]]:
    return [(event["step"], event["loss"], event["tokens"]) for event in events(run) if event["kind"] == "eval"]


def interrupt(
    monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str, number: signal.Signals, at: int
) -> list[int]:
    """Send this process a signal once `name` has yielded `at` pieces; returns the number of pieces so far, in a list."""
    plain, yielded = getattr(module, name), [0]

    def interrupted(*args: Any, **options: Any) -> Iterator[Any]:
        for piece in plain(*args, **options):
            yield piece
            yielded[0] += 1
            if yielded[0] == at:
                os.kill(os.getpid(), number)

    monkeypatch.setattr(module, name, interrupted)
    return yielded


def test_a_stop_interrupts_a_validation_and_the_resume_repeats_it(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    uninterrupted = train("train.eval_every=2")
    with monkeypatch.context() as patched:
        yielded = interrupt(patched, validation, "validation_batches", signal.SIGTERM, at=2)
        run = train("train.eval_every=2")
    assert yielded[0] <= 3
    assert (status(run)["status"], status(run)["step"]) == ("stopped", 2)
    assert evals(run) == []
    assert status(run)["checkpoint_step"] == 2
    assert run_job(run.path, ResumeOptions(), StartCondition()) == 0
    assert status(run)["status"] == "completed"
    assert evals(run) == evals(uninterrupted)
    assert len(evals(run)) == 2


def test_a_stop_during_the_last_validation_leaves_it_to_the_resume(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        interrupt(patched, validation, "validation_batches", signal.SIGINT, at=2)
        run = train()
    assert (status(run)["status"], status(run)["step"], evals(run)) == ("stopped", 4, [])
    assert run_job(run.path, ResumeOptions(), StartCondition()) == 0
    assert (status(run)["status"], len(evals(run))) == ("completed", 1)


def test_a_stop_interrupts_a_sample_and_the_resume_repeats_it(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        yielded = interrupt(patched, assembling, "text_stream", signal.SIGTERM, at=2)
        run = train("train.sample_tokens=12")
    assert yielded[0] <= 3
    assert status(run)["status"] == "stopped"
    assert status(run)["checkpoint_step"] == 4
    assert run_job(run.path, ResumeOptions(), StartCondition()) == 0
    assert status(run)["status"] == "completed"
    assert [event["kind"] for event in events(run)].count("sample") == 1


def test_a_pause_interrupts_a_validation_which_then_continues(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    uninterrupted = train("train.eval_every=2")
    plain = Session.wait_paused
    paused_s: list[float] = []

    def timed_pause(session: Session, *args: Any, **options: Any) -> bool:
        def end_pause() -> None:
            time.sleep(0.3)
            session.pause_requested = False

        begun = time.monotonic()
        threading.Thread(target=end_pause).start()
        continues = plain(session, *args, **options)
        paused_s.append(time.monotonic() - begun)
        return continues

    monkeypatch.setattr(Session, "wait_paused", timed_pause)
    yielded = interrupt(monkeypatch, validation, "validation_batches", signal.SIGTSTP, at=2)
    run = train("train.eval_every=2")
    assert yielded[0] > 4
    assert len(paused_s) == 1
    assert evals(run) == evals(uninterrupted)
    emitted = events(run)
    paused = next(n for n, event in enumerate(emitted) if event.get("status") == "paused")
    first = next(n for n, event in enumerate(emitted) if event["kind"] == "eval")
    saved = [n for n, event in enumerate(emitted) if event["kind"] == "checkpoint" and event["step"] == 2]
    assert saved[0] < paused < first < saved[-1]
    assert emitted[saved[-1]]["best"]
    spent = next(
        event for event in emitted if event["kind"] == "phase" and event["name"] == "evaluate" and event.get("done")
    )
    assert spent["elapsed_s"] - emitted[first]["elapsed_s"] >= 0.9 * paused_s[0]


def test_a_validation_reports_its_progress(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seedbed.jobs.progress_check.REPORT_EVERY_S", 0.0)
    run = train("train.eval_every=2", "train.eval_tokens=100")
    emitted = [event for event in events(run) if event["kind"] == "data" and event["stage"] == "validation"]

    assert emitted
    assert all(0 <= event["done"] < event["total"] for event in emitted)
    begun = next(event for event in events(run) if event.get("validation_tokens"))
    scored = [tokens for _, _, tokens in evals(run)]
    assert scored == [begun["eval_tokens"], begun["eval_tokens"], begun["validation_tokens"]]
    assert {event["total"] for event in emitted} == set(scored)
