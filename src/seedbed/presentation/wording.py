"""Sentences about the events and the state of a run, shared by all front ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from seedbed import events, text
from seedbed.events import Event
from seedbed.presentation.open_metrics import known
from seedbed.runs.statuses import ENDED
from seedbed.runs.view import View

_METRICS_SHOWN = 6
_NAMED_UNKNOWN = 10
"""The maximum number of unknown parts of a prompt to show."""


def at_step(step: int) -> str:
    """The text ` at step 7`, to add to a sentence; "" for step 0, and so for tasks, which have no steps."""
    return f" at step {step}" if step else ""


def step_of_steps(view: View) -> str:
    """The step and the number of steps, such as `step 7/900`; `step 7/~900` while the time that is left decides on them."""
    return f"step {view.step}" + (f"/{'~' if view.steps_change else ''}{view.steps}" if view.steps else "")


def progress(view: View) -> str:
    """The progress of training in a line: step, epoch, losses, learning rate, gradient norm, speed, remaining time."""
    parts = [step_of_steps(view)]
    epoch = view.epoch(view.step)
    if epoch is not None:
        parts.append(f"epoch {epoch:.2f}")
    if view.loss is not None:
        parts.append(f"loss {view.loss:.4f}")
    if view.validations.last is not None:
        parts.append(f"val {view.validations.last.loss:.4f}")
    if view.lr is not None:
        parts.append(f"lr {view.lr:.3g}")
    if view.grad_norm is not None:
        parts.append(f"grad norm {view.grad_norm:.3g}")
    speed = view.tokens_per_second()
    if speed:
        parts.append(f"{text.count(speed)} tok/s")
    remaining = view.remaining_s()
    if remaining is not None:
        parts.append(f"{text.duration(remaining)} left{simulated(view.simulated)}")
    return "  ".join(parts)


def simulated(is_simulated: bool) -> str:
    """The text ` (simulated)`, to add to a time or speed on the own clock of a simulated run; "" for other runs."""
    return " (simulated)" if is_simulated else ""


def setting(event: events.Run) -> list[str]:
    """What a job reports when it begins to train: model size, device, precision; where it resumes; the schedule."""
    device = text.printable(event.device or "?")
    if event.device_name:
        device += f" ({text.printable(event.device_name)})"
    parts = [f"on {device}", event.precision or "", "compiled" if event.compile else ""]
    if event.parameters:
        of = f"{text.count(event.trainable)} of " if event.trainable is not None else ""
        parts.insert(0, f"{of}{text.count(event.parameters)} parameters")
    lines = ["training " + ", ".join(part for part in parts if part)]
    if event.resumed_from:
        lines.append(f"resuming from {text.printable(event.resumed_from)}, step {event.step} of {event.steps}")
    if event.schedule:
        lines.append(text.printable(event.schedule))
    return lines


def score(event: events.Eval) -> str:
    """The result of a validation in a line: loss, perplexity, bits per byte, number of tokens."""
    when = f"at step {event.step}" if event.step else "before the first step"
    parts = [f"validation {when}: loss {event.loss:.4f}, perplexity {event.perplexity:.2f}"]
    if event.bits_per_byte is not None:
        parts.append(f"{event.bits_per_byte:.3f} bits per byte")
    parts.append("over " + ("all " if event.full and event.tokens != 1 else "") + text.plural(event.tokens, "token"))
    return ", ".join(parts) + (" (best so far)" if event.best else "")


def data(event: events.Data) -> str:
    """The progress of preparing data in a line, such as `tokenising: 50 of 100 documents`."""
    total = event.total if event.total is not None else event.done
    unit = f" {text.printable(event.unit.removesuffix('s') if total == 1 else event.unit)}" if event.unit else ""
    of = f" of {text.count(event.total)}" if event.total is not None else ""
    return f"{text.printable(event.stage)}: {text.count(event.done)}{of}{unit}"


def plugin(event: dict[str, Any]) -> str:
    """The text of a plugin event with the name of the plugin, or that the plugin is switched off."""
    suffix = f": {event['text']}" if event["text"] else "" if event["ok"] else " is switched off"
    return text.printable(f"{event['name']}{suffix}")


def comm(event: events.Comm) -> str:
    """A collective operation between processes in a line, such as `all_reduce: 4.0 MiB in 0.5 ms`."""
    return text.printable(f"{event.op}: {text.size(event.size_bytes)} in {text.short_time(event.elapsed_s)}")


def nodes(found: dict[str, Any]) -> str:
    """The nodes of the cluster in a status: how many are in use, and the interruptions; "" if the run has no cluster.

    If their number is unknown, how many are in each state, and why, such as `7 joined, 1 failed (disk full)`.
    """
    planned, used, states = found["num_nodes"], found["nodes_in_use"], found["nodes"]
    if planned is not None:
        of = f" of {planned:,}" if used != planned else ""
        failed, node = states.get("failed", {}).get("reason"), found["last_failed_node"]
        last = f" (last failed: node {node}{f', {failed}' if failed else ''})" if node is not None else ""
        count = found["interruptions"]
        return text.printable(f"{used:,}{of} in use, {text.plural(count, 'interruption', f'{count:,}')}{last}")
    parts = []
    for state, each in states.items():
        last = "last: " if each["count"] > 1 else ""
        parts.append(f"{each['count']} {state}" + (f" ({last}{each['reason']})" if each["reason"] else ""))
    return text.printable(", ".join(parts))


def collectives(found: dict[str, dict[str, Any]]) -> str:
    """The mean size and time of each kind of collective operation (data exchanged between processes) in a line.

    `found` is the field `comm` of a status. Its totals are of what was logged, which may be samples, so they are not shown.
    """
    return text.printable(
        ", ".join(
            f"{op} {text.size(each['size_bytes'] / each['count'])} in {text.short_time(each['elapsed_s'] / each['count'])}"
            + (" on average" if each["count"] > 1 else "")
            for op, each in found.items()
        )
    )


def open_metrics(found: dict[str, Any]) -> str:
    """The last values of the first few open metrics (those that Seedbed does not know by name) of a status in a line.

    Those of simulated runs are known: they have readable names and units. Returns "" if there are none.
    """
    kinds = {name: known(name, simulated=bool(found["simulated"])) for name in found["metrics"]}
    parts = [
        f"{kinds[name].name} {kinds[name].value(each)}" for name, each in found["metrics"].items() if each is not None
    ]
    more = f" and {len(parts) - _METRICS_SHOWN} more" if len(parts) > _METRICS_SHOWN else ""
    return ", ".join(parts[:_METRICS_SHOWN]) + more


def message(event: events.Message) -> str:
    """A message event in a line: what happened, why, and what to do."""
    return text.printable(" ".join(part for part in (event.text, event.why, event.hint) if part))


def saved(event: events.Checkpoint) -> str:
    """A line that says which checkpoint was saved, with its size."""
    name = text.printable(event.path.rstrip("/").rpartition("/")[2])
    return f"saved {name} ({text.size(event.size_bytes)})"


def paused(step: int, reason: str | None, hint: str | None) -> str:
    """A line that says at which step a run is paused, and why."""
    why = " ".join(part for part in (reason, hint) if part)
    return f"paused{at_step(step)}" + (f": {text.printable(why)}" if why else "")


def pause_or_resume(event: events.Run) -> str:
    """A line for a run event by which a run is paused (with the reason) or continues; "" for other run events."""
    if event.status == "paused":
        return paused(event.step, event.reason, event.hint)
    # A session that begins logs its pid, and then its number of steps, which it may settle again.
    plain = event.steps is None and event.pid is None and event.settled_steps is None
    resumes = event.status == "running" and plain
    return f"resumed{at_step(event.step)}" if resumes else ""


def end(event: events.Run) -> str:
    """A line for a run event by which a job ended or a run was queued, with the reason; "" for other run events."""
    parts = [part if part.endswith((".", "!", "?", ":")) else part + "." for part in (event.reason, event.hint) if part]
    why = text.printable(" ".join(parts))
    if event.status == "queued":
        return f"queued: {why}" if why else ""
    if event.status not in ENDED:
        return ""
    return f"{event.status}{at_step(event.step)}" + (f": {why}" if why else "")


def line(event: Event) -> tuple[str, str] | None:
    """An event in one line, and the style of the line; None for events that have no line of their own."""
    if isinstance(event, events.Eval):
        return score(event), ""
    if isinstance(event, events.Checkpoint):
        return saved(event), "dim"
    if isinstance(event, events.Run) and (change := pause_or_resume(event)):
        return change, "yellow"
    if isinstance(event, events.Node):
        reason = f": {event.reason}" if event.reason else ""
        return text.printable(f"node {event.node} {event.state}{reason}"), "yellow" if event.reason else ""
    if isinstance(event, events.Plugin):
        return "plugin " + plugin(msgspec.structs.asdict(event)), "" if event.ok else "yellow"
    if isinstance(event, events.Message):
        return f"{event.level}: {message(event)}", "yellow" if event.level != "info" else ""
    return None


def after_a_stop(status: str, name: str) -> str:
    """What to do with a run that was asked to stop and has ended with this status; `name`: as it is given in commands."""
    if status == "completed":
        return f"It had ended before it was stopped: `seedbed status {name}` shows its result."
    if status == "failed":
        return f"`seedbed status {name}` shows why; `seedbed resume {name}` tries it again."
    return f"Continue: seedbed resume {name}"


def until_it_stops(view: View) -> str:
    """What a job still does after a request to stop, as part of a sentence: `it finishes this step and saves`."""
    if view.simulated:  # its steps take no time of this machine, and it saves nothing
        return "it ends in a moment"
    if view.status == "paused":
        return "it is paused, and ends in a moment"
    match view.phases[-1] if view.phases else None:
        case None if not view.session_steps:
            return "it has not begun to train, and ends in a moment"
        case "prepare":
            return "it stops the preparation of the data in a moment"
        case "score":
            return "it finishes its batch, keeps what is done, and ends"
        case "check" | "measure":
            return "it finishes the batch that it is testing, then ends"
        case "compile":
            return "torch is compiling, which can take minutes and cannot be interrupted; then the job ends"
        case "evaluate":
            return "it stops the validation, which a resume repeats, and saves"
        case "sample":
            return "it stops the sample and saves"
        case "save":
            return "it ends when it has saved"
        case _:
            return f"it finishes this step{_long(view.seconds_per_step())} and saves"


def until_it_pauses(view: View) -> str:
    """What a job still does before it pauses, as part of a sentence: `it finishes this step, saves, then pauses`."""
    if view.simulated:  # its steps take no time of this machine, and it saves nothing
        return "it pauses in a moment"
    match view.phases[-1] if view.phases else None:
        case None if not view.session_steps:
            return "it has not begun to train, and pauses in a moment"
        case "prepare":
            return "it pauses the preparation of the data in a moment"
        case "score":
            return "it finishes its batch, then pauses"
        case "check" | "measure":
            return "it finishes the batch that it is testing, then pauses"
        case "compile":
            return "torch is compiling, which can take minutes and cannot be interrupted; then the job pauses"
        case "evaluate":
            return "it interrupts the validation, saves, then pauses"
        case "sample":
            return "it interrupts the sample, saves, then pauses"
        case "save":
            return "it has done its last step and ends when it has saved"
        case _:
            return f"it finishes this step{_long(view.seconds_per_step())}, saves, then pauses"


def _long(step_s: float | None) -> str:
    return f" (a step takes {text.duration(step_s)})" if step_s is not None and step_s >= 5 else ""


def time_taken(seconds: float | None, tokens: float | None, basis: str) -> str:
    """The estimated time of a run with the basis of the estimate; `tokens` is None until the data has been prepared."""
    if seconds is not None:
        return f"about {text.duration(seconds)}, {text.printable(basis)}"
    return text.printable(basis) if tokens is not None else "unknown until the data has been prepared"


def unknown_to_tokenizer(pieces: Sequence[str]) -> str:
    """A sentence that says which parts of a prompt the tokenizer does not know; "" if there are none."""
    if not pieces:
        return ""
    shown = [
        f'"{text.printable(piece)}"'
        if text.printable(piece).strip()
        else " ".join(f"U+{ord(char):04X}" for char in piece)
        for piece in pieces[:_NAMED_UNKNOWN]
    ]
    more = f" and {len(pieces) - len(shown)} more" if len(pieces) > len(shown) else ""
    return f"The model's tokenizer does not know {', '.join(shown)}{more}: the model reads an unknown token instead."
