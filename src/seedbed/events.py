"""The typed events of the event log, and how they are encoded and decoded. SCHEMA is the version of the format."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, ClassVar, Protocol

import msgspec

from seedbed.text import legible, printable, shorten

SCHEMA = 1

ASKED, STORAGE, NOT_RESUMED = "asked", "storage", "not-resumed"
"""Codes of a `run` event. ASKED: paused on request. STORAGE: paused because the disk cannot be written. NOT_RESUMED: a
resume trained nothing, so the run keeps its status (completed or stopped)."""
EVALUATED, RESULT = "evaluated", "result"
"""Codes of messages with results of a task: of one model as soon as it is evaluated, and those of the whole task. A
command that follows the task prints its results at the end, and does not show these messages."""


MOST_METRICS = 64
"""The maximum number of open metrics (metrics that Seedbed does not know by name) of a run, and of one event; further
ones are dropped."""
FIGURES = frozenset(
    {"step", "tokens", "time", "loss", "lr", "grad_norm", "step_s", "val_loss", "tokens_per_s", "bits_per_byte"}
)
"""The names of values that Seedbed computes itself; an open metric with such a name is dropped."""
_LONGEST_METRIC = 48


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that happened in a run. Its fields are raw numbers in SI units, not formatted text."""

    kind: ClassVar[str] = ""


class Run(Event, frozen=True, kw_only=True):
    """A session (one execution of a run's job) began, changed its status, or ended.

    `status` is queued, running, pausing, paused, completed, failed or stopped.
    """

    kind: ClassVar[str] = "run"
    status: str
    session: int
    step: int = 0
    pid: int | None = None
    process_start: float | None = None
    boot_id: str | None = None
    host: str | None = None
    device: str | None = None
    device_asked: str | None = None
    device_name: str | None = None
    threads: int | None = None
    precision: str | None = None
    compile: bool | None = None
    versions: dict[str, str] | None = None
    steps: int | None = None
    """The last step that this session plans to train."""
    settled_steps: int | None = None
    """The last step that this session plans to train, settled again at the measured speed (train.time)."""
    time_s: float | None = None
    """The time budget of the current segment in seconds; 0: it has none, although the run began with one."""
    warmup_steps: int | None = None
    """The number of warm-up steps, in a segment with a time budget."""
    decay_from: int | None = None
    """The step at which the decay of the learning rate began, in a segment with a time budget; -1: not yet."""
    segment_start: int | None = None
    """The step at which the current learning-rate schedule began."""
    steps_per_epoch: float | None = None
    tokens_per_step: int | None = None
    eval_every: int | None = None
    """The number of steps between validations (likewise for samples and checkpoints below); 0: only at the end."""
    sample_every: int | None = None
    checkpoint_every: int | None = None
    eval_tokens: int | None = None
    """The number of tokens that a validation during training evaluates."""
    validation_tokens: int | None = None
    """The number of tokens that the last validation evaluates: all of the validation text."""
    parameters: int | None = None
    trainable: int | None = None
    """The number of trained parameters, if only some are trained."""
    schedule: str | None = None
    """A sentence about the learning-rate schedule after this step: whether it begins, begins again, or continues."""
    resumed_from: str | None = None
    """The checkpoint that the session resumed from: its folder's name, or its path if it is outside the run."""
    left: str | None = None
    """The folder in `checkpoints/` to which superseded checkpoints (of steps that a resume from an earlier step
    replaced) are moved."""
    early_stop: int | None = None
    """The session stops after this many validations in a row without a better loss; 0: never."""
    data: str | None = None
    """The source of the data, if a resume replaced the source in the config."""
    data_path: str | None = None
    """The local copy of the data (data.path), if a resume set it."""
    queue: bool | None = None
    """Whether the session waits in the queue until its device is free."""
    after: str | None = None
    """The id of the run that must end before the session starts."""
    nodes: int | None = None
    """The number of nodes of the cluster that trains, without spares."""
    simulated: bool | None = None
    """Whether this event and all later ones of the session have simulated times: seconds since the run began, continued
    from the previous session, on a clock of the run's own."""
    code: str | None = None
    """The reason for the status, for programs: ASKED, STORAGE or NOT_RESUMED."""
    waits_for: str | None = None
    """The id of the run that this queued run waits for."""
    reason: str | None = None
    """The reason for the status, as text for people; programs read `code`."""
    hint: str | None = None


class Phase(Event, frozen=True, kw_only=True):
    """A phase of the work began (`done` false) or ended: prepare, measure, check, compile, train, evaluate, sample, save.

    Of a simulated cluster also init and restart.
    """

    kind: ClassVar[str] = "phase"
    name: str
    done: bool = False
    step: int | None = None
    elapsed_s: float | None = None
    metrics: dict[str, float] | None = None
    """Open metrics at the end of the phase, such as the goodput of a whole run."""


class Step(Event, frozen=True, kw_only=True, omit_defaults=False):
    """One optimizer step. `tokens`: trained tokens of the run so far; `step_s`: duration in seconds."""

    kind: ClassVar[str] = "step"
    step: int
    loss: float
    lr: float
    grad_norm: float
    tokens: int
    step_s: float
    processed: int | None = None
    """Tokens that went through the model in this step, if not all of them are trained; tokens per second are computed
    from these."""
    metrics: dict[str, float] | None = None
    """Open metrics: values that Seedbed does not know by name, such as mfu or samples_per_s; they are shown unchanged."""


CLEARLY_WORSE = 1.01
"""A validation loss above the best by this factor is clearly worse."""


class Eval(Event, frozen=True, kw_only=True):
    """The result of a validation.

    `loss` is the mean in nats per token, `perplexity` is e^loss, `bits_per_byte` is per UTF-8 byte of the evaluated text.
    """

    kind: ClassVar[str] = "eval"
    step: int
    loss: float
    perplexity: float
    bits_per_byte: float | None = None
    tokens: int
    full: bool = True
    best: bool = False
    elapsed_s: float | None = None
    metrics: dict[str, float] | None = None
    """Open metrics (values that Seedbed does not know by name); they are shown as val_NAME."""


class Sample(Event, frozen=True, kw_only=True):
    """Text that the model generated at a step."""

    kind: ClassVar[str] = "sample"
    step: int
    prompt: str
    text: str


class Checkpoint(Event, frozen=True, kw_only=True):
    """A checkpoint was written and verified. `deleted`: paths of the older checkpoints that were deleted after that."""

    kind: ClassVar[str] = "checkpoint"
    step: int
    path: str
    size_bytes: int = 0
    stall_s: float = 0.0
    write_s: float = 0.0
    best: bool = False
    deleted: tuple[str, ...] = ()


class Data(Event, frozen=True, kw_only=True):
    """Progress or result of preparing data, or progress of a validation or sample. `total` is None if it is unknown."""

    kind: ClassVar[str] = "data"
    stage: str
    done: int
    total: int | None = None
    unit: str = ""
    fingerprint: str | None = None
    counts: dict[str, int] | None = None
    opening: str | None = None
    """The typical beginning of a text in the dataset, usable as a prompt."""
    answers: bool | None = None
    """Whether most rows of the dataset are conversations, so that a prompt is a message of a chat."""
    whole: bool | None = None
    """Whether `total` is all the work of a task, so that its remaining time follows from this event and earlier ones."""


class Hardware(Event, frozen=True, kw_only=True):
    """The load of the machine, measured by the job. `missing` gives the reason for each field that is None."""

    kind: ClassVar[str] = "hardware"
    cpu_fraction: float | None = None
    """CPU use of the whole machine, from 0 to 1."""
    process_cpu_fraction: float | None = None
    """CPU use of the job's process; 1.0: one core is fully used."""
    cpu_cores: int | None = None
    """The number of cores that this process may use."""
    load_1m: float | None = None
    """Load average of the last minute: the number of running or waiting tasks."""
    rss_bytes: int | None = None
    ram_used_bytes: int | None = None
    ram_total_bytes: int | None = None
    gpu_fraction: float | None = None
    gpu_used_bytes: int | None = None
    gpu_total_bytes: int | None = None
    gpu_temperature_c: float | None = None
    gpu_power_w: float | None = None
    gpu_count: int | None = None
    """The number of GPUs over which the values are means, such as those of a simulated cluster; None: they are of one GPU."""
    missing: dict[str, str] | None = None


class Comm(Event, frozen=True, kw_only=True):
    """One collective operation (such as an all-reduce) among processes, or the total of several of the same kind `op`."""

    kind: ClassVar[str] = "comm"
    op: str
    size_bytes: int
    elapsed_s: float
    step: int | None = None


class Node(Event, frozen=True, kw_only=True):
    """The state of a cluster node changed. `state`: one word (joined, failed, left, ...); `reason`: text for people."""

    kind: ClassVar[str] = "node"
    node: int
    state: str
    reason: str | None = None


class Message(Event, frozen=True, kw_only=True):
    """A message for people: what happened (`text`), the reason (`why`), and what to do (`hint`)."""

    kind: ClassVar[str] = "message"
    level: str
    code: str
    text: str
    why: str = ""
    hint: str = ""
    step: int | None = None


class Plugin(Event, frozen=True, kw_only=True):
    """A plugin logged `text`, or was switched off (`ok` false)."""

    kind: ClassVar[str] = "plugin"
    name: str
    text: str = ""
    ok: bool = True


KINDS: dict[str, type[Event]] = {
    event.kind: event
    for event in (Run, Phase, Step, Eval, Sample, Checkpoint, Data, Hardware, Comm, Node, Message, Plugin)
}


class Emit(Protocol):
    """A function that logs an event.

    `t` is the time of the event: unix seconds, or, in a simulated run (see Run.simulated), seconds on the run's own clock.
    None means the time of the call.
    """

    def __call__(self, event: Event, t: float | None = None) -> None: ...


def discard(event: Event, t: float | None = None) -> None:
    """Do nothing with the event: to be passed as an `Emit` by callers that need no log."""


class Record(msgspec.Struct, frozen=True):
    """A decoded line of the log.

    `v`: the format; `n`: the event's number; `t`: its time; `raw`: all other fields except `kind`. `event` is None if
    this version does not know the kind or cannot decode the fields.
    """

    v: int
    n: int
    t: float
    kind: str
    event: Event | None
    raw: dict[str, Any]


_FIGURES_OF_STEP = tuple(name for name in Step.__struct_fields__ if name not in ("processed", "metrics"))


def encode(event: Event, n: int, t: float) -> bytes:
    """Encode an event as one JSON line, with its newline. NaN and infinity become null, since JSON has neither."""
    if isinstance(event, Step):
        fields = {name: getattr(event, name) for name in _FIGURES_OF_STEP}
        if event.processed is not None:
            fields["processed"] = event.processed
        if event.metrics is not None:
            fields["metrics"] = event.metrics
    else:
        fields = {name: value for name in event.__struct_fields__ if (value := getattr(event, name)) is not None}
    line = {"v": SCHEMA, "n": n, "t": t, "kind": event.kind, **fields}
    try:
        return msgspec.json.encode(line) + b"\n"
    except UnicodeEncodeError:  # an event with a file name that is not UTF-8
        return msgspec.json.encode(_legible(line)) + b"\n"


def _legible(value: Any) -> Any:
    """A copy of the value in which every text can be encoded as UTF-8."""
    if isinstance(value, str):
        return legible(value)
    if isinstance(value, dict):
        return {_legible(key): _legible(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_legible(inner) for inner in value]
    return value


def decode(line: bytes) -> Record | None:
    """Decode a line of the log. Returns None if the line is incomplete or not an event (a JSON object with a kind)."""
    try:
        raw = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if not isinstance(raw, dict) or not isinstance(raw.get("kind"), str):
        return None
    v, n, t = raw.pop("v", SCHEMA), raw.pop("n", 0), raw.pop("t", 0.0)
    kind = raw.pop("kind")
    if not isinstance(v, int) or not isinstance(n, int) or not isinstance(t, int | float):
        return None
    event: Event | None = None
    known = KINDS.get(kind)
    if known is not None:
        if known is Step:
            raw = {name: (float("nan") if value is None else value) for name, value in raw.items()}
        fields = raw
        if "metrics" in raw and (known is Step or known is Eval):
            fields = raw | {"metrics": open_metrics(raw["metrics"])}
        try:
            event = msgspec.convert(fields, known)
        except msgspec.ValidationError:
            event = None
        if isinstance(event, Run) and event.reason is not None and event.code is None and event.waits_for is None:
            code, waits_for = codes_of_old(event.status, event.reason)
            event = msgspec.structs.replace(event, code=code, waits_for=waits_for)
    return Record(v, n, float(t), kind, event, raw)


def open_metrics(written: Any) -> dict[str, float]:
    """The valid open metrics (metrics that Seedbed does not know by name) in `written`, the JSON value of a field `metrics`.

    Names are made printable; null becomes nan. Values that are not numbers, names in FIGURES, and all metrics after the
    first MOST_METRICS are dropped.
    """
    found: dict[str, float] = {}
    for name, value in written.items() if isinstance(written, dict) else ():
        if len(found) >= MOST_METRICS:
            break
        shown = shown_name(name)
        if shown and shown not in FIGURES and not isinstance(value, bool) and isinstance(value, int | float | None):
            try:
                found[shown] = float("nan") if value is None else float(value)
            except OverflowError:  # an integer with hundreds of digits
                found[shown] = float("nan")
    return found


@lru_cache(4096)
def shown_name(name: str) -> str:
    """The name of an open metric as it is shown: shortened, without control characters."""
    return shorten(" ".join(printable(name).split()), _LONGEST_METRIC)


_WAITS_FOR = re.compile(r'It waits for ".*" \(([^()]+)\)\.')


def codes_of_old(status: str, reason: str | None) -> tuple[str | None, str | None]:
    """The `code` and `waits_for` of a run event of an earlier version, which logged only `status` and the text `reason`."""
    if reason is None:
        return None, None
    if status == "paused":
        return (ASKED if reason == "asked to pause" else STORAGE), None
    if status == "queued":
        found = _WAITS_FOR.fullmatch(reason)
        return None, found[1] if found else None
    return (NOT_RESUMED if status in ("completed", "stopped") else None), None
