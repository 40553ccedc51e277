"""A training job in this process: how it ends, in what order it works, and what it tells."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seedbed.config import load
from seedbed.jobs.__main__ import run_job
from seedbed.jobs.pretrain import advice
from seedbed.runs.control import Resume, Turn
from seedbed.runs.status import status
from seedbed.runs.store import RunDir, Store

TINY = (
    "model.layers=1",
    "model.hidden=16",
    "model.heads=2",
    "model.kv_heads=1",
    "model.head_dim=8",
    "model.ffn=16",
    "model.context=16",
    "tokenizer.vocab_size=300",
    "data.stories=40",
    "data.workers=1",
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
        resolved = load.resolve(preset="nano", sets=(*TINY, *sets))
        run = Store(tmp_path / "runs").create("train", "tiny", load.dump(resolved.config, resolved.origins), {})
        assert run_job(run.path, Resume(), Turn()) == expect, status(run)["reason"]
        return run

    return trained


def events(run: RunDir) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run.events.read_text().splitlines()]


def test_a_run_whose_learning_rate_kills_it_fails_and_says_what_to_start_instead(train: Train) -> None:
    run = train("optimizer.name=adamw", "optimizer.lr=1e5", "train.steps=60", "train.eval_every=0", expect=1)
    found = status(run)
    assert found["status"] == "failed"
    assert found["step"] < 60
    assert "gradient" in found["reason"] or "loss" in found["reason"]
    assert f"seedbed train --like {run.id} --set optimizer.lr=0.001" in found["hint"]
    assert "seedbed resume" not in found["hint"]
    again = load.resolve(base=load.load_frozen(run.config), sets=["optimizer.lr=0.001"]).config
    assert (again.optimizer.lr, again.train.steps) == (0.001, 60)


@pytest.mark.parametrize(
    ("sets", "precision", "rate"),
    [
        (("optimizer.lr=0.02",), "bf16", "optimizer.lr=0.01`, or in --precision fp32."),
        (("optimizer.lr=5",), "fp32", "optimizer.lr=0.02`."),
        (("optimizer.name=adamw", "optimizer.lr=6e-4"), "fp32", "optimizer.lr=0.0003`."),
    ],
)
def test_the_advice_is_a_rate_below_the_one_that_broke(
    tmp_path: Path, sets: tuple[str, ...], precision: str, rate: str
) -> None:
    told = advice(load.resolve(sets=sets).config, precision, tmp_path / "some-run")
    assert told.endswith(rate)
    assert "seedbed train --like some-run" in told
    assert "resume repeats" in told


@pytest.mark.parametrize("seed", [2**63 - 1, 2**63 - 3])
def test_the_largest_seeds_train_to_the_end_with_a_sample(train: Train, seed: int) -> None:
    run = train(f"train.seed={seed}")
    assert status(run)["status"] == "completed"
    assert [event["kind"] for event in events(run)].count("sample") == 1


def test_a_sample_that_fails_loses_no_checkpoint(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> str:
        raise RuntimeError("no text today")

    monkeypatch.setattr("seedbed.jobs.pretrain.text_stream", broken)
    run = train(expect=1)
    assert "no text today" in status(run)["reason"]
    assert (run.checkpoints / "step-00000004" / "DONE").is_file()
