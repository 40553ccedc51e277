"""A run that is killed and resumed, anywhere and twice, ends bit-equal to one that was left alone."""

from __future__ import annotations

import random
from typing import Any


def test_killed_at_random_steps(workshop: Any, uninterrupted: tuple[list[tuple[Any, ...]], str]) -> None:
    generator = random.Random(2026)
    first = generator.randint(3, 25)
    second = generator.randint(first + 8, 55)
    workshop.pace(first)
    workshop.seedbed("train", workshop.config(), "--background", "--set", "train.prefetch=3")
    run = workshop.run_dir()
    for target, then in ((first, second), (second, 60)):
        workshop.wait(lambda target=target: len(workshop.steps(run)) >= target)
        workshop.kill(workshop.status()["pid"])
        workshop.wait(lambda: workshop.status()["status"] == "lost")
        workshop.pace(then)
        workshop.seedbed("resume", "latest", "--background")
    workshop.let_go(run)
    workshop.wait(lambda: workshop.status()["status"] == "completed")
    steps, weights = uninterrupted
    assert workshop.steps(run) == steps
    assert workshop.weights(run) == weights


def test_killed_inside_a_checkpoint_write(workshop: Any, uninterrupted: tuple[list[tuple[Any, ...]], str]) -> None:
    workshop.seedbed("train", workshop.config(), "--background")
    run = workshop.run_dir()
    checkpoints = run / "checkpoints"

    def writing() -> bool:
        return checkpoints.is_dir() and len(workshop.steps(run)) > 8 and any(checkpoints.glob(".*"))

    workshop.wait(lambda: writing() or workshop.status()["status"] == "completed")
    workshop.kill(workshop.status()["pid"])
    workshop.wait(lambda: workshop.status()["status"] in ("lost", "completed"))
    if workshop.status()["status"] == "lost":
        workshop.seedbed("resume", "latest")
    steps, weights = uninterrupted
    assert workshop.steps(run) == steps
    assert workshop.weights(run) == weights
    assert not list(checkpoints.glob(".*")), "a leftover of the killed write is still there"


def test_killed_before_the_first_checkpoint_starts_over_from_the_same_seed(
    workshop: Any, uninterrupted: tuple[list[tuple[Any, ...]], str]
) -> None:
    workshop.pace(20)
    workshop.seedbed(
        "train",
        workshop.config(),
        "--background",
        "--set",
        "train.checkpoint_every=0",
        "--set",
        "train.keep_best=false",
    )
    run = workshop.run_dir()
    workshop.wait(lambda: len(workshop.steps(run)) >= 4)
    workshop.kill(workshop.status()["pid"])
    workshop.wait(lambda: workshop.status()["status"] == "lost")
    workshop.let_go(run)
    workshop.seedbed("resume", "latest")
    steps, weights = uninterrupted
    assert workshop.steps(run) == steps
    assert workshop.weights(run) == weights


def test_stop_saves_and_resume_goes_on_exactly(workshop: Any, uninterrupted: tuple[list[tuple[Any, ...]], str]) -> None:
    workshop.pace(10)
    workshop.seedbed("train", workshop.config(), "--background")
    run = workshop.run_dir()
    workshop.wait(lambda: len(workshop.steps(run)) >= 10)
    workshop.seedbed("stop", "latest", "--wait")
    stopped = workshop.status()
    assert stopped["status"] == "stopped"
    assert stopped["checkpoint_step"] == stopped["step"], "stop did not save where it stopped"
    assert "seedbed resume" in workshop.seedbed("status").stdout, "it does not say how to go on"
    workshop.seedbed("resume", "latest")
    steps, weights = uninterrupted
    assert workshop.steps(run) == steps
    assert workshop.weights(run) == weights


def test_a_damaged_checkpoint_is_refused_and_others_are_named(workshop: Any) -> None:
    workshop.seedbed("train", workshop.config(), "--set", "train.steps=8", "--set", "train.keep_best=false")
    (workshop.run_dir() / "checkpoints" / "step-00000008" / "config.json").write_text("{")
    refused = workshop.seedbed("generate", "--prompt", "the", expect=1).stderr
    assert "config.json" in refused
    assert "This run has other checkpoints at steps 7." in refused
    words = workshop.seedbed("generate", "--prompt", "the", "--checkpoint", "7", "--max-new-tokens", "3").stdout
    assert words.startswith("the")
    # One flipped bit in the weights makes no error by itself, only other words.
    weights = workshop.run_dir() / "checkpoints" / "step-00000007" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    refused = workshop.seedbed("generate", "--prompt", "the", "--checkpoint", "7", expect=1).stderr
    assert "model.safetensors was damaged or edited (its checksum differs)" in refused


def test_steps_are_added_to_what_the_run_had_though_its_newest_checkpoint_is_damaged(workshop: Any) -> None:
    workshop.seedbed("train", workshop.config(), "--set", "train.steps=16", "--set", "train.keep_best=false")
    run = workshop.run_dir()
    before = workshop.steps(run)
    (run / "checkpoints" / "step-00000016" / "trainer.json").write_text("{")
    told = workshop.seedbed("resume", "latest", "--more-steps", "4").stdout
    assert "Skipped step-00000016" in told
    after = workshop.steps(run)
    assert [row[0] for row in after] == list(range(1, 21))
    assert after[:16] == before, "the lost steps were not done again as they were"
    assert workshop.status()["status"] == "completed"


def test_more_steps_and_more_epochs_train_exactly_that(workshop: Any) -> None:
    workshop.seedbed("train", workshop.config(), "--set", "train.steps=10")
    run = workshop.run_dir()
    first = workshop.steps(run)
    told = workshop.seedbed("resume", "latest", "--more-steps", "5").stdout
    assert "learning rate" in told
    after = workshop.steps(run)
    assert after[:10] == first
    assert [row[0] for row in after] == list(range(1, 16))
    windows = [event for event in workshop.events(run) if event["kind"] == "run" and "steps_per_epoch" in event][-1]
    workshop.seedbed("resume", "latest", "--more-epochs", "0.1")
    expected = 15 + -(-round(0.1 * windows["steps_per_epoch"] * 4, 6) // 4)
    assert len(workshop.steps(run)) == expected
    nothing = workshop.seedbed("resume", "latest", expect=2)
    assert "--more-epochs" in nothing.stderr
