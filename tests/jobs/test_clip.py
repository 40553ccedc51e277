"""Clipping: rows that were evaluated stay known as such, although their texts are other ones now."""

from __future__ import annotations

from pathlib import Path

import pytest

import row_datasets
from prepared import merged, new_task, rows
from seedbed.config.preparing import ClipConfig, Clipping, Merging, SplitConfig
from seedbed.curation.folder import EVAL, TRAIN
from seedbed.curation.record import content_id
from seedbed.jobs import clip
from seedbed.runs.lifecycle import Lifecycle
from trained_bases import save_tokenizer


def test_parts_of_evaluation_rows_never_enter_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEEDBED_CACHE", str(tmp_path / "cache"))
    records = []
    for number in range(60):
        record = row_datasets.text_row(number)
        record.text = "\n".join(f"{record.text} {number} line {each} of {number * each}" for each in range(40))
        record.id = content_id(record)
        records.append(record)
    source = row_datasets.dataset(tmp_path / "full", records[:45], records[45:])
    (tmp_path / "model").mkdir()
    save_tokenizer(tmp_path / "model")
    config = Clipping(clip=ClipConfig(inputs=(str(source),), model=str(tmp_path / "model"), most_tokens=200))
    task = new_task(tmp_path / "runs", "clip", config, tmp_path / "short")
    with Lifecycle(task.path) as lifecycle:
        lifecycle.finish(clip.run(task.path, lifecycle))
    parts = {row["id"] for row in rows(tmp_path / "short" / EVAL)}
    assert len(parts) > 4 * 15
    made = merged(
        tmp_path / "runs", tmp_path / "again", tmp_path / "short", config=Merging(split=SplitConfig(salt="another"))
    )
    trained = {row["id"] for row in rows(made / TRAIN)}
    assert trained
    assert not parts & trained
