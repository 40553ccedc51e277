"""Resolve a config: merge preset, file, `--set` and options, check the result, and record the origin of each value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple

from seedbed.config.base_model import FROM, KEY, OpenBase, Wanted, fitted, merged_with, open_folder, wanted_base
from seedbed.config.keys import keys
from seedbed.config.layers import Layer, build, merge, of_config, of_flags, of_preset, of_sets, of_tables
from seedbed.config.preset import preset_names, preset_row_context
from seedbed.config.roots import Root, S
from seedbed.config.row_context import with_row_context
from seedbed.config.rules import check_values
from seedbed.config.timed import AUTO, with_size
from seedbed.config.toml_file import read_toml
from seedbed.config.values import shown
from seedbed.errors import UsageError


class Resolved(NamedTuple, Generic[S]):
    """A config, and where each of its values came from, such as `optimizer.lr` -> `preset nano`, `file my.toml` or `--lr`."""

    config: S
    origins: dict[str, str]


def resolve(
    root: Root[S],
    *,
    preset: str | None = None,
    file: Path | None = None,
    sets: Sequence[str] = (),
    flags: Mapping[str, Any] | None = None,
    base: S | None = None,
    sets_option: str = "--set",
    open_base: OpenBase = open_folder,
) -> Resolved[S]:
    """Make a config of the kind `root` from a preset, a file, `--set` and options; later ones replace earlier values.

    A kind of config without presets starts from its defaults. `base`, the config of an earlier run, replaces the preset.
    `flags` are the options: key paths (`train.epochs`) -> values or `Flagged` values; None values are omitted. Relative
    paths in a file start at its folder, all others at the working directory. `sets_option`: the option that gives `sets`.
    If `base.model` is given, the values of that model replace the preset; `open_base` finds it.

    Raises UsageError, which names the key, where it was given and the expected value.
    """
    file_preset, file_layer = (None, Layer({}, {})) if file is None else _of_file(file, root)
    set_preset, set_layer = of_sets(sets, root, sets_option)
    named = [(preset, "--preset"), (set_preset, sets_option), (file_preset, f"file {file}")]
    name, name_origin = next(((each, origin) for each, origin in named if each is not None), (None, "default"))
    if name is not None and not root.presets:
        raise UsageError(
            f"{name_origin} gives the preset {shown(name)}, but {root.title} has no presets.", "Remove the preset."
        )
    if base is not None and name is not None:
        raise UsageError(
            f"Both the preset {shown(name)} ({name_origin}) and an earlier run are given as the start.",
            "Give only one of them. You can change single values with --set.",
        )
    layers = [file_layer, set_layer, of_flags(flags or {}, root)]
    earlier = of_config(base, "the earlier run", root) if base is not None else None
    wanted = wanted_base(layers if earlier is None else [earlier, *layers])
    if wanted is not None:
        if name not in (None, FROM):
            raise UsageError(
                f"Both the preset {shown(name)} ({name_origin}) and a base model ({wanted.origin}) are given as the start.",
                "Give only one of them: a base has its own shape and defaults. You can change single values with --set.",
            )
        return _resolve_from(wanted, layers, earlier, open_base, root)
    if name == FROM and root.presets:
        raise UsageError(
            f"{KEY} is missing: a config with preset = {shown(FROM)} trains on from a model.",
            f"Set {KEY}, or name a preset: {', '.join(preset_names(root))}.",
        )
    if base is not None:
        lowest = of_config(base, "the earlier run", root)
        name, name_origin = getattr(base, "preset", ""), "the earlier run"
    else:
        name = name or root.default_preset
        start_name = root.default_preset if name == AUTO and root.default_preset else name
        lowest = _of_start(start_name, root)
        if root.presets:
            lowest = with_row_context(lowest, layers, preset_row_context(start_name, root))
    merged = merge([lowest, *layers], root)
    start = None if name_origin == "default" else AUTO if name == AUTO and base is None else name or "the earlier run"
    values, origins = with_size(merged, lowest, start, name_origin, root)
    if values.get("train.size") == AUTO and name_origin == "default":
        name, name_origin = AUTO, "train.time"
    origins = {path: origins.get(path, "default") for path in keys(root)}
    if root.presets:
        origins = {"preset": name_origin} | origins
    config = build(values, name, root)
    check_values(config, origins, root, is_new=True)
    return Resolved(config, origins)


def _resolve_from(
    wanted: Wanted, layers: Sequence[Layer], earlier: Layer | None, open_base: OpenBase, root: Root[S]
) -> Resolved[S]:
    """Make a config that starts from a trained model; see `resolve`. `layers` are those of file, `--set` and options."""
    if earlier is not None and KEY not in earlier.values:
        raise UsageError(
            "The earlier run was trained from scratch, so its learning rates do not suit a trained model.",
            "Leave out --like. To use the text of that run again, give it with --data.",
        )
    base = open_base(wanted.reference)
    merged = merged_with(base, wanted, earlier, layers, root)
    built: Any = build(merged.values, FROM, root)
    config: Any = fitted(built, merged.origins, base)  # a root with `base.model` is a train config
    origins = {path: merged.origins.get(path, "default") for path in keys(root)}
    origins = {"preset": wanted.origin} | origins
    check_values(config, origins, root, is_new=True)
    return Resolved(config, origins)


def defaults(root: Root[S], preset: str | None = None) -> S:
    """The config of a preset (by default the root's default preset), or the schema's defaults without presets. Unchecked.

    Raises UsageError if this kind of config has no such preset.
    """
    name = preset or root.default_preset
    if name and not root.presets:
        raise UsageError(f"There is no preset {shown(name)}: {root.title} has no presets.", "Remove the preset.")
    return build(_of_start(name, root).values, name, root)


def _of_start(name: str, root: Root[Any]) -> Layer:
    return of_preset(name, root) if root.presets else Layer({}, {})


def _of_file(file: Path, root: Root[Any]) -> tuple[str | None, Layer]:
    """The preset that a config file names (or None), and the layer with the values of its tables."""
    values = read_toml(file, root)
    named = values.pop("preset", None)
    if named is not None and not isinstance(named, str):
        raise UsageError(
            f'preset in "{file}" is {shown(named)}, not a name.', f"Use one of {', '.join(preset_names(root))}."
        )
    return named, of_tables(values, f"file {file}", file.absolute().parent, root)
