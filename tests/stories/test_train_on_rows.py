"""Training on a dataset of rows: every kind in one loop, killed and resumed, from scratch and from a chat model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import row_datasets
import trained_bases
from seedbed.data.dataset_cache import find_folder
from seedbed.tokenizer.chatml import CHATML

SETTINGS = (
    "model.layers=2",
    "model.hidden=32",
    "model.heads=2",
    "model.kv_heads=1",
    "model.head_dim=16",
    "model.ffn=64",
    "model.context=64",
    "tokenizer.vocab_size=400",
    "train.batch_size=4",
    "train.micro_batch=2",
    "train.seed=11",
    "train.precision=fp32",
    "train.compile=off",
    "train.threads=1",
    "train.eval_every=10",
    "train.checkpoint_every=7",
    "train.sample_tokens=5",
)


def command(*more: str, data: str = "full", settings: tuple[str, ...] = SETTINGS, steps: int = 30) -> list[str]:
    sets = [word for each in settings for word in ("--set", each)]
    return ["train", "--data", data, "--steps", str(steps), "--device", "cpu", *sets, *more]


@pytest.fixture
def place(tmp_path: Path, open_workspace: Callable[..., Any]) -> Any:
    """A workspace with a dataset of all kinds of rows, `full`."""
    workspace = open_workspace(tmp_path)
    row_datasets.mixed(workspace.folder / "full")
    return workspace


def test_a_run_on_packed_rows_that_is_killed_ends_bit_equal(place: Any) -> None:
    place.seedbed(*command("--name", "whole"))
    whole = place.run_dir()
    place.hold_at(12)
    place.seedbed(*command("--background", "--set", "train.prefetch=2"))
    run = place.run_dir()
    assert run != whole
    place.wait(lambda: len(place.steps(run)) >= 12)
    place.kill(place.status()["pid"])
    place.wait(lambda: place.status()["status"] == "lost")
    place.release(run)
    place.seedbed("resume", "latest")
    assert place.steps(run) == place.steps(whole)
    assert place.weights(run) == place.weights(whole)
    assert len(place.steps(run)) == 30


def test_a_resume_does_not_need_the_dataset(place: Any) -> None:
    place.seedbed(*command(steps=14))
    (place.folder / "full").rename(place.folder / "gone")
    output = place.seedbed("resume", "latest", "--more-steps", "3").stdout
    assert "is not used" in output
    assert f"seedbed train --from {place.run_dir().name} --data SOURCE" in " ".join(output.split())
    assert len(place.steps(place.run_dir())) == 17


def test_tokens_of_a_step_are_those_that_the_loss_counts(place: Any) -> None:
    place.seedbed(*command("--set", "data.loss=targets", steps=4))
    steps = [event for event in place.events(place.run_dir()) if event["kind"] == "step"]
    assert all(event["processed"] == 4 * 64 for event in steps)
    assert 0 < steps[0]["tokens"] < 4 * 64 * 0.8
    final = [event for event in place.events(place.run_dir()) if event["kind"] == "eval"][-1]
    assert final["bits_per_byte"] > 0


def test_a_model_trained_on_conversations_answers_with_its_own_template(place: Any) -> None:
    row_datasets.mixed(place.folder / "chat", "chat")
    output = place.seedbed(*command(data="./chat", steps=10)).stdout
    assert "Where did the fox sit on day 1000?" in output
    checkpoint = max((place.run_dir() / "checkpoints").glob("step-*"))
    assert json.loads((checkpoint / "tokenizer_config.json").read_text())["chat_template"] == CHATML
    said = place.seedbed(
        "generate", "latest", "--chat", "--prompt", "Where did the fox sit?", "--max-new-tokens", "5", "--json"
    )
    assert "<|im_start|>" not in said.stdout


def test_a_chat_model_is_trained_on_with_its_own_template(place: Any, tmp_path: Path) -> None:
    base = trained_bases.make(tmp_path / "base")
    (base / "chat_template.jinja").write_text(CHATML)
    row_datasets.mixed(place.folder / "chat", "chat")
    sets = (*(each for each in SETTINGS if each.startswith("train.")), "optimizer.lr=3e-3")
    words = command("--from", str(base), "--context", "64", data="./chat", settings=sets, steps=20)
    place.seedbed(*words)
    evals = [event["loss"] for event in place.events(place.run_dir()) if event["kind"] == "eval"]
    assert evals[-1] < evals[0] - 0.3


def test_a_base_without_a_chat_template_is_refused_for_conversations(place: Any, tmp_path: Path) -> None:
    base = trained_bases.make(tmp_path / "base")
    sets = tuple(each for each in SETTINGS if each.startswith("train."))
    refused = place.seedbed(*command("--from", str(base), "--context", "64", settings=sets), expect=2).stderr
    assert "has conversations, but the base model has no chat template" in refused
    assert not place.runs.exists() or not list(place.runs.glob("2*"))


def test_samples_longer_than_the_context_are_left_out_with_a_warning(place: Any) -> None:
    place.seedbed(*command(steps=2))
    (said,) = [event["fingerprint"] for event in place.events(place.run_dir()) if event.get("stage") == "dataset"]
    prepared = find_folder(Path(place.environment["SEEDBED_CACHE"]), said)
    short = tuple("model.context=40" if each.startswith("model.context") else each for each in SETTINGS)
    output = place.seedbed(*command(data=str(prepared), settings=short, steps=2)).stdout
    assert "are longer than 40 tokens and are left out" in output


@pytest.mark.slow
def test_a_time_chooses_the_size_for_a_dataset_of_rows(place: Any) -> None:
    output = place.seedbed("train", "--data", "./full", "--for", "30s", "--device", "cpu").stdout
    assert "Finished at step" in output
    assert [event for event in place.events(place.run_dir()) if event.get("code") == "size"]
