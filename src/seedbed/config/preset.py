"""The presets of a kind of config: their names, descriptions and values."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from seedbed.config.roots import Root
from seedbed.config.spelling import any_of, did_you_mean, nearest
from seedbed.config.values import shown
from seedbed.errors import UsageError

_FOLDER = Path(__file__).parent / "presets"


@cache
def preset_names(root: Root[Any]) -> list[str]:
    """Names of the presets of a kind of config (`root`), smallest model first; empty if it has none."""
    if not root.presets:
        return []
    names = [path.stem for path in (_FOLDER / root.presets).glob("*.toml")]
    return sorted(names, key=lambda name: (preset_about(name, root).get("parameters", 0), name))


def preset_about(name: str, root: Root[Any]) -> dict[str, Any]:
    """The table `about` in a preset's file: description, parameters, hardware, expected_time, why_optimizer."""
    about = _read(name, root)["about"]
    assert isinstance(about, dict)
    return about


def preset_values(name: str, root: Root[Any]) -> dict[str, Any]:
    """The tables of config values in a preset. Raises UsageError if this kind of config has no such preset."""
    values = _read(name, root)
    values.pop("about")
    values.pop("rows", None)
    return values


def preset_row_context(name: str, root: Root[Any]) -> int | None:
    """The context that a preset has for datasets of rows, in its table `rows`; None if it has none.

    Raises UsageError if this kind of config has no such preset.
    """
    context = _read(name, root).get("rows", {}).get("context")
    return int(context) if context is not None else None


def _read(name: str, root: Root[Any]) -> dict[str, Any]:
    path = _FOLDER / root.presets / f"{name}.toml"
    if "/" not in name and path.is_file():
        return tomllib.loads(path.read_text(encoding="utf-8"))
    names = preset_names(root)
    if name == "custom":
        raise UsageError(
            "'custom' is not a preset: a config is called custom if its values differ from its preset's.",
            f"Start from {any_of(names)}, and set keys in a file or with --set TABLE.KEY=VALUE.",
        )
    own = "To use your own file, give it without --preset. " if name.endswith(".toml") else ""
    raise UsageError(
        f"There is no preset {shown(name)}.",
        f"{did_you_mean(nearest(name, names))}{own}The presets are {', '.join(names)}.",
    )
