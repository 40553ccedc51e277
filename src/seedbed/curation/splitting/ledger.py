"""The ledger of evaluation rows: hashes of rows that were ever evaluated, so that they never enter training.

It is a file of JSON lines, `eval-ledger.jsonl` (folder.LEDGER), beside the dataset. Lines are only ever added. It has no
text: hashes of contents, of links, and of at most MOST_KEPT runs of 13 tokens for each answer.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

from seedbed.curation.record import Record, content_id
from seedbed.curation.splitting.answers import Runs, Table, runs_of_answers, spaced
from seedbed.curation.splitting.containment import ACT
from seedbed.curation.splitting.fingerprints import hash64
from seedbed.curation.splitting.scan import Rows
from seedbed.errors import UsageError
from seedbed.text import quoted

VERSION = 1
MOST_KEPT = 128
"""Runs that are kept of an answer, and of all answers of a row in ROW_KEPT."""
ROW_KEPT = 1024
MOST_LINKS = 32


class Entry(msgspec.Struct, kw_only=True, frozen=True):
    """What is kept of one evaluation row."""

    version: int = VERSION
    row: str
    """The hash of its content, 16 hex digits."""
    links: list[str] = []
    """Hashes of the sessions and commits to which it belongs."""
    answers: list[tuple[int, str]] = []
    """Of each answer: the tokens in a run, and the hashes of its runs as base64 of little-endian 64-bit numbers."""

    def runs(self) -> list[Runs]:
        """The runs of the answers."""
        return [Runs(np.frombuffer(base64.b64decode(each), "<u8").astype(np.uint64), n) for n, each in self.answers]


def entry_of(record: Record) -> Entry:
    """The entry of an evaluation row."""
    answers, _ = runs_of_answers(record)
    most = max(min(MOST_KEPT, ROW_KEPT // max(len(answers), 1)), 1)
    return Entry(
        row=f"{hash64(record.id or content_id(record)):016x}",
        links=[f"{hash64(each):016x}" for each in sorted(record.links or ()) if _stays(each)][:MOST_LINKS],
        answers=[
            (each.length, base64.b64encode(spaced(each.hashes, most).astype("<u8").tobytes()).decode())
            for each in answers[:ROW_KEPT]
        ],
    )


def _stays(link: str) -> bool:
    """Whether a link names what an evaluation row is a part of; a file has other, independent parts."""
    return link.partition(":")[0] not in ("path", "file")


def read_ledger(path: Path) -> list[Entry]:
    """The entries of a ledger, each row once. Raises UsageError if a line is no entry of a known version."""
    found: dict[str, Entry] = {}
    decoder = msgspec.json.Decoder(Entry)
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                entry = decoder.decode(line)
                entry.runs()
            except (msgspec.DecodeError, msgspec.ValidationError, ValueError) as error:
                raise UsageError(
                    f"Line {number} of the evaluation ledger {quoted(path)} cannot be read ({error}).",
                    "Restore the file. Without it, old evaluation rows could enter training.",
                ) from None
            if entry.version != VERSION:
                raise UsageError(
                    f"The evaluation ledger {quoted(path)} has version {entry.version}; this Seedbed reads {VERSION}.",
                    "Use a newer Seedbed.",
                )
            found.setdefault(entry.row, entry)
    return list(found.values())


def encode_entry(entry: Entry) -> bytes:
    """An entry as a line of the ledger, with its newline."""
    return msgspec.json.encode(entry) + b"\n"


def old_rows(
    rows: Rows, entries: list[Entry], report: Callable[[int], None], workers: int | None = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Rows that were evaluated before, and rows that belong to one of these or show more than half of an answer of one.

    Both are bool (N,); the first are among the second.
    """
    same = np.isin(rows.id, np.array([int(each.row, 16) for each in entries], np.uint64))
    old = same.copy()
    links = np.array([int(link, 16) for each in entries for link in each.links], np.uint64)
    old[rows.link_row[np.isin(rows.link, links)]] = True
    runs = [each for entry in entries for each in entry.runs()]
    hashes = np.concatenate([np.empty(0, np.uint64), *(each.hashes for each in runs)])
    answer = np.repeat(np.arange(len(runs)), [len(each.hashes) for each in runs])
    sizes = np.bincount(answer, minlength=len(runs))
    table = Table(runs)
    place = np.searchsorted(table.hashes, hashes)
    order = np.argsort(place, kind="stable")
    answer, place = answer[order], place[order]
    for run, row in table.find(rows.parts, report, workers):
        row = rows.place[row]
        starts, ends = np.searchsorted(place, run), np.searchsorted(place, run, side="right")
        counts = ends - starts
        steps = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        key = answer[np.repeat(starts, counts) + steps] + np.repeat(row, counts) * max(len(runs), 1)
        pairs, shown = np.unique(key, return_counts=True)
        old[pairs[shown > ACT * sizes[pairs % max(len(runs), 1)]] // max(len(runs), 1)] = True
    return same, old
