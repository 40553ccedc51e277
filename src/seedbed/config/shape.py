"""Check a model's shape: what the features of its family allow, and how its sizes must fit together."""

from __future__ import annotations

from collections.abc import Iterator

from seedbed.config.arithmetic import nearest_divisors
from seedbed.config.families.family import features
from seedbed.config.roots import Contradiction
from seedbed.config.schema import ModelConfig
from seedbed.errors import UsageError


def shape_problems(model: ModelConfig) -> Iterator[Contradiction]:
    """Yield a Contradiction for every rule that the model's shape breaks, such as an odd `head_dim`."""
    allowed = features(model.layout)
    if model.heads % model.kv_heads:
        yield Contradiction(
            "heads must be a multiple of kv_heads",
            f"Set model.kv_heads to {nearest_divisors(model.heads, model.kv_heads)}.",
            ("model.heads", "model.kv_heads"),
        )
    if not allowed.free_head_dim and model.heads * model.head_dim != model.hidden:
        yield Contradiction(
            f"The {model.layout} layout needs heads x head_dim = hidden",
            f"Set model.hidden={model.heads * model.head_dim}, or change model.heads or model.head_dim.",
            ("model.hidden", "model.heads", "model.head_dim"),
        )
    if not allowed.grouped_heads and model.kv_heads != model.heads:
        yield Contradiction(
            f"The {model.layout} layout needs one key/value head per query head",
            f"Set model.kv_heads={model.heads}.",
            ("model.layout", "model.heads", "model.kv_heads"),
        )
    if allowed.positions == "rotary" and model.head_dim % 2:
        yield Contradiction(
            "Rotary positions rotate pairs of dimensions, so head_dim must be even",
            f"Set model.head_dim={model.head_dim + 1}.",
            ("model.head_dim",),
        )


def check_shape(model: ModelConfig) -> None:
    """Raise UsageError for the first rule that the model's shape breaks; it names the values and what to set."""
    for problem, hint, paths in shape_problems(model):
        values = [f"{path} = {getattr(model, path.removeprefix('model.'))}" for path in paths]
        raise UsageError(f"{problem}: {', '.join(values)}.", hint)
