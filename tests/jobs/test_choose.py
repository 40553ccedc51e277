"""What `train --for` would choose, asked without a run: a child process measures, and the front end needs no torch."""

from __future__ import annotations

from pathlib import Path

import pytest

from seedbed import actions
from seedbed.config.resolving import Resolved, resolve
from seedbed.config.roots import TRAIN
from seedbed.config.schema import Config
from seedbed.errors import UsageError

SMALL = (
    "data.stories=40",
    "data.workers=1",
    "tokenizer.vocab_size=300",
    "model.context=16",
    "train.batch_size=2",
    "train.threads=1",
    "train.device=cpu",
)


def wanted(*sets: str, preset: str | None = None, time: str | None = "10m") -> Resolved[Config]:
    return resolve(TRAIN, preset=preset, sets=(*SMALL, *sets), flags={"train.time": time})


def test_the_choice_is_made_from_measured_steps_and_leaves_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEEDBED_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    lines: list[dict[str, object]] = []
    plan = actions.choose_size(wanted(), lines.append)
    assert plan.config.train.size == "given"
    assert (plan.config.model.layers, plan.config.model.hidden) == (plan.chosen.layers, plan.chosen.hidden)
    assert plan.config.train.batch_size == 2
    measured = [each for each in plan.chosen.options if each.measured]
    assert 1 <= len(measured) <= 4
    assert all(each.tokens_per_s > 0 for each in measured)
    assert any("progress" in line for line in lines)
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_without_a_time_or_with_a_given_size_there_is_nothing_to_choose() -> None:
    with pytest.raises(UsageError, match="no time"):
        actions.choose_size(wanted("train.steps=5", time=None))
    with pytest.raises(UsageError, match="size of the model is given"):
        actions.choose_size(wanted(preset="nano"))


def test_a_text_that_cannot_be_read_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        actions.choose_size(wanted(f"data.source=text:{tmp_path / 'missing.txt'}"))
