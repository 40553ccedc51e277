"""Datasets for the tests of the report card."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seedbed.curation import folder as layout
from seedbed.curation.drops import Drops
from seedbed.curation.folder import Description
from seedbed.curation.record import Function, Message, Provenance, Record, ToolCall
from seedbed.curation.report.measured import Fitted, Measured, TokenAmount, Verification
from seedbed.curation.report.tally import lengths_of
from split_rows import chat, named


def chat_with_tools() -> Record:
    """A session with two calls of tools and their results."""
    calls = [ToolCall(id=name, function=Function(name=name, arguments='{"path": "a.py"}')) for name in ("Read", "Edit")]
    messages = [
        Message(role="user", content="Fix it."),
        Message(role="assistant", reasoning="Look first.", tool_calls=calls),
        *(Message(role="tool", content="done", tool_call_id=call.id, name=call.id) for call in calls),
        Message(role="assistant", content="Fixed."),
    ]
    return named(Record(kind="chat", messages=messages, provenance=Provenance(source="claude-code", model="model-1")))


def an_edit() -> Record:
    """An example from a commit."""
    return chat("Rename a to b.", "a.py\n<<<<\na\n====\nb\n>>>>", links=["commit:1"], source="git")


def dataset(
    folder: Path,
    train: Sequence[Record],
    evaluated: Sequence[Record] = (),
    drops: Drops | None = None,
    **values: Any,
) -> tuple[Path, Description]:
    """A dataset folder with these rows; `values` of its description."""
    folder.mkdir(parents=True)
    facts = {layout.TRAIN: layout.write_rows(folder / layout.TRAIN, lambda: train)}
    facts[layout.EVAL] = layout.write_rows(folder / layout.EVAL, lambda: evaluated)
    values = {"name": folder.name, "made": "merge", **values}
    fingerprint = layout.fingerprint_of(facts)
    description = Description(fingerprint=fingerprint, files=facts, drops=(drops or Drops()).as_json(), **values)
    layout.write_description(folder, description)
    return folder, layout.describe(folder)


def measured(name: str = "small", problem: str = "") -> Measured:
    """What was measured of a dataset with 12 rows, of which 9 fit."""
    fitted = Fitted(
        context=64, rows=12, whole=9, cut=0, clipped=1, left_out=2, packed_rows=3, fill=0.98765, drops=[(name, 2)]
    )
    amount = TokenAmount(samples=10, tokens=1000, trained=250)
    ways = {"generation": False, "markers": True, "prefix": True}
    return Measured(
        model=name,
        tokenizer=name,
        vocabulary=400,
        family=name,
        loss="assistant",
        splits={"train": amount},
        by={"kind": {"chat": amount}, "repository": {name: amount}},
        lengths=lengths_of([10, 20, 70], [5]),
        templates=[Verification(name="default", strategies={} if problem else ways, problem=problem)],
        fitted=fitted,
    )
