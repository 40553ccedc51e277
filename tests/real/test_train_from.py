"""SmolLM2-135M is trained on with Tiny Shakespeare, killed and resumed bit-equal, is better afterwards, and opens elsewhere."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import patience
from real.assets import smollm2_folder
from seedbed.model.load import load_folder
from seedbed.runs.status import status
from seedbed.runs.store import Store

pytestmark = pytest.mark.slow

STEPS, KILLED_AFTER = 6, 3
SETTINGS = (
    "train.batch_size=2",
    "train.micro_batch=1",
    "model.context=128",
    "train.precision=fp32",
    "train.compile=off",
    "train.threads=1",
    "train.eval_every=0",
    "train.eval_tokens=1024",
    "train.checkpoint_every=2",
    "train.keep_best=false",
    "train.sample_tokens=8",
    "data.validation=0.004",
)
COPIED = ("tokenizer.json", "tokenizer_config.json", "generation_config.json")


class Place:
    """A folder with a store, and the commands of a user there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.environment = {
            **os.environ,
            "SEEDBED_RUNS": str(folder / "runs"),
            "SEEDBED_CACHE": str(folder.parent / "cache"),
            "NO_COLOR": "1",
        }

    def seedbed(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "seedbed", *words],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=patience.HANG_S,
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout

    def train(self, text: Path, *more: str) -> None:
        sets = [word for each in SETTINGS for word in ("--set", each)]
        given = ["--from", str(smollm2_folder()), "--data", f"text:{text}", "--steps", str(STEPS), "--device", "cpu"]
        self.seedbed("train", *given, *sets, *more)

    def status(self) -> dict[str, Any]:
        return status(Store(self.folder / "runs").find("latest"))

    def events(self, kind: str) -> list[dict[str, Any]]:
        lines = (Path(self.status()["path"]) / "events.jsonl").read_text().splitlines()
        return [event for line in lines if (event := json.loads(line))["kind"] == kind]

    def checkpoint(self) -> Path:
        return max((Path(self.status()["path"]) / "checkpoints").glob("step-*"))


@pytest.fixture(scope="module")
def shakespeare(test_data: Path) -> Path:
    return test_data / "tinyshakespeare.txt"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, shakespeare: Path) -> Place:
    """The place of a run without an interruption."""
    place = Place(tmp_path_factory.mktemp("smollm2") / "whole")
    place.train(shakespeare)
    return place


def test_the_text_is_easier_for_the_model_afterwards(whole: Place) -> None:
    found = {event["step"]: event for event in whole.events("eval") if not event.get("full", True)}
    assert found[STEPS]["bits_per_byte"] < found[0]["bits_per_byte"]
    assert found[0]["loss"] < 6, "SmolLM2 knows English before it is trained on"
    assert math.isfinite(whole.status()["final_val_loss"])


def test_a_killed_run_ends_bit_equal(whole: Place, shakespeare: Path) -> None:
    place = Place(whole.folder.parent / "killed")
    place.train(shakespeare, "--background")
    patience.until(lambda: (place.status()["step"] or 0) >= KILLED_AFTER, 600)
    os.kill(place.status()["pid"], signal.SIGKILL)
    patience.until(lambda: place.status()["status"] == "lost", 60)
    place.seedbed("resume", "latest")
    losses = {event["step"]: event["loss"] for event in place.events("step")}
    assert losses == {event["step"]: event["loss"] for event in whole.events("step")}
    weights = [each.checkpoint() / "model.safetensors" for each in (place, whole)]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_the_checkpoint_opens_in_transformers_with_the_same_logits_and_tokenizer(whole: Place) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    checkpoint = whole.checkpoint()
    for name in COPIED:
        assert (checkpoint / name).read_bytes() == (smollm2_folder() / name).read_bytes(), name
    ids = AutoTokenizer.from_pretrained(checkpoint)("First Citizen: Before we proceed", return_tensors="pt").input_ids
    with torch.no_grad():
        wanted = AutoModelForCausalLM.from_pretrained(checkpoint).eval()(ids).logits
        found = load_folder(checkpoint)(ids)
    assert float((found - wanted).abs().max()) < 1e-4 * float(wanted.abs().max())


def test_the_samples_are_answers_through_the_chat_template(whole: Place) -> None:
    (sample,) = whole.events("sample")
    assert sample["step"] == STEPS
    assert "<|im_start|>" not in sample["text"]
