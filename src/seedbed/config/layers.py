"""The layers of a config: the values that a preset, a file, `--set` or options give. Higher layers replace lower ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from seedbed.config.keys import alternatives, keys, tables, value_of
from seedbed.config.paths import located
from seedbed.config.preset import preset_values
from seedbed.config.roots import Root, S
from seedbed.config.schema import Table
from seedbed.config.unknown_keys import unknown_key
from seedbed.config.values import convert, shown, typed
from seedbed.errors import UsageError


class Flagged(NamedTuple):
    """A value that the user gave with an option that sets one key. `flag` is the option, such as `--data`, for messages."""

    value: Any
    flag: str


class Layer(NamedTuple):
    """The values that one place (preset, file, `--set` or options) gives, by key path such as `optimizer.lr`, in their types.

    `origins` says for each key path where the value was given, such as `file my.toml`.
    """

    values: dict[str, Any]
    origins: dict[str, str]


def of_tables(values: Mapping[str, Any], origin: str, folder: Path, root: Root[Any]) -> Layer:
    """The layer with the values of parsed TOML. Relative paths start at `folder`.

    Raises UsageError for an unknown key or a wrong type.
    """
    found: dict[str, Any] = {}
    for table, content in values.items():
        if table == "kind" and isinstance(content, str):
            raise UsageError(
                f"kind in {origin} is no key: the command decides the kind of a config, here {root.title}.",
                "Remove it. `seedbed simulate FILE` reads a simulate config; `seedbed config` has the option --kind.",
            )
        if table not in tables(root):
            raise unknown_key(table, content, origin, root)
        if not isinstance(content, dict):
            raise UsageError(
                f"{table} in {origin} is {shown(content)}, but {table} is a table.",
                f"Write [{table}], and its keys on the lines below.",
            )
        for name, value in content.items():
            found[f"{table}.{name}"] = _value(f"{table}.{name}", value, origin, folder, root)
    return _layer(found, dict.fromkeys(found, origin), root)


def of_preset(name: str, root: Root[Any]) -> Layer:
    """The layer with the values of a preset. Raises UsageError if this kind of config has no such preset."""
    return of_tables(preset_values(name, root), f"preset {name}", Path.cwd(), root)


def of_config(config: Table, origin: str, root: Root[Any]) -> Layer:
    """The layer with every value of a config that is not None."""
    values = {path: value for path in keys(root) if (value := value_of(config, path)) is not None}
    return Layer(values, dict.fromkeys(values, origin))


def of_sets(sets: Sequence[str], root: Root[Any], option: str = "--set") -> tuple[str | None, Layer]:
    """The preset that `--set preset=NAME` names (or None), and the layer with the other `--set` values.

    If a key is given twice, its last value counts. `option`: the option with which the user gives these values.
    """
    values: dict[str, Any] = {}
    preset = None
    for item in sets:
        path, equals, raw = item.partition("=")
        path, raw = path.strip(), raw.strip()
        if not equals or not path:
            example = "optimizer.lr=1e-3" if "optimizer.lr" in keys(root) else f"{next(iter(keys(root)))}=VALUE"
            raise UsageError(
                f"{option} {shown(item)} is not of the form table.key=value.", f"Write for example {option} {example}."
            )
        if path == "preset":
            preset = raw
        else:
            values[path] = _value(path, raw, option, Path.cwd(), root, as_text=True)
    return preset, _layer(values, dict.fromkeys(values, option), root)


def of_flags(flags: Mapping[str, Any], root: Root[Any]) -> Layer:
    """The layer of options that set one key each, given as key path -> value or `Flagged`. None values are omitted."""
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for path, given in flags.items():
        value, flag = given if isinstance(given, Flagged) else (given, "--" + path.rpartition(".")[2].replace("_", "-"))
        if value is not None:
            values[path] = _value(path, value, flag, Path.cwd(), root, as_text=isinstance(value, str))
            origins[path] = flag
    return _layer(values, origins, root)


def merge(layers: Sequence[Layer], root: Root[Any]) -> Layer:
    """Merge layers: later layers replace the values of earlier ones.

    If only one of several keys may be given, such as train.steps and train.epochs, the last one replaces the others.
    """
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for layer in layers:
        for path in layer.values:
            for other in alternatives(path, root):
                values.pop(other, None)
                origins.pop(other, None)
        values |= layer.values
        origins |= layer.origins
    return Layer(values, origins)


def build(values: Mapping[str, Any], preset: str, root: Root[S]) -> S:
    """The config with these values (by key path, such as `optimizer.lr`), and the schema's defaults for other keys."""
    by_table: dict[str, dict[str, Any]] = {table: {} for table in tables(root)}
    for path, value in values.items():
        table, _, name = path.partition(".")
        by_table[table][name] = value
    built: dict[str, Any] = {table: struct(**by_table[table]) for table, struct in tables(root).items()}
    return root.schema(**built, **({"preset": preset} if root.presets else {}))


def _value(path: str, value: Any, origin: str, folder: Path, root: Root[Any], *, as_text: bool = False) -> Any:
    """The value for the key `path`, checked and converted to its type. `as_text`: it was typed on the command line."""
    key = keys(root).get(path)
    if key is None:
        raise unknown_key(path, value, origin, root)
    return located(key, convert(key, typed(key, value) if as_text else value, origin), folder)


def _layer(values: dict[str, Any], origins: dict[str, str], root: Root[Any]) -> Layer:
    """A layer of these values. Raises UsageError if it sets two keys of which only one may be given."""
    for path in values:
        both = [other for other in alternatives(path, root) if other in values]
        if len(both) > 1:
            where = " and ".join(dict.fromkeys(origins[other] for other in both))
            decides = keys(root)[path].decides
            raise UsageError(
                f"{' and '.join(both)} are both given ({where}).", f"Each sets {decides}: give only one of them."
            )
    return Layer(values, origins)
