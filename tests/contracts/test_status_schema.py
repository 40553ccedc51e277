"""Scripts read `status --json`: its keys and their types are stable. Keys may be added, but not removed or changed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from seedbed import events
from seedbed.runs.session import Session
from seedbed.runs.status import status
from seedbed.runs.store import RunDir, Store

TEXT, WHOLE, NUMBER, FLAG, WORDS, TABLE = (str,), (int,), (int, float), (bool,), (list,), (dict,)

# Key -> its types besides null, and whether its value may be null in a run that trains.
KEYS: dict[str, tuple[tuple[type, ...], bool]] = {
    "id": (TEXT, False),
    "name": (TEXT, False),
    "tags": (WORDS, False),
    "archived": (FLAG, False),
    "note": (TEXT, True),
    "kind": (TEXT, False),
    "status": (TEXT, False),
    "asked": (TEXT, True),
    "code": (TEXT, True),
    "waits_for": (TEXT, True),
    "reason": (TEXT, True),
    "hint": (TEXT, True),
    "session": (WHOLE, False),
    "phase": (TEXT, True),
    "progress": (TABLE, True),
    "step": (WHOLE, False),
    "steps": (WHOLE, False),
    "epoch": (NUMBER, False),
    "epochs": (NUMBER, False),
    "loss": (NUMBER, False),
    "val_loss": (NUMBER, False),
    "val_loss_before": (NUMBER, True),
    "best_val_loss": (NUMBER, False),
    "best_step": (WHOLE, False),
    "lr": (NUMBER, False),
    "grad_norm": (NUMBER, False),
    "metrics": (TABLE, False),
    "tokens": (WHOLE, False),
    "tokens_per_s": (NUMBER, False),
    "step_s": (NUMBER, False),
    "parameters": (WHOLE, False),
    "trainable": (WHOLE, True),
    "device": (TEXT, False),
    "device_asked": (TEXT, False),
    "device_name": (TEXT, False),
    "precision": (TEXT, False),
    "compile": (FLAG, False),
    "threads": (WHOLE, False),
    "schedule": (TEXT, False),
    "pid": (WHOLE, False),
    "host": (TEXT, False),
    "output": (TEXT, True),
    "nodes": (TABLE, False),
    "num_nodes": (WHOLE, True),
    "nodes_in_use": (WHOLE, True),
    "last_failed_node": (WHOLE, True),
    "interruptions": (WHOLE, False),
    "comm": (TABLE, False),
    "plugins": (WORDS, False),
    "simulated": (FLAG, False),
    "preset": (TEXT, False),
    "base": (TEXT, True),
    "data": (TEXT, False),
    "created": (NUMBER, False),
    "warnings": (WORDS, False),
    "forgotten_warnings": (WHOLE, False),
    "started": (NUMBER, False),
    "updated": (NUMBER, False),
    "elapsed_s": (NUMBER, False),
    "remaining_s": (NUMBER, False),
    "eta": (NUMBER, False),
    "heartbeat_age_s": (NUMBER, False),
    "checkpoint": (TEXT, False),
    "checkpoint_step": (WHOLE, False),
    "best_checkpoint": (TEXT, False),
    "path": (TEXT, False),
}


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return Store(tmp_path).create("train", "alpha", "", {"preset": "nano", "data": "stories"})


def check(found: dict[str, Any], *, trains: bool) -> None:
    assert KEYS.keys() <= found.keys(), KEYS.keys() - found.keys()
    for key, (types, may_be_null) in KEYS.items():
        value = found[key]
        if value is None:
            assert may_be_null or not trains, f"{key} is null"
        else:
            assert isinstance(value, types), f"{key} is {value!r}"
            assert types == FLAG or not isinstance(value, bool), f"{key} is {value!r}"
    nested = {key for key, value in found.items() if isinstance(value, list | dict)}
    assert nested == {"tags", "warnings", "metrics", "nodes", "comm", "plugins"}, "the rest of the object is not flat"
    assert all(isinstance(word, str) for word in [*found["tags"], *found["warnings"]])


def test_a_training_run_has_every_key(run: RunDir) -> None:
    folder = run.checkpoints / "step-00000002"
    folder.mkdir(parents=True)
    (folder / "DONE").write_text("{}")
    with Session(run.path) as session:
        session.emit(
            events.Run(
                status="running",
                session=1,
                steps=10,
                steps_per_epoch=5.0,
                tokens_per_step=100,
                parameters=7,
                device="cpu",
                device_asked="auto",
                device_name="A CPU",
                precision="fp32",
                compile=False,
                threads=2,
                schedule="constant",
            )
        )
        session.emit(events.Phase(name="train"))
        for step in (1, 2):
            session.emit(events.Step(step=step, loss=2.0, lr=0.1, grad_norm=1.0, tokens=100 * step, step_s=0.1))
        session.emit(events.Eval(step=2, loss=2.0, perplexity=7.4, tokens=10, best=True))
        session.emit(events.Checkpoint(step=2, path=str(folder), best=True))
        before = time.time()
        found = status(run)
        check(found, trains=True)
        assert found["phase"] == "train"
        assert before - 0.1 <= found["eta"] - found["remaining_s"] <= time.time() + 0.1


def test_runs_that_do_not_train_have_every_key(run: RunDir) -> None:
    check(status(run), trains=False)
    with Session(run.path) as session:
        session.finish("failed", reason="It broke.", hint="Mend it.")
    check(status(run), trains=False)
    (run.path / "meta.json").write_text("{")
    check(status(run), trains=False)


def test_a_step_event_has_the_stable_fields(run: RunDir) -> None:
    with Session(run.path) as session:
        session.emit(events.Step(step=1, loss=2.0, lr=0.0, grad_norm=0.0, tokens=0, step_s=0.0))
    line = run.events.read_bytes().splitlines()[-1]
    for key in (b"step", b"loss", b"lr", b"grad_norm", b"tokens"):
        assert b'"' + key + b'":' in line
