"""What a time budget (`train.time`) decides in a config before the run starts: whether the size is chosen for it.

The choice itself needs the speed of the machine, so the job makes it (jobs/sizing.py).
"""

from __future__ import annotations

from typing import Any

from seedbed.config.keys import keys
from seedbed.config.layers import Layer
from seedbed.config.roots import Root

AUTO = "auto"
"""The name that takes the place of a preset's in a config whose size is chosen for a time."""
SHAPE_KEYS = ("model.layers", "model.hidden", "model.heads", "model.kv_heads", "model.head_dim", "model.ffn")
"""The keys of the model's size. If one of them is given, the size is not chosen."""


def with_size(merged: Layer, lowest: Layer, start_given: bool, root: Root[Any]) -> Layer:
    """The merged values, with `train.size` = auto if only a time says how large the model should be.

    `lowest` is the layer of the preset or the earlier run; `start_given` says whether the user named one. The keys that
    the user gave are recorded in `train.keep`, so that the choice does not change them.
    """
    values, origins = dict(merged.values), dict(merged.origins)
    if "train.size" not in keys(root) or values.get("train.time") is None:
        return merged
    given = [path for path in values if origins[path] != lowest.origins.get(path)]
    if "train.size" not in values:
        if start_given or any(path in SHAPE_KEYS for path in given):
            return merged
        values["train.size"], origins["train.size"] = AUTO, origins["train.time"]
    if values["train.size"] == AUTO and "train.keep" not in values:
        kept = tuple(path for path in given if path not in ("train.time", "train.size"))
        values["train.keep"], origins["train.keep"] = kept, origins["train.time"]
    return Layer(values, origins)
