"""What is wanted, layer on layer: preset, file, --set, flags; frozen at the end, each value with its origin.

Refuses to know what is here (hardware) and what a value is used for. The only reader of the environment.
"""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from seedbed import text
from seedbed.config.environment import env as env
from seedbed.config.keys import Key, any_of, keys, nearest, nearest_keys, tables
from seedbed.config.rules import refuse_nonsense
from seedbed.config.schema import Config
from seedbed.config.source import is_prepared, parse_address
from seedbed.errors import SeedbedError, UsageError
from seedbed.files import expand_home

CACHE_HINT = "Set SEEDBED_CACHE to a folder that can be written, such as: export SEEDBED_CACHE=/tmp/seedbed-cache"
DEFAULT_PRESET = "nano"
HORIZONS = ("train.steps", "train.epochs", "train.tokens")
PATH_KEYS = ("data.path", "data.validation_path", "tokenizer.path")
_PRESETS = Path(__file__).parent / "presets"
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+-]+:")


class Resolved(NamedTuple):
    """A config and where each value came from: `optimizer.lr` -> `preset nano`, `file my.toml`, `--set`, `--lr`."""

    config: Config
    origins: dict[str, str]


class Flagged(NamedTuple):
    """A value given by a named flag; `flag` is how the user wrote it, such as `--data`."""

    value: Any
    flag: str


class _Layer(NamedTuple):
    """Values of one layer by key path, already of the right types; `origins` says where each was written."""

    values: dict[str, Any]
    origins: dict[str, str]


def cache_dir() -> Path:
    """Where prepared data and compiled kernels are kept: SEEDBED_CACHE, or the platform's user cache. Absolute.

    Raises SeedbedError where neither is known: in a container the user may have no home directory.
    """
    named = env("SEEDBED_CACHE")
    if named:
        return expand_home(named).absolute()
    import platformdirs

    try:
        found = Path(platformdirs.user_cache_dir("seedbed", appauthor=False))
    except RuntimeError:
        found = Path()
    if not found.is_absolute():  # older versions leave the ~ in
        raise SeedbedError(
            "There is no folder to keep prepared data in: HOME is not set, and the system knows no home directory of user"
            f" {os.getuid()}.",
            CACHE_HINT,
        )
    return found


def compiled_dir() -> Path:
    """Where compiled kernels are kept: TORCHINDUCTOR_CACHE_DIR, or `compiled` in the cache folder. Absolute."""
    named = env("TORCHINDUCTOR_CACHE_DIR")
    return Path(named).absolute() if named else cache_dir() / "compiled"


def keep_compiled() -> None:
    """Have torch keep what it compiles there, and not in a folder of /tmp that all programs share; before it compiles."""
    with suppress(SeedbedError):  # without a home directory nothing is compiled
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(compiled_dir())


def resolve(
    *,
    preset: str | None = None,
    file: Path | None = None,
    sets: Sequence[str] = (),
    flags: Mapping[str, Any] | None = None,
    base: Config | None = None,
) -> Resolved:
    """The config of a run: preset < file < `--set` < flags.

    `flags` maps key paths (`train.epochs`) to values or to `Flagged` values; None values are left out.
    `base`, the config of an earlier run, stands in for the preset layer. Relative paths of a file are taken from its
    folder, all others from the working directory. Raises UsageError, naming key, place and what was expected.
    """
    name, name_origin = preset, "--preset"
    layers: list[_Layer] = []
    file_values: dict[str, Any] = {}
    if file is not None:
        file_values = _read_toml(file)
        named = file_values.pop("preset", None)
        if named is not None and not isinstance(named, str):
            raise UsageError(
                f'preset in "{file}" is {_show(named)}, not a name.', f"Name one of {', '.join(preset_names())}."
            )
        if name is None and named is not None:
            name, name_origin = named, f"file {file}"
        layers.append(_layer_of_tables(file_values, f"file {file}", file.absolute().parent))
    set_name, set_layer = _layer_of_sets(sets)
    if preset is None and set_name is not None:
        name, name_origin = set_name, "--set"
    layers += [set_layer, _layer_of_flags(flags or {})]
    if base is not None and name is not None:
        raise UsageError(
            f'Both preset "{name}" ({name_origin}) and an earlier run are named as the start.',
            "Give either the preset or the run; single values can be changed with --set.",
        )
    if base is not None:
        layers.insert(0, _layer_of_config(base, "the earlier run"))
        name, name_origin = base.preset, "the earlier run"
    else:
        name, name_origin = name or DEFAULT_PRESET, name_origin if name else "default"
        layers.insert(0, _layer_of_preset(name))
    values, origins = _merge(layers)
    origins = {"preset": name_origin} | {path: origins.get(path, "default") for path in keys()}
    config = _build(name, values)
    refuse_nonsense(config, origins)
    return Resolved(config, origins)


def load_frozen(path: Path) -> Config:
    """The resolved config that a run keeps. Raises UsageError where it was edited into nonsense."""
    values = _read_toml(path)
    preset = values.pop("preset", DEFAULT_PRESET)
    layer = _layer_of_tables(values, f"file {path}", path.absolute().parent)
    config = _build(str(preset), layer.values)
    refuse_nonsense(config, layer.origins)
    return config


def dump(config: Config, origins: Mapping[str, str] | None = None) -> str:
    """The config as TOML that `load_frozen` reads back to an equal one; `origins` become comments."""
    lines = [("preset = " + toml(config.preset), "preset")]
    for table in tables():
        lines += [("", ""), (f"[{table}]", "")]
        held = getattr(config, table)
        for name in held.__struct_fields__:
            value = getattr(held, name)
            if value is not None:
                lines.append((f"{name} = {toml(value)}", f"{table}.{name}"))
    if origins is None:
        return "\n".join(line for line, _ in lines) + "\n"
    width = min(48, max(len(line) for line, path in lines if path))
    shown = [
        f"{line:<{width}}  # {text.printable(origins[path])}" if origins.get(path) else line for line, path in lines
    ]
    return "\n".join(shown) + "\n"


@cache
def preset_names() -> list[str]:
    """Names of the presets, smallest model first."""
    names = [path.stem for path in _PRESETS.glob("*.toml")]
    return sorted(names, key=lambda name: (preset_about(name)["parameters"], name))


def preset_about(name: str) -> dict[str, Any]:
    """What a preset says of itself: description, parameters, hardware, expected_time, why_optimizer."""
    about = _read_preset(name)["about"]
    assert isinstance(about, dict)
    return about


def _read_preset(name: str) -> dict[str, Any]:
    path = _PRESETS / f"{name}.toml"
    if "/" in name or not path.is_file():
        names = preset_names()
        if name == "custom":
            raise UsageError(
                "There is no preset 'custom': a custom model is a preset with values of your own.",
                f"Start from {any_of(names)} and override keys, here or in a file: --set model.layers=6.",
            )
        close = nearest(name, names)
        meant = f"Did you mean {any_of(close)}? " if close else ""
        own = "For a file of your own: seedbed train FILE. " if name.endswith(".toml") else ""
        raise UsageError(f"There is no preset {_show(name)}.", f"{meant}{own}The presets are {', '.join(names)}.")
    return tomllib.loads(path.read_text(encoding="utf-8"))


def _layer_of_preset(name: str) -> _Layer:
    values = dict(_read_preset(name))
    values.pop("about")
    return _layer_of_tables(values, f"preset {name}", Path.cwd())


def _layer_of_config(config: Config, origin: str) -> _Layer:
    values = {path: getattr(getattr(config, key.table), key.name) for path, key in keys().items()}
    values = {path: value for path, value in values.items() if value is not None}
    return _Layer(values, dict.fromkeys(values, origin))


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        presets = preset_names()
        hint = f"For the preset: --preset {path.name}." if path.name in presets else "Check the path."
        raise UsageError(f'There is no config file "{path}".', hint) from None
    except IsADirectoryError:
        hint = (
            f"To train on the text in it: --data {shlex.quote(f'text:{path}')}. For a config, name the TOML file in it."
        )
        raise UsageError(f'"{path}" is a folder, not a config file.', hint) from None
    except OSError as error:
        raise UsageError(f'Cannot read "{path}": {error.strerror}.', "Check its permissions.") from error
    except UnicodeDecodeError as error:
        raise UsageError(
            f'"{path}" is not UTF-8 text ({error.reason} at byte {error.start}).', "Save it as UTF-8."
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(
            f'"{path}" is not valid TOML: {error}.', "Texts need quotes; tables look like [optimizer]."
        ) from error


def _layer_of_tables(values: Mapping[str, Any], origin: str, folder: Path) -> _Layer:
    """A layer out of parsed TOML: every table and key known, every type right, paths made absolute from `folder`."""
    found: dict[str, Any] = {}
    for table, held in values.items():
        if table not in tables():
            raise _unknown(table, held, origin)
        if not isinstance(held, dict):
            raise UsageError(
                f"{table} in {origin} is {_show(held)}, but {table} is a table.", f"Write [{table}] and its keys below."
            )
        for name, value in held.items():
            path = f"{table}.{name}"
            if path not in keys():
                raise _unknown(path, value, origin)
            found[path] = located(_convert(keys()[path], value, origin), path, folder)
    _one_horizon(found, origin)
    return _Layer(found, dict.fromkeys(found, origin))


def _layer_of_sets(sets: Sequence[str]) -> tuple[str | None, _Layer]:
    """The `--set` layer, and the preset if one of them named it. The last of two equal keys counts."""
    values: dict[str, Any] = {}
    preset = None
    for item in sets:
        path, equals, raw = item.partition("=")
        path, raw = path.strip(), raw.strip()
        if not equals or not path:
            raise UsageError(
                f"--set {_show(item)} is not of the form table.key=value.", "For example --set optimizer.lr=1e-3."
            )
        if path == "preset":
            preset = raw
            continue
        if path not in keys():
            raise _unknown(path, raw, "--set")
        values[path] = located(_convert(keys()[path], _typed(keys()[path], raw), "--set"), path, Path.cwd())
    _one_horizon(values, "--set")
    return preset, _Layer(values, dict.fromkeys(values, "--set"))


def _layer_of_flags(flags: Mapping[str, Any]) -> _Layer:
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for path, given in flags.items():
        value, flag = given if isinstance(given, Flagged) else (given, "--" + path.rpartition(".")[2].replace("_", "-"))
        if value is None:
            continue
        if path not in keys():
            raise _unknown(path, value, flag)
        typed = _typed(keys()[path], value) if isinstance(value, str) else value
        values[path] = located(_convert(keys()[path], typed, flag), path, Path.cwd())
        origins[path] = flag
    _one_horizon(values, " and ".join(origins[path] for path in HORIZONS if path in values))
    return _Layer(values, origins)


def _typed(key: Key, raw: str) -> Any:
    """A value typed on the command line: by the key's type where it fits, else the text itself."""
    if key.base is bool:
        return {"true": True, "false": False}.get(raw, raw)
    if key.base in (int, float):
        try:
            return int(raw) if key.base is int else float(raw)
        except ValueError:
            try:
                return float(raw)
            except ValueError:
                return raw
    if raw[:1] in ('"', "'", "["):
        try:
            value = tomllib.loads(f"value = {raw}")["value"]
        except tomllib.TOMLDecodeError:
            value = raw
        raw = value
    return [raw] if key.base is tuple and isinstance(raw, str) else raw


def _convert(key: Key, value: Any, origin: str) -> Any:
    """`value` as the key's type, or UsageError. Whole numbers may be written 1e6."""
    plain = value
    if key.base is int and isinstance(value, float) and value.is_integer():
        plain = int(value)
    if isinstance(value, str) and key.base is str and not is_utf_8(value):
        raise UsageError(
            f"{key.path} ({origin}) is {text.quoted(value)}, which is not UTF-8, as a config has to be.",
            "Rename the file or folder, name it through a link that has a plain name, or type the text again.",
        )
    try:
        converted = msgspec.convert(plain, key.annotation)
    except msgspec.ValidationError:
        converted = None
    huge = isinstance(converted, int) and converted >= 2**63
    if converted is None or huge or (isinstance(converted, float) and not math.isfinite(converted)):
        number = (
            " In a file, numbers, true and false stand without quotes."
            if isinstance(value, str) and key.base is not str and origin.startswith("file")
            else ""
        )
        close = nearest(value, key.choices) if isinstance(value, str) else []
        meant = f"Did you mean {any_of(close)}? " if close else ""
        raise UsageError(
            f"{key.path} ({origin}) is {_show(value)}; expected {key.expected}.",
            f"{meant}{key.path}: {key.help}{number}",
        )
    return converted


def is_utf_8(value: str) -> bool:
    """Whether a text can be written as UTF-8: not so where it holds bytes of a file name that is not."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _unknown(path: str, value: Any, origin: str) -> UsageError:
    """The error for a key or table that does not exist, naming what was probably meant."""
    known = list(tables())
    if path in known:
        return UsageError(
            f"{path} ({origin}) is a table, not a key.",
            f"Give one of its keys, such as --set {path}.{next(iter(_fields(path)))}=VALUE.",
        )
    if "." in path and path.partition(".")[0] in known:
        close = nearest_keys(path)
    elif isinstance(value, dict):
        close = [f"[{table}]" for table in nearest(path, known)]
        if not close and value:
            close = nearest_keys(f"{path}.{next(iter(value))}")
        return UsageError(
            f"Unknown table [{path}] in {origin}.",
            (f"Did you mean {any_of(close)}? " if close else "") + f"The tables are {', '.join(known)}.",
        )
    else:
        close = nearest_keys(path)
    place = f"in {origin}" if origin.startswith(("file", "preset")) else f"({origin})"
    meant = f"Did you mean {any_of(close)}? " if close else ""
    return UsageError(f"Unknown key {_show(path)} {place}.", f"{meant}`seedbed config keys` explains every key.")


def _fields(table: str) -> tuple[str, ...]:
    return tables()[table].__struct_fields__


def _one_horizon(values: Mapping[str, Any], origin: str) -> None:
    named = [path for path in HORIZONS if path in values]
    if len(named) > 1:
        raise UsageError(
            f"{' and '.join(named)} are both given ({origin}).", "Each says how long to train: keep one of them."
        )


def _merge(layers: Sequence[_Layer]) -> tuple[dict[str, Any], dict[str, str]]:
    """Higher layers over lower ones; a horizon replaces whichever horizon stood below."""
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for layer in layers:
        if any(path in layer.values for path in HORIZONS):
            for path in HORIZONS:
                values.pop(path, None)
                origins.pop(path, None)
        values |= layer.values
        origins |= layer.origins
    return values, origins


def _build(preset: str, values: Mapping[str, Any]) -> Config:
    held: dict[str, dict[str, Any]] = {table: {} for table in tables()}
    for path, value in values.items():
        table, _, name = path.partition(".")
        held[table][name] = value
    built: dict[str, Any] = {table: struct(**held[table]) for table, struct in tables().items()}
    return Config(preset=preset, **built)


def located(value: Any, path: str, folder: Path) -> Any:
    """Make what is a path absolute: `~` expands, relative ones start at `folder`. Everything else stays."""
    if path in PATH_KEYS:
        return _absolute(value, folder) if value else value
    if path != "data.source":
        return value
    scheme = _SCHEME.match(value)
    if scheme:
        rest = value[scheme.end() :]
        if scheme[0] == "hf:" and rest:
            return scheme[0] + _located_dataset(rest, folder)
        return scheme[0] + _absolute(rest, folder) if scheme[0] == "text:" and rest else value
    if "/" in value or value.startswith(("~", ".")) or is_prepared(value, folder):
        return _absolute(value, folder)
    return value


def _located_dataset(rest: str, folder: Path) -> str:
    """A dataset's address with the path of a local folder made absolute; on the Hub it stays."""
    address = parse_address(rest, folder)
    if address.folder is None:
        return rest
    return _absolute(address.name, folder) + rest[len(address.name) :]


def _absolute(path: str, folder: Path) -> str:
    absolute = os.path.normpath(folder / expand_home(path))
    if not is_utf_8(absolute):
        raise UsageError(
            f"{text.quoted(path)} stands for {text.quoted(absolute)}, which is not UTF-8, as a config has to be.",
            "Rename the folder, or name the path in full through a link that has a plain name.",
        )
    return absolute


def toml(value: Any) -> str:
    """One TOML value on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml(item) for item in value) + "]"
    return repr(value)


def _show(value: Any) -> str:
    """A value as the user may have written it, short and safe to print."""
    if isinstance(value, dict):
        return "a table"
    return text.shorten(
        text.printable(toml(value) if isinstance(value, str | bool | list | int | float) else str(value)), 60
    )
