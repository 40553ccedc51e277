"""Presets by name, and their descriptions."""

from __future__ import annotations

import pytest

from configs import refused
from seedbed.config.preset import preset_about, preset_names
from seedbed.config.resolving import resolve
from seedbed.config.roots import TRAIN


def test_the_error_for_an_unknown_preset_names_the_known_ones() -> None:
    assert "Did you mean tiny?" in refused(preset="tny")
    message = refused(preset="custom")
    assert "--set" in message
    assert "nano" in message
    assert "give it without --preset" in refused(preset="my.toml")
    assert "no preset" in refused(preset="../presets/nano")


def test_presets_come_smallest_first_and_describe_what_they_need() -> None:
    assert preset_names(TRAIN) == ["nano", "tiny", "small", "base"]
    for name in preset_names(TRAIN):
        about = preset_about(name, TRAIN)
        assert set(about) == {"description", "parameters", "hardware", "expected_time", "why_optimizer"}
        assert all(about.values())


def test_nano_and_tiny_need_no_network() -> None:
    assert [resolve(TRAIN, preset=name).config.data.source for name in ("nano", "tiny")] == ["stories", "stories"]


@pytest.mark.parametrize("name", [name for name in preset_names(TRAIN) if name != "nano"])
def test_widths_are_multiples_of_256_for_k_quants(name: str) -> None:
    model = resolve(TRAIN, preset=name).config.model
    assert model.hidden % 256 == 0
    assert model.ffn % 256 == 0
