"""Every key of a config: its type and bounds in words, its help, and what its field declares about it.

Does not track where values come from or what they are used for.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import msgspec

from seedbed.config.roots import Root
from seedbed.config.schema import Table

_NOUNS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", tuple: "a list of texts"}
_BOUNDS = (("ge", "at least"), ("gt", "above"), ("le", "at most"), ("lt", "below"))


class Key(NamedTuple):
    """All about one key of a config, such as `optimizer.lr` (its `path`): type, bounds, default and help.

    `base` is int, float, bool, str or tuple; `choices` are the allowed texts (empty: any). `bounds` are those of new configs; a
    stored one may have a smaller value if the field declares `least`, since earlier versions accepted it.
    """

    path: str
    table: str
    name: str
    annotation: Any
    base: type
    choices: tuple[str, ...]
    bounds: tuple[tuple[str, float], ...]
    default: Any
    help: str
    refers_to: str
    """What the key's text refers to: `path`, `source` (a data source) or `device`; "" for any other key."""
    decides: str
    """What the key sets, such as `how long to train`, if other keys set it, too, and only one may be given; else ""."""
    if_unset: str = ""
    """What applies if the key has no value, such as `no limit`; "" if the key always has one, or if nothing does."""
    was_unset: Any = None
    """The value that frozen configs of earlier versions have if the key has no value; None if they have no such value."""

    @property
    def expected(self) -> str:
        """What a value of the key must be, in words, such as `a number, at least 0`."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        words = dict(_BOUNDS)
        limits = [f"{words[name]} {limit:,.15g}" if limit < 2**62 else "" for name, limit in self.bounds]
        return ", ".join([_NOUNS[self.base], " and ".join(filter(None, limits))]).removesuffix(", ")


def tables(root: Root[Any]) -> dict[str, type[Table]]:
    """The tables of a kind of config (`root`) by name, such as `optimizer`, in their order."""
    schema: type[Table] = root.schema
    return tables_of(schema)


def keys(root: Root[Any]) -> dict[str, Key]:
    """Every key of a kind of config (`root`) by its path, such as `optimizer.lr`, in the order of the schema."""
    schema: type[Table] = root.schema
    return _keys_of(schema)


def alternatives(path: str, root: Root[Any]) -> tuple[str, ...]:
    """The keys of which only one may be given, if `path` is among them: train.epochs, train.steps, ...; else empty."""
    known = keys(root)
    decided = known[path].decides
    return tuple(key.path for key in known.values() if key.decides == decided) if decided else ()


def value_of(config: Table, path: str) -> Any:
    """The value of a config's key, such as `optimizer.lr`."""
    table, _, name = path.partition(".")
    return getattr(getattr(config, table), name)


@cache
def tables_of(schema: type[Table]) -> dict[str, type[Table]]:
    """The tables of a schema (the class of a kind of config) by name, in their order."""
    hints = get_type_hints(schema)
    return {name: hint for name, hint in hints.items() if isinstance(hint, type) and issubclass(hint, Table)}


@cache
def _keys_of(schema: type[Table]) -> dict[str, Key]:
    found = {}
    for table, struct in tables_of(schema).items():
        hints = get_type_hints(struct, include_extras=True)
        for field in msgspec.structs.fields(struct):
            path = f"{table}.{field.name}"
            found[path] = _key(path, table, field.name, hints[field.name], field.default)
    return found


def _key(path: str, table: str, name: str, annotation: Any, default: Any) -> Key:
    base, choices, metas = _unwrap(annotation)
    bounds = {bound: limit for meta in metas for bound, _ in _BOUNDS if (limit := getattr(meta, bound)) is not None}
    descriptions = [meta.description for meta in metas if meta.description]
    extra = {fact: value for meta in metas for fact, value in (meta.extra or {}).items()}
    if "least" in extra:
        bounds["ge"] = extra["least"]
    return Key(
        path,
        table,
        name,
        annotation,
        base,
        choices,
        tuple(bounds.items()),
        default,
        " ".join(descriptions),
        extra.get("refers_to", ""),
        extra.get("decides", ""),
        extra.get("if_unset", ""),
        extra.get("was_unset"),
    )


def _unwrap(annotation: Any) -> tuple[type, tuple[str, ...], list[msgspec.Meta]]:
    """The parts of a field's annotation: its bare type, the choices of a Literal, and every Meta, outermost first."""
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
