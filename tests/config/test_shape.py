"""Shapes that a family's features forbid, and what to set instead."""

from __future__ import annotations

import pytest

from seedbed.config.schema import ModelConfig
from seedbed.config.shape import check_shape, shape_problems
from seedbed.errors import UsageError


def shape(layout: str, **other: object) -> ModelConfig:
    return ModelConfig(layout=layout, **{"hidden": 96, "heads": 4, "kv_heads": 4, "head_dim": 24, **other})


HIDDEN = ("model.hidden", "model.heads")


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
        (
            shape("gpt_bigcode", kv_heads=2),
            "Set model.kv_heads=1, or model.kv_heads=4.",
            ("model.layout", "model.heads", "model.kv_heads"),
        ),
        (shape("llama", hidden=90), "Set model.heads to one of 1, 2, 3, 5, 6, 9, 10, 15, 18, 30, 45, 90.", HIDDEN),
        (
            shape("qwen2", attention_bias=False),
            "Remove model.attention_bias.",
            ("model.layout", "model.attention_bias"),
        ),
        (shape("mistral", mlp_bias=True), "Remove model.mlp_bias.", ("model.layout", "model.mlp_bias")),
        (
            shape("starcoder2", mlp_bias=False),
            "Give model.attention_bias and model.mlp_bias the same value.",
            ("model.attention_bias", "model.mlp_bias"),
        ),
        (
            shape("llama", window=8),
            "Set model.window=0, or model.layout to qwen3, mistral, qwen2, starcoder2.",
            ("model.layout", "model.window"),
        ),
        (
            shape("mistral", window=8, window_layers="1-2"),
            "Remove model.window_layers.",
            ("model.layout", "model.window", "model.window_layers"),
        ),
        (shape("qwen3", window_layers="1"), "Set model.window.", ("model.window", "model.window_layers")),
        (
            shape("qwen3", window=8, window_layers="1-9"),
            "Write all, or layers from 0 to 3, such as 0-2,5.",
            ("model.window_layers",),
        ),
        (
            shape("qwen3", rope_factor=4.0),
            "Set model.rope_scaling to linear or llama3, or model.rope_factor=1.",
            ("model.rope_factor", "model.rope_scaling"),
        ),
        (
            shape("llama", rope_scaling="llama3", rope_factor=8.0, rope_high_factor=1.0),
            "Llama 3.1 has 4 and 1.",
            ("model.rope_high_factor", "model.rope_low_factor"),
        ),
        (shape("gpt2", rope_scaling="linear"), "Set model.rope_scaling=none.", ("model.layout", "model.rope_scaling")),
        (
            shape("llama", gelu="exact"),
            "Set model.gelu=tanh, the default, which has no effect here.",
            ("model.layout", "model.gelu"),
        ),
        (
            shape("gpt2", max_context=100),
            "Set model.max_context=0, or model.context to 100 or less.",
            ("model.max_context", "model.context"),
        ),
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
    "model",
    [
        shape("qwen3", kv_heads=2, head_dim=10),
        shape("qwen3", hidden=90),
        shape("gpt2"),
        shape("gpt2", hidden=84, head_dim=21),
        shape("gpt_bigcode", kv_heads=1),
        shape("llama", attention_bias=True, mlp_bias=True),
        shape("starcoder2", attention_bias=False, mlp_bias=False, gelu="exact"),
        shape("qwen2", window=8, window_layers="0, 2-3"),
        shape("llama", rope_scaling="llama3", rope_factor=8.0, max_context=4096),
    ],
)
def test_a_shape_that_one_family_forbids_can_be_valid_in_another(model: ModelConfig) -> None:
    assert not list(shape_problems(model))
