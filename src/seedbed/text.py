"""Formats numbers, names and untrusted text for people. Imports no other module of Seedbed."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence

_UNITS = (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3))
_BINARY_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_ESCAPES = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[PX^_][^\x1b]*(?:\x1b\\)?|[@-Z\\-_]?)"
)


_SURROGATES = re.compile("[\ud800-\udfff]")

# Unicode categories: controls, formats (such as direction overrides), surrogates, private and unassigned characters,
# line separators.
_UNSAFE = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
_KEPT = frozenset("\t\u200c\u200d")  # emoji and some scripts need the zero-width joiners

STATUS_STYLE = {
    "running": "green",
    "completed": "cyan",
    "stopping": "yellow",
    "stopped": "yellow",
    "paused": "yellow",
    "pausing": "yellow",
    "queued": "blue",
    "stalled": "yellow",
    "failed": "red",
    "lost": "red",
    "broken": "red",
}
"""The colour of each status, as a terminal colour name."""

STYLES = {
    "bold": "1",
    "dim": "2",
    "reverse": "7",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
}
"""Word of a style -> its SGR parameter in terminal codes."""

STAGES = {
    "prepare": "preparing the data",
    "init": "starting the cluster",
    "restart": "restarting the cluster",
    "measure": "measuring the speed of this machine",
    "compile": "compiling",
    "check": "trying one batch",
    "train": "training",
    "evaluate": "validating",
    "score": "evaluating the models",
    "sample": "writing a sample",
    "save": "saving",
}
"""Phase of a run (what its job does at the moment) -> the words that people see for it."""


def count(number: float) -> str:
    """A quantity to three significant figures, such as 1.23M, 45.6k or 789."""
    for suffix, scale in _UNITS:
        if abs(number) >= scale * 0.9995:
            return f"{number / scale:.3g}{suffix}"
    return f"{number:.0f}" if float(number).is_integer() or abs(number) >= 100 else f"{number:.3g}"


def plural(number: float, noun: str, shown: str | None = None) -> str:
    """A number and its noun, such as `1 checkpoint` or `2 checkpoints`. `shown` is the number already formatted."""
    digits = shown if shown is not None else f"{number:,}" if isinstance(number, int) else f"{number:g}"
    return f"{digits} {noun}" + ("" if number == 1 else "s")


def size(num_bytes: float) -> str:
    """A size in bytes as text, such as 512 B, 1.4 MiB or 80.0 GiB."""
    value = float(num_bytes)
    for unit in _BINARY_UNITS:
        if abs(value) < 1024 or unit == _BINARY_UNITS[-1]:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError


def duration(seconds: float | None) -> str:
    """Seconds as text, such as 0.4s, 42s, 3m 07s, 2h 05m or 4d 03h; an unknown duration is '-'."""
    if seconds is None or not math.isfinite(seconds):
        return "-"
    if seconds < 0:
        seconds = 0
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}m {rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours}h {minutes:02d}m"
    days, hours = divmod(hours, 24)
    return f"{days}d {hours:02d}h"


def short_time(seconds: float) -> str:
    """Seconds as milliseconds or microseconds where these are shorter."""
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} us"
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def age(seconds: float) -> str:
    """A number of seconds in its largest whole unit, such as 40s, 5m, 3h, 12d or 2y."""
    for unit, unit_s in (("y", 365 * 86400), ("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= unit_s:
            return f"{int(seconds // unit_s)}{unit}"
    return f"{max(int(seconds), 0)}s"


def loss(value: float | None) -> str:
    """A loss as text with four decimals; an unknown loss is '-'."""
    return "-" if value is None else f"{value:.4f}"


def legible(untrusted: str) -> str:
    r"""The text in a form that UTF-8 can encode: a byte of a file name that is not UTF-8 is shown as \xe9."""
    return _SURROGATES.sub(_escaped, untrusted)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


def quoted(name: object) -> str:
    """A name or path in quotation marks, for messages."""
    return f'"{legible(str(name))}"'


def listed(names: Sequence[str], most: int = 20) -> str:
    """Names separated by commas, for a message: at most `most` names, then how many others there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return legible(", ".join(names[:most])) + more


def printable(untrusted: str, *, newlines: bool = False) -> str:
    """Text without anything that could control a terminal: escapes, control characters, direction overrides.

    Tabs stay. Newlines stay with `newlines`, else they become spaces. Bytes that are not UTF-8 show as \\xe9.
    """
    plain = legible(_ESCAPES.sub("", untrusted))
    kept = []
    for char in plain:
        if char == "\n":
            kept.append("\n" if newlines else " ")
        elif char in _KEPT or unicodedata.category(char) not in _UNSAFE:
            kept.append(char)
    return "".join(kept)


def is_utf_8(value: str) -> bool:
    """Whether a text can be encoded as UTF-8; false for a file name whose bytes are not UTF-8."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def shorten(text: str, width: int) -> str:
    """The text cut to at most `width` characters; a text that is cut ends with an ellipsis."""
    return text if len(text) <= width else text[: max(width - 1, 0)] + "…"


def shorten_start(text: str, width: int) -> str:
    """The text cut at its beginning to at most `width` characters, such as a path, whose end says more; "…" marks the cut."""
    return text if len(text) <= width else "…" + text[len(text) - max(width - 1, 0) :]


def shorten_middle(text: str, width: int) -> str:
    """The text cut in its middle to at most `width` characters, such as a name whose end differs; "…" marks the cut."""
    if len(text) <= width:
        return text
    last = max(width - 1, 0) // 2
    return text[: max(width - 1 - last, 0)] + "…" + text[len(text) - last :]


def painted(text: str, style: str) -> str:
    """The text with terminal codes for a style, which is words of `STYLES` such as `bold red`; "" changes nothing."""
    codes = ";".join(STYLES[word] for word in style.split())
    return f"\x1b[{codes}m{text}\x1b[0m" if codes and text else text


def stage(name: str) -> str:
    """The words that people see for a phase of a run: `preparing the data` for `prepare`; its name if it is unknown."""
    return STAGES.get(name, printable(name))
