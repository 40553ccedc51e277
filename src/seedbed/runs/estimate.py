"""Estimates the tokens, steps, disk space and time that a config would take on this machine.

The time is based on a run of similar size that trained on this machine, else on the rate of matmuls that `seedbed doctor`
measured. Only the disk space is certain in advance.
"""

from __future__ import annotations

import math
import time
from typing import Any, NamedTuple

import msgspec

from seedbed.config.arithmetic import flops_per_step
from seedbed.config.check import kept_bytes
from seedbed.config.directories import cache_dir
from seedbed.config.durations import seconds_of
from seedbed.config.frozen import load_frozen
from seedbed.config.roots import TRAIN
from seedbed.config.schema import Config
from seedbed.errors import SeedbedError
from seedbed.files import make_dir, read_json, write_json
from seedbed.runs.costs import Costs
from seedbed.runs.status import hostname, read_state
from seedbed.runs.store import Store
from seedbed.runs.view import View

_NEWEST_RUNS = 40
"""How many of the newest runs are considered. Each costs a file to read, and the machine may have changed since it ran."""
_FEWEST_STEPS = 5
_SHARE = 0.5
"""The share of the plain matmul rate that training reaches: 36 to 42 % with AMX, 75 % with AVX2 alone
(benchmarks/RESULTS.md)."""
_RATES = "matmul.json"
_ALIKE = 4.0
"""Up to this ratio of the work per step of two runs, the speed of one predicts that of the other."""
_MATMULS = "the matmul speed that `seedbed doctor` measured"


class Estimate(NamedTuple):
    """What a training run would take. `tokens`, `steps` and `seconds` are None if unknown.

    `basis` is a text that says what `seconds` is based on.
    """

    tokens: float | None
    steps: int | None
    disk_bytes: int
    seconds: float | None
    basis: str


class _Past(NamedTuple):
    """A run that trained on this machine, and its speed in floating-point operations per second."""

    name: str
    config: Config
    view: View
    flops: float
    flops_per_s: float


def estimate(config: Config, store: Store) -> Estimate:
    """Estimate what training with this config would take (tokens, steps, disk space, time), from earlier runs in `store`."""
    vocabulary = config.tokenizer.vocab_size
    if config.train.time is not None:
        return Estimate(None, None, kept_bytes(config, vocabulary), seconds_of(config.train.time), "as train.time says")
    past = _past(store)
    same_data = next((each for each in past if _same_data(each.config, config)), None)
    recorded: dict[str, Any] = {} if same_data is None else same_data.view.run
    step_tokens = config.train.batch_size * config.model.context
    steps = _steps(config, same_data)
    flops = flops_per_step(config.model, vocabulary, config.train.batch_size)
    rate, basis = _rate(config, flops, [each for each in past if _same_device(each, config)])
    seconds = None
    if steps is not None and rate is not None:
        step_s, everything = flops / rate, int(recorded.get("validation_tokens") or 0)
        planned = {
            "steps": steps,
            "tokens_per_step": step_tokens,
            "eval_every": config.train.eval_every,
            "eval_tokens": min(config.train.eval_tokens or everything, everything),
            "validation_tokens": everything,
        }
        seconds = steps * step_s + Costs().ahead_s(planned, 0, step_s, [], None)
    tokens = None if steps is None else float(steps * step_tokens)
    return Estimate(tokens, steps, kept_bytes(config, vocabulary), seconds, basis)


def remember_matmul_rate(flops_per_s: float, precision: str) -> None:
    """Store the measured rate of plain matmuls in the cache; does nothing if the cache cannot be written."""
    folder = cache_dir()
    try:
        make_dir(folder)
        write_json(
            folder / _RATES,
            {"host": hostname(), "precision": precision, "flops_per_s": flops_per_s, "measured": time.time()},
        )
    except SeedbedError:
        return


def _matmul_rate() -> float | None:
    try:
        kept = read_json(cache_dir() / _RATES)
    except SeedbedError:
        return None
    rate = kept.get("flops_per_s") if isinstance(kept, dict) and kept.get("host") == hostname() else None
    return float(rate) if isinstance(rate, int | float) and rate > 0 else None


def _steps(config: Config, same_data: _Past | None) -> int | None:
    train, context = config.train, config.model.context
    if train.steps is not None:
        return train.steps
    if train.tokens is not None:
        return math.ceil(train.tokens / (train.batch_size * context))
    if train.epochs is None or same_data is None:
        return None
    run = same_data.view.run
    tokens = float(run.get("steps_per_epoch") or 0) * int(run.get("tokens_per_step") or 0)
    return math.ceil(train.epochs * tokens / (train.batch_size * context)) or None


def _rate(config: Config, flops: int, past: list[_Past]) -> tuple[float | None, str]:
    """The floating-point operations per second to assume for training, and a text that says what this rate is based on.

    A run of similar size predicts best. A step of a much smaller model is mostly overhead, so a larger model reaches at
    least the smaller model's rate, and vice versa. In that case the machine's matmul rate may predict better.
    """
    nearest = min(past, key=lambda each: abs(math.log(each.flops / flops)), default=None)
    if nearest is not None and 1 / _ALIKE <= flops / nearest.flops <= _ALIKE:
        return nearest.flops_per_s, f'from the speed of the run "{nearest.name}" on this machine'
    rate = _matmul_rate()
    on_cpu = config.train.device.strip().lower() in ("auto", "cpu")
    if nearest is None:
        if rate is not None and on_cpu:
            return rate * _SHARE, f"roughly, from {_MATMULS}"
        return None, "unknown until a run has trained here, or `seedbed doctor` has measured this machine"
    larger = flops > nearest.flops
    on_cpu = on_cpu and nearest.view.run.get("device") == "cpu"
    if rate is not None and on_cpu and (rate * _SHARE > nearest.flops_per_s) == larger:
        return rate * _SHARE, f"roughly, from {_MATMULS}: no run of similar size has trained here"
    differs = "smaller, so this may take far less" if larger else "larger, so this may take far more"
    return (
        nearest.flops_per_s,
        f'roughly, from the speed of the run "{nearest.name}" here, which is much {differs}',
    )


def _past(store: Store) -> list[_Past]:
    """The newest runs of the store that trained on this machine, newest first."""
    found = []
    try:
        newest = store.all()[-_NEWEST_RUNS:]
    except SeedbedError:  # other checks report a store that cannot be used
        return []
    for run in reversed(newest):
        state = read_state(run)
        if state is None or state.view.session_steps < _FEWEST_STEPS or state.view.run.get("host") != hostname():
            continue
        step_s = state.view.seconds_per_step()
        if step_s is None or state.view.run.get("simulated"):
            continue
        try:
            config = load_frozen(run.config, TRAIN)
        except SeedbedError:
            continue
        flops = flops_per_step(config.model, config.tokenizer.vocab_size, config.train.batch_size)
        found.append(_Past(run.name(), config, state.view, flops, flops / step_s))
    return found


def _same_data(one: Config, other: Config) -> bool:
    """Whether both configs produce the same training tokens; the number of worker processes does not matter."""

    def tokens_of(config: Config) -> tuple[Any, ...]:
        data = msgspec.structs.replace(config.data, workers=0, document_mask=False)
        return data, config.tokenizer, config.base.fingerprint

    return tokens_of(one) == tokens_of(other)


def _same_device(past: _Past, config: Config) -> bool:
    run, train = past.view.run, config.train
    device = train.device.strip().lower() in (run.get("device_asked"), run.get("device"))
    return device and train.precision in ("auto", run.get("precision"))
