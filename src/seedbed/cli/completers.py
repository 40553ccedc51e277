"""Shell completion of option values. Each completer returns the values that begin with the typed prefix."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seedbed.cli.parser import complete_run
from seedbed.errors import SeedbedError

if TYPE_CHECKING:
    from seedbed.config.roots import Root
    from seedbed.runs.store import RunDir

_MAX_PATHS = 200


def attach(parser: argparse.ArgumentParser) -> None:
    """Give each option of a parser and of its subcommands the function in `_COMPLETERS` that completes its value."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in {id(each): each for each in action.choices.values()}.values():
                attach(each)
            continue
        for option in action.option_strings:
            if option in _COMPLETERS and not hasattr(action, "completer"):
                action.completer = _COMPLETERS[option]  # type: ignore[attr-defined]


def presets(prefix: str, parsed_args: argparse.Namespace | None = None, **_: Any) -> list[str]:
    """The names of presets that begin with `prefix`."""
    from seedbed.config.preset import preset_names

    return _starting_with(preset_names(_root(parsed_args)), prefix)


def sources(prefix: str, **_: Any) -> list[str]:
    """The forms of a data source that begin with `prefix`, such as `text:`; after `text:`, files and folders."""
    from seedbed.config.source import FORMS

    scheme, colon, rest = prefix.partition(":")
    if colon and scheme == "text":
        return [f"text:{path}" for path in paths(rest)]
    starts = [form.partition(":")[0] + (":" if ":" in form else "") for form in FORMS.values()]
    return _starting_with(starts, prefix) + (paths(prefix) if "/" in prefix else [])


def settings(prefix: str, parsed_args: argparse.Namespace | None = None, **_: Any) -> list[str]:
    """The settings `KEY=VALUE` (for the option --set) that begin with `prefix`.

    Before the `=`: config keys, each followed by `=`. After the `=`: the values that the key may have, or its default.
    """
    from seedbed.config.keys import keys, value_of
    from seedbed.config.resolving import defaults
    from seedbed.config.values import toml_value

    root = _root(parsed_args)
    known = keys(root)
    name, equals, value = prefix.partition("=")
    if not equals:
        return _starting_with([*(f"{path}=" for path in known), *(["preset="] if root.presets else [])], prefix)
    if name == "preset":
        return [f"{name}={each}" for each in presets(value, parsed_args)]
    key = known.get(name)
    if key is None:
        return []
    if key.refers_to in _REFERENTS:
        return [f"{name}={each}" for each in _REFERENTS[key.refers_to](value)]
    values = [*key.choices] or (["true", "false"] if key.base is bool else [])
    if not values:
        default = value_of(defaults(root), name)
        values = [] if default in (None, "", ()) else [toml_value(default).strip('"')]
    return [f"{name}={each}" for each in _starting_with(values, value)]


def checkpoints(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """The ways to name a checkpoint that begin with `prefix`: `latest`, `best`, and the steps of the run's checkpoints.

    If the command line names no run, the checkpoints are those of the newest run that has one.
    """
    from seedbed.cli.store_option import store
    from seedbed.runs.checkpoints import checkpoints as on_disk
    from seedbed.runs.status import current_status

    def steps_of(run: RunDir) -> list[str]:
        return [str(each.step) for each in on_disk(run, current_status(run).view)]

    try:
        place = store(getattr(parsed_args, "runs", None))
        steps = steps_of(place.find(getattr(parsed_args, "ref", None), fits=lambda run: bool(steps_of(run))))
    except SeedbedError:
        steps = []
    return _starting_with(["latest", "best", *steps], prefix)


def devices(prefix: str, **_: Any) -> list[str]:
    """The names of devices, such as `cpu` or `cuda`, that begin with `prefix`."""
    return _starting_with(["auto", "cpu", "cuda", "gpu", "mps"], prefix)


def precisions(prefix: str, **_: Any) -> list[str]:
    """The values of the config key `train.precision` that begin with `prefix`."""
    from seedbed.config.keys import keys
    from seedbed.config.roots import TRAIN

    return _starting_with(keys(TRAIN)["train.precision"].choices, prefix)


def tags(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """The tags of existing runs that begin with `prefix`."""
    from seedbed.cli.store_option import store
    from seedbed.runs.labels import read_labels

    found = {tag for run in store(getattr(parsed_args, "runs", None)).all() for tag in read_labels(run).tags}
    return _starting_with(sorted(found), prefix)


def statuses(prefix: str, **_: Any) -> list[str]:
    """The possible completions of `prefix`, a list of statuses separated by commas: its last word is completed."""
    from seedbed.runs.statuses import SHOWN

    before, comma, last = prefix.rpartition(",")
    return [before + comma + each for each in _starting_with(SHOWN, last)]


def paths(prefix: str) -> list[str]:
    """The files and folders whose path begins with `prefix`, at most 200. A folder ends with a slash; a `~` is kept.

    Hidden files and folders are included only if `prefix` ends with the beginning of a name.
    """
    folder, slash, start = prefix.rpartition("/")
    try:
        entries = sorted(Path(folder + slash or ".").expanduser().iterdir())
    except (OSError, RuntimeError):
        return []
    shown = [each for each in entries if each.name.startswith(start) and (start or not each.name.startswith("."))]
    return [folder + slash + each.name + ("/" if each.is_dir() else "") for each in shown[:_MAX_PATHS]]


def _root(parsed_args: argparse.Namespace | None) -> Root[Any]:
    """The kind of config that the option --kind names; the train config if the command has no such option."""
    from seedbed.config.roots import ROOTS, TRAIN

    return ROOTS.get(getattr(parsed_args, "kind", TRAIN.name), TRAIN)


def _starting_with(words: Iterable[str], prefix: str) -> list[str]:
    return [word for word in words if word.startswith(prefix)]


_REFERENTS: dict[str, Callable[[str], list[str]]] = {
    "path": paths,
    "model": paths,
    "source": sources,
    "device": devices,
}
"""What the value of a config key refers to (`Key.refers_to`) -> the function that completes the value."""
_COMPLETERS: dict[str, Callable[..., list[str]]] = {
    "--preset": presets,
    "--data": sources,
    "--set": settings,
    "--rehearse-set": settings,
    "--checkpoint": checkpoints,
    "--from": checkpoints,
    "--device": devices,
    "--precision": precisions,
    "--tag": tags,
    "--remove": tags,
    "--status": statuses,
    "--like": complete_run,
    "--after": complete_run,
}
"""Option -> the function that completes its value."""
