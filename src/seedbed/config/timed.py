"""What a time budget (`train.time`) decides in a config before the run starts: whether the size is chosen for it.

The choice itself needs the speed of the machine, so the job makes it (jobs/sizing.py).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from seedbed.config.keys import keys, value_of
from seedbed.config.layers import Layer
from seedbed.config.roots import Root

if TYPE_CHECKING:
    from seedbed.config.schema import Config

AUTO = "auto"
"""The name that takes the place of a preset's in a config whose size is chosen for a time."""
SHAPE_KEYS = ("model.layers", "model.hidden", "model.heads", "model.kv_heads", "model.head_dim", "model.ffn")
"""The keys of the model's size. If one of them is given, the size is not chosen."""
_NOT_KEPT = ("train.time", "train.size", "train.keep")


def with_size(merged: Layer, lowest: Layer, start: str | None, start_origin: str, root: Root[Any]) -> Layer:
    """The merged values, with `train.size` = auto if only a time says how large the model should be.

    `lowest` is the layer of the preset or the earlier run; `start` is the preset that the user named (None: neither a
    preset nor an earlier run). The name `auto` asks for the choice. The keys that the user gave are recorded in
    `train.keep`, so that the choice does not change them: those of the earlier run, and all that are given now. The place
    that gives `train.keep` itself says for its own keys which are kept.
    """
    values, origins = dict(merged.values), dict(merged.origins)
    if "train.size" not in keys(root):
        return merged
    given = [path for path in values if origins[path] != lowest.origins.get(path)]
    if "train.size" not in values:
        has_size = (start is not None and start != AUTO) or any(path in SHAPE_KEYS for path in given)
        if start != AUTO and (has_size or values.get("train.time") is None):
            return merged
        values["train.size"] = AUTO
        origins["train.size"] = f"preset in {start_origin}" if start == AUTO else origins["train.time"]
    if values["train.size"] == AUTO and values.get("train.time") is not None:
        kept, said_by = values.get("train.keep", ()), origins.get("train.keep")
        here = [path for path in given if path not in _NOT_KEPT and origins[path] != said_by]
        values["train.keep"] = tuple(dict.fromkeys((*kept, *here)))
        origins.setdefault("train.keep", origins["train.time"])
    return Layer(values, origins)


def with_kept(changed: Config, original: Config) -> Config:
    """`changed` with the keys of `original.train.keep` as they are in `original`."""
    for path in original.train.keep:
        table, _, name = path.partition(".")
        values = {name: value_of(original, path)}
        changed = replace(changed, **{table: replace(getattr(changed, table), **values)})
    return changed


_STORIES, _STORIES_FOR_S, _STORIES_GROWTH = 8_000, 120.0, 0.9
"""The preset nano's number of stories, the time for which it is enough, and the power of the time with which it grows.

A run then reads each story two or three times. Stories that are read often are learned by heart: nano, with 35 passes over
its 8,000 in 15 minutes, ended at 0.267 bits per byte, after 0.198 in 2 minutes."""
_MOST_STORIES = 500_000
_STORY_VOCABULARY, _LARGE_STORY_VOCABULARY = 1536, 4096
"""The vocabulary for the built-in stories, and that for long times: a token then has 4.3 bytes instead of 4.0."""
_LONG_S, _LONG_SLOW_S = 600, 3600
"""The time, in seconds, from which the larger vocabulary is used: on a machine that multiplies matrices fast, and on any other.
Shorter runs have small models, which would spend half of their time on the logits of so many tokens."""
_VALIDATION_BYTES_PER_MINUTE = 100_000
"""So much validation text takes about 2 % of the time to evaluate at the end, on two CPU cores."""
_SAMPLE_BYTES_PER_S = 17_000
"""Text for learning the tokenizer, per second of the run: about 1 % of the time."""


def for_time(config: Config, time_s: float, text_bytes: int | None, *, fast: bool = False) -> Config:
    """The config with the text, the vocabulary and the decay that suit a time, before anything is measured.

    `text_bytes`: the size of the source, None if unknown. `fast`: whether the machine multiplies matrices fast (a GPU, or a CPU
    with fast bf16). The keys that the user gave are kept.
    """
    from seedbed.config.scaling import decay_share

    is_stories = config.data.source.strip() == "stories"
    data, tokenizer = config.data, config.tokenizer
    if is_stories:
        stories = round(_STORIES * (time_s / _STORIES_FOR_S) ** _STORIES_GROWTH, -2)
        data = replace(data, stories=int(min(max(stories, 2_000), _MOST_STORIES)))
    elif text_bytes:
        part = max(time_s / 60, 1.0) * _VALIDATION_BYTES_PER_MINUTE / text_bytes
        data = replace(data, validation=round(min(max(part, 1e-4), 0.05), 6))
    sample = int(min(max(_SAMPLE_BYTES_PER_S * time_s, 2e6), 1e8))
    vocabulary = vocabulary_for(text_bytes, time_s)
    if is_stories:
        is_long = time_s >= (_LONG_S if fast else _LONG_SLOW_S)
        vocabulary = _LARGE_STORY_VOCABULARY if is_long else _STORY_VOCABULARY
    tokenizer = replace(tokenizer, vocab_size=vocabulary, sample_bytes=sample)
    schedule = replace(config.schedule, kind="wsd", decay=decay_share(time_s))
    return with_kept(replace(config, data=data, tokenizer=tokenizer, schedule=schedule), config)


def vocabulary_for(text_bytes: int | None, time_s: float) -> int:
    """The size of the vocabulary for a text: twice as many for four times the bytes, but few for short runs.

    Assumed: 1,024 for 1 MB; at most 2,048 up to 5 minutes, 4,096 up to half an hour, 8,192 up to four hours.
    """
    most = next((size for up_to_s, size in ((300, 2048), (1800, 4096), (14400, 8192)) if time_s <= up_to_s), 16384)
    if text_bytes is None:
        return most
    doublings = math.floor(math.log(max(text_bytes, 1) / 1e6, 4))
    return int(min(max(1024 * 2.0**doublings, 512), most))
