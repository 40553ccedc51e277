"""Words and estimates that the page and the terminal view of a report card share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CHARACTERS_PER_TOKEN = 3.5
"""An estimate for code and English with the vocabularies of current models."""
LEVELS = {
    "links": "sessions, commits, files and shared text",
    "links without files": "sessions, commits and shared text",
    "repository": "whole repositories",
    "time": "sessions, commits, files and shared text; in the largest group, time",
}
"""How groups were made, in words."""
DIMENSIONS = {
    "kind": "Kinds of rows",
    "source": "Sources",
    "repository": "Repositories",
    "language": "Languages",
    "licence": "Licences",
    "model": "Models that wrote the answers",
}
KINDS = {"chat": "conversation", "text": "text", "fim": "gap to fill"}
STRATEGIES = {
    "generation": "{% generation %} marks in the template",
    "markers": "markers in place of the texts",
    "prefix": "comparison with the chat before the turn",
}
"""The ways to find the turns of the assistant in a rendered chat."""
LOSSES = {
    "assistant": "the assistant's turns, and all of text and of rows with a gap",
    "targets": "the assistant's turns, what fills a gap, and text",
    "all": "every token",
}
"""What is trained, by the value of data.loss."""
MOST_LEAKED = 0.01
"""The largest share of evaluation answers that may be visible in training rows."""


def number(values: Mapping[str, Any], name: str) -> int:
    """A count in a mapping that was read from a file; 0 if there is none."""
    value = values.get(name, 0)
    return value if isinstance(value, int) else 0


def mappings(values: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """The mappings of a list in a mapping that was read from a file; [] if there are none."""
    value = values.get(name)
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
