"""The rules of an evaluation's config: values that each are allowed but contradict each other."""

from __future__ import annotations

from collections.abc import Iterator

from seedbed.config.evaluation import LONGEST_WINDOW, Evaluation
from seedbed.config.roots import Contradiction


def contradictions(config: Evaluation) -> Iterator[Contradiction]:
    """The rules of an evaluation."""
    asked = config.evaluate
    if asked.stride is not None and asked.stride > (asked.context or LONGEST_WINDOW):
        yield Contradiction(
            "The stride is longer than a window, so tokens would be left out",
            "Set evaluate.stride to at most evaluate.context.",
            ("evaluate.stride", "evaluate.context"),
        )
    if len(asked.names) != len(asked.models):
        yield Contradiction(
            "There are not as many names as models",
            "Give a name for each model, or remove evaluate.names.",
            ("evaluate.models", "evaluate.names"),
        )
