"""The table of what redaction finds, read from rules.toml."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec

_BEGINNING = r"(?:(?<![A-Za-z0-9])|(?<=\\[nrtbf])|(?<=%[0-9A-F][0-9A-F]))"
r"""The beginning of a word, also after an escape of source code (`\n`) or of a URL (`%3D`)."""
_END = r"(?![A-Za-z0-9])"
_IS = r"""(?:\\{0,2}["'`\])]){0,2}[ \t]{0,4}(?:=>|:=|={1,3}|:|,|(?<=[ \t])is\b)[ \t]{0,4}(?:\\{0,2}["'`]){0,3}"""
"""What stands between a name and its value, in code, JSON, YAML, environment files and prose."""
_TYPED = r"""["']?(?P<secret>(?![<${(\[])[^\s"'`|;&<>\\]{4,128})"""
"""A value in a command."""
_ACCOUNT = (
    r"(?:(?<![\w.@\\+$/-])|(?<=\\n))(?:[A-Z][A-Z0-9-]{1,15}(?:\\\\|\\(?![nrt])))?"
    r"(?P<secret>[^\W\d][\w.@+-]{0,62}[\w+$])(?![\w@\\])"
)
r"""The name of an account in the output of a tool; a domain before it, as in `ACME\name`, is no part of it."""
_PREFIX = (
    r"(?:[ \t]{0,10}L?\d{1,7}(?:→|[ ]?[|│:]|(?=[ \t]))|[^\s:→|]{1,200}:(?:\d{1,7}:)?|[^\s:→|]{1,200}-\d{1,7}-"
    r"|\^?[0-9a-f]{7,40}[ ][^\n)]{0,150}\)|[ \t]{0,8}(?:/{2,3}|--|%)(?=[ \t]))"
)
"""What tools write before each line of a file: its number, its path and number, who changed it, or the sign of a comment."""
_MACROS = {
    "{B}": _BEGINNING,
    "{E}": _END,
    "{IS}": _IS,
    "{TYPED}": _TYPED,
    "{ACCOUNT}": _ACCOUNT,
    "{LINE}": rf"(?:{_PREFIX}[ \t]{{0,4}}|[ \t+\->\"'\#*;]{{0,8}})",
    "{SEP}": rf"(?:(?<=\n){_PREFIX}|\\[nrt]|[\s\"'`,+\\>|\#*;()]|-(?!-))",
}
WORD_LISTS = ("top_level_domains", "impersonal_users", "example_users", "system_accounts", "impersonal_names")
"""The lists of words.toml."""


class Rule(msgspec.Struct, kw_only=True, frozen=True):
    """What one rule finds; the fields are explained in rules.toml."""

    id: str
    label: str
    anchors: tuple[str, ...]
    regex: str
    example: str
    near_miss: str
    shape: str = "lower"
    before: str | None = None
    each: str | None = None
    reach: int = 160
    entropy: float = 0.0
    check: str | None = None
    personal: bool = False

    def compiled(self) -> re.Pattern[str]:
        """The pattern that is matched at an anchor."""
        return re.compile(_expanded(self.regex))

    def compiled_each(self) -> re.Pattern[str] | None:
        """The pattern of the finds within what the group `list` of the pattern matched."""
        return re.compile(_expanded(self.each)) if self.each is not None else None

    def compiled_before(self) -> re.Pattern[str] | None:
        """The pattern of what stands before the anchor, which ends there."""
        return re.compile(f"(?m:{_expanded(self.before)})\\Z") if self.before is not None else None


def _expanded(regex: str) -> str:
    for name, pattern in _MACROS.items():
        regex = regex.replace(name, pattern)
    return regex


LINE_PREFIX = re.compile(_PREFIX)
"""What stands before a line of a file in the output of a tool."""


@cache
def rule_table() -> tuple[Rule, ...]:
    """All rules, in the order of their precedence."""
    return tuple(msgspec.convert(_read("rules.toml")["rule"], list[Rule], strict=True))


@cache
def known_words(name: str) -> frozenset[str]:
    """A list of words.toml, such as `top_level_domains`."""
    return frozenset(_read("words.toml")[name].split())


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads(files("seedbed.curation.redaction").joinpath(name).read_text(encoding="utf-8"))
