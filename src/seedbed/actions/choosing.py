"""Asks what size `train --for` would choose on this machine. The measuring runs in a child process."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from seedbed.actions.checks import refuse_unusable_data
from seedbed.actions.models import child
from seedbed.config.chosen import Chosen
from seedbed.config.frozen import dump
from seedbed.config.resolving import Resolved
from seedbed.config.schema import Config
from seedbed.errors import SeedbedError, UsageError


class SizePlan(NamedTuple):
    """What `train --for` would train. `config` is the whole config; `prepared_s`: seconds that preparing the text took."""

    config: Config
    chosen: Chosen
    prepared_s: float


def choose_size(wanted: Resolved[Config], on_line: Callable[[dict[str, Any]], object] | None = None) -> SizePlan:
    """Measure this machine and choose the size for the time of a config with `train.size` = auto. Makes no run.

    The text is prepared in the cache, where a run finds it. `on_line` is called with lines such as {"progress": DATA_EVENT} or
    {"message": MESSAGE_EVENT} while it works. Raises UsageError for a config that has no time or a given size, SeedbedError
    if the text or the time does not suffice.
    """
    config = wanted.config
    if config.train.time is None:
        raise UsageError("The config has no time for which a size could be chosen.", "Give one: --for 20m.")
    if config.train.size != "auto":
        raise UsageError(
            "The size of the model is given, so there is nothing to choose.",
            "Leave out --preset, --like and the keys of the model's size, or set train.size=auto.",
        )
    refuse_unusable_data(config)
    answer: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="seedbed-") as folder:
        path = Path(folder) / "config.toml"
        path.write_text(dump(config), encoding="utf-8")
        with child("choose", {"config": str(path)}) as answers:
            for line in answers:
                if "chosen" in line:
                    answer = line
                elif on_line is not None:
                    on_line(line)
    if not answer:
        raise SeedbedError("The choice ended without a result.", "Try again; if it repeats, run `seedbed doctor`.")
    return SizePlan(
        msgspec.convert(answer["config"], Config), msgspec.convert(answer["chosen"], Chosen), answer["prepared_s"]
    )
