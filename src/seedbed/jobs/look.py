"""`python -m seedbed.jobs look` measures a dataset: tokens, their lengths, rows as the model sees them, or leaks.

It reads a JSON request from stdin and answers in JSON lines: {"done": bytes, "total": bytes} now and then, and what it found.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from seedbed import files
from seedbed.config.directories import cache_dir
from seedbed.curation.drops import Drops
from seedbed.curation.duplicates.content import place_of, whole_text
from seedbed.curation.fim.families import families_of
from seedbed.curation.folder import EVAL, REPORT_JSON, TRAIN, Description, describe, read_rows, verify
from seedbed.curation.parts import Ticker
from seedbed.curation.record import Record, encode, texts_of
from seedbed.curation.rendering.lengths import EDGES, lengths
from seedbed.curation.rendering.peek import peek
from seedbed.curation.rendering.renderer import Renderer
from seedbed.curation.report.summary import read_report, summarise
from seedbed.curation.report.writing import store_report
from seedbed.curation.splitting.check import visible_answers
from seedbed.errors import StorageError
from seedbed.jobs.answering import Line, answer_request, write_line
from seedbed.jobs.measuring_rows import Loss, RowMeasurement, measure
from seedbed.tokenizer.tokenizer import Tokenizer

TEMPLATES = "templates"
"""The folder in the cache with what is known about chat templates."""


class Request(msgspec.Struct, kw_only=True):
    """What to measure."""

    what: Literal["lengths", "peek", "check", "report"]
    folder: str
    model: str = ""
    family: str = ""
    context: int = 0
    """The context that samples must fit (report)."""
    loss: Loss = "assistant"
    """What is trained, as `data.loss` of a training."""
    rows: int = 3
    contains: str = ""
    """Only rows with this text (peek); see `contains`."""
    kind: str = ""
    """Only rows of this kind: chat, text or fim (peek)."""
    skip: int = 0
    """How many of such rows to pass over (peek)."""


def main(arguments: Sequence[str]) -> int:
    """Answer one request; returns the exit status."""
    return answer_request(Request, _answer)


class ModelRenderer(Renderer):
    """A renderer with the tokenizer and template of a model folder; it passes over what that model cannot read."""

    def __init__(self, model: Path, family: str, loss: Loss) -> None:
        """`family`: whose markers rows with gaps get; "" for one that the tokenizer has. `loss`: as `data.loss`."""
        tokenizer = Tokenizer.of_model(model)
        self.family = family or next(iter(families_of(tokenizer)), None)
        cache = cache_dir() / TEMPLATES
        super().__init__(
            tokenizer,
            template=None,
            fim_family=self.family,
            max_tokens=None,
            loss="all" if loss == "all" else "assistant",
            gap_loss="assistant" if loss == "targets" else "all",
            cache=cache,
        )

    def readable(self, records: Iterable[Record], drops: Drops) -> Iterator[Record]:
        """The records that the model can read: those with a gap only if the tokenizer has markers for it."""
        for record in records:
            if record.kind == "fim" and self.family is None:
                drops.drop("render", "gap to fill, for which the tokenizer has no markers", place_of(record))
            else:
                yield record


def _answer(request: Request) -> Iterator[Line]:
    folder = Path(request.folder)
    with files.explained(folder):
        description = describe(folder)
        for name in description.files:  # before a long work, and with a message that names the file
            with files.explained(folder / name), (folder / name).open("rb"):
                pass
    return {"lengths": _lengths, "peek": _peek, "check": _check, "report": _report}[request.what](
        request, folder, description
    )


def _lengths(request: Request, folder: Path, description: Description) -> Iterator[Line]:
    drops = Drops()
    total = sum(facts.size_bytes for facts in description.files.values())
    found = {}
    before = 0
    with ModelRenderer(Path(request.model), request.family, request.loss) as renderer:
        for name, facts in description.files.items():
            records = renderer.readable(_reported(read_rows(folder, name), before, total), drops)
            found[name] = msgspec.to_builtins(lengths(records, renderer, drops))
            before += facts.size_bytes
    rows = sum(facts.rows for facts in description.files.values())
    yield {"lengths": found, "edges": EDGES, "rows": rows, "drops": drops.as_json()["counts"]}


def _reported(records: Iterator[Record], before: int, total: int) -> Iterator[Record]:
    """The records, while the bytes that are read are reported now and then."""
    done = before
    tick = Ticker(lambda: write_line({"done": done, "total": total}))
    for record in records:
        done += len(encode(record)) + 1
        tick()
        yield record


def _peek(request: Request, folder: Path, description: Description) -> Iterator[Line]:
    drops = Drops()
    names = [name for name in (TRAIN, *description.files) if name in description.files]
    wanted = (
        record
        for name in dict.fromkeys(names)
        for record in read_rows(folder, name)
        if (not request.kind or record.kind == request.kind)
        and (not request.contains or contains(record, request.contains))
    )
    left = request.rows
    with ModelRenderer(Path(request.model), request.family, request.loss) as renderer:
        for record in itertools.islice(wanted, request.skip, None):
            samples = list(peek(renderer.readable([record], drops), renderer, drops))
            for each in samples:
                yield {
                    "id": record.id,
                    "kind": record.kind,
                    "provenance": msgspec.to_builtins(record.provenance),
                    "tokens": each.tokens,
                    "trained_tokens": each.trained_tokens,
                    "spans": each.spans,
                }
            left -= bool(samples)  # rows that cannot be shown are passed over
            if not left:
                break
    yield {"drops": drops.as_json()["counts"]}


def contains(record: Record, wanted: str) -> bool:
    """Whether a text is in a row: in what it says, or in where it came from, such as its path or commit; or begins its id.

    The parts of a row with a gap are one text. Arguments of tool calls are searched as JSON and as the values in it.
    """
    origin = record.provenance
    places = (origin.repository, origin.path, origin.commit, origin.session, origin.agent, origin.file)
    if record.id.startswith(wanted):
        return True
    if any(wanted in text for text in (whole_text(record), *texts_of(record), record.tools, *places) if text):
        return True
    calls = [call.function for message in record.messages or () for call in message.tool_calls or ()]
    return any(wanted in call.name or any(wanted in text for text in _values(call.arguments)) for call in calls)


def _values(arguments: str) -> Iterator[str]:
    """The texts in the arguments of a tool call, at any depth."""
    try:
        waiting: list[object] = [msgspec.json.decode(arguments)]
    except (msgspec.DecodeError, RecursionError):
        return
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def _check(request: Request, folder: Path, description: Description) -> Iterator[Line]:
    verify(folder, description)
    rows = {name: facts.rows for name, facts in description.files.items()}
    if not description.is_split:
        yield {"rows": rows, "is_split": False}
        return
    done, total = 0, 2 * sum(facts.size_bytes for facts in description.files.values())
    tick = Ticker(lambda: write_line({"done": min(done, total), "total": total}))

    def report(size_bytes: int) -> None:
        nonlocal done
        done += size_bytes
        tick()

    found = visible_answers([folder / TRAIN], [folder / EVAL], report)
    train = {record.id for record in read_rows(folder, TRAIN)}
    both = sum(record.id in train for record in read_rows(folder, EVAL))
    groups = {record.group for record in read_rows(folder, TRAIN) if record.group}
    shared = sum(record.group in groups for record in read_rows(folder, EVAL))
    yield {
        "rows": rows,
        "is_split": True,
        "answers": found.answers,
        "too_short": found.too_short,
        "leaked": found.leaked,
        "rate": found.rate,
        "rows_in_both": both,
        "groups_in_both": shared,
        "worst": msgspec.to_builtins(found.worst),
    }


def _report(request: Request, folder: Path, description: Description) -> Iterator[Line]:
    """Measure the tokens, and store them in the report card, unless the folder cannot be written: then `unsaved` says why."""
    counted = (folder / REPORT_JSON).is_file() and read_report(folder, description)
    done, total = 0, sum(facts.size_bytes for facts in description.files.values()) * (1 if counted else 2)
    tick = Ticker(lambda: write_line({"done": min(done, total), "total": total}))

    def report(size_bytes: int) -> None:
        nonlocal done
        done += size_bytes
        tick()

    model, cache = Path(request.model), cache_dir() / TEMPLATES
    with RowMeasurement(
        model, family=request.family, context=request.context, loss=request.loss, cache=cache
    ) as measurement:
        summary = counted or summarise(folder, description, report)
        summary.tokens = measure(folder, description, measurement, report)
    try:
        store_report(folder, summary)
    except StorageError as error:
        yield {"summary": msgspec.to_builtins(summary), "unsaved": error.message}
    else:
        yield {"summary": msgspec.to_builtins(summary)}
