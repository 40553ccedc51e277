"""Reads the message of a commit: what kind of change it is, and the instruction that it gives."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files as package_files
from typing import Literal

import msgspec

ChangeKind = Literal[
    "fix", "feature", "refactoring", "performance", "documentation", "test", "build", "style", "chore", "other"
]

_CONVENTIONAL = re.compile(r"([A-Za-z]+)(?:\(([^()]*)\)|\[([^\[\]]*)\])?!?:\s+(\S.*)")
_AREA = re.compile(r"(?:\[[^\]]{1,40}\]|[\w./*-]{1,40}(?:, ?[\w./*-]{1,40})*:)\s+(?=\S)")
"""The part of the code that a subject is about, such as `net/http: `."""
_REVERT_IN_BODY = re.compile(r"\s*This reverts commits? [0-9a-f]{7,40}", re.IGNORECASE)
_CLOSES = r"(?:close[sd]?|fix(?:e[sd])?|resolve[sd]?|refs?|references|see|issue|pr)"
_NUMBER = re.compile(
    rf"\s*[\[(]{_CLOSES}?:?\s*(?:(?:gh|bpo|issue|pr)[- ]?|[\w.-]+/[\w.-]+#|#)#?\d+[\])]\.?\s*$"
    rf"|[\s,.;:-]*\b{_CLOSES}:? (?:gh[- ]?)?#\d+\.?\s*$"
    r"|\s*\[(?:ci[ -]skip|skip[ -](?:ci|travis|actions)|no[ -]ci)\]",
    re.IGNORECASE,
)
"""What a subject says to the forge: the number of an issue or pull request at its end, such as (#12), and `[ci skip]`."""
_MOST_CHARACTERS = 200
"""Of a line that is matched with patterns, some of which take long for long lines."""
_WORD = re.compile(r"\S*[^\W\d_]\S*")


class _Words(msgspec.Struct, forbid_unknown_fields=True):
    version: str
    types: dict[ChangeKind, list[str]]
    verbs: dict[ChangeKind, list[str]]
    patterns: dict[str, list[str]]


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """What a commit's message says. `problem`: why it is no instruction for a change of code; None if it is one."""

    kind: ChangeKind
    subject: str
    body: str
    problem: str | None = None

    @property
    def text(self) -> str:
        """The instruction: the subject and the body."""
        return f"{self.subject}\n\n{self.body}" if self.body else self.subject


@cache
def _words() -> _Words:
    import tomllib

    text = package_files("seedbed.curation.commits").joinpath("messages.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), _Words)


@cache
def _pattern(name: str) -> re.Pattern[str]:
    alternatives = "|".join(f"(?:{each})" for each in _words().patterns[name])
    return re.compile(alternatives.replace("VERSION", f"(?:{_words().version})"), re.IGNORECASE)


@cache
def _first_word() -> re.Pattern[str]:
    groups = "|".join(f"(?P<{kind}>{'|'.join(verbs)})" for kind, verbs in _words().verbs.items())
    return re.compile(rf"(?:{groups})(?![\w-])", re.IGNORECASE)


@cache
def _types() -> dict[str, ChangeKind]:
    return {name: kind for kind, names in _words().types.items() for name in names}


def read_message(message: str) -> Intent:
    """The intent of a message, without trailers such as Signed-off-by and numbers of issues.

    Words are matched whole and where they decide: "prefix padding in the address helper" is no fix, and "fix: sign error"
    stays one if its body says "merge this". Sources: conventionalcommits.org 1.0.0, git-interpret-trailers(1).
    """
    first, _, rest = message.replace("\r\n", "\n").strip().partition("\n")
    subject = " ".join(first.split())
    while len(subject) <= _MOST_CHARACTERS and (shorter := _NUMBER.sub("", subject)) != subject:
        subject = shorter
    body = _without_trailers(rest, subject)
    beginning = subject[:_MOST_CHARACTERS]
    return Intent(kind=_kind(beginning), subject=subject, body=body, problem=_problem(beginning, body, rest))


def _problem(subject: str, body: str, rest: str) -> str | None:
    if _pattern("merge").match(subject):
        return "merge"
    described = _CONVENTIONAL.fullmatch(subject)
    name = described[1].lower() if described else ""
    said = described[4] if described is not None and name in _types() else subject
    if name in ("revert", "reverts") or _pattern("revert").match(subject) or _REVERT_IN_BODY.match(rest):
        return "revert"
    if _pattern("bump").match(subject) or _pattern("bump").match(said):
        return "version or dependency bump"
    if name == "wip" or _pattern("unfinished").match(subject):
        return "unfinished commit"
    few = len(_WORD.findall(said)) < 2 or _pattern("says_too_little").fullmatch(said.strip(" .!:;,-"))
    return "message says too little" if few and not body else None


def _kind(subject: str) -> ChangeKind:
    described = _CONVENTIONAL.fullmatch(subject)
    if described is not None and (kind := _types().get(described[1].lower())) is not None:
        return kind
    said = subject
    while (area := _AREA.match(said)) is not None:
        said = said[area.end() :]
    first = _first_word().match(said)
    if first is not None:
        return next(kind for kind in _words().verbs if first[kind] is not None)
    anywhere = re.compile(rf"(?<![\w-])(?:{_pattern('fix_anywhere').pattern})(?![\w-])", re.IGNORECASE)
    return "fix" if anywhere.search(said) else "other"


def _without_trailers(rest: str, subject: str) -> str:
    """The body without lines for the forge and about people, and without the subject, which squashed commits repeat."""
    lines = (line.rstrip() for line in rest.split("\n"))
    trailer = _pattern("trailer")
    kept = [line for line in lines if len(line) > _MOST_CHARACTERS or not trailer.fullmatch(line.strip())]
    kept = [line for line in kept if line.lstrip("*- ") != subject]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip()
