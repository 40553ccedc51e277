"""text:PATH: files and folders, split by document, with everything left out counted and said."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import row_datasets
from seedbed.config.schema import DataConfig
from seedbed.data.holdout import HoldoutPlan, text_digest
from seedbed.data.source import Source, open_source
from seedbed.errors import SeedbedError
from seedbed.events import Event, Message, encode


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
    with pytest.raises(SeedbedError, match=r'held\.txt" \(data\.validation_path\)'):
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
    whole = {"binary": 1, "not UTF-8": 1, "empty": 1, "broken gzip": 1, "unknown extension": 1, "hidden": 2}
    assert source.drops == Counter(whole)
    assert heard.codes() == ["files-skipped", "data-skipped"]
    assert ".png" in heard.messages[0].why
    assert '"binary.txt"' in heard.messages[1].why
    assert [message.level for message in heard.messages] == ["warning", "warning"]


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
    with pytest.raises(SeedbedError, match="is empty"):
        open_text(tmp_path)
    (tmp_path / "a.pdf").write_bytes(b"%PDF")
    with pytest.raises(SeedbedError, match=r"\.pdf \(1\)"):
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
    assert "--set data.encoding=cp1252" in raised.value.hint
    convert = raised.value.hint.partition("convert the file: ")[2]
    subprocess.run(convert, shell=True, cwd=tmp_path, check=True)
    assert (tmp_path / "latin.utf8.txt").read_text() == "café au lait"


def test_a_single_file_may_have_any_extension(tmp_path: Path) -> None:
    (tmp_path / "notes.rst").write_text("Some notes in another format.")
    train, validation = splits(open_text(tmp_path / "notes.rst"))
    assert "".join(train + validation) == "Some notes in another format."


def test_one_character_cannot_be_split(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    source = open_text(tmp_path / "a.txt")
    with pytest.raises(SeedbedError, match="too short"):
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
        {"encoding": "cp1252"},
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


# What Seedbed wrote itself


def make_run(place: Path, name: str = "20260101-000000-000-one") -> Path:
    """A run as Seedbed leaves it, with a checkpoint."""
    run = place / name
    inner = run / "checkpoints" / "step-00000010"
    inner.mkdir(parents=True)
    (run / "config.toml").write_text('preset = "nano"\n')
    (run / "meta.json").write_text(json.dumps({"format": 1, "kind": "train", "name": "one", "created": 1.0}))
    line = {"v": 1, "n": 1, "t": 1.0, "kind": "message", "level": "info", "code": "c", "text": "A log is no story."}
    (run / "events.jsonl").write_text(json.dumps(line) + "\n")
    (inner / "trainer.json").write_text("{}")
    (inner / "model.safetensors").write_bytes(b"\0")
    (inner / "notes.txt").write_text("Kept beside a model.")
    return run


def make_dataset(folder: Path, *, finished: bool) -> Path:
    (folder / "tokenizer").mkdir(parents=True)
    (folder / "train-00000.ds.index").write_bytes(b"\0" * 8)
    (folder / "readme.txt").write_text("About prepared data.")
    if finished:
        (folder / "manifest.json").write_text(json.dumps({"kind": "seedbed-dataset", "fingerprint": "0"}))
    return folder


def rename(run: Path) -> None:
    run.rename(run.with_name("kept for later"))


def lose_meta(run: Path) -> None:
    (run / "meta.json").unlink()


def leave_only_the_log(run: Path) -> None:
    (run / "meta.json").unlink()
    (run / "config.toml").unlink()
    shutil.rmtree(run / "checkpoints")


@pytest.mark.parametrize("then", [lambda run: None, rename, lose_meta, leave_only_the_log])
@pytest.mark.parametrize("store", ["runs", "experiments/old"])
def test_runs_beside_the_texts_are_no_text(tmp_path: Path, store: str, then: Callable[[Path], None]) -> None:
    write_folder(tmp_path, 30)
    before = open_text(tmp_path).fingerprint()
    then(make_run(tmp_path / store))
    heard = Heard()
    source = open_text(tmp_path, heard)
    train, validation = splits(source)
    assert len(train + validation) == 30
    assert source.fingerprint() == before, "a run would refuse to go on with what it wrote itself"
    assert source.drops == Counter({"written by Seedbed": 1})
    assert [(message.code, message.level) for message in heard.messages] == [("files-skipped", "info")]
    assert store.partition("/")[0] in heard.messages[0].why


def test_checkpoints_datasets_and_exports_beside_the_texts_are_no_text(tmp_path: Path) -> None:
    write_folder(tmp_path, 30)
    run = make_run(tmp_path / "runs")
    shutil.copytree(run / "checkpoints" / "step-00000010", tmp_path / "good model")
    make_dataset(tmp_path / "data", finished=True)
    make_dataset(tmp_path / "half data", finished=False)
    (tmp_path / "steps.csv").write_text("step,tokens,time,loss,lr\n1,2,3,4,5\n")
    (tmp_path / "steps.jsonl").write_text('{"step":1,"tokens":2,"time":3.0,"loss":4.0}\n')
    shutil.copy(run / "events.jsonl", tmp_path / "log of a run.jsonl")
    source = open_text(tmp_path)
    assert len([*source.documents("train"), *source.documents("validation")]) == 30
    assert source.drops == Counter({"written by Seedbed": 7})


def test_the_cache_beside_the_texts_is_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEEDBED_CACHE", str(tmp_path))
    write_folder(tmp_path, 30)
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "stray.txt").write_text("Left in the cache.")
    source = open_text(tmp_path)
    assert len([*source.documents("train"), *source.documents("validation")]) == 30
    assert source.drops == Counter({"written by Seedbed": 1})


@pytest.mark.parametrize(
    ("inner", "says"),
    [
        ("", "is a run written"),
        ("events.jsonl", "is part of a run"),
        ("checkpoints", "is part of a run"),
        ("checkpoints/step-00000010", "is a checkpoint"),
        ("checkpoints/step-00000010/notes.txt", "is part of a checkpoint"),
    ],
)
@pytest.mark.parametrize("option", ["source", "validation_path"])
def test_a_run_that_is_named_as_text_is_called_a_run(tmp_path: Path, inner: str, says: str, option: str) -> None:
    path = make_run(tmp_path / "runs") / inner
    (tmp_path / "a.txt").write_text("Words.")
    source, settings = (path, {}) if option == "source" else (tmp_path / "a.txt", {option: str(path)})
    with pytest.raises(SeedbedError, match=says):
        open_text(source, **settings)


def test_a_store_and_a_dataset_that_are_named_as_text_are_called_so(tmp_path: Path) -> None:
    make_run(tmp_path / "runs")
    with pytest.raises(SeedbedError, match="1 written by Seedbed"):
        open_text(tmp_path / "runs")
    dataset = make_dataset(tmp_path / "data", finished=True)
    with pytest.raises(SeedbedError, match="is a prepared dataset") as raised:
        open_text(dataset)
    assert f"--data {dataset}" in raised.value.hint
    shutil.copy(tmp_path / "runs" / "20260101-000000-000-one" / "events.jsonl", tmp_path / "log.jsonl")
    with pytest.raises(SeedbedError, match="is the event log of a run"):
        open_text(tmp_path / "log.jsonl")


def test_a_folder_that_only_looks_like_a_run_is_text(tmp_path: Path) -> None:
    folder = tmp_path / "20260101-000000-000-diary"
    folder.mkdir()
    write_folder(folder, 30)
    (folder / "meta.json").write_text('{"title": "A diary"}')
    (folder / "config.toml").write_text("")
    source = open_text(tmp_path)
    assert len([*source.documents("train"), *source.documents("validation")]) == 30


# What is left out of a folder, by name


def test_files_in_another_encoding_are_all_named_and_so_is_the_way_to_read_them(tmp_path: Path) -> None:
    write_folder(tmp_path, 30)
    for name in ("one", "two", "three"):
        (tmp_path / f"{name}.txt").write_bytes(b"caf\xe9 au lait " * 20)
    heard = Heard()
    splits(open_text(tmp_path, heard))
    (message,) = heard.messages
    assert all(f'"{name}.txt"' in message.why for name in ("one", "two", "three"))
    assert "data.encoding" in message.hint
    heard = Heard()
    train, validation = splits(open_text(tmp_path, heard, encoding="cp1252"))
    assert len(train + validation) == 33
    assert sum("café au lait" in text for text in train + validation) == 3
    assert heard.messages == []


def test_many_files_left_out_are_named_in_part_and_counted(tmp_path: Path) -> None:
    write_folder(tmp_path, 30)
    for index in range(40):
        (tmp_path / f"blank{index:02}.txt").write_text("\n")
    heard = Heard()
    splits(open_text(tmp_path, heard))
    assert "40 empty" in heard.messages[0].text
    assert "and 30 more" in heard.messages[0].why
    assert len(heard.messages[0].why) < 1000


def test_what_is_compressed_without_a_known_name_is_not_said_to_be_read(tmp_path: Path) -> None:
    write_folder(tmp_path, 30)
    (tmp_path / "a_changelog.gz").write_bytes(gzip.compress(b"words"))
    (tmp_path / "b.tar.gz").write_bytes(gzip.compress(b"words"))
    heard = Heard()
    splits(open_text(tmp_path, heard))
    assert "none before .gz (1)" in heard.messages[0].why
    assert ".tar.gz (1)" in heard.messages[0].why
    assert ".txt.gz" in heard.messages[0].hint


def test_links_to_nothing_are_called_so(tmp_path: Path) -> None:
    write_folder(tmp_path, 30)
    (tmp_path / "gone.txt").symlink_to(tmp_path / "nowhere.txt")
    (tmp_path / "gone").symlink_to(tmp_path / "no folder", target_is_directory=True)
    os.mkfifo(tmp_path / "pipe.txt")
    source = open_text(tmp_path)
    splits(source)
    assert source.drops == Counter({"link to nothing": 2, "not a file": 1})
    with pytest.raises(SeedbedError, match=r"is a link to .*nowhere"):
        open_text(tmp_path / "gone.txt")
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "gone.txt").symlink_to(inner / "nowhere.txt")
    with pytest.raises(SeedbedError, match="link to nothing") as raised:
        open_text(inner)
    assert "empty" not in raised.value.message


def test_a_file_name_that_is_not_utf_8_is_read_told_and_fit_for_the_log(tmp_path: Path) -> None:
    write_folder(tmp_path, 30)
    for name in (b"caf\xe9.txt", b"caf\xe9.bin", b"caf\xe9.md"):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(b"Words." if name.endswith(b"md") else b"")
    heard = Heard()
    source = open_text(tmp_path, heard)
    train, validation = splits(source)
    assert len(train + validation) == 31
    assert len(source.fingerprint()) == 64
    assert heard.codes() == ["files-skipped", "data-skipped"]
    message = heard.messages[1]
    assert "caf\\xe9.txt" in message.why
    assert b"caf\\\\xe9.txt" in encode(message, 1, 1.0)


# Text that is more than words


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ('{"text": "one"}\n{"text": "two"}\n', "JSON lines"),
        ('[{"text": "one"}, {"text": "two"}]', "a JSON array"),
        ("<!DOCTYPE html>\n<html><body>Words.</body></html>", "HTML"),
        ('<?xml version="1.0"?><doc>Words.</doc>', "XML"),
    ],
)
def test_a_text_file_full_of_something_else_is_trained_on_and_said(tmp_path: Path, content: str, what: str) -> None:
    write_folder(tmp_path, 30)
    (tmp_path / "odd.txt").write_text(content)
    heard = Heard()
    splits(open_text(tmp_path, heard))
    (message,) = heard.messages
    assert (message.code, message.level) == ("data-markup", "warning")
    assert '"odd.txt"' in message.text
    assert what in message.text


@pytest.mark.parametrize("name", ["train.json", "train", "train.data"])
def test_json_lines_under_another_name_are_read_as_records(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("".join(json.dumps({"text": f"Record {index}."}) + "\n" for index in range(30)))
    train, validation = splits(open_text(tmp_path / name))
    assert len(train + validation) == 30
    assert all(text.startswith("Record") for text in train + validation)


def test_json_files_in_a_folder_are_read_where_they_hold_json_lines(tmp_path: Path) -> None:
    write_folder(tmp_path, 30)
    (tmp_path / "lines.json").write_text('{"text": "one"}\n{"text": "two"}\n')
    (tmp_path / "settings.json").write_text('{"text": "no record"}')
    source = open_text(tmp_path)
    train, validation = splits(source)
    assert len(train + validation) == 32
    assert source.drops == Counter({"unknown extension": 1})


@pytest.mark.parametrize("content", ['[\n {"text": "one"},\n {"text": "two"}\n]', '{\n "text": "one"\n}'])
@pytest.mark.parametrize("name", ["a.json", "a"])
def test_json_that_is_no_records_is_refused_with_a_way_to_convert_it(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(SeedbedError, match="JSON") as raised:
        splits(open_text(tmp_path / name))
    assert ".jsonl" in raised.value.hint


def test_thousands_of_copies_of_one_text_are_divided_and_it_is_said(tmp_path: Path) -> None:
    text = "A sentence that every record repeats, word for word. " * 10
    (tmp_path / "same.jsonl").write_text((json.dumps({"text": text}) + "\n") * 5000)
    events: list[Event] = []
    source = open_source(DataConfig(source=f"text:{tmp_path / 'same.jsonl'}"), emit=events.append)
    train, validation = set(source.documents("train")), set(source.documents("validation"))
    assert len(train) == len(validation) == 1
    assert train.pop() + validation.pop() == text
    (message,) = [event for event in events if isinstance(event, Message)]
    assert message.code == "validation-cut"
    assert "occurs at least 4,096 times" in message.text


def test_a_record_that_is_most_of_the_text_is_trained_on_and_it_is_said(tmp_path: Path) -> None:
    small = [f"Record {number} of many." for number in range(5000)]
    events: list[Event] = []
    for attempt in range(200):  # until the hash of the large one picks it
        large = f"{attempt} " + "A long story goes on. " * 20_000
        if HoldoutPlan(0.05, None).side(text_digest(large), len(large)) == "validation":
            break
    path = tmp_path / "records.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in [*small, large]))
    source = open_source(DataConfig(source=f"text:{path}"), emit=events.append)
    assert large in set(source.documents("train"))
    assert 100 < len(set(source.documents("validation"))) < 400
    assert [event.code for event in events if isinstance(event, Message)] == ["validation-spared"]


def test_a_text_of_one_character_is_too_short_also_beside_other_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "b.pdf").write_bytes(b"%PDF")
    with pytest.raises(SeedbedError, match="too short to hold out"):
        list(open_text(tmp_path).documents("train"))


def test_a_text_of_separators_only_has_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("<|endoftext|>\n" * 5)
    with pytest.raises(SeedbedError, match="contains no usable text") as raised:
        list(open_text(tmp_path / "a.txt").documents("train"))
    assert "data.validation_path" not in raised.value.hint


def test_a_dataset_of_rows_is_not_read_as_text(tmp_path: Path) -> None:
    folder = row_datasets.mixed(tmp_path / "full")
    for path in (folder, folder / "train.jsonl"):
        with pytest.raises(SeedbedError, match=r"is .*a dataset") as raised:
            open_text(path)
        assert f"--data {folder}" in raised.value.hint
    (tmp_path / "note.txt").write_text("my own text")
    heard = Heard()
    assert list(open_text(tmp_path, heard).whole_documents()) == ["my own text"]
    assert heard.codes()
