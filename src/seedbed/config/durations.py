"""Read durations that people type, such as 90s, 20m, 8h or 1h30m, and write them back."""

from __future__ import annotations

import math
import re

UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
"""Unit -> its seconds."""
_NAMES = {
    "s": ("s", "sec", "secs", "second", "seconds"),
    "m": ("m", "min", "mins", "minute", "minutes"),
    "h": ("h", "hr", "hrs", "hour", "hours"),
    "d": ("d", "day", "days"),
}
_UNIT_OF = {name: unit for unit, names in _NAMES.items() for name in names}
_PART = re.compile(r"\s*(\d+(?:\.\d+)?|\.\d+)\s*([a-z]*)", re.IGNORECASE)
FORM = "Write a number and a unit: 90s, 20m, 8h, 2d or 1h30m."


def seconds_of(text: str) -> float:
    """The seconds that a text such as `20m` stands for. Raises ValueError, whose text is the problem as a sentence part."""
    total, position, last = 0.0, 0, math.inf
    if not text.strip():
        raise ValueError("It is empty")
    if text.strip().startswith("-"):
        raise ValueError("A time must be above 0")
    while text[position:].strip():
        found = _PART.match(text, position)
        if found is None:
            raise ValueError("It is not a time")
        number, name = float(found[1]), found[2].lower()
        if not name:
            raise ValueError("The unit is missing")
        if name not in _UNIT_OF:
            raise ValueError(f"Unknown unit of time {found[2]!r}")
        unit_s = UNITS_S[_UNIT_OF[name]]
        if unit_s >= last:
            raise ValueError("The units must get smaller")
        total, position, last = total + number * unit_s, found.end(), unit_s
    return total


def short(seconds: float) -> str:
    """Seconds as text that `seconds_of` reads, rounded to whole seconds, such as 20m or 1h30m."""
    rest, parts = round(seconds), []
    for unit in ("d", "h", "m", "s"):
        count, rest = divmod(rest, int(UNITS_S[unit]))
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
