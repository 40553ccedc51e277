"""The context of a training on a dataset of rows, if none is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import row_datasets
import trained_bases
from seedbed.config.resolving import Resolved, resolve
from seedbed.config.roots import TRAIN
from seedbed.config.schema import Config


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The source of a dataset of rows, as a path relative to the working directory."""
    monkeypatch.chdir(tmp_path)
    row_datasets.mixed(tmp_path / "full", count=4)
    return "./full"


def resolved(**values: Any) -> Resolved[Config]:
    flags = {name.replace("__", "."): value for name, value in values.items() if "__" in name}
    return resolve(TRAIN, flags=flags, **{name: value for name, value in values.items() if "__" not in name})


@pytest.mark.parametrize(("preset", "context"), [("nano", 1024), ("tiny", 2048), ("small", 2048), ("base", 2048)])
def test_presets_have_a_longer_context_for_rows_with_as_many_tokens_in_a_step(
    rows: str, preset: str, context: int
) -> None:
    usual, found = (resolved(preset=preset, **data).config for data in ({}, {"data__source": rows}))
    assert found.model.context == context
    assert found.train.batch_size * context == usual.train.batch_size * usual.model.context
    if usual.train.micro_batch:
        assert found.train.micro_batch * context == usual.train.micro_batch * usual.model.context


def test_what_is_given_counts_and_the_origin_says_why(rows: str) -> None:
    found = resolved(data__source=rows, train__batch_size=3)
    assert (found.config.model.context, found.config.train.batch_size) == (1024, 3)
    assert found.origins["model.context"] == "preset nano, for a dataset of rows"
    assert resolved(data__source=rows, model__context=128).config.model.context == 128
    assert resolved(data__source=rows, model__context=128).config.train.batch_size == 8
    earlier = resolved(data__source="stories").config
    assert resolve(TRAIN, base=earlier, flags={"data.source": rows}).config.model.context == earlier.model.context


def test_other_sources_keep_the_context_of_the_preset(rows: str) -> None:
    for source in ("stories", "text:full", "wikitext-2"):
        assert resolved(preset="tiny", data__source=source).config.model.context == 256


def test_a_size_that_is_chosen_for_a_time_has_the_context_for_rows(rows: str) -> None:
    found = resolved(data__source=rows, train__time="10m").config
    assert (found.train.size, found.model.context) == ("auto", 1024)
    assert "model.context" not in found.train.keep


def test_a_base_has_at_most_its_positions(rows: str, tmp_path: Path) -> None:
    base = trained_bases.make(tmp_path / "base")
    usual = resolved(base__model=str(base), data__source="text:full").config
    found = resolved(base__model=str(base), data__source=rows).config
    assert found.model.context == min(found.model.max_context, 2048) >= usual.model.context
    assert found.train.batch_size * found.model.context <= usual.train.batch_size * usual.model.context
