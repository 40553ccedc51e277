"""Files that hold many texts are split at <|endoftext|>, except where it is part of a sentence."""

from __future__ import annotations

import gzip
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.config.schema import DataConfig
from seedbed.data import document_separators
from seedbed.data.document_separators import DocumentSeparators
from seedbed.data.readers import Document
from seedbed.data.source import open_source
from seedbed.events import Event, Message

STORIES = [f"Once upon a time there was fox number {number}.\n\nIt slept in den {number}." for number in range(60)]


def split_text(text: str, separator: str = "auto") -> list[str]:
    return list(DocumentSeparators(separator).texts(text))


def read(path: Path, **settings: object) -> tuple[list[str], list[Message]]:
    """All documents of a file in order, and the messages about them."""
    events: list[Event] = []
    source = open_source(DataConfig(source=f"text:{path}", **settings), emit=events.append)  # type: ignore[arg-type]
    texts = [*source.documents("train"), *source.documents("validation")]
    return texts, [event for event in events if isinstance(event, Message)]


@pytest.mark.parametrize("separator", ["<|endoftext|>", "<|end_of_text|>", "</s>", "[EOS]"])
@pytest.mark.parametrize("between", ["\n{}\n", "\n\n{}\n\n", "\n  {}  \n"])
def test_a_separator_alone_on_a_line_splits_the_text(separator: str, between: str) -> None:
    assert split_text(between.format(separator).join(STORIES)) == STORIES


@pytest.mark.parametrize("between", ["<|endoftext|>", "<|endoftext|>\n", "\n<|endoftext|>", " <|endoftext|> "])
def test_a_separator_between_two_texts_splits_them(between: str) -> None:
    assert split_text(between.join(STORIES)) == STORIES


def test_separators_before_and_after_each_text_leave_no_blank_documents() -> None:
    text = "".join(f"<|startoftext|>{story}<|endoftext|>\n" for story in STORIES)
    assert split_text(text) == STORIES


def test_a_separator_splits_after_quotes_and_after_text_in_other_scripts() -> None:
    assert split_text("狐狸睡了。<|endoftext|>从前有一棵树。") == ["狐狸睡了。", "从前有一棵树。"]
    assert split_text('"Good night," he said."<|endoftext|>"Who is it?"') == ['"Good night," he said."', '"Who is it?"']


@pytest.mark.parametrize(
    "text",
    [
        "The token <|endoftext|> marks the end of a text.",
        "Its name is `<|endoftext|>`.\nIt is written '<|endoftext|>' in code.",
        'tokens = {"eos": "<|endoftext|>", "pad": "<|pad|>"}',
        'encode("hello<|endoftext|>world")',
        "| <|endoftext|> | 50256 |\n| <|pad|> | 50257 |",
        "What ends a text is <|endoftext|>\nas everybody knows.",
        "<|endoftext|> is the token that ends a text.",
        "<p>An <s>old</s> price</p>",
        "A text of one <|im_start|>user turn.",
    ],
)
def test_a_separator_inside_a_sentence_or_code_stays_text(text: str) -> None:
    assert split_text(text) == [text]


def test_lines_keep_their_indent_after_a_separator() -> None:
    assert split_text("def a():\n    pass\n<|endoftext|>\n    indented\n") == ["def a():\n    pass", "    indented\n"]


def test_a_named_separator_splits_wherever_it_occurs() -> None:
    assert split_text("one *** two\n***\nthree", "***") == ["one", "two", "three"]
    assert split_text("one\n\ntwo\n\n\n\nthree\nfour", "\n\n") == ["one", "two", "three\nfour"]
    assert split_text("The token <|endoftext|> here.", "<|endoftext|>") == ["The token", "here."]


def test_separator_none_splits_nothing() -> None:
    text = "\n<|endoftext|>\n".join(STORIES)
    assert split_text(text, "none") == [text]


# ---------------------------------------------------------------------------------------------- files


def write(path: Path, text: str) -> Path:
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.mark.parametrize("name", ["stories.txt", "stories.md", "stories.txt.gz"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_each_story_of_a_file_becomes_a_document(tmp_path: Path, name: str, newline: str) -> None:
    text = "\n<|endoftext|>\n".join(STORIES).replace("\n", newline)
    texts, messages = read(write(tmp_path / name, text))
    assert sorted(texts) == sorted(STORIES)
    (message,) = [each for each in messages if each.code == "data-separator"]
    assert "60 texts" in message.text
    assert "<|endoftext|>" in message.text
    assert "data.separator=none" in message.hint


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_records_that_hold_several_texts_are_split(tmp_path: Path, kind: str) -> None:
    fields = ["\n<|endoftext|>\n".join(STORIES[:30]), *(f"{story}<|endoftext|>" for story in STORIES[30:])]
    path = tmp_path / f"stories.{kind}"
    if kind == "jsonl":
        path.write_text("".join(json.dumps({"text": field}) + "\n" for field in fields))
    else:
        parquet = pytest.importorskip("pyarrow.parquet")
        arrow = pytest.importorskip("pyarrow")
        parquet.write_table(arrow.table({"text": fields}), path)
    assert sorted(read(path)[0]) == sorted(STORIES)


def test_max_documents_counts_the_texts_between_separators(tmp_path: Path) -> None:
    path = write(tmp_path / "stories.txt", "\n<|endoftext|>\n".join(STORIES))
    assert sorted(read(path, max_documents=40)[0]) == sorted(STORIES[:40])


def test_a_message_reports_separators_inside_text_and_how_to_split_there(tmp_path: Path) -> None:
    path = write(tmp_path / "paper.txt", "The token <|endoftext|> marks the end.\n\n" * 50)
    texts, messages = read(path)
    assert sum(text.count("<|endoftext|>") for text in texts) == 50
    (message,) = [each for each in messages if each.code == "separator-in-text"]
    assert "50 times" in message.text
    assert "--set data.separator='<|endoftext|>'" in message.hint


def test_a_named_separator_that_does_not_occur_gives_a_warning(tmp_path: Path) -> None:
    _, messages = read(write(tmp_path / "a.txt", "Some text.\n\nAnd more.\n" * 50), separator=r"\n\n")
    assert [each.code for each in messages if each.level == "warning"] == ["separator-absent"]


def test_the_separator_is_part_of_the_fingerprint(tmp_path: Path) -> None:
    path = write(tmp_path / "stories.txt", "\n<|endoftext|>\n".join(STORIES))
    fingerprints = {
        open_source(DataConfig(source=f"text:{path}", separator=separator), emit=lambda _: None).fingerprint()
        for separator in ("auto", "none", "***")
    }
    assert len(fingerprints) == 3


# ---------------------------------------------------------------------------------------------- long files


class Stream:
    """The text of a long file in pieces, which can be iterated repeatedly."""

    def __init__(self, text: str, cuts: list[int]) -> None:
        borders = [0, *sorted(cut for cut in cuts if cut < len(text)), len(text)]
        self.pieces = [text[start:end] for start, end in itertools.pairwise(borders)]

    def __iter__(self) -> Iterator[str]:
        return iter(self.pieces)


def split_stream(text: str, cuts: list[int], monkeypatch: pytest.MonkeyPatch, separator: str = "auto") -> list[str]:
    monkeypatch.setattr(document_separators, "_CONTEXT_CHARS", 64)
    splitter = DocumentSeparators(separator)
    return ["".join(each.pieces) for each in splitter.split([Document(b"d", len(text), Stream(text, cuts))])]


@given(
    parts=st.lists(st.sampled_from([*STORIES[:3], "a", "The token <|endoftext|> is text.", "x" * 100]), max_size=8),
    between=st.sampled_from(["\n<|endoftext|>\n", "<|endoftext|>", "\n\n</s>\n", "\n"]),
    cuts=st.lists(st.integers(1, 400), max_size=12),
)
def test_a_stream_is_split_like_a_text_in_memory(parts: list[str], between: str, cuts: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        text = between.join(parts)
        assert "".join(split_stream(text, cuts, patch)) == "".join(split_text(text))
        assert len(split_stream(text, cuts, patch)) == len(split_text(text) if text else [""])


def test_a_long_text_between_short_ones_may_stay_unread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(document_separators, "_LONG_CHARS", 1000)
    long = "A long sentence without an end in sight.\n" * 100
    text = f"{STORIES[0]}\n<|endoftext|>\n{long}\n<|endoftext|>\n{STORIES[1]}\n"
    monkeypatch.setattr(document_separators, "_CONTEXT_CHARS", 64)
    documents = DocumentSeparators("auto").split(
        [Document(b"d", len(text), Stream(text, list(range(100, len(text), 100))))]
    )
    first = next(documents)
    second = next(documents)
    assert "".join(first.pieces) == STORIES[0]
    assert second.length == len(long.rstrip())
    assert second.digest == document_separators.text_digest(long.rstrip())
    third = next(documents)  # the pieces of the second were not read
    assert "".join(third.pieces) == STORIES[1] + "\n"


def test_a_file_longer_than_a_piece_is_split_as_a_stream(tmp_path: Path) -> None:
    stories = [f"Story {number}. " + "It went on and on. " * 1000 for number in range(100)]
    path = write(tmp_path / "long.txt", "\n<|endoftext|>\n".join(stories))
    texts, messages = read(path)
    assert sorted(text.rstrip() for text in texts) == sorted(story.rstrip() for story in stories)
    assert any("100 texts" in each.text for each in messages)
