"""Read tables of facts: those that Seedbed ships, and the user's files, which add rows and change figures."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from seedbed.config.spelling import did_you_mean, nearest
from seedbed.errors import UsageError
from seedbed.simulate.hardware_facts import Gpu, Network
from seedbed.simulate.shape import Shape
from seedbed.text import quoted

ROWS: dict[str, type[Gpu | Shape | Network]] = {"gpus": Gpu, "models": Shape, "networks": Network}
"""The tables of facts, and what a row of each is decoded to."""

R = TypeVar("R", Gpu, Shape, Network)
T = TypeVar("T")

_SHIPPED = Path(__file__).parent / "facts"
_HINT = "docs/facts.md describes the format."
_SKIPPED = re.compile(r"[\s_\-]+")
_PLACE = re.compile(r" - at `\$\.?(.*?)`$")


def key(name: str) -> str:
    """A name in the form in which names are compared: case, spaces, dashes and underscores make no difference."""
    return _SKIPPED.sub("", name.casefold())


def read_table(table: str, kind: type[R], user_dir: Path | None) -> dict[str, R]:
    """The rows of a table by `key` of their name: the shipped ones, then those of the user's files in order of file names.

    A user's row with the name of an earlier row changes only the figures that it gives. Raises UsageError, which names
    file, row and field, if a file is not as docs/facts.md describes it.
    """
    rows = {key(row.name): row for row in (decoded(each, kind) for each in shipped_rows(table))}
    for path in user_files(user_dir):
        for number, given in enumerate(_rows(_content(path), table, path), 1):
            place = f"{quoted(path)}, {table} row {number}"
            row = _row(given, kind, rows, place)
            rows[key(row.name)] = row
    return rows


class Named(msgspec.Struct, frozen=True):
    """The names of a row."""

    name: str
    aliases: tuple[str, ...] = ()


def shipped_rows(table: str) -> list[msgspec.Raw]:
    """The rows of a table that Seedbed ships, undecoded: a plan needs two of hundreds, and should start at once."""
    content = (_SHIPPED / f"{table}.json").read_bytes()
    return msgspec.json.decode(content, type=dict[str, list[msgspec.Raw]])[table]


def decoded(row: msgspec.Raw, kind: type[T]) -> T:
    """A row of `shipped_rows` as a Gpu, Shape or Network, or only its names (Named)."""
    return msgspec.json.decode(row, type=kind)


def user_files(user_dir: Path | None) -> list[Path]:
    """The user's files of facts in order of their names. Raises UsageError if the folder cannot be read."""
    if user_dir is None:
        return []
    try:
        return sorted(path for path in user_dir.iterdir() if path.suffix in (".json", ".toml"))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise UsageError(
            f"Cannot read the folder {quoted(user_dir)}: {error.strerror}.", "Check its permissions."
        ) from error


def _content(path: Path) -> dict[str, Any]:
    """The tables in a user's file, before their rows are checked."""
    try:
        data = path.read_bytes()
        if path.suffix == ".json":
            content = msgspec.json.decode(data)
        else:
            import tomllib

            content = tomllib.loads(data.decode("utf-8-sig"))
    except OSError as error:
        raise UsageError(f"Cannot read {quoted(path)}: {error.strerror}.", "Check its permissions.") from error
    except (msgspec.DecodeError, ValueError) as error:
        raise UsageError(f"{quoted(path)} is not valid {path.suffix[1:].upper()}: {error}.", _HINT) from error
    if not isinstance(content, dict):
        raise UsageError(f"{quoted(path)} is not a table of tables, but a {type(content).__name__}.", _HINT)
    for table in content:
        if table not in ROWS:
            close = did_you_mean(nearest(table, ROWS))
            raise UsageError(
                f"{quoted(path)} has an unknown table {table!r}.", f"{close}The tables are {', '.join(ROWS)}."
            )
    return content


def _rows(content: dict[str, Any], table: str, path: Path) -> list[Any]:
    rows = content.get(table, [])
    if not isinstance(rows, list):
        example = f"[[{table}]]" if path.suffix == ".toml" else f'"{table}": [{{...}}]'
        raise UsageError(f"{table} in {quoted(path)} is not a list of rows.", f"Write {example}. {_HINT}")
    return rows


def _row(given: Any, kind: type[R], earlier: dict[str, R], place: str) -> R:
    """A row of a user's file, with the figures of the earlier row of the same name where it does not give its own."""
    if not isinstance(given, dict) or not isinstance(given.get("name"), str) or not key(given["name"]):
        raise UsageError(f"{place} has no name.", f'Give it one: name = "My-GPU". {_HINT}')
    place = f"{place} ({given['name']})"
    base = earlier.get(key(given["name"]))
    if base is None:
        owner = next((row for row in earlier.values() if key(given["name"]) in map(key, row.aliases)), None)
        if owner is not None:
            raise UsageError(
                f"{place}: {quoted(given['name'])} is another name of {owner.name}.",
                f'Write name = "{owner.name}" to change that row, or choose a new name.',
            )
    merged = given if base is None else _merged(msgspec.to_builtins(base), given)
    try:
        row = msgspec.convert(merged, kind)
        for problem in _contradictions(row):
            raise UsageError(f"{place}: {problem}.", _HINT)
    except msgspec.ValidationError as error:
        raise _explained(error, kind, place) from error
    return row


def _merged(base: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """The row `base` with the figures of `given`. Its sources go first; aliases are added, not replaced."""
    merged = {**base, **given}
    for field in ("sources", "aliases"):
        if isinstance(given.get(field), list):
            merged[field] = [*given[field], *base[field]]
    if "memory_gib" in given and "usable_gib" not in given:
        merged.pop("usable_gib", None)
    return merged


def _contradictions(row: Gpu | Shape | Network) -> Iterator[str]:
    """What is wrong with the figures of a model's row, taken together."""
    if not isinstance(row, Shape):
        return
    sizes = ("layers", "hidden", "heads", "kv_heads", "head_dim", "vocab", "context")
    yield from (f"{field} must be 1 or more, not {getattr(row, field)}" for field in sizes if getattr(row, field) < 1)
    if row.heads % max(row.kv_heads, 1):
        yield f"heads ({row.heads}) must be a multiple of kv_heads ({row.kv_heads})"
    if row.experts and not (0 < row.top_k <= row.experts and row.moe_ffn > 0):
        yield "a mixture of experts needs top_k from 1 to experts, and moe_ffn"
    if not row.experts and row.ffn < 1:
        yield f"ffn must be 1 or more, not {row.ffn}"


def _explained(error: msgspec.ValidationError, kind: type[R], place: str) -> UsageError:
    """The error for people: which row, which field, what is expected."""
    text = str(error)
    found = _PLACE.search(text)
    field = found[1] if found else ""
    text = _PLACE.sub("", text).replace("`", "'")
    text = text.replace("Object", "the row") if not field else text
    unknown = re.search(r"unknown field '(.*?)'", text)
    fields = [each.name for each in msgspec.structs.fields(kind)]
    close = did_you_mean(nearest(unknown[1], fields)) if unknown and not field else ""
    where = f"{place}, field {field}" if field else place
    return UsageError(f"{where}: {text[:1].lower()}{text[1:]}.", f"{close}{_HINT}")
