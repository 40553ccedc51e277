"""Shapes that a family's features forbid, and what to set instead."""

from __future__ import annotations

import pytest

from seedbed.config.schema import ModelConfig
from seedbed.config.shape import check_shape, shape_problems
from seedbed.errors import UsageError


def shape(layout: str, **other: int) -> ModelConfig:
    return ModelConfig(layout=layout, **{"hidden": 96, "heads": 4, "kv_heads": 4, "head_dim": 24, **other})


@pytest.mark.parametrize(
    ("model", "hint", "paths"),
    [
        (shape("qwen3", kv_heads=3), "Set model.kv_heads to one of 1, 2, 4.", ("model.heads", "model.kv_heads")),
        (shape("qwen3", head_dim=7), "Set model.head_dim=8.", ("model.head_dim",)),
        (
            shape("gpt2", head_dim=16),
            "Set model.hidden=64, or change model.heads or model.head_dim.",
            ("model.hidden", "model.heads", "model.head_dim"),
        ),
        (shape("gpt2", kv_heads=2), "Set model.kv_heads=4.", ("model.layout", "model.heads", "model.kv_heads")),
    ],
)
def test_a_shape_that_the_family_forbids_is_refused_with_what_to_set(
    model: ModelConfig, hint: str, paths: tuple[str, ...]
) -> None:
    assert [found[1:] for found in shape_problems(model)] == [(hint, paths)]
    with pytest.raises(UsageError) as caught:
        check_shape(model)
    assert caught.value.hint == hint
    assert all(f"{path} = {getattr(model, path.partition('.')[2])}" in caught.value.message for path in paths)


@pytest.mark.parametrize(
    "model", [shape("qwen3", kv_heads=2, head_dim=10), shape("gpt2"), shape("gpt2", hidden=84, head_dim=21)]
)
def test_a_shape_that_one_family_forbids_can_be_valid_in_another(model: ModelConfig) -> None:
    assert not list(shape_problems(model))
