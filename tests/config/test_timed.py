"""What a time budget decides before the run starts, and which times and combinations are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from seedbed.config.durations import seconds_of
from seedbed.config.frozen import dump, load_frozen, recorded_origins
from seedbed.config.ladder import sized
from seedbed.config.resolving import resolve
from seedbed.config.roots import TRAIN
from seedbed.config.schema import Config
from seedbed.config.timed import for_time, vocabulary_for, with_kept
from seedbed.errors import UsageError


def config_of(*sets: str, preset: str | None = None, **flags: Any) -> Config:
    return resolve(
        TRAIN, sets=sets, preset=preset, flags={f"train.{name}": each for name, each in flags.items()}
    ).config


def test_a_time_alone_lets_the_size_be_chosen() -> None:
    config = config_of(time="20m")
    assert (config.preset, config.train.size, config.train.keep) == ("auto", "auto", ())
    assert config.train.steps is None


@pytest.mark.parametrize(
    ("sets", "preset"),
    [((), "nano"), (("preset=tiny",), None), (("model.layers=3",), None), (("train.size=given",), None)],
)
def test_a_preset_or_a_model_size_beside_the_time_keeps_the_size(sets: tuple[str, ...], preset: str | None) -> None:
    assert config_of(*sets, preset=preset, time="20m").train.size == "given"


def test_the_time_in_a_file_counts_as_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text('[train]\ntime = "1h"\n[optimizer]\nlr = 0.01\n')
    config = resolve(TRAIN, file=tmp_path / "my.toml").config
    assert config.train.size == "auto"
    assert config.train.keep == ("optimizer.lr",)


@pytest.mark.parametrize("place", ["file", "set", "option"])
def test_the_preset_auto_asks_for_the_choice_wherever_it_is_written(tmp_path: Path, place: str) -> None:
    file, flags = tmp_path / "my.toml", {"train.time": "20m"}
    file.write_text('preset = "auto"\n[optimizer]\nlr = 0.01\n' if place == "file" else "[optimizer]\nlr = 0.01\n")
    sets = ("preset=auto",) if place == "set" else ()
    config = resolve(TRAIN, file=file, sets=sets, preset="auto" if place == "option" else None, flags=flags).config
    assert (config.preset, config.train.size, config.train.keep) == ("auto", "auto", ("optimizer.lr",))


def test_the_preset_auto_needs_a_time_and_no_model_size(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no time is set: train\.size = auto \(preset in --preset\)"):
        config_of(preset="auto", steps="10")
    with pytest.raises(UsageError, match=r"size is given.*model\.layers = 3 \(--set\)") as caught:
        config_of("model.layers=3", preset="auto", time="20m")
    assert "Remove model.layers, or set train.size to given" in (caught.value.hint or "")
    with pytest.raises(UsageError, match="size is given"):
        config_of("model.hidden=64", "train.size=auto", time="20m")


def test_the_config_of_a_run_whose_size_was_chosen_can_be_a_file_and_an_earlier_run(tmp_path: Path) -> None:
    ready = resolve(TRAIN, sets=["model.context=64"], flags={"train.time": "20m"})
    waiting = tmp_path / "waiting.toml"
    waiting.write_text(dump(ready.config, ready.origins))
    assert resolve(TRAIN, file=waiting).config == ready.config
    chosen = replace(ready.config, train=replace(ready.config.train, size="given", keep=()))
    done = tmp_path / "done.toml"
    done.write_text(dump(chosen, ready.origins))
    assert resolve(TRAIN, file=done).config == chosen
    assert resolve(TRAIN, base=chosen, sets=["data.stories=9"]).config.train.size == "given"


def test_what_is_given_to_a_copy_of_a_run_is_kept_beside_what_the_run_kept(tmp_path: Path) -> None:
    base = config_of("optimizer.lr=0.01", time="20m")
    again = resolve(TRAIN, base=base, sets=["data.stories=123"], flags={"train.seed": 7}).config
    assert again.train.keep == ("optimizer.lr", "data.stories", "train.seed")
    file = tmp_path / "my.toml"
    file.write_text('[train]\ntime = "20m"\nkeep = ["data.stories"]\n[data]\nstories = 9\n[optimizer]\nlr = 0.01\n')
    named = resolve(TRAIN, file=file, sets=["train.eval_every=7"]).config
    assert named.train.keep == ("data.stories", "train.eval_every")


def test_adamw_is_trained_with_its_usual_rate(tmp_path: Path) -> None:
    chosen = sized(config_of("optimizer.name=adamw", time="20m"), 3, 1e6).optimizer
    assert (chosen.name, chosen.lr) == ("adamw", 1e-3)
    given = config_of("optimizer.name=adamw", "optimizer.lr=0.002", time="20m")
    assert with_kept(sized(given, 3, 1e6), given).optimizer.lr == 0.002
    assert sized(config_of(time="20m"), 3, 1e6).optimizer.name == "muon"


def test_what_the_user_gave_survives_the_choice() -> None:
    config = config_of("tokenizer.vocab_size=777", "data.stories=123", "schedule.decay=0.15", time="20m")
    ready = for_time(config, 1200, None)
    assert (ready.tokenizer.vocab_size, ready.data.stories, ready.schedule.decay) == (777, 123, 0.15)
    assert with_kept(ready, config) == ready


def test_more_time_gets_more_stories_and_the_vocabulary_grows_with_the_text() -> None:
    stories = [
        for_time(config_of(time=time), seconds_of(time), None).data.stories for time in ("30s", "2m", "20m", "8h")
    ]
    assert stories == sorted(set(stories))
    sizes = [vocabulary_for(size, 3600) for size in (10**5, 10**6, 10**7, 10**8)]
    assert sizes == sorted(sizes)
    assert sizes[1] == 1024
    assert vocabulary_for(10**12, 120) == 2048


def test_long_runs_on_stories_get_a_larger_vocabulary_and_sooner_on_a_fast_machine() -> None:
    sizes = [
        for_time(config_of(time=time), seconds_of(time), None, fast=fast).tokenizer.vocab_size
        for fast in (True, False)
        for time in ("5m", "15m", "2h")
    ]
    assert sizes == [1536, 4096, 4096, 1536, 1536, 4096]


def test_a_long_text_is_validated_on_a_part_that_takes_little_of_the_time() -> None:
    config = config_of("data.source=text:/nowhere", time="2m")
    small, large = for_time(config, 120, 10**6), for_time(config, 120, 10**9)
    assert small.data.validation == 0.05
    assert large.data.validation * 10**9 == pytest.approx(200_000)


@pytest.mark.parametrize(
    ("time", "problem"),
    [
        ("0", "unit is missing"),
        ("0s", "too short"),
        ("1s", "The shortest is 30s"),
        ("2 parsecs", "Unknown unit of time"),
        ("500d", "too long"),
        ("soon", "not a time"),
    ],
)
def test_impossible_times_are_refused_with_what_to_do(time: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem) as caught:
        config_of(time=time)
    assert caught.value.hint


def test_a_time_excludes_other_lengths_and_schedules_that_need_the_number_of_steps() -> None:
    with pytest.raises(UsageError, match=r"train\.steps and train\.time"):
        config_of(time="20m", steps="100")
    with pytest.raises(UsageError, match=r"schedule\.kind"):
        config_of("schedule.kind=cosine", time="20m")
    with pytest.raises(UsageError, match="no time is set"):
        config_of("train.size=auto", "train.steps=10")


def test_the_origins_in_a_frozen_config_can_be_read_back(tmp_path: Path) -> None:
    resolved = resolve(TRAIN, sets=["data.source=text:/a  # b.txt", "optimizer.lr=0.5"], flags={"train.time": "20m"})
    path = tmp_path / "config.toml"
    path.write_text(dump(resolved.config, resolved.origins))
    origins = recorded_origins(path)
    assert origins["optimizer.lr"] == "--set"
    assert origins["train.time"] == "--time"
    assert origins["preset"] == "train.time"
    assert load_frozen(path, TRAIN) == resolved.config
