"""Reads amounts such as `15T` tokens or `4M`."""

from __future__ import annotations

import math
import re

from seedbed.errors import UsageError

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
