"""text:PATH: files and folders, split by document, with everything left out counted and said."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from seedbed.config.schema import DataConfig
from seedbed.data.source import Source, open_source
from seedbed.errors import SeedbedError
from seedbed.events import Message


class Heard:
    """Keeps the messages."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def __call__(self, event: object) -> None:
        assert isinstance(event, Message)
        self.messages.append(event)

    def codes(self) -> list[str]:
        return [message.code for message in self.messages]


def open_text(path: Path, heard: Heard | None = None, **settings: Any) -> Source:
    return open_source(DataConfig(source=f"text:{path}", **settings), emit=heard or Heard())


def splits(source: Source) -> tuple[list[str], list[str]]:
    return list(source.documents("train")), list(source.documents("validation"))


def write_folder(folder: Path, count: int) -> None:
    for index in range(count):
        (folder / f"{index:03}.txt").write_text(f"Text number {index}. " + "Words follow. " * 20)


def test_a_folder_is_split_by_file_in_sorted_order(tmp_path: Path) -> None:
    write_folder(tmp_path, 100)
    source = open_text(tmp_path, validation=0.1)
    train, validation = splits(source)
    assert sorted(train + validation) == sorted(path.read_text() for path in tmp_path.iterdir())
    assert train == sorted(train, key=lambda text: int(text.split()[2].rstrip(".")))
    assert 8 <= len(validation) <= 12
    assert splits(source) == (train, validation)
    assert splits(open_text(tmp_path, validation=0.1)) == (train, validation)


def test_records_are_split_one_by_one_and_copies_do_not_leak(tmp_path: Path) -> None:
    lines = [json.dumps({"text": f"Record {index % 300}, with some words."}) for index in range(600)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    train, validation = splits(open_text(tmp_path / "a.jsonl", validation=0.2))
    assert len(train) + len(validation) == 600
    assert 0.15 < len(validation) / 600 < 0.25
    assert not set(train) & set(validation)


def test_one_file_is_cut_at_a_border_and_said(tmp_path: Path) -> None:
    whole = "".join(f"Speaker {index}:\nA line of verse.\n\n" for index in range(500))
    (tmp_path / "play.txt").write_text(whole)
    heard = Heard()
    train, validation = splits(open_text(tmp_path / "play.txt", heard, validation=0.1))
    assert "".join(train + validation) == whole
    assert validation[0].startswith("Speaker")
    assert len("".join(validation)) / len(whole) == pytest.approx(0.1, abs=0.01)
    assert heard.codes() == ["validation-cut"]


def test_a_long_file_is_cut_across_its_pieces(tmp_path: Path) -> None:
    whole = "".join(f"Speaker {index}:\nA line of verse.\n\n" for index in range(200_000))
    (tmp_path / "plays.txt").write_text(whole)
    train, validation = splits(open_text(tmp_path / "plays.txt", validation=0.25))
    assert "".join(train + validation) == whole
    assert len("".join(validation)) / len(whole) == pytest.approx(0.25, abs=0.01)
    assert max(map(len, train + validation)) < 2_000_000


def test_a_named_validation_set_leaves_all_of_the_path_to_train(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("Train on this.")
    (tmp_path / "held.txt").write_text("Validate on this.")
    heard = Heard()
    source = open_text(tmp_path / "train.txt", heard, validation_path=str(tmp_path / "held.txt"))
    assert splits(source) == (["Train on this."], ["Validate on this."])
    assert heard.messages == []


def test_a_missing_validation_set_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("Train on this.")
    with pytest.raises(SeedbedError, match=r"held\.txt \(data\.validation_path\)"):
        open_text(tmp_path / "train.txt", validation_path=str(tmp_path / "held.txt"))


def test_a_folder_passes_over_what_it_cannot_read_and_says_so(tmp_path: Path) -> None:
    write_folder(tmp_path, 30)
    (tmp_path / "binary.txt").write_bytes(b"\x00\x01")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    (tmp_path / "blank.md").write_text("\n")
    (tmp_path / "cut.txt.gz").write_bytes(b"\x1f\x8b\x08")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    (tmp_path / ".hidden.txt").write_text("hidden")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config.txt").write_text("hidden")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "more.txt").write_text("Text in a folder inside.")
    heard = Heard()
    source = open_text(tmp_path, heard)
    train, validation = splits(source)
    assert len(train) + len(validation) == 31
    expected = Counter({"binary": 1, "not UTF-8": 1, "empty": 1, "broken gzip": 1, "unknown extension": 1})
    assert source.drops == expected
    assert heard.codes() == ["data-skipped"]
    assert ".png" in heard.messages[0].why
    assert heard.messages[0].level == "warning"


def test_a_folder_that_links_into_itself_is_read_once(tmp_path: Path) -> None:
    write_folder(tmp_path, 10)
    (tmp_path / "zagain").symlink_to(tmp_path, target_is_directory=True)
    train, validation = splits(open_text(tmp_path))
    assert len("".join(train + validation)) == sum(path.stat().st_size for path in tmp_path.glob("*.txt"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_that_may_not_be_read_is_counted(tmp_path: Path) -> None:
    write_folder(tmp_path, 30)
    (tmp_path / "closed").mkdir(mode=0o000)
    source = open_text(tmp_path)
    splits(source)
    assert source.drops == Counter({"unreadable folder": 1})


def test_a_folder_without_text_says_what_is_in_it(tmp_path: Path) -> None:
    with pytest.raises(SeedbedError, match="it is empty"):
        open_text(tmp_path)
    (tmp_path / "a.pdf").write_bytes(b"%PDF")
    with pytest.raises(SeedbedError, match=r"only 1 \.pdf"):
        open_text(tmp_path)


def test_a_folder_with_nothing_usable_names_the_reasons(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\x00")
    (tmp_path / "b.jsonl").write_text('{"body": "one"}\n')
    with pytest.raises(SeedbedError, match="1 binary, 1 no text field") as raised:
        list(open_text(tmp_path).documents("train"))
    assert "NUL byte" in raised.value.message


def test_a_single_bad_file_is_an_error_with_the_cure(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9 au lait")
    with pytest.raises(SeedbedError) as raised:
        list(open_text(tmp_path / "latin.txt").documents("train"))
    assert "byte 3" in raised.value.message
    assert "iconv -f WINDOWS-1252 -t UTF-8 latin.txt" in raised.value.hint


def test_a_single_file_may_have_any_extension(tmp_path: Path) -> None:
    (tmp_path / "notes.rst").write_text("Some notes in another format.")
    train, validation = splits(open_text(tmp_path / "notes.rst"))
    assert "".join(train + validation) == "Some notes in another format."


def test_one_character_cannot_be_split(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    source = open_text(tmp_path / "a.txt")
    with pytest.raises(SeedbedError, match=r"too short|No text"):
        splits(source)


def test_max_documents_reads_no_further(tmp_path: Path) -> None:
    write_folder(tmp_path, 50)
    train, validation = splits(open_text(tmp_path, max_documents=20, validation=0.2))
    assert len(train) + len(validation) == 20
    assert max(int(text.split()[2].rstrip(".")) for text in train + validation) == 19


def test_the_fingerprint_sees_every_edit_and_setting_but_not_the_place(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_folder(tmp_path / name, 5)
    first = open_text(tmp_path / "one").fingerprint()
    assert open_text(tmp_path / "two").fingerprint() == first
    for setting in (
        {"validation": 0.06},
        {"max_documents": 3},
        {"validation_path": str(tmp_path / "two")},
        {"field": "body"},
    ):
        assert open_text(tmp_path / "one", **setting).fingerprint() != first
    edited = tmp_path / "one" / "003.txt"
    before = edited.stat()
    edited.write_text(edited.read_text().replace("3", "4"))
    os.utime(edited, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert open_text(tmp_path / "one").fingerprint() != first


def test_tiny_shakespeare_is_read_whole(test_data: Path) -> None:
    path = test_data / "tinyshakespeare.txt"
    train, validation = splits(open_text(path, validation=0.1))
    whole = path.read_text()
    assert "".join(train + validation) == whole
    assert len(train) == len(validation) == 1
    assert len(train[0]) == pytest.approx(0.9 * len(whole), rel=0.001)
