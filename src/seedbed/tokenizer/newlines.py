"""Normalise text for training and prompts: drop a byte-order mark, and turn line endings into newlines.

Imports nothing heavy, so that front ends can use it for prompts.
"""

from __future__ import annotations

import re

BOM = "\ufeff"
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\"}


def normalised(text: str) -> str:
    r"""The text without a byte-order mark at its start, and with \n in place of \r\n and of a lone \r."""
    text = text.removeprefix(BOM)
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def unescaped(typed: str) -> str:
    r"""Replace the escapes \n, \t, \r and \\ in a text that was typed in one line. Everything else is unchanged."""
    return re.sub(r"\\([ntr\\])", lambda found: _ESCAPES[found[1]], typed)
