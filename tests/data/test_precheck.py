"""What is refused before a run exists, what is let through, and how little that costs."""

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


def refused(source: str, store: Path | None = None, context: int = 256, **settings: Any) -> str:
    with pytest.raises(SeedbedError) as raised:
        refuse_unusable(DataConfig(source=source, **settings), context, store)
    assert raised.value.hint
    return str(raised.value)


def passes(source: str, store: Path | None = None, context: int = 256, **settings: Any) -> None:
    refuse_unusable(DataConfig(source=source, **settings), context, store)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.txt", b"", "holds no text"),
        ("a.txt", b" \n ", "holds no text"),
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
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert says in refused(f"text:{tmp_path / name}")
    (tmp_path / "good.txt").write_text(WORDS)
    assert says in refused(f"text:{tmp_path}/good.txt", validation_path=str(tmp_path / name))


def test_a_parquet_file_is_refused_for_its_columns_alone(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="needs the extra data")
    pq = pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({"body": ["one"]}), tmp_path / "a.parquet")
    assert 'no column "text"; it has "body"' in refused(f"text:{tmp_path}/a.parquet")
    passes(f"text:{tmp_path}/a.parquet", field="body")


@pytest.mark.parametrize("missing", ["nowhere", "nowhere/inner", "gone.txt"])
def test_a_path_that_is_not_there_is_a_usage_error(tmp_path: Path, missing: str) -> None:
    (tmp_path / "gone.txt").symlink_to(tmp_path / "never")
    with pytest.raises(UsageError):
        passes(f"text:{tmp_path / missing}")


def test_a_folder_is_refused_where_nothing_in_it_can_be_read_and_passes_where_one_file_can(tmp_path: Path) -> None:
    assert "is empty" in refused(f"text:{tmp_path}")
    (tmp_path / "a.pdf").write_bytes(b"%PDF")
    assert ".pdf (1)" in refused(f"text:{tmp_path}")
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.txt").write_bytes(b"caf\xe9")
    assert "3 not UTF-8" in refused(f"text:{tmp_path}")
    (tmp_path / "d.txt").write_text("short")
    assert "one training window" in refused(f"text:{tmp_path}")
    (tmp_path / "e.txt").write_text(WORDS)
    passes(f"text:{tmp_path}")


def test_what_might_still_be_good_is_left_to_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_look_at_a_folder_without_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_run_or_a_checkpoint_that_is_named_as_text_is_refused(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "20260101-000000-000-one"
    run.mkdir(parents=True)
    (run / "meta.json").write_text('{"kind": "train", "created": 1}')
    (run / "config.toml").write_text("")
    (run / "events.jsonl").write_text('{"v":1,"n":1,"t":1.0,"kind":"run","text":"x"}\n')
    assert "is a run written by Seedbed" in refused(f"text:{run}")
    assert "written by Seedbed" in refused(f"text:{tmp_path}")
    assert "is part of a run" in refused(f"text:{run}/events.jsonl")


def test_a_missing_extra_is_told_before_a_run_exists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
        told = refused(source)
        assert needs in told
        assert "pip install 'seedbed[data]'" in told


def test_a_wikitext_folder_is_looked_at(tmp_path: Path) -> None:
    assert "does not exist" in refused("wikitext-2", path=str(tmp_path / "none"))
    (tmp_path / "wiki.train.tokens").write_text(" = Title = \n")
    assert "lacks the validation split" in refused("wikitext-2", path=str(tmp_path))
    (tmp_path / "wiki.valid.tokens").write_bytes(b"caf\xe9")
    assert "is not UTF-8" in refused("wikitext-2", path=str(tmp_path))
    (tmp_path / "wiki.valid.tokens").write_text(" = Title = \n")
    passes("wikitext-2", path=str(tmp_path))


def test_hub_names_are_refused_where_the_hub_is_switched_off_and_nothing_was_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("datasets", reason="needs the extra data")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("SEEDBED_CACHE", str(tmp_path / "cache"))
    passes("hf:me/name")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for source in ("hf:me/name", "wikitext-2"):
        assert "Unset HF_HUB_OFFLINE" in refused(source)
    memory = revision_file("me/name", "https://huggingface.co")
    memory.parent.mkdir(parents=True)
    memory.write_text("{}")
    passes("hf:me/name")
    (tmp_path / "hf" / "datasets" / "Salesforce___wikitext").mkdir(parents=True)
    passes("wikitext-2")


def test_a_local_dataset_may_not_hold_the_runs_that_it_trains(tmp_path: Path) -> None:
    pytest.importorskip("datasets", reason="needs the extra data")
    assert "no folder" in refused(f"hf:{tmp_path}/none")
    assert "is empty" in refused(f"hf:{tmp_path}")
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n')
    passes(f"hf:{tmp_path}", tmp_path.parent / "runs")
    told = refused(f"hf:{tmp_path}", tmp_path / "runs")
    assert "--runs" in told


def test_a_path_with_a_foreign_manifest_is_no_prepared_dataset(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"name": "an extension of a browser"}')
    assert "not a prepared dataset" in refused(str(tmp_path))


def test_a_look_loads_nothing_that_computes(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(WORDS)
    (tmp_path / "b.jsonl").write_text(json.dumps({"text": WORDS}))
    code = (
        "import sys; from seedbed.data.precheck import refuse_unusable; from seedbed.config.schema import DataConfig\n"
        "for name in sys.argv[1:]: refuse_unusable(DataConfig(source='text:' + name), 256)\n"
        "print([name for name in ('torch', 'numpy', 'tokenizers', 'datasets', 'pyarrow') if name in sys.modules])"
    )
    words = [sys.executable, "-c", code, str(tmp_path), str(tmp_path / "a.txt"), str(tmp_path / "b.jsonl")]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=patience.HANG_S)
    assert done.stdout.strip() == "[]"
