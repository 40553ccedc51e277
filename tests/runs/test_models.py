"""A run's model while its job saves new checkpoints and deletes old ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from seedbed.runs.models import CORRUPTED, READY, TRAINING, model_of
from seedbed.runs.status import current_status, status
from seedbed.runs.store import RunDir


def save(run: RunDir, step: int) -> Path:
    """Write a checkpoint with weights of one byte."""
    folder = run.checkpoints / f"step-{step:08d}"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_text("w")
    (folder / "trainer.json").write_text(json.dumps({"session": 1}))
    marker = {
        "step": step,
        "best": False,
        "format": 1,
        "files": {"model.safetensors": {"size_bytes": 1, "sha256": "0"}},
    }
    (folder / "DONE").write_text(json.dumps(marker))
    return folder


def test_a_checkpoint_that_the_job_deletes_meanwhile_is_not_reported_as_corrupted(run: RunDir, log_writer: Any) -> None:
    log_writer.begin(1, 0)
    log_writer.steps(1, 30)
    old = save(run, 10)
    log_writer.checkpoint(10)
    current = current_status(run)
    found = status(run, current)
    assert found["checkpoint_step"] == 10
    new = save(run, 20)
    shutil.rmtree(old)
    model = model_of(found, current.view)
    assert model is not None
    assert model.status in (READY, TRAINING)
    assert (model.step, model.checkpoint, model.steps) == (20, new, (20,))


def test_a_checkpoint_that_lacks_a_file_is_corrupted(run: RunDir, log_writer: Any) -> None:
    log_writer.begin(1, 0)
    log_writer.steps(1, 30)
    (save(run, 10) / "model.safetensors").unlink()
    log_writer.checkpoint(10)
    current = current_status(run)
    model = model_of(status(run, current), current.view)
    assert model is not None
    assert (model.status, model.reason) == (CORRUPTED, "model.safetensors is missing")
