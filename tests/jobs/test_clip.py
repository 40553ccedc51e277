"""Clipping: rows that were evaluated stay known as such, although their texts are other ones now."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

import row_datasets
from prepared import merged, new_task, rows
from seedbed.config.preparing import ClipConfig, Clipping, Merging, SplitConfig
from seedbed.curation.folder import EVAL, TRAIN, describe, write_description
from seedbed.curation.record import Record, content_id
from seedbed.curation.result import sentences
from seedbed.curation.splitting.check import visible_answers
from seedbed.jobs import clip
from seedbed.runs.lifecycle import Lifecycle
from trained_bases import save_tokenizer


def long_rows() -> list[Record]:
    """Rows that are cut into pieces."""
    records = []
    for number in range(60):
        record = row_datasets.text_row(number)
        record.text = "\n".join(f"{record.text} {number} line {each} of {number * each}" for each in range(40))
        record.id = content_id(record)
        records.append(record)
    return records


def clipped(folder: Path, source: Path) -> Path:
    """The dataset `source` with rows of at most 200 tokens."""
    (folder / "model").mkdir()
    save_tokenizer(folder / "model")
    config = Clipping(clip=ClipConfig(inputs=(str(source),), model=str(folder / "model"), most_tokens=200))
    task = new_task(folder / "runs", "clip", config, folder / "short")
    with Lifecycle(task.path) as lifecycle:
        lifecycle.finish(clip.run(task.path, lifecycle))
    return folder / "short"


def test_parts_of_evaluation_rows_never_enter_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEEDBED_CACHE", str(tmp_path / "cache"))
    records = long_rows()
    source = row_datasets.dataset(tmp_path / "full", records[:45], records[45:])
    clipped(tmp_path, source)
    parts = {row["id"] for row in rows(tmp_path / "short" / EVAL)}
    assert len(parts) > 4 * 15
    made = merged(
        tmp_path / "runs", tmp_path / "again", tmp_path / "short", config=Merging(split=SplitConfig(salt="another"))
    )
    trained = {row["id"] for row in rows(made / TRAIN)}
    assert trained
    assert not parts & trained


def test_evaluation_answers_are_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEEDBED_CACHE", str(tmp_path / "cache"))
    unsplit = row_datasets.dataset(tmp_path / "rows", long_rows(), None)
    source = merged(tmp_path / "runs", tmp_path / "full", unsplit)
    description = describe(source)
    leakage = description.facts["leakage"] | {"messages": ["One group holds 85% of the rows."]}
    write_description(source, msgspec.structs.replace(description, facts={"leakage": leakage}))
    made = describe(clipped(tmp_path, source))
    now = visible_answers([tmp_path / "short" / TRAIN], [tmp_path / "short" / EVAL], lambda _: None)
    found = made.facts["leakage"]
    assert (found["answers"], found["leaked"], found["too_short"]) == (now.answers, now.leaked, now.too_short)
    assert found["answers"] > 4 * leakage["answers"]
    assert found["messages"] == ["Before the clipping: One group holds 85% of the rows."]
    assert "One group" not in " ".join(sentences(made))
