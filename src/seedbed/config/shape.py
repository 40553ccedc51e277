"""Check a model's shape: what its family allows, and how its sizes must fit together."""

from __future__ import annotations

from collections.abc import Iterator

from seedbed.config.arithmetic import nearest_divisors
from seedbed.config.families.family import Options, family, features
from seedbed.config.families.table import FAMILIES
from seedbed.config.families.windows import layers_of
from seedbed.config.roots import Contradiction
from seedbed.config.schema import ModelConfig
from seedbed.errors import UsageError


def shape_problems(model: ModelConfig) -> Iterator[Contradiction]:
    """Yield a Contradiction for every rule that the model's shape breaks, such as an odd `head_dim`."""
    yield from _of_heads(model, family(model.layout).options)
    yield from _of_biases(model, family(model.layout).options)
    yield from _of_window(model, family(model.layout).options)
    yield from _of_rope(model)
    built = features(model)
    if built.exact_gelu and built.mlp != "gelu":
        yield Contradiction(
            f"The {model.layout} layout has a gated feed-forward block, which does not compute GELU",
            "Set model.gelu=tanh, the default, which has no effect here.",
            ("model.layout", "model.gelu"),
        )
    if model.max_context and model.max_context < model.context:
        yield Contradiction(
            "max_context is the longest sequence of the model, so it cannot be shorter than context",
            f"Set model.max_context=0, or model.context to {model.max_context} or less.",
            ("model.max_context", "model.context"),
        )


def _of_heads(model: ModelConfig, options: Options) -> Iterator[Contradiction]:
    if model.heads % model.kv_heads:
        yield Contradiction(
            "heads must be a multiple of kv_heads",
            f"Set model.kv_heads to {nearest_divisors(model.heads, model.kv_heads)}.",
            ("model.heads", "model.kv_heads"),
        )
    if not options.head_dim and model.heads * model.head_dim != model.hidden:
        yield Contradiction(
            f"The {model.layout} layout needs heads x head_dim = hidden",
            f"Set model.hidden={model.heads * model.head_dim}, or change model.heads or model.head_dim.",
            ("model.hidden", "model.heads", "model.head_dim"),
        )
    if options.whole_hidden and model.hidden % model.heads:
        yield Contradiction(
            f"The {model.layout} layout needs a hidden width that is a multiple of heads",
            f"Set model.heads to {nearest_divisors(model.hidden, model.heads)}.",
            ("model.hidden", "model.heads"),
        )
    if options.kv_heads == "all" and model.kv_heads != model.heads:
        yield Contradiction(
            f"The {model.layout} layout needs one key/value head per query head",
            f"Set model.kv_heads={model.heads}.",
            ("model.layout", "model.heads", "model.kv_heads"),
        )
    if options.kv_heads == "one or all" and model.kv_heads not in (1, model.heads):
        yield Contradiction(
            f"The {model.layout} layout needs a single key/value head, or one per query head",
            f"Set model.kv_heads=1, or model.kv_heads={model.heads}.",
            ("model.layout", "model.heads", "model.kv_heads"),
        )
    if features(model).positions == "rotary" and model.head_dim % 2:
        yield Contradiction(
            "Rotary positions rotate pairs of dimensions, so head_dim must be even",
            f"Set model.head_dim={model.head_dim + 1}.",
            ("model.head_dim",),
        )


def _of_biases(model: ModelConfig, options: Options) -> Iterator[Contradiction]:
    for key, chosen, allowed in (
        ("model.attention_bias", model.attention_bias, options.attention_bias),
        ("model.mlp_bias", model.mlp_bias, options.mlp_bias),
    ):
        if chosen is not None and not allowed:
            yield Contradiction(
                f"The {model.layout} layout does not let you choose these biases",
                f"Remove {key}.",
                ("model.layout", key),
            )
    built = features(model)
    if options.one_bias and len({built.qkv_bias, built.out_bias, built.mlp_bias}) > 1:
        yield Contradiction(
            f"The {model.layout} layout has biases everywhere or nowhere",
            "Give model.attention_bias and model.mlp_bias the same value.",
            ("model.attention_bias", "model.mlp_bias"),
        )


def _of_window(model: ModelConfig, options: Options) -> Iterator[Contradiction]:
    paths = ("model.window", "model.window_layers")
    try:
        chosen = layers_of(model.window_layers, model.layers)
    except ValueError as error:
        hint = f"Write all, or layers from 0 to {model.layers - 1}, such as 0-2,5."
        yield Contradiction(f"window_layers cannot be read: {error}", hint, ("model.window_layers",))
        return
    if not model.window:
        if model.window_layers.strip() != "all":
            yield Contradiction("Layers are named for a window, but there is none", "Set model.window.", paths)
    elif options.window == "none":
        others = [each for each in FAMILIES if family(each).options.window != "none"]
        yield Contradiction(
            f"The {model.layout} layout has no sliding window",
            f"Set model.window=0, or model.layout to {', '.join(others)}.",
            ("model.layout", "model.window"),
        )
    elif options.window == "every layer" and len(chosen) < model.layers:
        yield Contradiction(
            f"The {model.layout} layout has the same window in every layer",
            "Remove model.window_layers.",
            ("model.layout", *paths),
        )


def _of_rope(model: ModelConfig) -> Iterator[Contradiction]:
    if features(model).positions != "rotary":
        if model.rope_scaling != "none":
            yield Contradiction(
                f"The {model.layout} layout has learned positions, which cannot be stretched",
                "Set model.rope_scaling=none.",
                ("model.layout", "model.rope_scaling"),
            )
        return
    if model.rope_scaling == "none" and model.rope_factor != 1.0:
        yield Contradiction(
            "rope_factor has no effect without rope_scaling",
            "Set model.rope_scaling to linear or llama3, or model.rope_factor=1.",
            ("model.rope_factor", "model.rope_scaling"),
        )
    if model.rope_scaling == "llama3" and model.rope_high_factor <= model.rope_low_factor:
        yield Contradiction(
            "rope_high_factor must be above rope_low_factor",
            "Llama 3.1 has 4 and 1.",
            ("model.rope_high_factor", "model.rope_low_factor"),
        )


def check_shape(model: ModelConfig) -> None:
    """Raise UsageError for the first rule that the model's shape breaks; it names the values and what to set."""
    for problem, hint, paths in shape_problems(model):
        values = [f"{path} = {getattr(model, path.removeprefix('model.'))}" for path in paths]
        raise UsageError(f"{problem}: {', '.join(values)}.", hint)
