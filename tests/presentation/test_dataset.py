"""Lengths of rows as text: a table, and on narrow screens the same figures in lines that fit."""

from __future__ import annotations

from typing import Any

import pytest

from seedbed.presentation.dataset import length_lines

FIGURES = {"samples": 1_234_567, "min": 1, "p50": 20, "p90": 300, "p95": 4000, "p99": 50_000, "max": 600_000}
ROW: dict[str, Any] = {**FIGURES, "tokens": 100, "trained_tokens": 45, "histogram": [3, 4]}
FOUND = {
    "lengths": {"train.jsonl": {"all": ROW, "chat": ROW}},
    "edges": [8],
    "drops": [["render", "a chat template that refuses this conversation for some reason", 2]],
}


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_every_figure_is_shown_and_every_line_fits(width: int) -> None:
    found = length_lines(FOUND, width)
    assert all(len(line) <= width for line in found)
    text = " ".join(" ".join(found).split())
    for figure in (
        "1,234,567",
        "300",
        "4,000",
        "50,000",
        "600,000",
        "45%",
        "refuses this conversation for some reason",
    ):
        assert figure in text
    assert text.count("p99") == (2 if width < 80 else 1), "in a table, a heading; else, beside each figure"
