"""The table of model families: the values of `model.layout`."""

from __future__ import annotations

FAMILIES = (
    "qwen3",
    "gpt2",
)
"""Each is the name of a module beside this one, which defines `FAMILY` (family.py)."""
