"""The config of a training that starts from a model: what the base decides, what may be set, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from configs import written
from seedbed.config import base_model
from seedbed.config.base_model import BaseModel
from seedbed.config.families.config_json import config_from_hf
from seedbed.config.frozen import dump, load_frozen
from seedbed.config.layers import Flagged
from seedbed.config.resolving import Resolved, resolve
from seedbed.config.roots import TRAIN
from seedbed.config.schema import Config, DataConfig, TrainConfig
from seedbed.errors import UsageError
from trained_bases import POSITIONS, ROWS, config_json

DATA = ("data.source=text:/notes",)


def base(**values: Any) -> BaseModel:
    model, rows = config_from_hf(config_json())
    made = BaseModel("/models/small", "small", Path("/models/small"), model, rows, "a" * 64)
    return made._replace(**values)


def started(*sets: str, opened: BaseModel | None = None, data: tuple[str, ...] = DATA, **more: Any) -> Resolved[Config]:
    """The config of `seedbed train --from /models/small` with these values for --set."""
    flags = {"base.model": Flagged("/models/small", "--from")}
    return resolve(TRAIN, sets=(*data, *sets), flags=flags, open_base=lambda _: opened or base(), **more)


def refusal(*sets: str, **more: Any) -> str:
    with pytest.raises(UsageError) as caught:
        started(*sets, **more)
    return str(caught.value)


def test_shape_vocabulary_and_context_are_those_of_the_base_and_are_frozen(tmp_path: Path) -> None:
    config, origins = started()
    assert (config.model.layers, config.model.hidden, config.model.kv_heads) == (2, 32, 2)
    assert (config.model.layout, config.model.rope_theta, config.model.tie_embeddings) == ("qwen3", 20000.0, True)
    assert config.model.context == POSITIONS
    assert config.tokenizer.vocab_size == ROWS
    assert (config.base.model, config.base.folder, config.base.fingerprint) == ("/models/small",) * 2 + ("a" * 64,)
    assert origins["model.layers"] == "base small"
    assert (origins["base.model"], origins["preset"]) == ("--from", "--from")
    assert config.preset == "from"
    frozen = tmp_path / "config.toml"
    frozen.write_text(dump(config, origins))
    assert load_frozen(frozen, TRAIN) == config


def test_a_long_context_of_the_base_is_not_the_training_window() -> None:
    long = replace(base().model, context=131072)
    assert started(opened=base(model=long)).config.model.context == 512
    assert started("model.context=2048", opened=base(model=long)).config.model.context == 2048


def test_a_config_without_a_base_has_no_table_for_it() -> None:
    assert "[base]" not in dump(resolve(TRAIN).config)


def test_the_defaults_suit_a_trained_model_and_every_one_can_be_set() -> None:
    config, origins = started()
    assert (config.optimizer.name, config.schedule.kind) == ("adamw", "wsd")
    assert origins["optimizer.name"] == origins["train.epochs"] == "default of --from"
    assert (config.train.epochs, config.train.steps) == (1.0, None)
    changed = started("optimizer.lr=1e-3", "train.steps=7", "optimizer.name=muon", "train.batch_size=2").config
    assert (changed.optimizer.lr, changed.train.steps, changed.train.epochs) == (1e-3, 7, None)
    assert (changed.optimizer.name, changed.train.batch_size) == ("muon", 2)


@pytest.mark.parametrize(
    ("parameters", "published", "within"),
    [(124e6, 5e-5, 1.05), (1.5e9, 3e-5, 1.15), (6.7e9, 2e-5, 1.1)],
    ids=["GPT-2", "GPT-2 XL", "Llama 2"],
)
def test_the_learning_rate_is_near_published_ones(parameters: float, published: float, within: float) -> None:
    assert published / within < base_model.learning_rate(int(parameters)) < published * within


def test_the_learning_rate_of_a_tiny_base_has_a_limit() -> None:
    assert base_model.learning_rate(1000) == 5e-4


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("model.layers=6", ("model.layers (--set) is 6", "base small has 2")),
        ("model.rope_theta=1e6", ("model.rope_theta", "20000.0")),
        ("model.context=65", ("model.context (--set) is 65", "64 positions", "rope scaling")),
        ("tokenizer.kind=char", ("tokenizer.kind (--set)", "its own tokenizer")),
        ("tokenizer.vocab_size=4096", ("tokenizer.vocab_size", "Remove tokenizer.vocab_size")),
        ("tokenizer.path=/elsewhere", ("tokenizer.path", "its own tokenizer")),
        ("train.size=auto", ("train.size = auto", "base.model")),
    ],
)
def test_a_value_that_contradicts_the_base_is_refused_by_name(value: str, words: tuple[str, ...]) -> None:
    message = refusal(value, *(["train.time=20m"] if "auto" in value else []))
    for word in words:
        assert word in message


def test_a_value_equal_to_the_base_s_is_accepted() -> None:
    assert started("model.layers=2", f"tokenizer.vocab_size={ROWS}", "model.context=16").config.model.context == 16


def test_a_preset_and_a_base_exclude_each_other(tmp_path: Path) -> None:
    assert "the preset" in refusal(preset="tiny")
    assert "tiny" in refusal(file=written(tmp_path, 'preset = "tiny"\n'))
    with pytest.raises(UsageError, match=r"base\.model is missing"):
        resolve(TRAIN, preset="from")


def test_without_a_text_nothing_is_trained() -> None:
    message = refusal(data=())
    assert "No text is given" in message
    assert "--data" in message


def test_a_base_from_a_run_brings_the_text_of_that_run_unless_another_is_given() -> None:
    of_run = base(data=DataConfig(source="stories", stories=77, document_mask=True))
    again = started(opened=of_run, data=()).config.data
    assert (again.source, again.stories, again.document_mask) == ("stories", 77, True)
    other = started(opened=of_run).config.data
    assert (other.source, other.stories, other.document_mask) == ("text:/notes", DataConfig().stories, False)


def test_the_frozen_config_of_a_run_repeats_it_as_a_file_and_as_an_earlier_run(tmp_path: Path) -> None:
    first = started("optimizer.lr=1e-3", "model.context=32")
    file = tmp_path / "config.toml"
    file.write_text(dump(first.config, first.origins))
    assert resolve(TRAIN, file=file, open_base=lambda _: base()).config == first.config
    again = resolve(TRAIN, base=first.config, sets=["train.seed=9"], open_base=lambda _: base()).config
    assert again == replace(first.config, train=replace(first.config.train, seed=9))


def test_other_weights_than_those_of_the_frozen_config_are_refused(tmp_path: Path) -> None:
    first = started()
    with pytest.raises(UsageError, match="fingerprint differs"):
        resolve(TRAIN, base=first.config, open_base=lambda _: base(fingerprint="b" * 64))
    # Another base that is given on purpose has its own fingerprint.
    other = base(reference="/models/other", name="other", fingerprint="b" * 64)
    config = started(opened=other, data=(), base=first.config).config
    assert (config.base.model, config.base.fingerprint) == ("/models/other", "b" * 64)


def test_an_earlier_run_from_scratch_gives_no_settings_for_a_base() -> None:
    message = refusal(base=resolve(TRAIN).config)
    assert "from scratch" in message
    assert "--like" in message


def test_a_relative_path_of_a_base_in_a_file_starts_at_the_file(tmp_path: Path) -> None:
    seen: list[str] = []

    def opened(reference: str) -> BaseModel:
        seen.append(reference)
        return base()

    written(tmp_path, '[base]\nmodel = "models/small"\n[data]\nsource = "stories"\n')
    resolve(TRAIN, file=tmp_path / "my.toml", open_base=opened)
    for name in ("hub:owner/name@main", "quickstart@400"):
        resolve(TRAIN, flags={"base.model": name, "data.source": "stories"}, open_base=opened)
    assert seen == [str(tmp_path / "models/small"), "hub:owner/name@main", "quickstart@400"]


@pytest.mark.parametrize(("free", "rows"), [(10**12, 0), (10**6, 1)])
def test_the_micro_batch_fits_into_the_free_memory(free: int, rows: int) -> None:
    opened = base(free_bytes=lambda _: free)
    assert started(opened=opened).config.train.micro_batch == rows
    assert started("train.micro_batch=4", opened=opened).config.train.micro_batch == 4


def test_the_micro_batch_is_chosen_for_the_precision_of_this_machine() -> None:
    asked = []

    def precision(train: TrainConfig) -> str:
        asked.append(train.precision)
        return "bf16"

    started(opened=base(free_bytes=lambda _: 10**6, precision=precision))
    assert asked == ["auto"]


def test_a_time_needs_no_size() -> None:
    config = started("train.time=20m").config
    assert (config.train.time, config.train.size, config.train.epochs) == ("20m", "given", None)
