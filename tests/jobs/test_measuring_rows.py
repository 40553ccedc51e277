"""The tokens of a dataset for its report card: those that a training on it reads, whatever its rows are like."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import fim_tokenizers
import row_datasets
from seedbed.config.schema import DataConfig, TokenizerConfig
from seedbed.curation.folder import describe
from seedbed.curation.record import Message, Provenance, Record, content_id
from seedbed.curation.report.measured import Measured
from seedbed.data.build import build_dataset
from seedbed.data.packed_batches import PackedRows
from seedbed.data.samples import Samples
from seedbed.data.shards import TOKENIZER, Dataset
from seedbed.errors import SeedbedError, UsageError
from seedbed.jobs.measuring_rows import NO_MARKERS, REFUSED, RowMeasurement, measure, name_of
from seedbed.runs.store import Store

CONTEXT = 40


def long_chat() -> Record:
    turns = [
        Message(role=role, content=f"{role} says something {n}.") for n in range(9) for role in ("user", "assistant")
    ]  # type: ignore[arg-type]
    return Record(kind="chat", messages=turns, provenance=Provenance(source="codex", model="model-1"))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Dataset]:
    """A dataset with rows of all kinds, of which some are too long, and what a training makes of it."""
    place = tmp_path_factory.mktemp("rows")
    train = [*row_datasets.rows(row_datasets.MAKERS, 60), long_chat()]
    train.append(Record(kind="text", text="a long line of text\n" * 60, provenance=Provenance(source="files")))
    train.append(
        Record(
            kind="fim", prefix="x = 1\n" * 90, middle="y", suffix="", order="psm", provenance=Provenance(source="git")
        )
    )
    for each in train:
        each.id = content_id(each)
    folder = row_datasets.dataset(place / "full", train, list(row_datasets.rows(row_datasets.MAKERS, 15, 900)))
    made = build_dataset(
        DataConfig(source=str(folder), workers=1),
        TokenizerConfig(vocab_size=400),
        cache=place / "cache",
        emit=lambda _: None,
        context=CONTEXT,
    )
    return folder, made


def measured(folder: Path, model: Path, **options: Any) -> Measured:
    given = {"family": "", "context": CONTEXT, "loss": "assistant", **options}
    read: list[int] = []
    with RowMeasurement(model, cache=folder.parent / "templates", **given) as measurement:
        found = measure(folder, describe(folder), measurement, read.append)
    assert sum(read) > 0
    return found


def test_tokens_and_pack_fill_are_those_of_a_training(prepared: tuple[Path, Dataset]) -> None:
    folder, made = prepared
    found = measured(folder, made.folder / TOKENIZER)
    used = rows = 0
    for ours, theirs in (("train", "train"), ("eval", "validation")):
        samples = Samples.of(made, theirs)  # type: ignore[arg-type]
        amount = found.splits[ours]
        assert amount.samples == len(samples.positions)
        assert amount.tokens == int(samples.positions.sum()) + amount.samples
        assert amount.trained == int(samples.targets.sum())
        packed = PackedRows(samples, CONTEXT)
        used, rows = used + int(samples.positions.sum()), rows + packed.plan.num_rows
    assert found.fitted.packed_rows == rows
    assert found.fitted.fill == pytest.approx(used / (rows * CONTEXT))
    assert 0.8 < found.fitted.fill < 1
    for dimension in ("kind", "source", "repository", "licence"):
        assert sum(each.tokens for each in found.by[dimension].values()) == found.tokens
    assert found.tokenizer == made.tokenizer.fingerprint


def test_each_row_has_one_fate_and_a_length(prepared: tuple[Path, Dataset]) -> None:
    folder, made = prepared
    found = measured(folder, made.folder / TOKENIZER).fitted
    assert found.rows == 78
    assert (found.whole + found.cut + found.clipped + found.left_out, found.cut >= 1) == (78, True)
    assert found.clipped >= 1
    assert ("a row for fill in the middle is longer than the limit", 1) in found.drops
    wide = measured(folder, made.folder / TOKENIZER, context=100_000)
    assert (wide.fitted.whole, wide.fitted.left_out, wide.fitted.drops) == (78, 0, [])
    assert wide.lengths.largest > 240
    assert sum(bar.train + bar.evaluated for bar in wide.lengths.bars) == 78


def test_a_checkpoint_is_named_by_its_run(tmp_path: Path) -> None:
    run = Store(tmp_path / "runs").create("train", "chats", "", {})
    checkpoint = run.path / "checkpoints" / "step-00000003"
    checkpoint.mkdir(parents=True)
    assert name_of(checkpoint) == "chats@3"
    assert name_of(tmp_path / "models" / "A") == "A"


def test_what_is_trained_is_as_asked(prepared: tuple[Path, Dataset]) -> None:
    folder, made = prepared
    shares = {}
    for loss in ("targets", "assistant", "all"):
        by = measured(folder, made.folder / TOKENIZER, loss=loss, context=1000).by["kind"]
        shares[loss] = {name: each.trained / each.tokens for name, each in by.items()}
    assert shares["targets"]["fim"] < 0.9 < shares["assistant"]["fim"]
    assert shares["assistant"]["chat"] < 0.9 < shares["all"]["chat"]
    assert shares["targets"]["chat"] == shares["assistant"]["chat"]


def test_the_template_is_verified_and_the_ways_that_agree_are_named(prepared: tuple[Path, Dataset]) -> None:
    folder, made = prepared
    (found,) = measured(folder, made.folder / TOKENIZER).templates
    assert (found.name, found.problem) == ("default", "")
    assert found.strategies["markers"]
    assert found.strategies["prefix"]


def test_a_template_that_is_refused_does_not_hide_the_other_rows(
    prepared: tuple[Path, Dataset], tmp_path: Path
) -> None:
    folder, made = prepared
    made.tokenizer.with_chat_template("{{ messages[0].content }}").save(tmp_path / "model")
    found = measured(folder, tmp_path / "model")
    (refused,) = found.templates
    assert refused.name == "conversations"
    assert refused.problem
    assert (REFUSED, 26) in found.fitted.drops
    assert set(found.by["kind"]) == {"text", "fim"}


def test_gaps_without_markers_are_counted_and_a_wrong_family_is_an_error(
    prepared: tuple[Path, Dataset], tmp_path: Path
) -> None:
    folder, _ = prepared
    fim_tokenizers.characters("<|im_start|>", "<|im_end|>").save(tmp_path / "model")
    found = measured(folder, tmp_path / "model", context=2000)
    assert (NO_MARKERS, 26) in found.fitted.drops
    assert found.family == ""
    with pytest.raises(SeedbedError, match="starcoder"):
        measured(folder, tmp_path / "model", family="starcoder")
    with pytest.raises(UsageError, match="context of 1"):
        measured(folder, tmp_path / "model", context=1)
