"""Dataset folders: what is written is read again, also by the library `datasets`, and nothing is replaced unasked."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from seedbed import files
from seedbed.config.source import unknown_source
from seedbed.curation.drops import SAMPLES, Drops
from seedbed.curation.folder import (
    DESCRIPTION,
    EVAL,
    LEDGER,
    TRAIN,
    Description,
    describe,
    fingerprint_of,
    is_dataset,
    read_rows,
    refuse_existing,
    verify,
    write_description,
    write_rejects,
    write_rows,
)
from seedbed.curation.record import Function, Message, Provenance, Record, ToolCall, content_id
from seedbed.errors import SeedbedError, StorageError, UsageError


def chat(number: int, *, tool: bool = False, length: int = 200) -> Record:
    calls = [ToolCall(id="c1", function=Function(name="Edit", arguments='{"path": "a.py"}'))] if tool else None
    answer = Message(role="assistant", content="y" * length, tool_calls=calls, reasoning="because" if tool else None)
    turns = [Message(role="user", content=f"{number} " + "x" * length), answer]
    return Record(id=f"c{number}", kind="chat", messages=turns, provenance=Provenance(source="codex", session="s"))


def fim(number: int) -> Record:
    where = Provenance(source="git", path="a.py", commit="abc")
    return Record(id=f"f{number}", kind="fim", prefix="a", suffix="b", middle=f"c{number}", provenance=where)


def dataset(folder: Path, records: list[Record]) -> Path:
    folder.mkdir()
    facts = {TRAIN: write_rows(folder / TRAIN, lambda: records), EVAL: write_rows(folder / EVAL, lambda: records[:2])}
    description = Description(name="a", made="merge", fingerprint=fingerprint_of(facts), files=facts)
    write_description(folder, description)
    return folder


def test_rows_of_any_kind_and_size_open_in_the_library_datasets(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")

    def records() -> Iterator[Record]:
        for number in range(4_000):  # the library takes the types of all rows from the first 10 MB
            yield chat(number, length=6_500)
        for number in range(300):
            yield fim(number)
        yield chat(4_000, tool=True)

    path = tmp_path / "train.jsonl"
    assert write_rows(path, records).rows == 4_301
    assert path.stat().st_size > 50e6
    loaded = datasets.load_dataset("json", data_files=str(path), cache_dir=str(tmp_path / "cache"))["train"]
    assert loaded.num_rows == 4_301
    ids = loaded["id"][:]
    assert loaded[ids.index("c4000")]["messages"][1]["tool_calls"][0]["function"]["arguments"] == '{"path": "a.py"}'
    assert loaded[ids.index("f299")]["middle"] == "c299"
    assert loaded[ids.index("f299")]["messages"] is None
    assert loaded[ids.index("c7")]["prefix"] is None


def long(number: int, *, tool: bool = False) -> Record:
    """A conversation of 11 MB, which is more than `datasets` looks at."""
    record = chat(number, tool=tool)
    assert record.messages is not None
    record.messages[0].content = "x y " * (11 << 18)
    return record


def test_rows_that_are_longer_than_what_the_library_looks_at_come_after_short_ones(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    records = [long(0), long(1, tool=True), fim(2), chat(3), chat(4, tool=True), chat(5)]
    facts = write_rows(tmp_path / "a.jsonl", lambda: records)
    written = [json.loads(line)["id"] for line in (tmp_path / "a.jsonl").open("rb")]
    assert written == ["f2", "c3", "c4", "c0", "c1", "c5"]
    assert facts.sha256 == files.sha256_file(tmp_path / "a.jsonl")
    loaded = datasets.load_dataset("json", data_files=str(tmp_path / "a.jsonl"), cache_dir=str(tmp_path / "cache"))
    assert loaded["train"]["id"][:] == written


def test_a_column_that_only_a_long_row_has_comes_right_after_the_short_ones(tmp_path: Path) -> None:
    records = [chat(0), chat(1), long(2, tool=True), chat(3), fim(4)]
    facts = write_rows(tmp_path / "a.jsonl", lambda: records)
    assert [json.loads(line)["id"] for line in (tmp_path / "a.jsonl").open("rb")] == ["c0", "f4", "c2", "c1", "c3"]
    assert facts.sha256 == files.sha256_file(tmp_path / "a.jsonl")


def test_the_folder_opens_by_its_card_with_both_splits(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    made = dataset(tmp_path / "full", [chat(1), chat(2), fim(3)])
    loaded = datasets.load_dataset(str(made), cache_dir=str(tmp_path / "cache"))
    assert {name: split.num_rows for name, split in loaded.items()} == {"train": 3, "eval": 2}


def test_every_row_has_all_columns(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.jsonl", lambda: [chat(1), fim(2)])
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert set(rows[0]) == set(rows[1]) == set(Record.__struct_fields__)
    assert set(rows[0]["messages"][0]) == set(Message.__struct_fields__)
    assert rows[1]["messages"] is None


def test_what_is_written_is_read_again_and_verified(tmp_path: Path) -> None:
    records = [chat(1, tool=True), fim(2), chat(3)]
    made = dataset(tmp_path / "full", records)
    assert is_dataset(made)
    assert sorted(read_rows(made, TRAIN), key=lambda each: each.id) == [records[0], records[2], records[1]]
    description = describe(made)
    verify(made, description)
    assert description.is_split
    with (made / TRAIN).open("ab") as handle:
        handle.write(b"{}\n")
    with pytest.raises(SeedbedError, match="has changed"):
        verify(made, description)


def test_a_wrong_number_of_rows_in_the_description_is_found(tmp_path: Path) -> None:
    """`data check` printed it as the number of rows that it had checked."""
    made = dataset(tmp_path / "full", [chat(1), chat(2)])
    described = json.loads((made / DESCRIPTION).read_text())
    described["files"][TRAIN]["rows"] = 5
    (made / DESCRIPTION).write_text(json.dumps(described))
    with pytest.raises(SeedbedError, match=r"has 2 rows, and dataset\.json says 5"):
        verify(made, describe(made))


def test_a_folder_of_rows_of_something_else_says_how_a_dataset_is_made_of_it(tmp_path: Path) -> None:
    made = tmp_path / "my rows"
    made.mkdir()
    with pytest.raises(UsageError) as refused:
        describe(made)
    assert "prepare logs" not in refused.value.hint
    (made / TRAIN).write_text('{"messages": []}\n')
    for refused_by in (lambda: describe(made), lambda: _raise(unknown_source(str(made)))):
        with pytest.raises(UsageError) as refused:
            refused_by()
        assert f"`seedbed prepare logs '{made}' --out DIR`" in refused.value.hint


def test_a_folder_of_datasets_is_not_taken_for_conversations(tmp_path: Path) -> None:
    """The ledger beside the datasets was taken for such a file."""
    (tmp_path / LEDGER).write_text("{}\n")
    for name in ("logs", "full"):
        dataset(tmp_path / name, [chat(1)])
    with pytest.raises(UsageError) as refused:
        raise unknown_source(str(tmp_path))
    assert f"Datasets in it: {tmp_path / 'full'}, {tmp_path / 'logs'}." in refused.value.hint
    assert "prepare logs" not in refused.value.hint


def _raise(error: Exception) -> None:
    raise error


def test_a_damaged_row_is_named_with_its_line(tmp_path: Path) -> None:
    made = dataset(tmp_path / "full", [chat(1)])
    (made / TRAIN).write_bytes((made / TRAIN).read_bytes() + b'{"half": ')
    with pytest.raises(SeedbedError, match="Line 2"):
        list(read_rows(made, TRAIN))


def test_only_a_dataset_is_replaced_and_only_with_force(tmp_path: Path) -> None:
    made = dataset(tmp_path / "full", [chat(1)])
    with pytest.raises(UsageError, match=r"--force|exists"):
        refuse_existing(made, force=False)
    refuse_existing(made, force=True)
    other = tmp_path / "photos"
    other.mkdir()
    (other / "a.jpg").touch()
    with pytest.raises(UsageError, match="not a dataset"):
        refuse_existing(other, force=True)
    refuse_existing(tmp_path / "new", force=False)


def test_a_new_version_replaces_the_old_one_as_a_whole(tmp_path: Path) -> None:
    made = dataset(tmp_path / "full", [chat(1)])
    (made / "notes.txt").write_text("old")
    files.replace_dir(dataset(tmp_path / ".new", [fim(1)]), made)
    assert [record.kind for record in read_rows(made, TRAIN)] == ["fim"]
    assert not (made / "notes.txt").exists()
    assert [each.name for each in tmp_path.iterdir()] == ["full"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root can remove everything")
def test_a_dataset_that_cannot_be_written_leaves_nothing_when_it_is_replaced(tmp_path: Path) -> None:
    made = dataset(tmp_path / "full", [chat(1)])
    made.chmod(0o555)
    files.replace_dir(dataset(tmp_path / ".new", [fim(1)]), made)
    assert [each.name for each in tmp_path.iterdir()] == ["full"]
    made.chmod(0o755)


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
def test_a_dataset_without_permission_is_said_with_what_to_do(tmp_path: Path) -> None:
    made = dataset(tmp_path / "full", [chat(1)])
    made.chmod(0)
    with pytest.raises(StorageError, match="permission") as raised:
        describe(made)
    made.chmod(0o755)
    assert raised.value.hint


def test_a_folder_that_is_no_dataset_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        assert not is_dataset(path)
        with pytest.raises(UsageError, match="not a dataset"):
            describe(path)
    (tmp_path / "dataset.json").write_text('{"kind": "something else"}')
    with pytest.raises(UsageError, match="not written by Seedbed"):
        describe(tmp_path)


def test_the_id_is_of_the_content_alone() -> None:
    first, second = chat(1), chat(1)
    second.provenance.session, second.group = "other", "g"
    assert content_id(first) == content_id(second)
    assert content_id(first) != content_id(chat(2))


def test_drops_are_counted_whole_and_sampled_in_part(tmp_path: Path) -> None:
    drops = Drops()
    for number in range(SAMPLES + 5):
        drops.drop("files", "generated file", f"a{number}.py", "x" * 5000)
    drops.note("logs", "unknown record type: progress", 3)
    drops.mask(lambda text: text.replace("x", "y"))
    both = Drops.from_json(json.loads(json.dumps(drops.as_json())))
    both.add(drops)
    assert both.counts["files", "generated file"] == 2 * (SAMPLES + 5)
    assert both.notes["logs", "unknown record type: progress"] == 6
    assert len(both.samples) == SAMPLES
    write_rejects(tmp_path, both)
    rows = [json.loads(line) for line in (tmp_path / "rejects" / "files.jsonl").read_text().splitlines()]
    assert [row["where"] for row in rows] == [f"a{number}.py" for number in range(SAMPLES)]
    assert rows[0]["text"] == "y" * 2000


def test_a_link_is_refused_before_the_work_and_not_after_it(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / DESCRIPTION).write_text('{"kind": "seedbed-records"}')
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(UsageError, match="symbolic link"):
        refuse_existing(tmp_path / "link", force=True)
