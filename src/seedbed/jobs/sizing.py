"""Chooses the size of a model for a time budget: times a few real training steps of two to four sizes, and predicts losses.

The choice is written into the run's config, so that a resume and `--like` repeat it.
"""

from __future__ import annotations

import gc
import math
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from msgspec.structs import replace

from seedbed.config.arithmetic import count_parameters, memory_estimate
from seedbed.config.chosen import Chosen, Option
from seedbed.config.durations import seconds_of
from seedbed.config.ladder import RUNGS, shaped, sized
from seedbed.config.scaling import Candidate, best, candidates, law_for
from seedbed.config.schema import BaseConfig, Config, ModelConfig
from seedbed.config.timed import with_kept
from seedbed.data.shards import Dataset
from seedbed.errors import SeedbedError
from seedbed.jobs.assembling import assemble
from seedbed.train.device import Device, free_memory_bytes

_MEASURED_SHARE, _MEASURED_S, _MEASURED_LONG_SHARE = 0.06, 24.0, 0.01
"""Timing steps takes at most the first share of the time. In long runs it takes at most so many seconds, or the second share if
that is more."""
_MOST_SIZES = 4
_LARGEST_JUMP = 3
"""A size is measured at most so many rungs above the largest that was."""
_NEAR = 0.03
"""A larger size is measured, too, if its predicted loss is at most so much above the lowest."""
_FIRST_RUNG = 1
_THREADS_RUNG, _THREADS_S, _HOPELESS = 2, 1.0, 4.0
"""The size with which one CPU thread is compared with all, for so many seconds each; a first step that takes so many times
as long with all threads settles it."""
_BASE_TOKENS = 1024
"""Tokens of a step in that comparison for a base: its large vocabulary makes a usual batch take seconds."""
_FEWEST_STEPS, _MOST_STEPS = 2, 40
_CLOSING_SHARE = 0.05
_CLOSING_S = 3.0
"""The share of the time, and the seconds beside it, that validations, samples and the last save are expected to take."""
_MEMORY_SHARE = 0.6
_EVALS, _EVAL_SHARE = 10, 0.02
"""Validations in a run, and the share of the training time that they may take."""
_SAVE_S = 300.0
"""Checkpoints are at most so many seconds apart; short runs have three."""
_BUSY_LOAD = 1.5
"""With a load of so many waiting programs per thread, one thread is taken without a comparison, which could take long."""

Check = Callable[[], None]


class Sizing(NamedTuple):
    """The config with the chosen size, and the choice as data."""

    config: Config
    chosen: Chosen


def choose(
    config: Config, dataset: Dataset, device: Device, precision: str, *, used_s: Callable[[], float], check: Check
) -> Sizing:
    """Choose the size for `config.train.time` on this machine, for prepared data.

    `used_s` returns how much of the time is already over; `check` is called between steps and may raise. Raises
    SeedbedError if too little time is left to train.
    """
    assert config.train.time is not None
    time_s = seconds_of(config.train.time)
    threads = take_fastest_threads(config, dataset, device, precision, check)
    if threads == 1:
        config = replace(config, train=replace(config.train, threads=1))
    speeds: dict[int, float] = {}
    rungs = _rungs_in_memory(config, dataset, device, precision)
    budget_s = min(_MEASURED_SHARE * time_s, max(_MEASURED_S, _MEASURED_LONG_SHARE * time_s))
    law = law_for(config.data.source)
    bytes_per_token = dataset.validation.bytes_per_token
    begun, rung, tokens = time.monotonic(), min(_FIRST_RUNG, rungs - 1), 0.0
    while True:
        trial = _trial_config(config, rung, tokens)
        speeds[rung] = _speed(trial, dataset, device, precision, budget_s / _MOST_SIZES, check)
        spent_s = time.monotonic() - begun
        useful_s = (time_s - used_s()) * (1 - _CLOSING_SHARE) - _CLOSING_S
        found = candidates(
            config.model,
            speeds,
            law=law,
            vocab_size=dataset.tokenizer.vocab_size,
            useful_s=useful_s,
            unique_tokens=dataset.train.num_tokens,
            bytes_per_token=bytes_per_token,
            rungs=rungs,
        )
        chosen = best(found)
        following = _next_to_measure(chosen.rung, speeds, [each.loss for each in found])
        enough = spent_s > budget_s * (1 - 1 / _MOST_SIZES) and not (len(speeds) == 1 and chosen.rung < rung)
        if following is None or len(speeds) >= _MOST_SIZES or enough:
            break
        rung, tokens = following, found[following].tokens
    if useful_s <= 0.2 * time_s:
        raise SeedbedError(
            f"Preparing the text took so long that only {max(useful_s, 0):.0f} of {time_s:.0f} seconds are left to train.",
            "Start it again: the prepared text is kept, so all of the time is then left. Or give a longer time.",
        )
    final = _settled(config, chosen, time_s)
    return Sizing(
        final, _as_data(final, dataset, chosen, found, speeds, threads, time_s, time_s - used_s(), bytes_per_token)
    )


def _next_to_measure(chosen: int, speeds: Mapping[int, float], losses: Sequence[float]) -> int | None:
    """The rung to measure next: the chosen one, one beside it so that two are measured, and a larger one that may be best.

    `losses` has the predicted loss of each rung. The speeds of larger rungs are estimated cautiously, so one whose loss is near
    the lowest may in truth be better. None if enough are measured.
    """
    wanted = min(chosen, max(speeds) + _LARGEST_JUMP)
    if wanted not in speeds:
        return wanted
    larger = chosen + 1 if chosen + 1 < len(losses) else None
    if larger is not None and larger not in speeds and losses[larger] <= losses[chosen] * (1 + _NEAR):
        return larger
    if len(speeds) > 1:
        return None
    beside = chosen - 1 if larger is None else larger
    return beside if beside >= 0 else None


def _trial_config(config: Config, rung: int, tokens: float = 0.0) -> Config:
    """The config for timing steps of a size, with the batch size of a run of about `tokens` training tokens."""
    if config.base.model is not None:  # only its window and its vocabulary matter here
        scratch = replace(config, base=BaseConfig(), model=ModelConfig(context=config.model.context))
        found = sized(scratch, rung, tokens)
        few = min(found.train.batch_size, max(_BASE_TOKENS // config.model.context, 1))
        return replace(found, train=replace(found.train, batch_size=few, micro_batch=0))
    return with_kept(sized(config, rung, tokens), config)


def _rungs_in_memory(config: Config, dataset: Dataset, device: Device, precision: str) -> int:
    """The number of sizes whose training fits into a part of the free memory."""
    free = _MEMORY_SHARE * free_memory_bytes(device)
    vocab_size = dataset.tokenizer.vocab_size
    fitting = (
        rung
        for rung in range(len(RUNGS))
        if memory_estimate(_trial_config(config, rung), vocab_size, precision, on_gpu=device.kind != "cpu").total > free
    )
    return max(next(fitting, len(RUNGS)), 1)


def _speed(
    config: Config,
    dataset: Dataset,
    device: Device,
    precision: str,
    most_s: float,
    check: Check,
    hopeless_s: float = math.inf,
) -> float:
    """Tokens per second of real training steps: the median of those that fit into `most_s` seconds, after a first one.

    Ends at once if a step takes longer than `hopeless_s` seconds.
    """
    parts = assemble(config, dataset, device, precision)
    begun, durations, tokens = time.monotonic(), [], config.train.batch_size * config.model.context
    for step in range(_MOST_STEPS):
        check()
        batch, started = parts.batches.batch(step), time.monotonic()  # type: ignore[attr-defined]
        parts.trainer.step(batch, 0.1)
        durations.append(time.monotonic() - started)
        if durations[-1] > hopeless_s:
            return tokens / durations[-1]
        if len(durations) > _FEWEST_STEPS and time.monotonic() - begun > most_s:
            break
    del parts
    gc.collect()
    return tokens / statistics.median(durations[1:])


def take_fastest_threads(config: Config, dataset: Dataset, device: Device, precision: str, check: Check) -> int:
    """Set torch to one CPU thread if that is faster than all, as on a machine with other work (see docs/log.md).

    Returns the number of threads; 0 if they were not compared, because the config sets them or there is no choice.
    """
    every = torch.get_num_threads()
    if device.torch_device.type != "cpu" or config.train.threads or every == 1:
        return 0
    torch.set_num_threads(1)
    if os.getloadavg()[0] > _BUSY_LOAD * every:
        return 1
    trial = _trial_config(config, _THREADS_RUNG)
    tokens = trial.train.batch_size * trial.model.context
    alone = _speed(trial, dataset, device, precision, _THREADS_S, check)
    torch.set_num_threads(every)
    together = _speed(trial, dataset, device, precision, _THREADS_S, check, _HOPELESS * tokens / alone)
    if together < alone:
        torch.set_num_threads(1)
    return torch.get_num_threads()


def _settled(config: Config, chosen: Candidate, time_s: float) -> Config:
    """The config that the run is to train with: the chosen size, and how often to validate and save."""
    final = sized(config, chosen.rung, chosen.tokens)
    step_tokens = final.train.batch_size * final.model.context
    steps = max(chosen.tokens / step_tokens, 1.0)
    step_s = time_s / steps
    eval_tokens = 3 * _EVAL_SHARE * chosen.tokens / _EVALS
    train = replace(
        final.train,
        eval_every=max(round(steps / _EVALS), 10),
        eval_tokens=int(min(max(eval_tokens, 10_000), 200_000)),
        checkpoint_every=max(round(min(steps / 3, _SAVE_S / step_s)), 10),
    )
    final = with_kept(replace(final, train=train), config)
    return replace(final, train=replace(final.train, size="given", keep=()))


def _as_data(
    final: Config,
    dataset: Dataset,
    chosen: Candidate,
    found: list[Candidate],
    speeds: dict[int, float],
    threads: int,
    time_s: float,
    left_s: float,
    bytes_per_token: float,
) -> Chosen:
    vocab_size = dataset.tokenizer.vocab_size

    def option(each: Candidate) -> Option:
        rung = RUNGS[each.rung]
        return Option(
            layers=rung.layers,
            hidden=rung.hidden,
            parameters=count_parameters(shaped(final.model, rung), vocab_size),
            tokens_per_s=each.tokens_per_s,
            measured=each.rung in speeds,
            tokens=each.tokens,
            loss=each.loss,
        )

    return Chosen(
        time_s=time_s,
        left_s=left_s,
        layers=final.model.layers,
        hidden=final.model.hidden,
        parameters=count_parameters(final.model, vocab_size),
        vocab_size=vocab_size,
        batch_size=final.train.batch_size,
        context=final.model.context,
        threads=threads,
        tokens=chosen.tokens,
        unique_tokens=dataset.train.num_tokens,
        loss=chosen.loss,
        bits_per_byte=chosen.loss / math.log(2) / bytes_per_token,
        options=tuple(option(each) for each in found),
    )
