"""Reads amounts such as `15T` tokens or `4M`, and lengths of sequences such as `8k`."""

from __future__ import annotations

import math
import re

from seedbed.errors import UsageError

_MOST_SEQ = 10_000_000
_SCALES = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12}


def parse_amount(text: str, what: str) -> float:
    """A positive number with an optional suffix k, M, B or T: `15T`, `1.5e12`, `300_000`. Raises UsageError, naming `what`."""
    match = re.fullmatch(r"([0-9][0-9_,]*\.?[0-9]*(?:e\+?[0-9]+)?)\s*([kmbgt]?)", text.strip().lower())
    value = float(match[1].replace("_", "").replace(",", "")) * _SCALES[match[2]] if match else 0.0
    if not 0 < value < math.inf:
        raise UsageError(f'{what}: "{text}" is not a number above 0.', "Write for example 15T, 300B, 4M or 1e12.")
    if value > 1e18:
        raise UsageError(f'{what}: "{text}" is more than 1,000,000T.', "Write for example 15T.")
    return value


def parse_length(text: str, what: str) -> int:
    """A whole number of tokens of a sequence; k and M are powers of 1,024, as in the names of models: `8k` is 8,192.

    Raises UsageError, naming `what`.
    """
    match = re.fullmatch(r"([0-9][0-9_,]*(?:\.[0-9]+)?)\s*([km]?)", text.strip().lower())
    value = (
        float(match[1].replace("_", "").replace(",", "")) * {"": 1.0, "k": 1024.0, "m": 1048576.0}[match[2]]
        if match
        else 0.0
    )
    if not 1 <= value <= _MOST_SEQ or not value.is_integer():
        raise UsageError(
            f'{what}: "{text}" is not a whole number of tokens from 1 to {_MOST_SEQ:,}.',
            "Write for example 8192 or 8k.",
        )
    return int(value)
