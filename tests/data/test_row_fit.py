"""What people are told about rows that do not fit the context."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import row_datasets
from seedbed.config.schema import DataConfig, TokenizerConfig
from seedbed.curation.record import Message, Provenance, Record, content_id
from seedbed.data import row_fit
from seedbed.data.build import build_dataset
from seedbed.data.building import Base
from seedbed.data.row_fit import Fit


def fit(total: int, longer: dict[int, int], positions: int | None = None, left_out: int = 0) -> Fit:
    rows = Counter({row_fit.ALL: total, row_fit.LEFT_OUT: left_out})
    return Fit(512, rows, Counter(longer), Counter({"too long": left_out} if left_out else {}), Counter(), positions)


def test_the_context_that_fits_most_rows_is_a_power_of_two_within_the_base() -> None:
    assert fit(100, {1024: 5}).needed() is None
    assert fit(100, {1024: 20, 2048: 4, 8192: 1}).needed() == 1024
    assert fit(100, {1024: 20, 2048: 5, 8192: 5}).needed() == 2048
    hints = {
        most: row_fit.messages(fit(100, {1024: 20, 2048: 5, 8192: 5}, most))[0].hint for most in (None, 4096, 1024, 512)
    }
    assert "model.context=2048: 95% of the rows fit" in hints[None]
    assert hints[4096] == hints[None]
    assert "model.context=1024, the most that the base has: about 90%" in hints[1024]
    assert "the base has 512 positions" in hints[512]


def test_few_rows_that_are_shortened_are_no_warning_and_many_are() -> None:
    few, many = (
        row_fit.messages(fit(100, {1024: count})._replace(rows=Counter({row_fit.ALL: 100, row_fit.SHORTENED: count})))
        for count in (10, 11)
    )
    assert [(each.level, each.text) for each in few] == [
        ("info", "To fit the context, rows were changed (conversations that are shortened: 10).")
    ]
    assert [each.level for each in many] == ["warning"]
    assert "11 rows are shortened" in many[0].text


@pytest.mark.parametrize("longer", [40, 51])
def test_a_warning_begins_with_what_most_rows_do(longer: int) -> None:
    (said,) = row_fit.messages(fit(100, {1024: longer}, left_out=longer))
    begins = {
        40: "40 rows of 100 are longer than the context of 512 tokens. 40 rows of the dataset cannot",
        51: "Fewer than half of the rows fit the context: only 49 of 100 have at most 512 tokens.",
    }
    assert said.text.startswith(begins[longer])


def chat(number: int, turns: int, words: int) -> Record:
    messages = []
    for turn in range(turns):
        messages.append(Message(role="user", content=f"Question {number}.{turn}?"))
        messages.append(Message(role="assistant", content="word " * words))
    record = Record(kind="chat", messages=messages, provenance=Provenance(source="codex", session=str(number)))
    record.id = content_id(record)
    return record


def test_rows_are_counted_once_and_the_named_context_fits_them(tmp_path: Path) -> None:
    """Half of the rows are long: some have a turn that does not fit, and of others the oldest turns are left out."""
    short = [chat(number, 1, 5) for number in range(40)]
    turns = [chat(100 + number, 12, 20) for number in range(30)]
    long = [chat(200 + number, 2, 120) for number in range(30)]
    folder = row_datasets.dataset(tmp_path / "rows", short + turns + long, [chat(300, 1, 5)])

    def made(context: int, positions: int | None = None) -> tuple[Any, list[Any]]:
        said: list[Any] = []
        config = TokenizerConfig(vocab_size=400)
        base = None
        if positions is not None:
            base = Base(first.tokenizer, first.tokenizer.chat_template, positions)
        data = DataConfig(source=str(folder), workers=1)
        built = build_dataset(data, config, context=context, cache=tmp_path / "cache", emit=said.append, base=base)
        return built, [each for each in said if getattr(each, "code", "").startswith("rows-")]

    first, (said,) = made(96)
    assert said.text.startswith("Fewer than half of the rows fit the context: only 41 of 101")
    assert "30 rows of the dataset cannot be trained on" in said.text
    assert "30 rows are shortened" in said.text
    assert "tokens left out" not in said.text
    context = int(said.hint.partition("model.context=")[2].partition(":")[0])
    _, said_again = made(context)
    assert [each.code for each in said_again] == ["rows-fit"]
    _, (halved,) = made(context // 2)
    assert halved.level == "warning"
    _, (based,) = made(96, 128)
    assert "128" in based.hint


def test_rows_that_all_fit_are_said_to_fit() -> None:
    (said,) = row_fit.messages(fit(100, {}))
    assert (said.level, said.text) == ("info", "All 100 rows fit the context of 512 tokens.")
