"""The inputs of `seedbed data merge`, and what a user should know about them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from seedbed.cli.console import note
from seedbed.curation.folder import LEDGER, describe, is_dataset
from seedbed.files import normal_path
from seedbed.text import quoted


def usable_inputs(names: list[str], output: Path) -> list[str]:
    """The inputs without what a pattern such as data/* also names: the output itself, a ledger, and what is no dataset.

    A dataset that is given twice is taken once, and the user is told. A single path is kept, whatever it is.
    """
    if len(names) == 1:
        return names
    kept: list[str] = []
    known: dict[str | Path, str] = {}
    for name in names:
        path = normal_path(name)
        if (earlier := known.get(path.resolve())) is not None:
            same = "" if normal_path(earlier) == path else f" is {quoted(earlier)}, which"
            note(f"{quoted(name)}{same} is given twice; it is read once.")
            continue
        known[path.resolve()] = name
        if path.name == LEDGER and path.is_file():
            continue
        if path == normal_path(output):
            note(f"{quoted(name)} is the output, so it is not an input.")
        elif path.exists() and not is_dataset(path):
            note(f"{quoted(name)} is not a dataset, so it is left out.")
        else:
            kept.append(name)
            fingerprint = describe(path).fingerprint if is_dataset(path) else name
            if (earlier := known.setdefault(fingerprint, name)) != name:
                note(f"{quoted(name)} has the same rows as {quoted(earlier)}: duplicates are left out.")
    return kept


def note_other_ledgers(inputs: Sequence[str], output: Path) -> None:
    """Say which evaluation ledgers beside the inputs do not count for a dataset in this place."""

    here = normal_path(output).parent.resolve()
    beside = dict.fromkeys(Path(each).parent for each in inputs)
    for ledger in (folder / LEDGER for folder in beside if folder.resolve() != here):
        if ledger.is_file():
            note(
                f"{quoted(ledger)} is of another folder, so it is not used: rows that were evaluated there may be trained here. "
                f"To keep them in evaluation, add --ledger {shlex.quote(str(ledger))}."
            )
