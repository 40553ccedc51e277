"""A model as short texts: cells of a table, and the lines below it."""

from __future__ import annotations

import time

from seedbed import text
from seedbed.runs.models import Model

_MAX_STEPS = 6
"""The number of checkpoints whose steps are listed: the newest ones."""


def step_text(model: Model) -> str:
    """The step of the newest checkpoint of a model; rounded from a million on, such as `1.23M`."""
    return text.count(model.step) if model.step >= 1_000_000 else str(model.step)


def epochs_text(model: Model) -> str:
    """The number of epochs that a model was trained for; "-" if it is unknown."""
    return f"{model.epochs:.1f}" if model.epochs is not None else "-"


def trained_text(model: Model) -> str:
    """When the newest checkpoint of a model was saved, as local date and time of day, such as `05 Mar 14:30`."""
    return time.strftime("%d %b %H:%M", time.localtime(model.trained))


def training_line(model: Model) -> str:
    """A line that says when and for how long a model was trained, its loss, and the steps of its newest checkpoints."""
    epochs = f"{epochs_text(model)} epochs, " if model.epochs is not None else ""
    steps = ", ".join(map(str, model.steps[-_MAX_STEPS:]))
    return f"trained {trained_text(model)}, {epochs}loss {text.loss(model.loss)}, checkpoints at {steps}"


def problem_text(model: Model) -> str:
    """What is wrong with the files of the newest checkpoint of a model; "" if nothing is wrong."""
    return f"corrupted: {model.reason}" if model.reason else ""
