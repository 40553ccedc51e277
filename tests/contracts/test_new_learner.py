"""A new kind of learner is one file and one line: its frozen base is in memory once, and only its trained parts are saved."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from extended import differences, extended_source, run_python

ADDITION = Path(__file__).with_name("additions") / "adapt_job.py"
TABLE = ("runs/kinds.py", "KINDS: dict[str, Kind] = {")
LINE = '    "adapt": Kind("adapt", "seedbed.jobs.adapt:run", config="train"),'
SCRIPT = """
import gc, hashlib, json, sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from seedbed import actions
from seedbed.config.resolving import resolve
from seedbed.config.roots import TRAIN
from seedbed.data.build import build_dataset
from seedbed.config.directories import cache_dir
from seedbed.jobs import adapt
from seedbed.jobs.__main__ import run_job
from seedbed.runs.control import ResumeOptions, StartCondition
from seedbed.runs.kinds import KINDS
from seedbed.runs.status import status
from seedbed.train.device import Device

sets = ["train.steps=12", "train.batch_size=4", "train.eval_every=6", "train.checkpoint_every=6", "model.context=16",
        "tokenizer.vocab_size=300", "data.stories=40", "data.workers=1", "train.device=cpu", "train.threads=1",
        "optimizer.name=adamw", "optimizer.lr=0.01", "schedule.kind=constant", "train.compile=off"]
wanted = resolve(TRAIN, sets=sets)
store = actions.store()
results = {}

def hashed(run):
    last = max(run.checkpoints.glob("step-*"))
    return hashlib.sha256((last / "adapter_model.safetensors").read_bytes()).hexdigest()

whole = actions.new_run(store, KINDS["adapt"], wanted, "whole")
assert run_job(whole.path, ResumeOptions(), StartCondition()) == 0
folder = max(whole.checkpoints.glob("step-*"))
found = status(whole)
results["status"] = {key: found[key] for key in ("status", "step", "parameters", "trainable", "precision")}
results["loss"] = [found["best_val_loss"], found["val_loss"]]
results["first"] = next(json.loads(line)["loss"] for line in whole.events.read_text().splitlines() if '"kind":"step"' in line)
results["files"] = sorted(path.name for path in folder.iterdir())
saved = load_file(folder / "adapter_model.safetensors")
results["saved"] = {name: [str(each.dtype), list(each.shape)] for name, each in saved.items()}
results["artifact"] = json.loads((folder / "DONE").read_text())["artifact"]

half = actions.new_run(store, KINDS["adapt"], resolve(TRAIN, sets=[*sets, "train.steps=6"]), "half")
assert run_job(half.path, ResumeOptions(), StartCondition()) == 0
assert run_job(half.path, ResumeOptions(more_steps=6), StartCondition()) == 0
results["resumed equal"] = hashed(half) == hashed(whole)

dataset = build_dataset(wanted.config.data, wanted.config.tokenizer, cache=cache_dir(), emit=lambda event: None)
gc.collect()
parts = adapt.assemble(wanted.config, dataset, Device(torch.device("cpu"), "CPU", "cpu"))
parts.trainer.step(parts.batches.batch(0), 1.0)
gc.collect()
numbers = parts.trainer.learner.base.numel()
held = [each for each in gc.get_objects() if isinstance(each, torch.Tensor) and each.numel() >= numbers]
results["as large as the base"] = [str(each.dtype) for each in held]
results["masters"] = [str(each.dtype) for each in parts.trainer.learner.masters.masters]
print(json.dumps(results))
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The results of a script that trains the new learner in a copy of the source."""
    tmp_path = tmp_path_factory.mktemp("learner")
    root = extended_source(tmp_path, {"jobs/adapt.py": ADDITION.read_text()}, {TABLE[0]: (TABLE[1], LINE)})
    assert differences(root) == {"jobs/adapt.py", TABLE[0]}
    done = run_python(root, "-c", SCRIPT, env={"SEEDBED_CACHE": str(tmp_path / "cache")})
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_the_frozen_base_is_in_memory_once_and_in_8_bits(results: dict[str, object]) -> None:
    assert results["as large as the base"] == ["torch.int8"]
    assert results["masters"] == ["torch.float32", "torch.float32"]


def test_a_checkpoint_contains_the_trained_weights_and_the_adapter_config(results: dict[str, object]) -> None:
    assert results["files"] == [
        "DONE",
        "adapter_config.json",
        "adapter_model.safetensors",
        "optimizer.safetensors",
        "trainer.json",
    ]
    assert results["saved"] == {"down": ["torch.float32", [2, 64]], "up": ["torch.float32", [300, 2]]}
    assert results["artifact"] == "adapter"


def test_the_run_trains_and_its_status_counts_the_trained_parameters(results: dict[str, object]) -> None:
    trained = 2 * 64 + 300 * 2
    assert results["status"] == {
        "status": "completed",
        "step": 12,
        "parameters": 300 * 64 + trained,
        "trainable": trained,
        "precision": "bf16",
    }
    best, last = results["loss"]  # type: ignore[misc]
    assert best <= last < results["first"]  # type: ignore[has-type]


def test_a_resumed_run_ends_bit_equal_to_an_uninterrupted_run(results: dict[str, object]) -> None:
    assert results["resumed equal"]
