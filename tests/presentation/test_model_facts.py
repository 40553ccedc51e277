"""Short texts about a model."""

from __future__ import annotations

import time
from pathlib import Path

from seedbed.presentation.model_facts import epochs_text, problem_text, step_text, trained_text, training_line
from seedbed.runs.models import CORRUPTED, READY, Model
from seedbed.runs.store import RunDir

STEPS = tuple(range(10, 90, 10))
OAK = Model(RunDir(Path("/r/oak")), "oak", READY, "", 80, 1.25, 2.0, None, 1, 0.0, Path("/r/oak/c"), STEPS, False)


def test_unknown_and_long_values_fit_their_cells() -> None:
    assert (step_text(OAK), epochs_text(OAK)) == ("80", "1.2")
    assert (step_text(OAK._replace(step=2_000_000)), epochs_text(OAK._replace(epochs=None))) == ("2M", "-")


def test_a_line_shows_when_and_how_long_a_model_was_trained() -> None:
    date = time.strftime("%d %b %H:%M", time.localtime(0))
    assert trained_text(OAK) == date
    assert training_line(OAK) == f"trained {date}, 1.2 epochs, loss 2.0000, checkpoints at 30, 40, 50, 60, 70, 80"
    assert training_line(OAK._replace(epochs=None)).startswith(f"trained {date}, loss 2.0000")


def test_the_problem_of_a_corrupted_model_includes_the_reason() -> None:
    assert problem_text(OAK) == ""
    assert problem_text(OAK._replace(status=CORRUPTED, reason="no DONE")) == "corrupted: no DONE"
