"""A frozen config reads back equal, and is refused after an invalid edit."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs import written
from seedbed.config.frozen import dump, load_frozen
from seedbed.config.layers import Flagged
from seedbed.config.preset import preset_names
from seedbed.config.resolving import resolve
from seedbed.config.roots import EVALUATE, TRAIN
from seedbed.errors import UsageError


@pytest.mark.parametrize("name", preset_names(TRAIN))
def test_a_dump_reads_back_equal_with_and_without_origins(name: str, tmp_path: Path) -> None:
    config, origins = resolve(TRAIN, preset=name, sets=['train.sample_prompts=["tab\\t quote\\" ü", "# no comment"]'])
    for text in (dump(config), dump(config, origins)):
        assert load_frozen(written(tmp_path, text), TRAIN) == config
    assert "# --set" in dump(config, origins)
    assert f"# preset {name}" in dump(config, origins)


@given(st.text(st.characters(exclude_categories=["Cs"])))
@settings(max_examples=200, deadline=None)
def test_any_text_reads_back_equal_from_a_dump(text: str) -> None:
    config, origins = resolve(
        TRAIN, flags={"train.sample_prompts": [text], "data.field": Flagged([text][0], "--field")}
    )
    read = tomllib.loads(dump(config, origins))
    assert read["train"]["sample_prompts"] == [text]
    assert read["data"]["field"] == config.data.field


@given(st.floats(min_value=0, allow_nan=False, allow_infinity=False))
@settings(max_examples=200, deadline=None)
def test_any_number_reads_back_equal_from_a_dump(number: float) -> None:
    config = resolve(TRAIN, flags={"optimizer.lr": number}).config
    assert tomllib.loads(dump(config))["optimizer"]["lr"] == number


def test_a_frozen_config_with_an_invalid_edit_is_refused(tmp_path: Path) -> None:
    text = dump(resolve(TRAIN).config)
    with pytest.raises(UsageError, match=r"model\.hidden"):
        load_frozen(written(tmp_path, text.replace("hidden = 128", "hidden = 'wide'")), TRAIN)
    with pytest.raises(UsageError, match=r"model\.heads"):
        load_frozen(written(tmp_path, text.replace("hidden = 128", "hiden = 128").replace("hiden", "haeds")), TRAIN)


def test_no_limit_in_the_config_of_an_earlier_evaluation_is_still_read(tmp_path: Path) -> None:
    without = dump(resolve(EVALUATE).config)
    earlier = without.replace("[evaluate]", "[evaluate]\nlimit_documents = 0\nlimit_tokens = 0")
    assert earlier != without
    assert load_frozen(written(tmp_path, earlier), EVALUATE) == resolve(EVALUATE).config
    limited = without.replace("[evaluate]", "[evaluate]\nlimit_documents = 7")
    assert load_frozen(written(tmp_path, limited), EVALUATE).evaluate.limit_documents == 7
    with pytest.raises(UsageError, match=r"limit_tokens .* is -1"):
        load_frozen(written(tmp_path, earlier.replace("limit_tokens = 0", "limit_tokens = -1")), EVALUATE)


def test_control_characters_in_origins_are_removed_and_the_file_stays_valid(tmp_path: Path) -> None:
    config, origins = resolve(TRAIN)
    text = dump(config, dict.fromkeys(origins, "file a\nb\x1b[31m.toml"))
    assert "\x1b" not in text
    assert load_frozen(written(tmp_path, text), TRAIN) == config


def test_a_frozen_config_with_a_device_that_a_new_one_may_not_have_loads(tmp_path: Path) -> None:
    """Earlier versions accepted any device and trained on the best one."""
    path = written(tmp_path, '[train]\nsteps = 5\ndevice = "cuda0"\n')
    config = load_frozen(path, TRAIN)
    assert config.train.device == "cuda0"
    with pytest.raises(UsageError, match="Unknown device"):
        resolve(TRAIN, base=config)
    assert resolve(TRAIN, base=config, flags={"train.device": Flagged("cpu", "--device")}).config.train.device == "cpu"
