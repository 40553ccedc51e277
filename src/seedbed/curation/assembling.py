"""Puts the parts of a preparation together: a dataset folder with all records, before the split."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from seedbed import files
from seedbed.curation import folder as layout
from seedbed.curation.drops import Drops
from seedbed.curation.folder import Description
from seedbed.curation.parts import Part, Ticker
from seedbed.curation.preparing import Preparer
from seedbed.curation.published import command_of, without_secrets
from seedbed.curation.record import Record
from seedbed.curation.report.tally import Tally
from seedbed.curation.report.writing import write_report
from seedbed.curation.repositories.git import HARVEST_HINT, NESTED
from seedbed.curation.result import most_frequent
from seedbed.errors import UsageError


def assemble(
    preparer: Preparer,
    parts: Sequence[Part],
    output: Path,
    meta: Mapping[str, Any],
    check: Callable[[], None],
    folder: Path,
) -> Description:
    """Write the dataset and put it in the place of `output`, as a whole or not at all.

    `meta`: the task's meta.json, for the command that is recorded; `folder`: its directory, for temporary files. Raises
    UsageError if there is not one record.
    """
    check = Ticker(check)
    drops = Drops()
    preparer.found.mask(preparer.mask)  # those of the parts are redacted already
    drops.add(preparer.found)
    for part in parts:
        drops.add(part.drops)
    numbers = unique_rows(parts, drops, check)
    if not numbers:
        hint = "Look at the reasons, and give another path or other options."
        if missing := preparer.missing(drops):
            hint = f"{missing[0].text} {missing[0].hint}"
        elif any(reason == NESTED for _, reason in drops.counts):
            hint = HARVEST_HINT
        raise UsageError(f"Nothing of the input can be used: {most_frequent(drops) or 'it has no content'}.", hint)

    def records() -> Iterator[Record]:
        for number, record in enumerate(each for part in parts for each in part.records()):
            check()
            if number in numbers:
                yield record

    prepared = layout.new_folder(folder, output)
    try:
        tally = Tally()
        count = partial(tally.add, split="records")
        facts = {layout.RECORDS: layout.write_rows(prepared / layout.RECORDS, records, count)}
        layout.write_rejects(prepared, drops)
        description = Description(
            name=output.name,
            made=preparer.config.prepare.what,
            command=without_secrets(command_of(meta), preparer.mask),
            settings=without_secrets(msgspec.to_builtins(preparer.config), preparer.mask),
            fingerprint=layout.fingerprint_of(facts),
            files=facts,
            steps=[f"{step.name}@{step.version}" for step in preparer.steps],
            inputs=without_secrets(
                [{"name": unit.name, "rows": part.rows} for unit, part in zip(preparer.units, parts, strict=True)],
                preparer.mask,
            ),
            drops=drops.as_json(),
        )
        write_report(prepared, description, tally.contents())
        layout.write_description(prepared, description)
        layout.publish(prepared, output, description, meta)
    except BaseException:
        files.remove_tree(prepared)
        raise
    return description


def unique_rows(parts: Sequence[Part], drops: Drops, check: Callable[[], None]) -> set[int]:
    """The numbers of the records, counted over all parts, whose content occurs for the first time."""
    known: set[bytes] = set()
    kept: set[int] = set()
    for number, record in enumerate(each for part in parts for each in part.identities()):
        check()
        key = bytes.fromhex(record.id)
        if key in known:
            drops.drop("unique", "same content as an earlier row", record.provenance.file or record.id)
        else:
            known.add(key)
            kept.add(number)
    return kept
