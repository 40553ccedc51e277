"""A run that is killed and resumed, at any step and twice, ends bit-equal to an uninterrupted one."""

from __future__ import annotations

import random
from typing import Any

import pytest


@pytest.mark.usefixtures("new_interpreters")
def test_a_run_killed_at_two_random_steps_ends_bit_equal(
    workspace: Any, uninterrupted: tuple[list[tuple[Any, ...]], str]
) -> None:
    generator = random.Random(2026)
    first = generator.randint(3, 25)
    second = generator.randint(first + 8, 55)
    workspace.hold_at(first)
    workspace.seedbed("train", workspace.config(), "--background", "--set", "train.prefetch=3")
    run = workspace.run_dir()
    for target, then in ((first, second), (second, 60)):
        workspace.wait(lambda target=target: len(workspace.steps(run)) >= target)
        workspace.kill(workspace.status()["pid"])
        workspace.wait(lambda: workspace.status()["status"] == "lost")
        workspace.hold_at(then)
        workspace.seedbed("resume", "latest", "--background")
    workspace.release(run)
    workspace.wait(lambda: workspace.status()["status"] == "completed")
    steps, weights = uninterrupted
    assert workspace.steps(run) == steps
    assert workspace.weights(run) == weights


def test_a_run_killed_during_a_checkpoint_write_ends_bit_equal(
    workspace: Any, uninterrupted: tuple[list[tuple[Any, ...]], str]
) -> None:
    workspace.seedbed("train", workspace.config(), "--background")
    run = workspace.run_dir()
    checkpoints = run / "checkpoints"

    def writing() -> bool:
        return checkpoints.is_dir() and len(workspace.steps(run)) > 8 and any(checkpoints.glob(".*"))

    workspace.wait(lambda: writing() or workspace.status()["status"] == "completed")
    workspace.kill(workspace.status()["pid"])
    workspace.wait(lambda: workspace.status()["status"] in ("lost", "completed"))
    if workspace.status()["status"] == "lost":
        workspace.seedbed("resume", "latest")
    steps, weights = uninterrupted
    assert workspace.steps(run) == steps
    assert workspace.weights(run) == weights
    assert not list(checkpoints.glob(".*")), "a leftover of the killed write is still there"


def test_a_run_killed_before_its_first_checkpoint_starts_over_with_the_same_seed(
    workspace: Any, uninterrupted: tuple[list[tuple[Any, ...]], str]
) -> None:
    workspace.hold_at(20)
    workspace.seedbed(
        "train",
        workspace.config(),
        "--background",
        "--set",
        "train.checkpoint_every=0",
        "--set",
        "train.keep_best=false",
    )
    run = workspace.run_dir()
    workspace.wait(lambda: len(workspace.steps(run)) >= 4)
    workspace.kill(workspace.status()["pid"])
    workspace.wait(lambda: workspace.status()["status"] == "lost")
    workspace.release(run)
    workspace.seedbed("resume", "latest")
    steps, weights = uninterrupted
    assert workspace.steps(run) == steps
    assert workspace.weights(run) == weights


def test_stop_saves_a_checkpoint_and_the_resumed_run_ends_bit_equal(
    workspace: Any, uninterrupted: tuple[list[tuple[Any, ...]], str]
) -> None:
    workspace.hold_at(10)
    workspace.seedbed("train", workspace.config(), "--background")
    run = workspace.run_dir()
    workspace.wait(lambda: len(workspace.steps(run)) >= 10)
    workspace.seedbed("stop", "latest", "--wait")
    stopped = workspace.status()
    assert stopped["status"] == "stopped"
    assert stopped["checkpoint_step"] == stopped["step"], "stop did not save its last step"
    assert "seedbed resume" in workspace.seedbed("status").stdout, "status does not say how to resume"
    workspace.seedbed("resume", "latest")
    steps, weights = uninterrupted
    assert workspace.steps(run) == steps
    assert workspace.weights(run) == weights


def test_a_damaged_checkpoint_is_refused_and_others_are_named(workspace: Any) -> None:
    workspace.seedbed("train", workspace.config(), "--set", "train.steps=8", "--set", "train.keep_best=false")
    (workspace.run_dir() / "checkpoints" / "step-00000008" / "config.json").write_text("{")
    refused = workspace.seedbed("generate", "--prompt", "the", expect=1).stderr
    assert "config.json" in refused
    assert "This run has other checkpoints at steps 7." in refused
    words = workspace.seedbed("generate", "--prompt", "the", "--checkpoint", "7", "--max-new-tokens", "3").stdout
    assert words.startswith("the")
    # One flipped bit in the weights causes no error by itself, only another text.
    weights = workspace.run_dir() / "checkpoints" / "step-00000007" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    refused = workspace.seedbed("generate", "--prompt", "the", "--checkpoint", "7", expect=1).stderr
    assert "model.safetensors was damaged or edited (its checksum differs)" in refused


def test_more_steps_count_from_the_last_step_even_if_its_checkpoint_is_damaged(workspace: Any) -> None:
    workspace.seedbed("train", workspace.config(), "--set", "train.steps=16", "--set", "train.keep_best=false")
    run = workspace.run_dir()
    before = workspace.steps(run)
    (run / "checkpoints" / "step-00000016" / "trainer.json").write_text("{")
    output = workspace.seedbed("resume", "latest", "--more-steps", "4").stdout
    assert "Skipped step-00000016" in output
    after = workspace.steps(run)
    assert [row[0] for row in after] == list(range(1, 21))
    assert after[:16] == before, "the lost steps were not repeated exactly"
    assert workspace.status()["status"] == "completed"


def test_more_steps_and_more_epochs_train_exactly_that_many_steps(workspace: Any) -> None:
    workspace.seedbed("train", workspace.config(), "--set", "train.steps=10")
    run = workspace.run_dir()
    first = workspace.steps(run)
    output = workspace.seedbed("resume", "latest", "--more-steps", "5").stdout
    assert "learning rate" in output
    after = workspace.steps(run)
    assert after[:10] == first
    assert [row[0] for row in after] == list(range(1, 16))
    windows = [event for event in workspace.events(run) if event["kind"] == "run" and "steps_per_epoch" in event][-1]
    workspace.seedbed("resume", "latest", "--more-epochs", "0.1")
    expected = 15 + -(-round(0.1 * windows["steps_per_epoch"] * 4, 6) // 4)
    assert len(workspace.steps(run)) == expected
    nothing = workspace.seedbed("resume", "latest", expect=2)
    assert "--more-epochs" in nothing.stderr
