"""The ledger of evaluation rows: hashes of rows that were ever evaluated, so that they never enter training.

It is a file of JSON lines, `eval-ledger.jsonl` (folder.LEDGER), beside the dataset. Lines are only ever added. It has no
text: hashes of contents, of links, and of at most MOST_KEPT runs of 13 tokens for each answer. A line for each build says
what was trained then, so that the same data are split in the same way again, and what was trained is not evaluated later.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from seedbed.curation.record import Record, content_id
from seedbed.curation.splitting.answers import runs_of_answers, spaced
from seedbed.curation.splitting.containment import ACT
from seedbed.curation.splitting.fingerprints import hash64
from seedbed.curation.splitting.scan import Rows
from seedbed.curation.splitting.table import Runs, Table
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
    """Of each answer: the tokens in a run (negative: words), and the hashes of its runs as base64 of little-endian numbers."""

    def runs(self) -> list[Runs]:
        """The runs of the answers."""
        return [Runs(unpacked(each, np.uint64), n) for n, each in self.answers]


class Build(msgspec.Struct, kw_only=True, frozen=True):
    """What is kept of one split, beside its evaluation rows."""

    version: int = VERSION
    split: str
    """The name of the options that choose rows: a build with others chooses anew."""
    evaluated: int
    """The number of evaluation rows."""
    trained: str = ""
    """The keys of training rows (scan.Rows.key) that earlier builds did not have, the first 32 bits: see `packed`."""
    left_out: str = ""
    """The ids of rows that were left out since they show an evaluation answer, 64 bits; without those of earlier builds."""


class Known(NamedTuple):
    """What the builds with certain options trained on."""

    evaluated: int
    """The largest number of evaluation rows of one build."""
    trained: np.ndarray
    """The first 32 bits of the keys of training rows, sorted; uint32 (K,)."""
    left_out: np.ndarray
    """The ids of rows that were left out, sorted; uint64 (L,)."""


class Ledger(NamedTuple):
    """All lines of a ledger."""

    entries: Sequence[Entry] = ()
    """Each evaluation row once."""
    builds: Sequence[Build] = ()

    def known(self, split: str) -> Known | None:
        """What the builds with these options trained on; None if there are none."""
        own = [each for each in self.builds if each.split == split]
        if not own:
            return None
        return Known(
            max(each.evaluated for each in own),
            np.unique(np.concatenate([unpacked(each.trained, np.uint32) for each in own])),
            np.unique(np.concatenate([unpacked(each.left_out, np.uint64) for each in own])),
        )

    @property
    def trained(self) -> np.ndarray:
        """What builds with any options trained on, as in `Known`."""
        return np.unique(
            np.concatenate([np.empty(0, np.uint32), *(unpacked(each.trained, np.uint32) for each in self.builds)])
        )


def packed(numbers: np.ndarray) -> str:
    """Numbers as base64 of little-endian bytes."""
    return base64.b64encode(numbers.astype(numbers.dtype.newbyteorder("<")).tobytes()).decode()


def unpacked(text: str, kind: type[np.unsignedinteger]) -> np.ndarray:
    """The numbers that `packed` wrote. Raises ValueError if there are others."""
    return np.frombuffer(base64.b64decode(text), np.dtype(kind).newbyteorder("<")).astype(kind)


def entry_of(record: Record) -> Entry:
    """The entry of an evaluation row."""
    answers, _ = runs_of_answers(record)
    most = max(min(MOST_KEPT, ROW_KEPT // max(len(answers), 1)), 1)
    return Entry(
        row=f"{hash64(record.id or content_id(record)):016x}",
        links=[f"{hash64(each):016x}" for each in sorted(record.links or ()) if _stays(each)][:MOST_LINKS],
        answers=[(each.length, packed(spaced(each.hashes, most))) for each in answers[:ROW_KEPT]],
    )


def _stays(link: str) -> bool:
    """Whether a link names what an evaluation row is a part of; a file has other, independent parts."""
    return link.partition(":")[0] not in ("path", "file")


class _Line(msgspec.Struct):
    """A line of either kind."""

    version: int = VERSION
    row: str = ""
    split: str = ""


def read_ledger(path: Path) -> Ledger:
    """The lines of a ledger, each row once. Raises UsageError if a line is of no known kind and version."""
    entries: dict[str, Entry] = {}
    builds: list[Build] = []
    line_decoder, entry_decoder, build_decoder = map(msgspec.json.Decoder, (_Line, Entry, Build))
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                kind = line_decoder.decode(line)
                if kind.version == VERSION and kind.split and not kind.row:
                    builds.append(build_decoder.decode(line))
                    unpacked(builds[-1].trained, np.uint32), unpacked(builds[-1].left_out, np.uint64)
                elif kind.version == VERSION:
                    entry = entry_decoder.decode(line)
                    entry.runs()
                    entries.setdefault(entry.row, entry)
            except (msgspec.DecodeError, msgspec.ValidationError, ValueError) as error:
                raise UsageError(
                    f"Line {number} of the evaluation ledger {quoted(path)} cannot be read ({error}).",
                    "Restore the file. Without it, old evaluation rows could enter training.",
                ) from None
            if kind.version != VERSION:
                raise UsageError(
                    f"The evaluation ledger {quoted(path)} has version {kind.version}; this Seedbed reads {VERSION}.",
                    "Use a newer Seedbed.",
                )
    return Ledger(list(entries.values()), builds)


def encode_line(line: Entry | Build) -> bytes:
    """An entry or a build as a line of the ledger, with its newline."""
    return msgspec.json.encode(line) + b"\n"


class OldRows(NamedTuple):
    """What is known of rows from the evaluation rows of a ledger; bool (N,) each."""

    same: np.ndarray
    """Rows that were evaluated before."""
    tied: np.ndarray
    """Those, and rows that belong to one of these."""
    showing: np.ndarray
    """Rows that show more than half of an answer."""


class OldAnswers:
    """The answers of a ledger, and which rows show more than half of one."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = entries
        runs = [each for entry in entries for each in entry.runs()]
        hashes = np.concatenate([np.empty(0, np.uint64), *(each.hashes for each in runs)])
        answer = np.repeat(np.arange(len(runs)), [len(each.hashes) for each in runs])
        self._sizes = np.bincount(answer, minlength=len(runs))
        self.table = Table(runs)
        """The runs of all answers."""
        place = np.searchsorted(self.table.hashes, hashes)
        order = np.argsort(place, kind="stable")
        self._answer, self._place = answer[order], place[order]
        self._showing: list[np.ndarray] = [np.empty(0, np.int64)]

    def note(self, run: np.ndarray, row: np.ndarray) -> None:
        """All runs that some rows show, each once: their positions in the table, and the rows in order of reading."""
        starts, ends = np.searchsorted(self._place, run), np.searchsorted(self._place, run, side="right")
        counts = ends - starts
        steps = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        width = max(len(self._sizes), 1)
        key = self._answer[np.repeat(starts, counts) + steps] + np.repeat(row, counts) * width
        pairs, shown = np.unique(key, return_counts=True)
        self._showing.append(np.unique(pairs[shown > ACT * self._sizes[pairs % width]] // width))

    def among(self, rows: Rows) -> OldRows:
        """What is known of the rows."""
        same = np.isin(rows.id, np.array([int(each.row, 16) for each in self._entries], np.uint64))
        tied, showing = same.copy(), np.zeros(rows.count, bool)
        links = np.array([int(link, 16) for each in self._entries for link in each.links], np.uint64)
        tied[rows.link_row[np.isin(rows.link, links)]] = True
        showing[rows.place[np.concatenate(self._showing)]] = True
        return OldRows(same, tied, showing)
