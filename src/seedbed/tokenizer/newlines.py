"""Text as models see it in training and in prompts: no byte-order mark in front, every line ending a newline.

Imports nothing heavy, so that the front ends may use it for prompts.
"""

from __future__ import annotations

import re

BOM = "\ufeff"
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\"}


def normalised(text: str) -> str:
    r"""The text without a byte-order mark in front, and with \n for \r\n and for a lone \r."""
    text = text.removeprefix(BOM)
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def unescaped(typed: str) -> str:
    r"""What is meant by \n, \t, \r and \\ that a person typed where no line break can be typed; all else stays."""
    return re.sub(r"\\([ntr\\])", lambda found: _ESCAPES[found[1]], typed)
