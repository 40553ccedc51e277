"""The config stored in a run: written as TOML when the run is created, and read back to an equal config."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seedbed import text
from seedbed.config.keys import keys, tables_of
from seedbed.config.layers import build, of_tables
from seedbed.config.roots import Root, S
from seedbed.config.rules import check_values
from seedbed.config.schema import Table
from seedbed.config.toml_file import read_toml
from seedbed.config.values import toml_value

_WIDEST = 48
"""Comments begin in the column after this one, unless a value is longer."""


def load_frozen(path: Path, root: Root[S]) -> S:
    """Read the config stored in a run's folder. `root` is the kind of config, which the file does not tell.

    Values with which earlier versions said that a key is not set (`Key.was_unset`) are left out. Raises UsageError if the file
    cannot be read, or if it was edited and is now invalid.
    """
    values = read_toml(path, root)
    preset = str(values.pop("preset", root.default_preset)) if root.presets else ""
    layer = of_tables(_without_unset(values, root), f"file {path}", path.absolute().parent, root)
    config = build(layer.values, preset, root)
    check_values(config, layer.origins, root)
    return config


def _without_unset(values: Mapping[str, Any], root: Root[S]) -> dict[str, Any]:
    """The tables of a frozen config without the values with which earlier versions said that a key is not set."""
    unset = {(key.table, key.name): key.was_unset for key in keys(root).values() if key.was_unset is not None}
    return {
        table: {name: value for name, value in content.items() if unset.get((table, name)) != value}
        if isinstance(content, dict)
        else content
        for table, content in values.items()
    }


def recorded_origins(path: Path) -> dict[str, str]:
    """The origins that `dump` wrote as comments into a config file, by key path; empty if it cannot be read."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    found, table = {}, ""
    for line in lines:
        if line.startswith("["):
            table = line.strip("[]")
            continue
        name, _, rest = line.partition(" = ")
        _, mark, origin = rest.rpartition("  # ")
        if mark:
            found[f"{table}.{name}" if table else name] = origin
    return found


def dump(config: Table, origins: Mapping[str, str] | None = None) -> str:
    """The config as TOML that `load_frozen` reads back to an equal config.

    `origins` (where each value came from, such as `optimizer.lr` -> `preset nano`) become comments.
    """
    lines = []
    if hasattr(config, "preset"):
        lines.append((f"preset = {toml_value(config.preset)}", "preset"))
    for table in tables_of(type(config)):
        struct = getattr(config, table)
        if all(getattr(struct, name) is None for name in struct.__struct_fields__):
            continue
        lines += [("", ""), (f"[{table}]", "")]
        for name in struct.__struct_fields__:
            value = getattr(struct, name)
            if value is not None:
                lines.append((f"{name} = {toml_value(value)}", f"{table}.{name}"))
    if origins is None:
        return "\n".join(line for line, _ in lines) + "\n"
    width = min(_WIDEST, max(len(line) for line, path in lines if path))
    shown = [
        f"{line:<{width}}  # {text.printable(origins[path])}" if origins.get(path) else line for line, path in lines
    ]
    return "\n".join(shown) + "\n"
