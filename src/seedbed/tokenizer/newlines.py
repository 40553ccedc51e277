"""Text as models see it in training and in prompts: no byte-order mark in front, every line ending a newline.

Imports nothing, so that the front ends may use it for prompts.
"""

from __future__ import annotations

BOM = "\ufeff"


def normalised(text: str) -> str:
    r"""The text without a byte-order mark in front, and with \n for \r\n and for a lone \r."""
    text = text.removeprefix(BOM)
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
