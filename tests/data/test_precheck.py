"""The check of a source before a run exists: what it refuses, what passes, and that it imports little."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import patience
from seedbed.config.schema import DataConfig
from seedbed.data import precheck
from seedbed.data.hub_revisions import revision_file
from seedbed.data.precheck import refuse_unusable
from seedbed.errors import SeedbedError, UsageError

WORDS = "Some words of a text. " * 200


def refusal(source: str, store: Path | None = None, context: int = 256, **settings: Any) -> str:
    with pytest.raises(SeedbedError) as raised:
        refuse_unusable(DataConfig(source=source, **settings), context, store)
    assert raised.value.hint
    return str(raised.value)


def passes(source: str, store: Path | None = None, context: int = 256, **settings: Any) -> None:
    refuse_unusable(DataConfig(source=source, **settings), context, store)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"", "contains no text"),
        ("a.txt", b" \n ", "contains no text"),
        ("a.txt", WORDS.encode() + b"caf\xe9", "is not UTF-8"),
        ("a.txt", WORDS.encode("utf-16"), "UTF-16"),
        ("a.pdf", b"%PDF-1.7\n", "a PDF"),
        ("a.json", b'[{"text": "one"}]', "one JSON array"),
        ("a.jsonl", b'{"body": "one"}\n', 'no field "text" among "body"'),
        ("a.jsonl", b'{"body": "one"}\n' * 2_000_000, 'no field "text" among "body"'),
        ("a.jsonl", b"not json\n", "broken JSON"),
        ("a.csv", b"id,body\n1,one\n", 'no column "text"'),
        ("a.txt.gz", b"\x1f\x8b\x08", "incomplete or damaged gzip"),
        ("a.txt.gz", b"words", "is not a gzip file"),
        ("a.parquet", b"words", "is not a parquet file"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert message in refusal(f"text:{tmp_path / name}")
    (tmp_path / "good.txt").write_text(WORDS)
    assert message in refusal(f"text:{tmp_path}/good.txt", validation_path=str(tmp_path / name))


def test_a_parquet_file_without_the_text_column_is_refused(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="needs the extra data")
    pq = pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({"body": ["one"]}), tmp_path / "a.parquet")
    assert 'no column "text". Its columns: "body"' in refusal(f"text:{tmp_path}/a.parquet")
    passes(f"text:{tmp_path}/a.parquet", field="body")


@pytest.mark.parametrize("missing", ["nowhere", "nowhere/inner", "gone.txt"])
def test_a_missing_path_or_dangling_link_is_a_usage_error(tmp_path: Path, missing: str) -> None:
    (tmp_path / "gone.txt").symlink_to(tmp_path / "never")
    with pytest.raises(UsageError):
        passes(f"text:{tmp_path / missing}")


def test_a_folder_is_refused_until_one_of_its_files_can_be_used(tmp_path: Path) -> None:
    assert "is empty" in refusal(f"text:{tmp_path}")
    (tmp_path / "a.pdf").write_bytes(b"%PDF")
    assert ".pdf (1)" in refusal(f"text:{tmp_path}")
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.txt").write_bytes(b"caf\xe9")
    assert "3 not UTF-8" in refusal(f"text:{tmp_path}")
    (tmp_path / "d.txt").write_text("short")
    assert "one window needs" in refusal(f"text:{tmp_path}")
    (tmp_path / "e.txt").write_text(WORDS)
    passes(f"text:{tmp_path}")


def test_a_file_that_may_be_good_beyond_the_part_read_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precheck, "_WHOLE_BYTES", 1 << 16)
    monkeypatch.setattr(precheck, "_HEAD_BYTES", 1 << 14)
    first_long = json.dumps({"id": "x" * 50_000}) + "\n" + json.dumps({"text": "a"}) + "\n" + "x" * 50_000
    (tmp_path / "a.jsonl").write_text(first_long)
    passes(f"text:{tmp_path}/a.jsonl")
    (tmp_path / "b.jsonl").write_text('{"id": 1}\n' * 50 + json.dumps({"text": "x" * 100_000}))
    passes(f"text:{tmp_path}/b.jsonl")
    (tmp_path / "c.txt").write_text("é" * 100_000 + "€")
    passes(f"text:{tmp_path}/c.txt")
    (tmp_path / "d.txt").write_text(" \n" * 50_000 + "Words.")
    passes(f"text:{tmp_path}/d.txt")
    (tmp_path / "e.csv").write_text('id,text\n1,"' + "é\n" * 100_000 + '"\n')
    passes(f"text:{tmp_path}/e.csv")
    (tmp_path / "f.txt.gz").write_bytes(gzip.compress(os.urandom(60_000).hex().encode()))
    passes(f"text:{tmp_path}/f.txt.gz")


def test_the_check_of_a_huge_folder_gives_up_and_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precheck, "_MAX_ENTRIES", 20)
    monkeypatch.setattr(precheck, "_MAX_FILES", 3)
    for index in range(30):
        (tmp_path / f"{index:02}.bin").write_bytes(b"")
    passes(f"text:{tmp_path}")
    inner = tmp_path / "inner"
    inner.mkdir()
    for index in range(5):
        (inner / f"{index}.txt").write_text("")
    passes(f"text:{inner}")


def test_a_run_or_a_file_of_one_given_as_text_is_refused(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "20260101-000000-000-one"
    run.mkdir(parents=True)
    (run / "meta.json").write_text('{"kind": "train", "created": 1}')
    (run / "config.toml").write_text("")
    (run / "events.jsonl").write_text('{"v":1,"n":1,"t":1.0,"kind":"run","text":"x"}\n')
    assert "is a run written by Seedbed" in refusal(f"text:{run}")
    assert "written by Seedbed" in refusal(f"text:{tmp_path}")
    assert "is part of a run" in refusal(f"text:{run}/events.jsonl")


def test_a_missing_extra_is_refused_with_its_install_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("datasets", "pyarrow", "zstandard"):
        monkeypatch.setitem(sys.modules, module, None)
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    (tmp_path / "a.txt.zst").write_bytes(b"\x28\xb5\x2f\xfd")
    for source, needs in (
        (f"text:{tmp_path}/a.parquet", "pyarrow"),
        (f"text:{tmp_path}/a.txt.zst", "zstandard"),
        ("hf:me/name", "datasets"),
        ("wikitext-2", "datasets"),
    ):
        message = refusal(source)
        assert needs in message
        assert "pip install 'seedbed[data]'" in message


def test_a_wikitext_folder_is_checked(tmp_path: Path) -> None:
    assert "does not exist" in refusal("wikitext-2", path=str(tmp_path / "none"))
    (tmp_path / "wiki.train.tokens").write_text(" = Title = \n")
    assert "does not contain the validation split" in refusal("wikitext-2", path=str(tmp_path))
    (tmp_path / "wiki.valid.tokens").write_bytes(b"caf\xe9")
    assert "is not UTF-8" in refusal("wikitext-2", path=str(tmp_path))
    (tmp_path / "wiki.valid.tokens").write_text(" = Title = \n")
    passes("wikitext-2", path=str(tmp_path))


def test_hub_names_are_refused_offline_unless_the_dataset_was_fetched_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("datasets", reason="needs the extra data")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("SEEDBED_CACHE", str(tmp_path / "cache"))
    passes("hf:me/name")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for source in ("hf:me/name", "wikitext-2"):
        assert "Unset HF_HUB_OFFLINE" in refusal(source)
    memory = revision_file("me/name", "https://huggingface.co")
    memory.parent.mkdir(parents=True)
    memory.write_text("{}")
    passes("hf:me/name")
    (tmp_path / "hf" / "datasets" / "Salesforce___wikitext").mkdir(parents=True)
    passes("wikitext-2")


def test_a_dataset_folder_that_contains_the_runs_folder_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("datasets", reason="needs the extra data")
    assert "no folder" in refusal(f"hf:{tmp_path}/none")
    assert "is empty" in refusal(f"hf:{tmp_path}")
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n')
    passes(f"hf:{tmp_path}", tmp_path.parent / "runs")
    message = refusal(f"hf:{tmp_path}", tmp_path / "runs")
    assert "--runs" in message


def test_a_folder_with_the_manifest_of_another_program_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"name": "an extension of a browser"}')
    assert "not a dataset" in refusal(str(tmp_path))


def test_the_check_imports_no_heavy_packages(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(WORDS)
    (tmp_path / "b.jsonl").write_text(json.dumps({"text": WORDS}))
    code = (
        "import sys; from seedbed.data.precheck import refuse_unusable; from seedbed.config.schema import DataConfig\n"
        "for name in sys.argv[1:]: refuse_unusable(DataConfig(source='text:' + name), 256)\n"
        "print([name for name in ('torch', 'numpy', 'tokenizers', 'datasets', 'pyarrow') if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(tmp_path), str(tmp_path / "a.txt"), str(tmp_path / "b.jsonl")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=patience.HANG_S)
    assert done.stdout.strip() == "[]"
