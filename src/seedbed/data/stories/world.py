"""The words of the story world and which of them fit together.

A *key* is a slot of a sentence, such as ``A`` (the hero's name), ``O.n`` (the noun of the main thing) or
``O.adj``. Each key has a domain: the words that can stand in the slot. If its *parent* key is known, only some of
them fit: a kite may be red but not ripe. The tables are in ``world/*.toml``.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "world"

PRONOUNS = {
    "f": {"he": "she", "him": "her", "his": "her"},
    "m": {"he": "he", "him": "him", "his": "his"},
    "n": {"he": "it", "him": "it", "his": "its"},
}
"""The pronouns of each gender (f, m, n); each is named after the masculine form, so `his` of f is her."""

GENDERS = {"f": "female", "m": "male", "n": "neither"}
"""What messages call each gender."""

TWINS = {"B": "A", "D": "S"}
"""Roles that use the word tables of another role; the friend (B) uses those of the hero (A), for example."""


@dataclass
class World:
    """The words of the stories: for each key (slot of a sentence), its possible words, and which of them fit together.

    ``domains[key]`` has every value of a key, ``parents[key]`` is the key that it depends on, and
    ``options[key][value of the parent]`` has the values that fit. ``tagged[role][tag]`` has the nouns of one kind of thing,
    or the names of one kind of character. ``genders`` has the gender of each name and relative.
    """

    domains: dict[str, tuple[str, ...]] = field(default_factory=dict)
    parents: dict[str, str] = field(default_factory=dict)
    options: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)
    tagged: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)
    genders: dict[str, str] = field(default_factory=dict)

    def root(self, key: str) -> bool:
        """Whether ``key`` depends on no other key."""
        return key not in self.parents

    def fits(self, key: str, value: str, parent_value: str) -> bool:
        """Whether the word ``value`` fits if the key's parent has ``parent_value``, such as red for kite.

        Any word fits a parent value that is not in the tables.
        """
        options = self.options[key].get(parent_value)
        return options is None or value in options


def article(word: str) -> str:
    """``a`` or ``an`` for a word, by its first letter (a test verifies that this is right for every word of the stories)."""
    return "an" if word[:1] in "aeiouAEIOU" else "a"


def read(name: str) -> dict[str, Any]:
    """Read one data file of the story world (TOML), by its name, such as `names.toml`."""
    return tomllib.loads((FOLDER / name).read_text(encoding="utf-8"))


@cache
def slot_name(key: str) -> str:
    """What messages call a slot: `the place` for ``P.n``, `the place's adjective` for ``P.adj``."""
    names = read("slots.toml")
    role, _, attribute = key.partition(".")
    shown = names["attributes"].get(attribute, attribute)
    return str(names["roles"][role]) + (f"'s {shown}" if shown else "")


@cache
def load() -> World:
    """The words of the stories, read from their data files at the first call."""
    world = World()
    _add_people(world, read("names.toml"))
    classes = {name: words.split() for name, words in read("classes.toml").items()}
    for name in ("places.toml", "objects.toml", "life.toml"):
        for table in read(name)["table"]:
            _add_table(world, table, classes)
    for twin, role in TWINS.items():
        for key in [k for k in world.domains if k.startswith(role + ".") and k != "A.kind"]:
            copy = twin + key[len(role) :]
            world.domains[copy] = world.domains[key]
            if key in world.parents:
                parent = world.parents[key]
                world.parents[copy] = twin + parent[len(role) :] if parent.startswith(role + ".") else parent
                world.options[copy] = world.options[key]
    return world


def _merge(old: tuple[str, ...], new: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*old, *new]))


def _extend(world: World, key: str, parent: str | None, parent_value: str, values: list[str]) -> None:
    world.domains[key] = _merge(world.domains.get(key, ()), values)
    if parent is not None:
        world.parents[key] = parent
        options = world.options.setdefault(key, {})
        options[parent_value] = _merge(options.get(parent_value, ()), values)


def _add_people(world: World, data: dict[str, Any]) -> None:
    for role, group in (("A", "hero"), ("B", "friend")):
        for tag, gender in (("girl", "f"), ("boy", "m"), ("she_animal", "f"), ("he_animal", "m")):
            names = data[f"{group}_{tag}"].split()
            world.tagged.setdefault(role, {})[tag] = tuple(names)
            for name in names:
                world.genders[name] = gender
                _extend(world, role, None, "", [name])
                _extend(world, f"{role}.kind", role, name, data["kind"].split() if tag.endswith("animal") else [tag])
    _extend(world, "A.trait", None, "", data["trait"].split())
    for gender, pronoun in (("f", "she"), ("m", "he")):
        for noun in data["kin"][pronoun].split():
            _extend(world, "K.n", None, "", [noun])
            world.genders[noun] = gender


def _add_table(world: World, table: dict[str, Any], classes: dict[str, list[str]]) -> None:
    role, outer = table["role"], table.get("parent")
    columns = [c.strip() for c in table["columns"].split("|")]
    rows = [[cell.strip() for cell in row.split("|")] for row in table["rows"].strip().splitlines()]
    # A table with a parent begins with a column of the parent's values; otherwise the first column is the root.
    first = outer or f"{role}.{columns[0]}"
    for row in rows:
        cells = dict(zip([first, *(columns if outer else columns[1:])], row, strict=True))
        plain = {name.split("<")[0].rstrip("*"): cell for name, cell in cells.items()}
        if not outer:
            _extend(world, first, None, "", [row[0]])
        for column, cell in list(cells.items())[1:]:
            name, _, over = column.partition("<")
            values = [w for c in cell.split() for w in classes[c]] if name.endswith("*") else cell.split("/")
            key, parent = f"{role}.{name.rstrip('*')}", f"{role}.{over}" if over else first
            if parent == first:
                _extend(world, key, parent, row[0], values)
            else:
                # Alternatives of a column and of its parent column correspond by position.
                for parent_value, value in zip(plain[over].split("/"), values, strict=True):
                    _extend(world, key, parent, parent_value, [value])
    nouns = [row[0] for row in rows]
    if not outer:
        tags = world.tagged.setdefault(role, {})
        tags[table.get("tag", "")] = _merge(tags.get(table.get("tag", ""), ()), nouns)
    for spot in table.get("spots", "").strip().splitlines():
        preposition, noun = (part.strip() for part in spot.split("|"))
        for place in nouns:
            _extend(world, "S.n", "P.n", place, [noun])
        _extend(world, "S.prep", "S.n", noun, [preposition])
