"""The prompt for samples from a dataset: the first words of its texts, in one line without control characters."""

from __future__ import annotations

from pathlib import Path

import pytest

from seedbed.config.schema import DataConfig, TokenizerConfig
from seedbed.data.build import build_dataset
from seedbed.data.sample_prompt import sample_prompt
from seedbed.events import Data, Event


def prompt_of(folder: Path, texts: list[str], validation: str = "") -> str:
    """The sample prompt of a dataset of these texts. Checks that the dataset's event has the same."""
    (folder / "texts").mkdir()
    for number, text in enumerate(texts):
        (folder / "texts" / f"{number:03d}.txt").write_text(text, encoding="utf-8")
    path = ""
    if validation:
        (folder / "validation.txt").write_text(validation, encoding="utf-8")
        path = str(folder / "validation.txt")
    events: list[Event] = []
    dataset = build_dataset(
        DataConfig(source=f"text:{folder / 'texts'}", validation_path=path, validation=0.2, workers=1),
        TokenizerConfig(vocab_size=300),
        cache=folder / "cache",
        emit=events.append,
    )
    found = sample_prompt(dataset)
    assert [event.opening for event in events if isinstance(event, Data) and event.stage == "dataset"] == [found]
    return found


REST = " And then there was more of it, line by line. " * 20


def test_the_prompt_is_an_opening_of_the_validation_text(tmp_path: Path) -> None:
    texts = ["Call me Ishmael, said he." + REST]
    assert prompt_of(tmp_path, texts, "It was a dark and stormy night in June." + REST) == "It was a dark and stormy"


def test_a_common_opening_is_preferred(tmp_path: Path) -> None:
    texts = [f"Once upon a time, there lived {name}." + REST for name in "ABCDEFGHIJ"]
    texts += [f"Chapter {number} of this book begins." + REST for number in range(20)]
    assert prompt_of(tmp_path, texts, "\n".join(texts[10:12])) == "Once upon a time"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\n\n  \x1b[31mRed\x1b[0m  \u202ewords\tcome\x07 first \nnot these", "Red words come first"),
        ("a" * 500, "a" * 20),
        ("我们在这里写了很多很多的中文文本没有空格" * 20, "我们在这里写了很多很多的中文文本没有空格"),
        ("#\n\nwhat follows", "#"),
    ],
    ids=["control characters", "no spaces", "Chinese", "one character"],
)
def test_unusual_text_gives_one_plain_line(tmp_path: Path, text: str, expected: str) -> None:
    assert prompt_of(tmp_path, [text + REST], text + REST) == expected


def test_an_opening_in_the_middle_of_a_sentence_is_skipped(tmp_path: Path) -> None:
    texts = ["The whole book begins here, now." + REST]
    assert prompt_of(tmp_path, texts, "and so he went on." + REST) == "The whole book begins here, now."
