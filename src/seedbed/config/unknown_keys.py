"""Errors for unknown keys and tables of a config, which suggest the key that was probably meant."""

from __future__ import annotations

from typing import Any

from seedbed.config.keys import keys, tables
from seedbed.config.roots import ROOTS, TRAIN, Root
from seedbed.config.spelling import FARTHEST, any_of, best, did_you_mean, edits, farthest, nearest
from seedbed.config.synonyms import SYNONYMS, meant
from seedbed.config.values import shown
from seedbed.errors import UsageError


def nearest_keys(path: str, root: Root[Any]) -> list[str]:
    """The keys, at most three, that the user may have meant by the unknown `path` (`table.key` or `key`), best first.

    Recognises a correct key in a wrong table, a misspelt key, and the name of a key in another program.
    """
    known = keys(root)
    table, _, name = path.rpartition(".")
    elsewhere = meant(path, known)
    if elsewhere is not None:
        slip = [key.path for key in known.values() if key.table == table and edits(name.lower(), key.name) == 1]
        return list(dict.fromkeys([elsewhere, *slip]))[:3]
    limit = farthest(name)
    scores = {}
    for key in known.values():
        if abs(len(name) - len(key.name)) > limit:
            continue
        slips = edits(name.lower(), key.name)
        if slips <= limit:
            astray = 0.0 if key.table == table or not table else 0.5 if edits(table, key.table) <= 2 else 0.75
            scores[key.path] = slips + astray
    found = best(scores, limit + 1)
    if not found and len(name) > FARTHEST:
        slips_by = {other: float(edits(name.lower(), other)) for other in SYNONYMS if meant(other, known)}
        found = [own for other in best(slips_by, len(name) // 4) if (own := meant(other, known))]
    return list(dict.fromkeys(found))[:3]


def unknown_key(path: str, value: Any, origin: str, root: Root[Any]) -> UsageError:
    """The error for a key or table that this kind of config does not have, with what was probably meant.

    `value` is the value given for the key, or a dict for a table of a file.
    """
    known = list(tables(root))
    if path in known:
        return UsageError(
            f"{path} ({origin}) is a table, not a key.",
            f"Give one of its keys, such as --set {path}.{tables(root)[path].__struct_fields__[0]}=VALUE.",
        )
    place = f"in {origin}" if origin.startswith(("file", "preset")) else f"({origin})"
    if isinstance(value, dict) and "." not in path:
        close = [f"[{table}]" for table in nearest(path, known)]
        if not close and value:
            close = nearest_keys(f"{path}.{next(iter(value))}", root)
        problem = _of_another_kind(f"[{path}]", path, place, root) or f"Unknown table [{path}] in {origin}."
        return UsageError(problem, f"{did_you_mean(close)}The tables are {', '.join(known)}.")
    problem = _of_another_kind(path, path, place, root) or f"Unknown key {shown(path)} {place}."
    return UsageError(problem, f"{did_you_mean(nearest_keys(path, root))}`{_explains(root)}` explains every key.")


def other_owners(path: str, root: Root[Any]) -> list[str]:
    """The titles, such as `a train config`, of the other kinds of config that have the key or table `path`."""
    others = [other for other in ROOTS.values() if other.name != root.name]
    return [other.title for other in others if path in keys(other) or path in tables(other)]


def _of_another_kind(called: str, path: str, place: str, root: Root[Any]) -> str:
    """The sentence that says which other kinds of config have a key or table; "" if none has it."""
    owners = other_owners(path, root)
    return f"{called} {place} belongs to {any_of(owners)}, not to {root.title}." if owners else ""


def _explains(root: Root[Any]) -> str:
    return "seedbed config keys" + ("" if root.name == TRAIN.name else f" --kind {root.name}")
