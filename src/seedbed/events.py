"""Typed events, which jobs write and every reader of a run decodes; the schema's version is SCHEMA."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, ClassVar, Protocol

import msgspec

from seedbed.text import legible, printable, shorten

SCHEMA = 1

ASKED, STORAGE, NOT_RESUMED = "asked", "storage", "not-resumed"
"""Codes of a `run` event. Paused: somebody asked, or nothing can be written. Completed or stopped: a resume that trained
nothing left the run as it was."""


MOST_METRICS = 64
"""Open metrics that are kept of a run, and of an event: the first so many names."""
FIGURES = frozenset(
    {"step", "tokens", "time", "loss", "lr", "grad_norm", "step_s", "val_loss", "tokens_per_s", "bits_per_byte"}
)
"""Names of what every step or validation has; an open metric of such a name is left out."""
_LONGEST_METRIC = 48


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that happened. Flat, raw SI numbers, no formatted strings."""

    kind: ClassVar[str] = ""


class Run(Event, frozen=True, kw_only=True):
    """A job's session began, changed or ended. `status`: queued, running, pausing, paused, completed, failed, stopped."""

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
    """Horizon: the step at which this session means to end."""
    segment_start: int | None = None
    """The step at which the learning-rate schedule in force began."""
    steps_per_epoch: float | None = None
    tokens_per_step: int | None = None
    eval_every: int | None = None
    """Steps between validations, samples and checkpoints; 0 has them only at the end."""
    sample_every: int | None = None
    checkpoint_every: int | None = None
    eval_tokens: int | None = None
    """Tokens that a validation between steps scores."""
    validation_tokens: int | None = None
    """Tokens that the last validation scores: all that there are."""
    parameters: int | None = None
    trainable: int | None = None
    """Parameters that are trained, where these are not all."""
    schedule: str | None = None
    """What the learning rate does from here, in words of the schedule's kind (fresh, extend, continue)."""
    resumed_from: str | None = None
    """The checkpoint from which the session goes on: its folder's name, or where it lies if that is elsewhere."""
    left: str | None = None
    """The folder, beside the checkpoints in force, for those of later steps, which are void from here on."""
    early_stop: int | None = None
    """Validations without a better loss after which the session stops; 0 never."""
    data: str | None = None
    """The data's source where a resume named another place than the config does."""
    data_path: str | None = None
    """The local copy of it that a resume named (data.path)."""
    queue: bool | None = None
    """Whether the session waits until its device is free before it begins."""
    after: str | None = None
    """The id of the run whose end the session waits for."""
    simulated: bool | None = None
    """That the run has a clock of its own, by which the times of this event and of the session's later ones are told:
    seconds since the run began, going on where the session before it ended."""
    code: str | None = None
    """Why the status is what it is, for programs: ASKED, STORAGE or NOT_RESUMED."""
    waits_for: str | None = None
    """The id of the run that a queued one waits for at this moment."""
    reason: str | None = None
    """The same for people; no program reads it."""
    hint: str | None = None


class Phase(Event, frozen=True, kw_only=True):
    """A stretch of work other than steps began (`done` false) or ended: prepare, compile, check, train, evaluate, save."""

    kind: ClassVar[str] = "phase"
    name: str
    done: bool = False
    step: int | None = None
    elapsed_s: float | None = None


class Step(Event, frozen=True, kw_only=True, omit_defaults=False):
    """One optimizer step. `tokens`: trained tokens of the run so far; `step_s`: seconds of this step by the run's clock."""

    kind: ClassVar[str] = "step"
    step: int
    loss: float
    lr: float
    grad_norm: float
    tokens: int
    step_s: float
    processed: int | None = None
    """Tokens of this step that went through the network, where not all of them are trained: speed is measured in these."""
    metrics: dict[str, float] | None = None
    """Open metrics: what else was measured, by names that readers show as they are (mfu, goodput, samples_per_s)."""


class Eval(Event, frozen=True, kw_only=True):
    """A validation: mean loss in nats per token, perplexity = e^loss, bits per UTF-8 byte of the scored text."""

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
    """Open metrics, as of a step; readers call them val_NAME."""


class Sample(Event, frozen=True, kw_only=True):
    """Text that the model wrote at a step."""

    kind: ClassVar[str] = "sample"
    step: int
    prompt: str
    text: str


class Checkpoint(Event, frozen=True, kw_only=True):
    """A checkpoint was written and verified; `deleted` names those that retention removed."""

    kind: ClassVar[str] = "checkpoint"
    step: int
    path: str
    size_bytes: int = 0
    stall_s: float = 0.0
    write_s: float = 0.0
    best: bool = False
    deleted: tuple[str, ...] = ()


class Data(Event, frozen=True, kw_only=True):
    """Progress or result of preparing data, or progress of a validation or sample. `total` is None where it cannot be known."""

    kind: ClassVar[str] = "data"
    stage: str
    done: int
    total: int | None = None
    unit: str = ""
    fingerprint: str | None = None
    counts: dict[str, int] | None = None
    opening: str | None = None
    """How texts of the dataset begin: a prompt that fits it."""


class Hardware(Event, frozen=True, kw_only=True):
    """What the machine was doing, sampled by the job itself. `missing` has the reason of each figure that is None."""

    kind: ClassVar[str] = "hardware"
    cpu_fraction: float | None = None
    """Of the whole machine, 0 to 1."""
    process_cpu_fraction: float | None = None
    """Of this process: 1.0 is one core kept busy."""
    cpu_cores: int | None = None
    """How many cores this process may use."""
    load_1m: float | None = None
    """Load average of the last minute: how many tasks ran or waited to."""
    rss_bytes: int | None = None
    ram_used_bytes: int | None = None
    ram_total_bytes: int | None = None
    gpu_fraction: float | None = None
    gpu_used_bytes: int | None = None
    gpu_total_bytes: int | None = None
    gpu_temperature_c: float | None = None
    gpu_power_w: float | None = None
    missing: dict[str, str] | None = None


class Comm(Event, frozen=True, kw_only=True):
    """A collective among ranks, or several of one kind taken together."""

    kind: ClassVar[str] = "comm"
    op: str
    size_bytes: int
    elapsed_s: float
    step: int | None = None


class Node(Event, frozen=True, kw_only=True):
    """A node of the cluster joined, failed, left, or the like: `state` is a word, `reason` is for people."""

    kind: ClassVar[str] = "node"
    node: int
    state: str
    reason: str | None = None


class Message(Event, frozen=True, kw_only=True):
    """Something a person should read: what (`text`), why, and the option to change (`hint`)."""

    kind: ClassVar[str] = "message"
    level: str
    code: str
    text: str
    why: str = ""
    hint: str = ""
    step: int | None = None


class Plugin(Event, frozen=True, kw_only=True):
    """A plugin said something, or was switched off (`ok` false)."""

    kind: ClassVar[str] = "plugin"
    name: str
    text: str = ""
    ok: bool = True


KINDS: dict[str, type[Event]] = {
    event.kind: event
    for event in (Run, Phase, Step, Eval, Sample, Checkpoint, Data, Hardware, Comm, Node, Message, Plugin)
}


class Emit(Protocol):
    """Takes events as they happen.

    `t` is when, for whoever knows better than the moment of the call: seconds of the run's clock, which are unix seconds,
    but in a simulated run (see Run.simulated) those of its own clock. None: now.
    """

    def __call__(self, event: Event, t: float | None = None) -> None: ...


def discard(event: Event, t: float | None = None) -> None:
    """An emit for those whom no event interests."""


class Record(msgspec.Struct, frozen=True):
    """A decoded line. `event` is None for a kind, or a shape of a kind, that this version does not know; `raw` keeps it."""

    v: int
    n: int
    t: float
    kind: str
    event: Event | None
    raw: dict[str, Any]


_FIGURES_OF_STEP = tuple(name for name in Step.__struct_fields__ if name not in ("processed", "metrics"))


def encode(event: Event, n: int, t: float) -> bytes:
    """One JSON line, newline included. NaN and infinities, which JSON lacks, become null."""
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
    except UnicodeEncodeError:  # a file name that is not UTF-8
        return msgspec.json.encode(_legible(line)) + b"\n"


def _legible(value: Any) -> Any:
    """The same with every text in it made fit to be encoded."""
    if isinstance(value, str):
        return legible(value)
    if isinstance(value, dict):
        return {_legible(key): _legible(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_legible(inner) for inner in value]
    return value


def decode(line: bytes) -> Record | None:
    """The record on a line, or None if the line is not a JSON object with a kind (torn or foreign)."""
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
    """The open metrics of a line that was decoded as JSON: names in printable form, nan for null.

    Foreign data: what is no name with a number is left out, and so are the names of FIGURES and all beyond the first
    MOST_METRICS.
    """
    found: dict[str, float] = {}
    for name, value in written.items() if isinstance(written, dict) else ():
        if len(found) >= MOST_METRICS:
            break
        shown = shown_name(name)
        if shown and shown not in FIGURES and not isinstance(value, bool) and isinstance(value, int | float | None):
            try:
                found[shown] = float("nan") if value is None else float(value)
            except OverflowError:  # a whole number of hundreds of digits
                found[shown] = float("nan")
    return found


@lru_cache(4096)
def shown_name(name: str) -> str:
    """The name of an open metric as everybody shows it: short, with nothing in it that could steer a terminal."""
    return shorten(" ".join(printable(name).split()), _LONGEST_METRIC)


_WAITS_FOR = re.compile(r'It waits for ".*" \(([^()]+)\)\.')


def codes_of_old(status: str, reason: str | None) -> tuple[str | None, str | None]:
    """The `code` and `waits_for` of a run event that was written before events held them, out of its reason."""
    if reason is None:
        return None, None
    if status == "paused":
        return (ASKED if reason == "asked to pause" else STORAGE), None
    if status == "queued":
        told = _WAITS_FOR.fullmatch(reason)
        return None, told[1] if told else None
    return (NOT_RESUMED if status in ("completed", "stopped") else None), None
