"""Rules between keys: values that are each allowed but contradict each other are refused before any work.

A rule belongs to the tables whose keys it compares, so it applies to every root that has these tables.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from itertools import chain

from seedbed.config.arithmetic import nearest_divisors
from seedbed.config.device_names import device_problems
from seedbed.config.durations import FORM, seconds_of, short
from seedbed.config.keys import keys, tables, value_of
from seedbed.config.roots import Contradiction, Root, S
from seedbed.config.schema import (
    MOST_STEPS,
    SHORTEST_CONTEXT,
    BaseConfig,
    DataConfig,
    ModelConfig,
    ScheduleConfig,
    Table,
    TrainConfig,
)
from seedbed.config.shape import shape_problems
from seedbed.config.timed import SHAPE_KEYS
from seedbed.errors import UsageError

SHORTEST_S = 30.0
"""The shortest train.time, in seconds: the start, the data and the last save take about 10 s of it on two CPU cores."""
LONGEST_S = 365 * 86400.0


def check_values(config: S, origins: Mapping[str, str], root: Root[S], *, is_new: bool = False) -> None:
    """Raise UsageError for the first contradiction between values, with where they were given and what to set.

    A new config (`is_new`), unlike one stored in a run, is also checked for a misspelt device and for a window without
    context: earlier versions accepted any.
    """
    problems = _contradictions(config, root)
    if is_new:
        named = [key.path for key in keys(root).values() if key.refers_to == "device"]
        problems = chain(problems, *(device_problems(value_of(config, path), path) for path in named))
        if hasattr(config, "train") and (model := getattr(config, "model", None)) is not None:
            problems = chain(problems, _of_window(model))
    for problem, hint, paths in problems:
        values = [f"{_assigned(config, path, root)} ({origins.get(path, 'default')})" for path in paths]
        raise UsageError(": ".join(filter(None, (problem, ", ".join(values)))) + ".", hint)


def _assigned(config: S, path: str, root: Root[S]) -> str:
    """A key and its value for a message, such as `train.steps = 5`; without a value, what applies instead."""
    value = value_of(config, path)
    if value is not None:
        return f"{path} = {value}"
    applies = keys(root)[path].if_unset
    return f"{path} = {applies}" if applies else f"{path} is not set"


def _contradictions(config: S, root: Root[S]) -> Iterator[Contradiction]:
    present = {struct: getattr(config, table) for table, struct in tables(root).items()}
    for needed, rules in _RULES:
        if all(struct in present for struct in needed):
            yield from rules(*(present[struct] for struct in needed))
    yield from root.rules(config)


def _is_encoding(name: str) -> bool:
    """Whether `name` is a text encoding of Python, such as latin-1. base64 and rot13 are codecs, but do not decode text."""
    try:
        io.TextIOWrapper(io.BytesIO(), encoding=name)
    except (LookupError, ValueError):
        return False
    return name.lower() not in ("idna", "punycode", "undefined", "unicode_escape", "raw_unicode_escape")


def _of_data(data: DataConfig) -> Iterator[Contradiction]:
    if data.encoding and not _is_encoding(data.encoding):
        yield Contradiction(
            "Python has no text encoding with this name",
            "Set data.encoding to an encoding such as cp1252, latin-1, utf-16, gb18030, shift_jis or koi8-r.",
            ("data.encoding",),
        )
    if data.validation_path and not data.source.startswith("text:"):
        yield Contradiction(
            "A validation file can only be used with text:PATH",
            "Remove data.validation_path, or set data.source=text:PATH.",
            ("data.source", "data.validation_path"),
        )


def _of_window(model: ModelConfig) -> Iterator[Contradiction]:
    """Yield a contradiction for a training window in which attention sees no earlier token, so that it learns nothing."""
    if model.context < SHORTEST_CONTEXT:
        yield Contradiction(
            "A training window of 1 token has no context, so each token would be predicted from the one before it alone",
            f"Set model.context to {SHORTEST_CONTEXT} or more, such as 256.",
            ("model.context",),
        )


def _of_train(train: TrainConfig) -> Iterator[Contradiction]:
    if train.micro_batch and train.batch_size % train.micro_batch:
        yield Contradiction(
            "micro_batch must divide batch_size",
            f"Set train.micro_batch to {nearest_divisors(train.batch_size, train.micro_batch)}.",
            ("train.batch_size", "train.micro_batch"),
        )
    if train.steps is None and train.epochs is None and train.tokens is None and train.time is None:
        hint = "Set train.steps, train.epochs, train.tokens or train.time."
        yield Contradiction("The length of the run is not set", hint, ())
    yield from _of_time(train)
    if train.early_stop and not train.eval_every:
        yield Contradiction(
            "Early stopping needs validations during the run",
            "Set train.eval_every, or train.early_stop=0.",
            ("train.early_stop", "train.eval_every"),
        )


def _of_time(train: TrainConfig) -> Iterator[Contradiction]:
    if train.time is None:
        if train.size == "auto":
            yield Contradiction(
                "The size is to be chosen for a time, but no time is set",
                "Set train.time, such as 20m.",
                ("train.size",),
            )
        return
    shape = tuple(path for path in train.keep if path in SHAPE_KEYS) if train.size == "auto" else ()
    if shape:
        yield Contradiction(
            "The model's size is given, although it is to be chosen for the time",
            f"Remove {' and '.join(shape)}, or set train.size to given.",
            ("train.size", *shape),
        )
    try:
        time_s = seconds_of(train.time)
    except ValueError as error:
        yield Contradiction(str(error), FORM, ("train.time",))
        return
    if time_s < SHORTEST_S:
        yield Contradiction(
            f"The time is too short: starting, preparing and saving take most of it. The shortest is {short(SHORTEST_S)}",
            f"Set train.time to {short(SHORTEST_S)} or more, or train.steps for a shorter run.",
            ("train.time",),
        )
    if time_s > LONGEST_S:
        yield Contradiction(
            f"The time is too long. The longest is {short(LONGEST_S)}", "Set a shorter train.time.", ("train.time",)
        )


def _of_base(base: BaseConfig, train: TrainConfig) -> Iterator[Contradiction]:
    if base.model is None and (base.folder is not None or base.fingerprint is not None):
        yield Contradiction(
            "The table base has no model", "Set base.model, or remove the table.", ("base.folder", "base.fingerprint")
        )
    if base.model is not None and not base.model.strip():
        yield Contradiction("The base model is empty", "Give a model folder, hub:NAME or RUN[@STEP].", ("base.model",))
    if base.model is not None and train.size == "auto":
        yield Contradiction(
            "The size is to be chosen for the time, but a base has its own size",
            "Remove train.size, or train from scratch, without base.model.",
            ("train.size", "base.model"),
        )


def _of_timed_schedule(train: TrainConfig, schedule: ScheduleConfig) -> Iterator[Contradiction]:
    if train.time is not None and schedule.kind not in ("wsd", "constant"):
        yield Contradiction(
            "With train.time the number of steps is not known at the start, which this schedule needs",
            "Set schedule.kind to wsd, or give train.steps instead of train.time.",
            ("train.time", "schedule.kind"),
        )


def _of_schedule(schedule: ScheduleConfig) -> Iterator[Contradiction]:
    if schedule.kind == "wsd" and schedule.warmup + schedule.decay > 1 + 1e-9:
        yield Contradiction(
            "Warm-up and decay together are longer than the run",
            "They are fractions of the run. Set them so that their sum is at most 1.",
            ("schedule.warmup", "schedule.decay"),
        )


def _of_length(train: TrainConfig, model: ModelConfig) -> Iterator[Contradiction]:
    if train.tokens is not None and train.tokens > MOST_STEPS * train.batch_size * model.context:
        yield Contradiction(
            f"The run would take more than {MOST_STEPS:,} steps",
            "Set a smaller train.tokens.",
            ("train.tokens", "train.batch_size", "model.context"),
        )


_RULES: tuple[tuple[tuple[type[Table], ...], Callable[..., Iterator[Contradiction]]], ...] = (
    ((ModelConfig,), shape_problems),
    ((DataConfig,), _of_data),
    ((TrainConfig,), _of_train),
    ((ScheduleConfig,), _of_schedule),
    ((TrainConfig, ModelConfig), _of_length),
    ((BaseConfig, TrainConfig), _of_base),
    ((TrainConfig, ScheduleConfig), _of_timed_schedule),
)
"""The names of tables -> the function that yields contradictions between their keys."""
