"""A report on a model as labelled lines of text, and the lists of models as tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from seedbed import text
from seedbed.actions.describing import HubModelRow, ModelList, RunModelRow
from seedbed.actions.model_report import ModelReport
from seedbed.config.families.config_json import is_supported
from seedbed.hub.names import HubName
from seedbed.presentation.model_facts import problem_text, step_text, trained_text
from seedbed.simulate.model_memory import RANK, Need
from seedbed.text import printable
from seedbed.tokenizer.facts import Token

UNKNOWN = "unknown"
_DTYPES = {"F64": "fp64", "F32": "fp32", "F16": "fp16", "BF16": "bf16", "I8": "int8", "U8": "uint8"}
_SHOWN_TOKENS = 6


class Line(NamedTuple):
    """A line of a report: its label, its text, and the style of the text."""

    label: str
    text: str
    style: str = ""


def lines(report: ModelReport) -> Iterator[Line]:
    """Yield the lines of a report, without the name of the model."""
    yield Line("model", printable(report.reference))
    if report.folder is not None and report.folder != report.reference:
        yield Line("folder", printable(report.folder))
    if not report.is_model_folder:
        return
    yield Line("family", _family(report))
    yield Line("shape", _shape(report))
    yield Line("parameters", UNKNOWN if report.parameters is None else _exact(report.parameters))
    yield Line("weights", _weights(report))
    yield Line("context", _context(report))
    yield Line("vocabulary", _vocabulary(report))
    yield from _tokenizer(report)
    licence = f"{printable(report.licence)} ({printable(report.licence_source)})" if report.licence else UNKNOWN
    yield Line("licence", licence)
    if report.dropouts:
        named = ", ".join(f"{printable(key)} {rate:g}" for key, rate in report.dropouts.items())
        yield Line("dropout", f"none in Seedbed, which trains without; config.json has {named}")
    yield from _memory(report)
    if report.download_bytes is not None:
        yield Line("download", f"{text.size(report.download_bytes)}, not in the cache yet")


def verdict(report: ModelReport) -> list[Line]:
    """What Seedbed can do with the model, and each reason why it cannot do more."""
    if report.can_run:
        can = "Seedbed can generate with this model and evaluate it"
        if report.can_train:
            can = "Seedbed can generate with this model, evaluate it, and train it further"
        cannot = [
            *(["chat with it"] if report.has_wrong_template else []),
            *([] if report.can_train else ["train it further"]),
        ]
        found = [
            Line(
                "",
                f"{can}, but it cannot {' or '.join(cannot)}." if cannot else f"{can}.",
                "yellow" if cannot else "green",
            )
        ]
    else:
        found = [Line("", "Seedbed cannot use this model.", "bold red")]
    for problem in report.problems:
        found.append(Line("-", printable(problem.text)))
        if problem.hint:
            found.append(Line("", printable(problem.hint), "dim"))
    return found


def as_json(report: ModelReport) -> dict[str, Any]:
    """A report as an object that `--json` prints."""
    return {
        **msgspec.to_builtins(report),
        "can_run": report.can_run,
        "can_train": report.can_train,
        "can_chat": report.can_chat,
    }


def _family(report: ModelReport) -> str:
    if report.family is not None:
        return f"{report.family} ({printable(report.architecture)})" if report.architecture else report.family
    if report.model_type is None:
        return UNKNOWN
    if is_supported(report.model_type):
        return f"{report.model_type}, with a config.json that cannot be used (see below)"
    named = f", {printable(report.architecture)}" if report.architecture else ""
    return f"not supported (model type {printable(report.model_type)}{named})"


def _shape(report: ModelReport) -> str:
    shape, parts = report.shape, []
    if shape.layers is not None:
        parts.append(text.plural(shape.layers, "layer"))
    if shape.hidden is not None:
        parts.append(f"width {shape.hidden:,}")
    if shape.heads is not None:
        heads = text.plural(shape.heads, "head")
        heads += f" of {shape.head_dim:,}" if shape.head_dim is not None else ""
        parts.append(heads)
    if shape.kv_heads is not None and shape.kv_heads != shape.heads:
        parts.append(text.plural(shape.kv_heads, "key/value head"))
    if shape.ffn is not None:
        parts.append(f"feed-forward {shape.ffn:,}")
    if report.tied is not None:
        parts.append("tied embeddings" if report.tied else "separate output layer")
    return ", ".join(parts) or UNKNOWN


def _context(report: ModelReport) -> str:
    context, window = report.shape.context, report.shape.window
    if context is None:
        return UNKNOWN
    return text.plural(context, "token") + (f", with a sliding window of {window:,}" if window else "")


def _exact(number: int) -> str:
    return f"{number:,}" + (f" ({text.count(number)})" if number >= 1000 else "")


def _weights(report: ModelReport) -> str:
    weights = report.weights
    if weights is None:
        return UNKNOWN
    named = [f"{_DTYPES.get(dtype, printable(dtype))}" for dtype in weights.elements]
    whole = sum(weights.elements.values()) or 1
    if len(named) > 1:
        named = [
            f"{name} ({share:.0%})" if (share := number / whole) >= 0.005 else f"some {name}"
            for name, number in zip(named, weights.elements.values(), strict=True)
        ]
    return f"{text.size(weights.size_bytes)} in {text.plural(len(weights.files), 'file')}, {', '.join(named)}"


def _vocabulary(report: ModelReport) -> str:
    tokens, rows = report.tokenizer, report.shape.vocab_rows
    parts = []
    if tokens is not None:
        parts.append(f"{text.plural(tokens.num_tokens, 'token')} ({printable(tokens.kind)})")
    if rows is not None:
        parts.append(f"{rows:,} rows in the embedding")
    return ", ".join(parts) or UNKNOWN


def _tokenizer(report: ModelReport) -> Iterator[Line]:
    tokens = report.tokenizer
    if tokens is None:
        for label in ("text", "stop", "template"):
            yield Line(label, UNKNOWN)
        return
    if tokens.before is None or tokens.after is None:
        around = "what is added around a text is unknown"
    elif not tokens.before and not tokens.after:
        around = "nothing is added around a text (no BOS)"
    else:
        parts = [f"{_named(ids)} {where}" for ids, where in ((tokens.before, "before"), (tokens.after, "after")) if ids]
        around = f"a text gets {' and '.join(parts)} it"
    yield Line("text", around)
    yield Line("stop", _named(tokens.stops) or "no token ends a text")
    templates = tokens.chat_templates
    if report.has_wrong_template:
        chat = "a chat template that cannot be used (see below)"
    elif not templates:
        chat = "no chat template"
    elif templates == ("default",):
        chat = "a chat template"
    else:
        chat = f"chat templates: {text.listed([printable(name) for name in templates])}"
    yield Line("template", chat)


def _named(tokens: Sequence[Token]) -> str:
    shown = [
        f"{printable(token.text)} ({token.id})"
        if token.text
        else str(token.id) + ("" if token.known else " (not in the vocabulary)")
        for token in tokens
    ]
    return text.listed(shown, _SHOWN_TOKENS)


def _memory(report: ModelReport) -> Iterator[Line]:
    machine, found = report.machine, {need.work: need for need in report.needs}
    if machine is None or not found:
        for label in ("to run", "to train", "to tune"):
            yield Line(label, UNKNOWN)
        return

    def told(work: str, method: str = "") -> str:
        need = found[work]
        elsewhere = work == "qlora" and machine.device == "cpu"
        where = f" on a GPU ({need.precision})" if elsewhere else f" ({need.precision})"
        where += f", of which CUDA itself takes {text.size(need.cuda_bytes)}" if elsewhere else ""
        short = ": more than there is" if need.size_bytes > machine.memory_bytes and not elsewhere else ""
        return f"{text.size(need.size_bytes)}{method}{where}{short}"

    yield Line("to run", told("run"))
    yield Line("to train", told("train"))
    yield Line("to tune", f"{told('lora', ' with LoRA')}, {told('qlora', ' with QLoRA')}")
    here = "this machine" if machine.device == "cpu" else f"the GPU {printable(machine.device)}"
    yield Line("memory", f"{text.size(machine.memory_bytes)} on {here}. The needs are estimates: {_assumed(found)}.")


def _assumed(found: Mapping[str, Need]) -> str:
    """What the needs are computed for, in words."""
    run, train, tuned = found["run"], found["train"], found["lora"]
    batch = f"{text.plural(train.sequences, 'sequence')} of {text.plural(train.tokens, 'token')}"
    return f"{text.plural(run.tokens, 'token')} to run, {batch} to train, {tuned.sequences} to tune with adapters of rank {RANK}"


# ------------------------------------------------------------------------------------------------ lists

RUN_COLUMNS = ("MODEL", "STEP", "FAMILY", "PARAMS", "WEIGHTS", "VAL LOSS", "SAVED", "STATUS")
HUB_COLUMNS = ("MODEL", "COMMIT", "FAMILY", "PARAMS", "WEIGHTS", "STATUS")
RIGHT = ("STEP", "PARAMS", "WEIGHTS", "VAL LOSS")


def run_cells(row: RunModelRow) -> list[str]:
    """The cells of a run's model, in the order of RUN_COLUMNS."""
    model = row.model
    return [
        printable(model.name),
        step_text(model),
        printable(row.known.model_type) or "-",
        text.count(row.known.parameters) if row.known.parameters is not None else "-",
        text.size(row.weight_bytes),
        text.loss(model.val_loss),
        trained_text(model),
        "corrupted" if problem_text(model) else model.status,
    ]


def hub_cells(row: HubModelRow) -> list[str]:
    """The cells of a model in the Hub's cache, in the order of HUB_COLUMNS."""
    return [
        printable(str(HubName(row.snapshot.name))),
        row.snapshot.commit[:12],
        printable(row.known.model_type) or "-",
        text.count(row.known.parameters) if row.known.parameters is not None else "-",
        text.size(row.weight_bytes),
        "not supported" if row.known.problem else "ready",
    ]


def list_as_json(found: ModelList) -> dict[str, Any]:
    """The models on this machine as an object that `--json` prints."""
    return {
        "runs": [
            {
                "run": row.model.run.id,
                "name": row.model.name,
                "reference": f"{row.model.run.id}@{row.model.step}",
                "step": row.model.step,
                "status": row.model.status,
                "reason": row.model.reason or None,
                "checkpoint": str(row.model.checkpoint),
                "model_type": row.known.model_type or None,
                "parameters": row.known.parameters,
                "weight_bytes": row.weight_bytes,
                "loss": row.model.loss,
                "val_loss": row.model.val_loss,
                "saved": row.model.trained,
            }
            for row in found.runs
        ],
        "hub_cache": str(found.hub_cache) if found.hub_cache is not None else None,
        "hub": [
            {
                "name": row.snapshot.name,
                "commit": row.snapshot.commit,
                "reference": row.snapshot.reference,
                "revisions": list(row.snapshot.revisions),
                "folder": str(row.snapshot.folder),
                "model_type": row.known.model_type or None,
                "parameters": row.known.parameters,
                "weight_bytes": row.weight_bytes,
                "problem": row.known.problem or None,
            }
            for row in found.hub
        ],
    }
