"""Every key of the config: its type and bounds in words, its help, and which key a misspelt one meant.

Refuses to know where a value came from or what it is used for.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import msgspec

from seedbed.config.schema import Config, Table
from seedbed.config.synonyms import SYNONYMS, meant

_NOUNS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", tuple: "a list of texts"}
_BOUNDS = (("ge", "at least"), ("gt", "above"), ("le", "at most"), ("lt", "below"))
_FAR = 3
"""Edits beyond which two keys have nothing to do with each other."""


class Key(NamedTuple):
    """One key, such as `optimizer.lr`. `base` is int, float, bool, str or tuple; `choices` names the allowed texts."""

    path: str
    table: str
    name: str
    annotation: Any
    base: type
    choices: tuple[str, ...]
    bounds: tuple[tuple[str, float], ...]
    default: Any
    help: str

    @property
    def expected(self) -> str:
        """What a value must be, in words: `a number, at least 0`."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        words = dict(_BOUNDS)
        limits = [f"{words[name]} {limit:,.15g}" if limit < 2**62 else "" for name, limit in self.bounds]
        return ", ".join([_NOUNS[self.base], " and ".join(filter(None, limits))]).removesuffix(", ")


@cache
def tables() -> dict[str, type[Table]]:
    """The tables of a config by name, in their order."""
    hints = get_type_hints(Config)
    return {name: hint for name, hint in hints.items() if isinstance(hint, type) and issubclass(hint, Table)}


@cache
def keys() -> dict[str, Key]:
    """Every key by its path, in the order of the schema."""
    found = {}
    for table, struct in tables().items():
        hints = get_type_hints(struct, include_extras=True)
        for field in msgspec.structs.fields(struct):
            path = f"{table}.{field.name}"
            found[path] = _key(path, table, field.name, hints[field.name], field.default)
    return found


def _key(path: str, table: str, name: str, annotation: Any, default: Any) -> Key:
    base, choices, metas = _unwrap(annotation)
    bounds = [
        (bound, getattr(meta, bound)) for meta in metas for bound, _ in _BOUNDS if getattr(meta, bound) is not None
    ]
    descriptions = [meta.description for meta in metas if meta.description]
    return Key(path, table, name, annotation, base, choices, tuple(bounds), default, " ".join(descriptions))


def _unwrap(annotation: Any) -> tuple[type, tuple[str, ...], list[msgspec.Meta]]:
    """The bare type, the choices of a Literal, and every Meta on the way, outermost first."""
    if get_origin(annotation) is Annotated:
        inner, *extras = get_args(annotation)
        base, choices, metas = _unwrap(inner)
        return base, choices, [extra for extra in extras if isinstance(extra, msgspec.Meta)] + metas
    if get_origin(annotation) is Literal:
        return str, get_args(annotation), []
    if get_origin(annotation) is tuple:
        return tuple, (), []
    members = [member for member in get_args(annotation) if member is not type(None)]
    if members:
        return _unwrap(members[0])
    return annotation, (), []


def nearest_keys(path: str) -> list[str]:
    """The keys that a misspelt or misplaced `table.key` (or bare key) may have meant, best first, at most three.

    A right key in a wrong table is found as well as a misspelt key, or the name that another program gives to a key;
    equally near ones are all named.
    """
    table, _, name = path.rpartition(".")
    elsewhere = meant(path)
    if elsewhere is not None:
        slip = [key.path for key in keys().values() if key.table == table and edits(name.lower(), key.name) == 1]
        return list(dict.fromkeys([elsewhere, *slip]))[:3]
    limit = max(1, min(_FAR, len(name) // 2))
    scores = {}
    for key in keys().values():
        if abs(len(name) - len(key.name)) > limit:
            continue
        slips = edits(name.lower(), key.name)
        astray = 0.0 if key.table == table or not table else 0.5 if edits(table, key.table) <= 2 else 0.75
        if slips <= limit:
            scores[key.path] = slips + astray
    found = _best(scores, limit + 1)
    if not found and len(name) > _FAR:
        astray_by = {other: edits(name.lower(), other) for other in SYNONYMS}
        least = min(astray_by.values())
        found = [key for other, key in SYNONYMS.items() if astray_by[other] == least <= len(name) // 4]
    return list(dict.fromkeys(found))[:3]


def nearest(word: str, known: Iterable[str]) -> list[str]:
    """Those of `known` that `word` is a small slip away from, best first, at most three."""
    limit = max(1, min(_FAR, len(word) // 2))
    return _best({name: float(edits(word.lower(), name.lower())) for name in known}, limit)


def _best(scores: dict[str, float], limit: float) -> list[str]:
    least = min(scores.values(), default=limit + 1)
    return [name for name, score in scores.items() if score == least][:3] if least <= limit else []


def edits(a: str, b: str) -> int:
    """Letters to insert, delete, replace or swap to make `a` into `b` (optimal string alignment distance)."""
    before: list[int] = []
    last = list(range(len(b) + 1))
    for i, char in enumerate(a, 1):
        row = [i]
        for j, other in enumerate(b, 1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (char != other))
            if i > 1 and j > 1 and char == b[j - 2] and a[i - 2] == other:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before, last = last, row
    return last[-1]


def any_of(names: list[str]) -> str:
    """`a`, `a or b`, `a, b or c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
