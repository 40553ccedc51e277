"""The layers that have a sliding window, and the keys of config.json that name them."""

from __future__ import annotations

from typing import Any

import pytest

from seedbed.config.families.config_json import config_from_hf, hf_config
from seedbed.config.families.windows import layers_of, layers_text, windows
from seedbed.errors import SeedbedError
from small_models import VOCAB, Ids, shape

SLIDING, FULL = "sliding_attention", "full_attention"


def read(layout: str, **changes: Any) -> tuple[int, ...]:
    parsed = {**hf_config(shape(layout), VOCAB, Ids()), "num_hidden_layers": 4, **changes}
    return windows(config_from_hf({key: value for key, value in parsed.items() if value != "absent"})[0])


@pytest.mark.parametrize(
    ("layout", "changes", "expected"),
    [
        # transformers' own defaults: 4,096 for Mistral, none for StarCoder2, layer 28 for Qwen.
        ("mistral", {"sliding_window": "absent"}, (4096,) * 4),
        ("mistral", {"sliding_window": None}, (0,) * 4),
        ("mistral", {"sliding_window": 9, "layer_types": [SLIDING] * 4}, (9,) * 4),
        ("starcoder2", {"sliding_window": "absent"}, (0,) * 4),
        ("starcoder2", {"sliding_window": 9}, (9,) * 4),
        ("qwen2", {"sliding_window": 9}, (0,) * 4),
        ("qwen2", {"sliding_window": 9, "use_sliding_window": True, "max_window_layers": "absent"}, (0,) * 4),
        ("qwen2", {"sliding_window": 9, "use_sliding_window": True, "max_window_layers": 3}, (0, 0, 0, 9)),
        ("qwen2", {"sliding_window": 9, "use_sliding_window": True, "max_window_layers": 0}, (9,) * 4),
        ("qwen3", {"sliding_window": "absent", "use_sliding_window": True, "max_window_layers": 3}, (0, 0, 0, 4096)),
        ("qwen3", {"sliding_window": None, "use_sliding_window": True, "max_window_layers": 0}, (0,) * 4),
        (
            "qwen3",
            {"sliding_window": 9, "use_sliding_window": True, "layer_types": [SLIDING, FULL, FULL, SLIDING]},
            (9, 0, 0, 9),
        ),
    ],
)
def test_windows_are_those_of_transformers(layout: str, changes: dict[str, Any], expected: tuple[int, ...]) -> None:
    assert read(layout, **changes) == expected


@pytest.mark.parametrize(
    ("layout", "changes", "named"),
    [
        ("llama", {"sliding_window": 9}, "sliding_window = 9"),
        ("llama", {"layer_types": [SLIDING] * 4}, "'sliding_attention' in layer_types"),
        ("mistral", {"sliding_window": 9, "layer_types": [SLIDING, FULL] * 2}, "'full_attention' in layer_types"),
        ("mistral", {"sliding_window": -1}, "sliding_window = -1"),
        ("qwen2", {"layer_types": [SLIDING] * 4}, "no window"),
        (
            "qwen3",
            {"use_sliding_window": True, "sliding_window": 9, "layer_types": [SLIDING]},
            "layer_types for 1 layers",
        ),
        ("qwen3", {"layer_types": ["linear_attention"] * 4}, "linear_attention"),
    ],
)
def test_layers_that_the_decoder_lacks_are_refused(layout: str, changes: dict[str, Any], named: str) -> None:
    with pytest.raises(SeedbedError, match=named):
        read(layout, **changes)


@pytest.mark.parametrize(
    ("text", "layers"),
    [("all", {0, 1, 2, 3, 4}), ("0-2,4", {0, 1, 2, 4}), ("3", {3}), ("1-3", {1, 2, 3})],
)
def test_layers_are_written_as_they_are_read(text: str, layers: set[int]) -> None:
    assert layers_of(text, 5) == layers
    assert layers_text(layers, 5) == text


@pytest.mark.parametrize("text", ["", "5", "3-1", "-1", "a", "1,,2", "0-99999999"])
def test_texts_that_name_no_layers_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="range"):
        layers_of(text, 5)
