"""WikiText from local copies: every layout gives the same articles, and an incomplete copy is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from seedbed.config.schema import DataConfig
from seedbed.data.source import Source, open_source
from seedbed.data.sources.wikitext import articles
from seedbed.errors import SeedbedError
from seedbed.events import Event, Message

pa = pytest.importorskip("pyarrow", reason="needs the extra data")
pq = pytest.importorskip("pyarrow.parquet")

TRAIN = (
    " \n = First = \n \n Text of the first article . \n \n = = Section = = \n \n More = text , with 1 = 1 . \n"
    " = not a heading = \n Text again . \n \n = Second <unk> = \n \n Text of the second article . \n"
)
VALIDATION = " \n = Third = \n \n Text of the third . \n"
FIRST = (
    " = First = \n\n Text of the first article . \n\n = = Section = = \n\n More = text , with 1 = 1 . \n"
    " = not a heading = \n Text again . \n"
)


class MessageCollector(list[Message]):
    def __call__(self, event: Event) -> None:
        assert isinstance(event, Message)
        self.append(event)


def open_copy(folder: Path, messages: MessageCollector | None = None, **settings: Any) -> Source:
    return open_source(
        DataConfig(source="wikitext-2", path=str(folder), **settings),
        emit=MessageCollector() if messages is None else messages,
    )


def write_rows(path: Path, text: str) -> None:
    """Write a parquet file as on the Hub: a row per line, blank lines as empty strings."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [line if line.strip() else "" for line in text.splitlines(keepends=True)]
    pq.write_table(pa.table({"text": rows}), path)


def write_layout(folder: Path, layout: str) -> None:
    if layout.endswith("parquet"):
        write_rows(folder / layout.format("train"), TRAIN)
        write_rows(folder / layout.format("validation"), VALIDATION)
        return
    for name, text in (("train", TRAIN), ("valid", VALIDATION)):
        path = folder / layout.format(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize(
    "layout",
    [
        "{}-00000-of-00001.parquet",
        "wikitext-2-raw-v1/{}-00000-of-00001.parquet",
        "{}.parquet",
        "wiki.{}.tokens",
        "wiki.{}.raw",
        "wikitext-2/wiki.{}.tokens",
        "wikitext-2-raw/wiki.{}.raw",
        "{}.txt",
    ],
)
def test_every_layout_gives_the_same_articles(tmp_path: Path, layout: str) -> None:
    write_layout(tmp_path, layout)
    source = open_copy(tmp_path)
    assert list(source.documents("train")) == [FIRST, " = Second <unk> = \n\n Text of the second article . \n"]
    assert list(source.documents("validation")) == [" = Third = \n\n Text of the third . \n"]


def test_the_published_validation_split_has_sixty_articles(test_data: Path, tmp_path: Path) -> None:
    whole = (test_data / "wikitext-2" / "valid.txt").read_text()
    (tmp_path / "valid.txt").write_text(whole)
    (tmp_path / "train.txt").write_text(TRAIN)
    messages = MessageCollector()
    found = list(open_copy(tmp_path, messages).documents("validation"))
    assert len(found) == 60  # Merity et al. 2016, table 1
    assert [line for line in "".join(found).split("\n") if line.strip()] == [
        line for line in whole.split("\n") if line.strip()
    ]
    assert messages == []


def test_a_copy_with_another_number_of_lines_gives_one_warning(tmp_path: Path) -> None:
    write_layout(tmp_path, "{}.txt")
    messages = MessageCollector()
    source = open_copy(tmp_path, messages)
    for _ in range(2):
        list(source.documents("train"))
    assert [message.code for message in messages] == ["wikitext-lines"]
    assert "14 lines; the published split has 36,718" in messages[0].text


def test_a_copy_without_a_train_split_is_refused_with_a_hint_to_use_text(test_data: Path) -> None:
    with pytest.raises(SeedbedError, match="does not contain the train split") as raised:
        open_copy(test_data / "wikitext-2")
    assert f"text:{test_data}/wikitext-2/valid.txt" in raised.value.hint


def test_a_path_that_is_not_a_wikitext_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SeedbedError, match="does not exist"):
        open_copy(tmp_path / "none")
    with pytest.raises(SeedbedError, match="does not contain the train and validation split"):
        open_copy(tmp_path)
    (tmp_path / "wikitext.zip").write_bytes(b"PK")
    with pytest.raises(SeedbedError, match="is a file, not a folder"):
        open_copy(tmp_path / "wikitext.zip")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("train.txt", b"<!DOCTYPE html><html>", "web page"),
        ("train.txt", b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "LFS pointer"),
        ("train.parquet", b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "LFS pointer"),
        ("train.parquet", b"<html>", "web page"),
        ("train.txt", b"", "empty"),
        ("train.txt", b"caf\xe9", "not UTF-8"),
    ],
)
def test_a_failed_download_is_recognised(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(content)
    (tmp_path / "valid.txt").write_text(VALIDATION)
    with pytest.raises(SeedbedError, match=reason) as raised:
        list(open_copy(tmp_path).documents("train"))
    assert raised.value.hint


def test_text_without_headings_is_refused() -> None:
    with pytest.raises(SeedbedError, match="not wikitext-2"):
        list(articles(("A line of some novel.\n" for _ in range(400_000)), "wikitext-2"))


def test_max_documents_and_edits_change_the_fingerprint(tmp_path: Path) -> None:
    write_layout(tmp_path, "{}.txt")
    first = open_copy(tmp_path).fingerprint()
    assert list(open_copy(tmp_path, max_documents=1).documents("train")) == [FIRST]
    assert open_copy(tmp_path, max_documents=1).fingerprint() != first
    (tmp_path / "valid.txt").write_text(VALIDATION.replace("third", "fourth"))
    assert open_copy(tmp_path).fingerprint() != first
