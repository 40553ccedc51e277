"""Small checkpoints to save, find and damage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from seedbed.checkpoint.marker import CONFIG, GENERATION, OPTIMIZER, TRAINER, WEIGHTS
from seedbed.checkpoint.tensors import encoded
from seedbed.checkpoint.writing import Snapshot, json_content

TOKENIZER = {
    "tokenizer.json": b'{"model": {}}',
    "tokenizer_config.json": b'{"tokenizer_class": "PreTrainedTokenizerFast"}',
}


def snapshot(step: int, value: float | None = None, weights: Mapping[str, Tensor] | None = None) -> Snapshot:
    """A checkpoint's contents, all numbers near `value` (by default the step)."""
    value = float(step) if value is None else value
    trainer: dict[str, Any] = {"progress": {"step": step}, "rng": [1, 2, 3], "best": float("nan")}
    if weights is None:
        weights = {
            "model.embed_tokens.weight": torch.full((5, 3), value),
            "model.norm.weight": torch.arange(3.0) + value,
        }
    return Snapshot(
        step,
        {
            WEIGHTS: encoded(weights),
            OPTIMIZER: encoded({"model.norm.weight.exp_avg": torch.full((3,), value / 2)}),
            TRAINER: json_content(trainer),
            CONFIG: json_content({"model_type": "qwen3"}),
            GENERATION: json_content({"eos_token_id": 0}),
            **{name: [content] for name, content in TOKENIZER.items()},
        },
    )


@pytest.fixture
def make() -> Callable[..., Snapshot]:
    return snapshot


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "run" / "checkpoints"
