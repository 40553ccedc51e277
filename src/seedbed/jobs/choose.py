"""Says what size `train --for` would choose: prepares the text, times training steps, and writes JSON lines to stdout."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from seedbed.config.directories import cache_dir
from seedbed.config.durations import seconds_of
from seedbed.config.frozen import load_frozen
from seedbed.config.roots import TRAIN
from seedbed.config.timed import for_time
from seedbed.data.build import build_dataset
from seedbed.data.interruption import never_stop
from seedbed.events import Data, Event, Message
from seedbed.jobs.answering import answer_request, write_line
from seedbed.jobs.settling import text_bytes
from seedbed.jobs.sizing import choose
from seedbed.train.device import decide_device

_START_S = 5.0
"""Seconds from the command to the moment when a run begins to measure, with prepared text; on two CPU cores."""


class ChooseRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The path of a config file whose `train.time` is set and whose `train.size` is auto."""

    config: str


def main(arguments: Sequence[str]) -> int:
    """Answer the request on stdin; returns the exit status.

    Writes lines with `progress` (a data event) or `message`, then one with `config` and `chosen` (config.chosen.Chosen).
    """
    return answer_request(ChooseRequest, answer)


def answer(request: ChooseRequest) -> None:
    """Choose the size, and write progress and the result. Raises SeedbedError if the text cannot be used."""
    began = time.monotonic()
    config = load_frozen(Path(request.config), TRAIN)
    assert config.train.time is not None
    device, precision = decide_device(config.train, _nothing_recorded, _emit)
    fast = device.multiplies_fast(precision)
    ready = for_time(config, seconds_of(config.train.time), text_bytes(config.data), fast=fast)
    dataset = build_dataset(ready.data, ready.tokenizer, cache=cache_dir(), emit=_emit, context=ready.model.context)
    prepared_s = time.monotonic() - began
    # The text stays in the cache, so a run that starts now spends no time on it: only its start and the measuring count.
    sizing = choose(
        ready,
        dataset,
        device,
        precision,
        used_s=lambda: _START_S + time.monotonic() - began - prepared_s,
        check=never_stop,
    )
    write_line(
        {
            "config": msgspec.to_builtins(sizing.config),
            "chosen": msgspec.to_builtins(sizing.chosen),
            "prepared_s": prepared_s,
        }
    )


def _emit(event: Event, t: float | None = None) -> None:
    if isinstance(event, Data):
        write_line({"progress": msgspec.to_builtins(event)})
    elif isinstance(event, Message):
        write_line({"message": msgspec.to_builtins(event)})


def _nothing_recorded(_name: str, _device_type: str) -> None:
    return None
