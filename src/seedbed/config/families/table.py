"""The names of all model families, which are the values of `model.layout`."""

from __future__ import annotations

FAMILIES = (
    "qwen3",
    "gpt2",
    "llama",
    "mistral",
    "qwen2",
    "starcoder2",
    "gpt_bigcode",
)
"""Each name is a module in this folder that defines `FAMILY` (see family.py)."""
