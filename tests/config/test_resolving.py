"""Resolving a config: layers, origins, presets and earlier runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from configs import refused, written
from seedbed.config.keys import keys
from seedbed.config.layers import Flagged
from seedbed.config.resolving import resolve
from seedbed.config.roots import TRAIN


def test_each_layer_overrides_the_one_below_and_is_the_origin(tmp_path: Path) -> None:
    file = written(tmp_path, "[train]\nseed = 1\nbatch_size = 8\nkeep_last = 5\n")
    config, origins = resolve(
        TRAIN, file=file, sets=["train.seed=2", "train.batch_size=4"], flags={"train.seed": Flagged(3, "--seed")}
    )
    assert (config.train.seed, config.train.batch_size, config.train.keep_last) == (3, 4, 5)
    assert origins["train.seed"] == "--seed"
    assert origins["train.batch_size"] == "--set"
    assert origins["train.keep_last"] == f"file {file}"
    assert origins["model.layers"] == "preset nano"
    assert origins["train.precision"] == "default"
    assert origins["preset"] == "default"


def test_every_leaf_has_an_origin() -> None:
    assert set(resolve(TRAIN, preset="small").origins) == {"preset", *keys(TRAIN)}


def test_a_file_names_its_preset_and_a_flag_overrides_it(tmp_path: Path) -> None:
    file = written(tmp_path, 'preset = "tiny"\n')
    assert resolve(TRAIN, file=file).config.preset == "tiny"
    assert resolve(TRAIN, file=file).origins["preset"] == f"file {file}"
    assert resolve(TRAIN, file=file).config.model.hidden == 256
    assert resolve(TRAIN, file=file, preset="nano").config.model.hidden == 128
    assert resolve(TRAIN, sets=["preset=tiny"]).config.model.hidden == 256


def test_the_config_of_an_earlier_run_replaces_the_preset(tmp_path: Path) -> None:
    base = resolve(TRAIN, preset="tiny", sets=["optimizer.lr=0.5", "train.epochs=3"]).config
    config, origins = resolve(TRAIN, base=base, sets=["train.steps=7"])
    assert config.optimizer.lr == 0.5
    assert (config.train.steps, config.train.epochs) == (7, None)
    assert config.preset == "tiny"
    assert origins["optimizer.lr"] == "the earlier run"
    assert resolve(TRAIN, base=base).config == base
    assert "preset" in refused(base=base, preset="nano")
    assert "preset" in refused(base=base, file=written(tmp_path, 'preset = "nano"\n'))


def test_a_resolved_config_cannot_be_changed() -> None:
    config = resolve(TRAIN).config
    with pytest.raises(AttributeError):
        config.train.seed = 2  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[optimizer]\nlr = "2e-5"\n', "optimizer.lr"),
        ("[train]\nsteps = 1.5\n", "train.steps"),
        ("[train]\nsteps = true\n", "train.steps"),
        ("[train]\nsteps = 0\n", "train.steps"),
        ("[train]\nepochs = -1\n", "train.epochs"),
        ("[train]\nkeep_best = 1\n", "train.keep_best"),
        ("[optimizer]\nlr = nan\n", "optimizer.lr"),
        ("[optimizer]\nlr = inf\n", "optimizer.lr"),
        ("[optimizer]\nlr = -0.1\n", "optimizer.lr"),
        ("[model]\ncontext = 0\n", "model.context"),
        ("[model]\nlayers = 99999999999999999999\n", "model.layers"),
        ("[model]\nlayout = 'qwen'\n", "qwen3"),
        ("[tokenizer]\nvocab_size = 1\n", "tokenizer.vocab_size"),
        ("[train]\nsample_prompts = 'one'\n", "train.sample_prompts"),
        ("[train]\nsample_prompts = [1]\n", "train.sample_prompts"),
        ("[data]\nsource = 3\n", "data.source"),
        ("[data]\nvalidation = 1.0\n", "data.validation"),
        ("model = 3\n", "[model]"),
        ("preset = 3\n", "preset"),
        ("[model]\nheads = {a = 1}\n", "model.heads"),
        ("[about]\nx = 1\n", "[about]"),
        ("lr = 1\n", "optimizer.lr"),
        ("[train]\nlr = 1\n", "optimizer.lr"),
        ("[optimiser]\nlr = 1\n", "[optimizer]"),
        ("[model]\nheads = 4\nheads = 5\n", "TOML"),
        ("[model\n", "line 1"),
    ],
)
def test_a_wrong_file_is_refused_naming_the_key_and_the_file(tmp_path: Path, text: str, expected: str) -> None:
    file = written(tmp_path, text)
    message = refused(file=file)
    assert expected in message
    assert str(file) in message
