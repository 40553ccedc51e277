"""Lengths of rows as text: a table, and on narrow screens the same figures in lines that fit."""

from __future__ import annotations

from typing import Any

import pytest

from seedbed.presentation.dataset import check_lines, length_lines

FIGURES = {"samples": 1_234_567, "min": 1, "p50": 20, "p90": 300, "p95": 4000, "p99": 50_000, "max": 600_000}
ROW: dict[str, Any] = {**FIGURES, "tokens": 100, "trained_tokens": 45, "histogram": [3, 4]}
FOUND = {
    "lengths": {"train.jsonl": {"all": ROW, "chat": ROW}},
    "edges": [8],
    "rows": 1_234_500,
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
        "1,234,567 samples of 1,234,500 rows: the chat template",
    ):
        assert figure in text
    assert text.count("p99") == (2 if width < 80 else 1), "in a table, a heading; else, beside each figure"


def test_as_many_samples_as_rows_need_no_explanation() -> None:
    assert "samples of" not in " ".join(length_lines({**FOUND, "rows": 1_234_567}, 80))


@pytest.mark.parametrize("count", [1, 2])
def test_a_check_fits_a_narrow_terminal_and_its_counts_agree_with_their_words(count: int) -> None:
    pair = {
        "share": 0.61,
        "train_share": 0.4,
        "eval_row": "sharegpt dummy.json, row 1a2b3c4d",
        "train_row": "sharegpt dummy.json, row 5e6f7a8b",
        "answer": "",
    }
    found = {
        "rows": {"train.jsonl": count, "eval.jsonl": 3},
        "is_split": True,
        "answers": 3,
        "too_short": count,
        "leaked": count,
        "rate": count / 3,
        "rows_in_both": count,
        "groups_in_both": count,
        "worst": [pair],
    }
    made = check_lines(found, 40)
    assert all(len(line) <= 40 for line in made)
    text = " ".join(" ".join(made).split())
    row, is_ = ("1 row", "is") if count == 1 else ("2 rows", "are")
    assert f"{row} in train.jsonl, 3 rows in eval.jsonl" in text
    assert f"{row} of the evaluation part {is_} in the training part" in text
    assert f"{count} of 3 evaluation answers" in text
    assert f"{is_} more than half visible" in text
    assert "61% of an answer of sharegpt dummy.json, row 1a2b3c4d is in training rows, 40% in" in text
    assert "row 5e6f7a8b" in text
