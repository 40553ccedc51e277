from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from seedbed.curation.evaluation_sets import Reading, read_items
from seedbed.errors import UsageError


def items(*paths: Path) -> list[tuple[str, str, str, str]]:
    return [(item.set_name, item.item, item.field, item.text) for item in read_items(paths, Reading())]


HUMANEVAL = {"task_id": "HumanEval/0", "prompt": "def f():", "canonical_solution": "  return 1", "entry_point": "f"}


def test_the_known_fields_of_jsonl_are_items_under_their_names(tmp_path: Path) -> None:
    path = tmp_path / "HumanEval.jsonl"
    path.write_text(json.dumps(HUMANEVAL) + "\n\n" + json.dumps({"question": "why?", "choices": ["a", "b"]}) + "\n")
    assert items(path) == [
        ("HumanEval.jsonl", "HumanEval/0", "prompt", "def f():"),
        ("HumanEval.jsonl", "HumanEval/0", "canonical_solution", "  return 1"),
        ("HumanEval.jsonl", "3", "question", "why?"),
        ("HumanEval.jsonl", "3", "choices", "a\nb"),
    ]


def test_all_texts_of_a_row_without_known_fields_are_compared(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text('{"Aufgabe": "Rechne", "Zahl": 3, "leer": ""}\n')
    assert items(path) == [("own.jsonl", "1", "Aufgabe", "Rechne")]


def test_a_long_field_of_a_table_does_not_end_its_reading(tmp_path: Path) -> None:
    path = tmp_path / "patches.csv"
    path.write_text("id,patch\n1," + "x" * 200_000 + "\n2,short\n")
    assert [(item, len(text)) for _, item, _, text in items(path)] == [("1", 200_000), ("2", 5)]


def test_conversations_are_one_text(tmp_path: Path) -> None:
    path = tmp_path / "chats.jsonl"
    path.write_text(json.dumps({"id": 7, "messages": [{"content": "hi"}, {"content": "hello"}]}))
    assert items(path) == [("chats.jsonl", "7", "messages", "hi\nhello")]


def test_compressed_files_lists_tables_and_texts_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(json.dumps(HUMANEVAL).encode()))
    (tmp_path / "b.json").write_text(json.dumps({"version": 1, "data": [{"question": "q"}]}))
    (tmp_path / "c.csv").write_text("id,question\n9,what?\n")
    (tmp_path / "d.txt").write_text("a text\nof lines")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "e.py").write_text("x = 1")
    assert [(name, item, text) for name, item, _, text in items(tmp_path)] == [
        ("a.jsonl.gz", "HumanEval/0", "def f():"),
        ("a.jsonl.gz", "HumanEval/0", "  return 1"),
        ("b.json", "1", "q"),
        ("c.csv", "9", "what?"),
        ("d.txt", "1", "a text\nof lines"),
        ("deep/e.py", "1", "x = 1"),
    ]


def test_bad_lines_and_files_are_counted_and_the_rest_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"prompt": "ok"}\n{"prompt": \n\xff\xfe\n' + b"[" * 100_000 + b"\n{}\n")
    (tmp_path / "b.json").write_text("{")
    (tmp_path / "c.bin").write_bytes(b"\0\1")
    (tmp_path / "d.jsonl.gz").write_bytes(gzip.compress(b'{"prompt": "cut"}\n' * 1000)[:40])
    (tmp_path / "e.parquet").write_bytes(b"PAR1")
    (tmp_path / "loop").symlink_to(tmp_path)
    reading = Reading()
    assert [item.text for item in read_items([tmp_path], reading)].count("ok") == 1
    assert reading.skipped["a.jsonl", "not JSON"] == 3
    assert reading.skipped["a.jsonl", "no text"] == 1
    assert {("b.json", "not JSON"), ("c.bin", "a binary file"), ("e.parquet", "a .parquet file")} <= set(
        reading.skipped
    )
    assert any(name == "d.jsonl.gz" for name, _ in reading.skipped)


def test_two_files_of_one_name_are_two_sets(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "test.jsonl").write_text('{"prompt": "p"}')
    assert [item[0] for item in items(tmp_path / "one" / "test.jsonl", tmp_path / "two" / "test.jsonl")] == [
        "test.jsonl",
        "two/test.jsonl",
    ]


@pytest.mark.parametrize("content", [None, "", "{}"])
def test_a_path_without_items_is_refused(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "set.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageError):
        items(path)


def test_names_that_could_control_a_terminal_are_made_harmless(tmp_path: Path) -> None:
    path = tmp_path / "a\x1b[31m.jsonl"
    path.write_text(json.dumps({"id": "x\x1b]0;t\x07y\nz", "prompt\x1b[2J": "p"}))
    assert items(path) == [("a.jsonl", "xy z", "prompt", "p")]
