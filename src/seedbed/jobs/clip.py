"""The job that cuts the rows of a dataset to a number of tokens, at turns and lines only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from seedbed import files
from seedbed.config.preparing import Clipping
from seedbed.curation import folder as layout
from seedbed.curation.drops import Drops
from seedbed.curation.duplicates.content import place_of, whole_text
from seedbed.curation.folder import Description, FileFacts
from seedbed.curation.published import command_of, without_secrets
from seedbed.curation.record import Record, content_id, encode
from seedbed.curation.rendering.clipping import clip
from seedbed.curation.rendering.renderer import Renderer
from seedbed.curation.report.summary import SPLIT_OF
from seedbed.curation.report.tally import Tally
from seedbed.curation.report.wording import leakage_messages
from seedbed.curation.report.writing import write_report
from seedbed.curation.result import sentences
from seedbed.curation.splitting.check import visible_answers
from seedbed.curation.splitting.ledger import encode_line, entry_of, read_ledger
from seedbed.errors import SeedbedError
from seedbed.events import RESULT, Message
from seedbed.jobs.look import ModelRenderer
from seedbed.jobs.merge import Reporter
from seedbed.jobs.waiting import until_written
from seedbed.runs.kinds import frozen_config
from seedbed.runs.lifecycle import Lifecycle
from seedbed.runs.tasks import output_of
from seedbed.train.hooks import phase

STEP = "clip"
BEFORE = "Before the clipping:"


def run(task_dir: Path, lifecycle: Lifecycle) -> str:
    """Clip all rows, and put the dataset in the place of the task's output; returns the final status."""
    config: Clipping = frozen_config(lifecycle.run)
    output = output_of(lifecycle.run)
    assert output is not None
    with phase(lifecycle.emit, "prepare"):
        description = until_written(
            lifecycle, output.parent, lambda: _clip(config, output, lifecycle, task_dir), "the work"
        )
    for line in sentences(description):
        lifecycle.emit(Message(level="info", code=RESULT, text=line))
    return "completed"


def _clip(config: Clipping, output: Path, lifecycle: Lifecycle, task_dir: Path) -> Description:
    source, report = Path(config.clip.inputs[0]), Reporter(lifecycle)
    before = layout.describe(source)
    layout.verify(source, before)
    drops, lost = Drops(), Counter[str]()
    prepared = layout.new_folder(task_dir, output)
    try:
        tally = Tally()
        facts = _write(config, before, source, prepared, report, drops, lost, tally)
        layout.write_rejects(prepared, drops)
        _write_ledger(source, prepared, before)
        description = Description(
            name=output.name,
            made="clip",
            command=without_secrets(command_of(lifecycle.run.meta())),
            settings=without_secrets(msgspec.to_builtins(config)),
            fingerprint=layout.fingerprint_of(facts),
            files=facts,
            steps=[*before.steps, "clip@1"],
            inputs=[
                {"name": before.name, "fingerprint": before.fingerprint, "made": before.made, "inputs": before.inputs}
            ],
            drops=drops.as_json(),
            facts={**before.facts, **_leakage(before, prepared, facts, report), "clip": dict(lost)},
        )
        write_report(prepared, description, tally.contents())
        layout.write_description(prepared, description)
        layout.publish(prepared, output, description, lifecycle.run.meta())
    except BaseException:
        files.remove_tree(prepared)
        raise
    return description


def _write(
    config: Clipping,
    before: Description,
    source: Path,
    prepared: Path,
    report: Reporter,
    drops: Drops,
    lost: Counter[str],
    tally: Tally,
) -> dict[str, FileFacts]:
    """Write the files of rows, clipped. Raises SeedbedError if no row is left."""
    done, total = 0, sum(each.size_bytes for each in before.files.values())
    facts = {}
    with ModelRenderer(Path(config.clip.model), config.clip.family, "assistant") as renderer:
        for name in before.files:
            part = prepared / f".{name}.part"
            with files.replacing(part, durable=False) as handle:
                for record in renderer.readable(layout.read_rows(source, name), drops):
                    done += len(encode(record)) + 1
                    report("clipping", done, total)
                    for each in _clipped(record, config.clip.most_tokens, renderer, drops, lost):
                        handle.write(encode(each) + b"\n")
                        tally.add(each, SPLIT_OF[name])
            facts[name] = layout.write_rows(prepared / name, partial(layout.read_rows, prepared, part.name))
            part.unlink()
    if not any(each.rows for each in facts.values()):
        raise SeedbedError(
            f"No row fits into {config.clip.most_tokens:,} tokens.", "Allow more tokens with --max-tokens."
        )
    return facts


def _write_ledger(source: Path, prepared: Path, before: Description) -> None:
    """Write the ledger of the source, with the evaluation rows as they are now: a part of one may not show that it is old."""
    ledger = source / layout.LEDGER
    earlier = ledger.read_bytes() if ledger.is_file() else b""
    known = {entry.row for entry in read_ledger(ledger).entries} if earlier else set()
    evaluated = layout.read_rows(prepared, layout.EVAL) if layout.EVAL in before.files else iter(())
    added = [encode_line(entry) for entry in map(entry_of, evaluated) if entry.row not in known]
    if earlier or added:
        files.write_atomic(prepared / layout.LEDGER, earlier + b"".join(added))


def _leakage(before: Description, prepared: Path, written: dict[str, FileFacts], report: Reporter) -> dict[str, Any]:
    """What the split of the source found, with its evaluation answers measured again; {} if there was none."""
    found = before.facts.get("leakage")
    if not isinstance(found, dict) or not before.is_split:
        return {}
    done, total = 0, 2 * sum(each.size_bytes for each in written.values())

    def advance(size_bytes: int) -> None:
        nonlocal done
        done += size_bytes
        report("checking", min(done, total - 1), total)

    now = visible_answers([prepared / layout.TRAIN], [prepared / layout.EVAL], advance)
    report("checking", total, total)
    said = [each if each.startswith(BEFORE) else f"{BEFORE} {each}" for each in leakage_messages(before.facts)]
    measured = {name: getattr(now, name) for name in ("answers", "too_short", "leaked", "rate")}
    return {"leakage": {**found, **measured, "worst": msgspec.to_builtins(now.worst), "messages": said}}


def _clipped(record: Record, most: int, renderer: Renderer, drops: Drops, lost: Counter[str]) -> Iterator[Record]:
    """What is left of a record; what does not fit is counted."""
    if record.kind == "fim" and _length(record, renderer) > most:
        drops.drop(STEP, "gap with its surroundings is too long", place_of(record), whole_text(record))
        return
    found = clip(record, most, renderer)
    if not found.records:
        drops.drop(STEP, found.reason or "too long", place_of(record), whole_text(record))
        return
    if found.lost_tokens:
        lost["shortened_rows"] += 1
        lost["lost_tokens"] += found.lost_tokens
    for each in found.records:
        if each is not record:
            each.id = content_id(each)
        each.lineage = [*(each.lineage or ()), "clip@1"]
        yield each


def _length(record: Record, renderer: Renderer) -> int:
    return max((len(sample.ids) for _, sample in renderer.samples([record], Drops())), default=0)
