"""The context of a training on a dataset of rows, which are longer than the windows of a text that presets are made for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seedbed.config.layers import Layer
from seedbed.config.source import is_rows

_CONTEXT = "model.context"
_SEQUENCES = ("train.batch_size", "train.micro_batch")
"""The keys that count sequences: there are fewer of longer ones, so that a step has as many tokens."""


def with_row_context(lowest: Layer, higher: Sequence[Layer], context: int | None) -> Layer:
    """The values of a preset or a base (`lowest`), with its `context` for rows if a training on rows was given none.

    `higher`: the layers above. Only a longer context is set. Raises UsageError if the source of the data cannot be checked.
    """
    usual = lowest.values.get(_CONTEXT)
    if context is None or usual is None or context <= usual or any(_CONTEXT in layer.values for layer in higher):
        return lowest
    sources = [layer.values["data.source"] for layer in (lowest, *higher) if "data.source" in layer.values]
    if not sources or not is_rows(sources[-1].strip(), Path()):
        return lowest
    values: dict[str, Any] = {_CONTEXT: context}
    for path in _SEQUENCES:
        if path in lowest.values:
            values[path] = max(lowest.values[path] * usual // context, 1)
    origins = {path: f"{lowest.origins[path]}, for a dataset of rows" for path in values}
    return Layer(lowest.values | values, lowest.origins | origins)
