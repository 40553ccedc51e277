"""Reads the rows of a dataset once, and keeps of each only numbers: what ties it to others, and where it stands."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

import msgspec
import numpy as np

from seedbed.curation.record import Kind, Record, content_id, decode, is_trained
from seedbed.curation.splitting.containment import Spool
from seedbed.curation.splitting.content import shown_of
from seedbed.curation.splitting.fingerprints import RUN, hash64, runs_of, tokens_of, winnowed
from seedbed.curation.splitting.ranges import Range, computed
from seedbed.curation.splitting.table import BATCH_CHARACTERS, Seen, Table

STRONG, PATH, FILE, OPENING, PREFIX = range(5)
"""Kinds of links. STRONG: the same session, commit, cluster or content. PATH: the same file of a repository. FILE: a file
that a session changed. OPENING: the same first user turns. PREFIX: the turns of one row begin those of another."""
KINDS: tuple[Kind, ...] = ("chat", "text", "fim")
NO_TIME = 0xFFFFFFFF
MOST_OPEN = 32
_TIED = ("session", "commit")


@dataclass(frozen=True)
class Rows:
    """The rows of all parts, (N,) each unless noted, and their links, (L,).

    Rows are numbered by their content ids, so that the order of reading changes nothing. `place` has the number of each row
    in order of reading.
    """

    parts: tuple[Path, ...]
    place: np.ndarray
    part: np.ndarray
    offset: np.ndarray
    """Where the line begins in its part, in bytes."""
    id: np.ndarray
    """The first 64 bits of the content id."""
    time: np.ndarray
    """Seconds since 1970, uint32; NO_TIME if unknown."""
    key: np.ndarray
    """Names the row for the split: of its session, commit or file, which stay when the row grows, else of its content."""
    key_rank: np.ndarray
    """Which keys go before others in a group: 0 session or commit, 1 other links, 2 file, 3 content."""
    tied_key: np.ndarray
    """The same without files, but for rows without a time that belong to one file only."""
    kind: np.ndarray
    """The place of its kind in KINDS."""
    repository: np.ndarray
    conversation: np.ndarray
    """The hash of all turns of a chat row, else 0."""
    link: np.ndarray
    link_row: np.ndarray
    link_kind: np.ndarray

    @property
    def count(self) -> int:
        """The number of rows."""
        return len(self.id)

    def read(self, numbers: Sequence[int] | np.ndarray) -> Iterator[tuple[int, Record]]:
        """The records with these numbers, in this order, read again from their parts."""
        handles: dict[int, BinaryIO] = {}
        try:
            for number in numbers:
                part = int(self.part[number])
                if part not in handles:
                    if len(handles) >= MOST_OPEN:
                        handles.pop(next(iter(handles))).close()
                    handles[part] = self.parts[part].open("rb")
                handles[part].seek(int(self.offset[number]))
                yield int(number), decode(handles[part].readline())
        finally:
            for handle in handles.values():
                handle.close()


class Looking(Protocol):
    """What is told which runs of its table are seen in which rows."""

    table: Table

    def note(self, run: np.ndarray, row: np.ndarray) -> None:
        """All pairs of some rows, each once: positions in the table, and the numbers of rows in order of reading, int64."""


def scan(
    parts: Sequence[Path],
    spool: Spool,
    report: Callable[[int], None],
    workers: int | None = 1,
    looking: Looking | None = None,
) -> Rows:
    """Read all rows: what is kept of them is returned, and their fingerprints go to the spool, by their order of reading.

    `report` and `workers` as in `ranges.computed`. `looking` is told what was found of its table.
    """
    columns = _Columns()
    for found in computed(parts, _Scanner(looking.table if looking else None), report, workers):
        base = len(columns.id)
        spool.add(found.fingerprints, found.owners + np.uint32(base))
        columns.extend(found.columns)
        if looking:
            run, row = found.seen
            looking.note(run, row + base)
    return columns.rows(tuple(parts))


@dataclass(frozen=True)
class _Scanner:
    """Reads the rows of a range. `table`: the runs that are looked for at the same time."""

    table: Table | None

    def __call__(self, lines: Range) -> _Scanned:
        columns, seen = _Columns(), Seen()
        sought = self.table.sought() if self.table else None
        fingerprints, owners = [np.empty(0, np.uint64)], [np.empty(0, np.uint32)]
        texts: list[str] = []
        numbers: list[int] = []
        waiting = 0

        def hash_texts() -> None:
            tokens = tokens_of(texts)
            found, text = winnowed(*runs_of(tokens))
            fingerprints.append(found)
            owners.append(np.array(numbers, np.uint32)[text])
            if sought:
                seen.add(sought, tokens, numbers)

        for offset, record in lines.records():
            number = columns.add(lines.part, offset, record)
            for text in shown_of(record):
                texts.append(text)
                numbers.append(number)
                waiting += len(text)
            if waiting >= BATCH_CHARACTERS:
                hash_texts()
                texts, numbers, waiting = [], [], 0
        if texts:
            hash_texts()
        return _Scanned(columns, np.concatenate(fingerprints), np.concatenate(owners), seen.pairs())


class _Columns:
    """The numbers of the rows so far, in compact arrays."""

    def __init__(self) -> None:
        self.part, self.offset, self.id, self.time = array("I"), array("Q"), array("Q"), array("I")
        self.key, self.key_rank, self.tied_key = array("Q"), array("B"), array("Q")
        self.kind, self.repository, self.conversation = array("B"), array("Q"), array("Q")
        self.link, self.link_row, self.link_kind = array("Q"), array("I"), array("B")

    def add(self, part: int, offset: int, record: Record) -> int:
        number = len(self.id)
        name = record.id or content_id(record)
        self.part.append(part)
        self.offset.append(offset)
        self.id.append(hash64(name))
        self.time.append(time_of(record))
        self.kind.append(KINDS.index(record.kind))
        self.repository.append(hash64(record.provenance.repository or ""))
        self._add_keys(record, name)
        self._link(number, hash64("content:" + name), STRONG)
        if record.cluster:
            self._link(number, hash64("cluster:" + record.cluster), STRONG)
        for link in record.links or ():
            kind = {"path": PATH, "file": FILE}.get(link.partition(":")[0], STRONG)
            self._link(number, hash64(link if kind == STRONG else _place(link, record)), kind)
        self.conversation.append(0)
        if record.kind == "chat":
            self._add_turns(number, record)
        return number

    def _link(self, number: int, link: int, kind: int) -> None:
        self.link.append(link)
        self.link_row.append(number)
        self.link_kind.append(kind)

    def _add_keys(self, record: Record, name: str) -> None:
        ranked = sorted((_rank_of(link), hash64(link), link) for link in record.links or ())
        own = (3, hash64("content:" + name), "")
        best = ranked[0] if ranked and ranked[0][0] < 3 else own
        paths = [each for each in ranked if each[0] == 2]
        own_file = paths[0] if len(paths) == 1 and self.time[-1] == NO_TIME else own
        tied = best if best[0] < 2 else own_file
        self.key.append(best[1])
        self.key_rank.append(best[0])
        self.tied_key.append(tied[1])

    def _add_turns(self, number: int, record: Record) -> None:
        """Link the row by its first user turns, and by every beginning of its conversation."""
        state = hashlib.blake2b(digest_size=8)
        opening = hashlib.blake2b(digest_size=8)
        opened, words = False, 0
        messages = record.messages or []
        for position, message in enumerate(messages):
            state.update(msgspec.json.encode((message, is_trained(message))))
            digest = int.from_bytes(state.digest(), "big")
            if position + 1 < len(messages):
                self._link(number, digest, PREFIX)
            else:
                self.conversation[number] = digest
            if message.role == "user" and not opened:
                opening.update(message.content.encode("utf-8", "surrogatepass") + b"\0")
                words += len(message.content.split())
                opened = words >= RUN
        if words:
            self._link(number, int.from_bytes(opening.digest(), "big"), OPENING)

    def extend(self, other: _Columns) -> None:
        """Add the rows of another range, with higher numbers."""
        base = len(self.id)
        for name, column in vars(other).items():
            if name == "link_row":
                column = (
                    array("I", (np.frombuffer(column, np.uint32) + np.uint32(base)).tobytes()) if column else column
                )
            getattr(self, name).extend(column)

    def rows(self, parts: tuple[Path, ...]) -> Rows:
        def column(values: array[int], kind: type) -> np.ndarray:
            return np.frombuffer(values, dtype=kind) if len(values) else np.empty(0, kind)

        ids, times, keys = column(self.id, np.uint64), column(self.time, np.uint32), column(self.key, np.uint64)
        order = np.lexsort((keys, times, ids))
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        return Rows(
            parts,
            place,
            column(self.part, np.uint32)[order],
            column(self.offset, np.uint64)[order],
            ids[order],
            times[order],
            keys[order],
            column(self.key_rank, np.uint8)[order],
            column(self.tied_key, np.uint64)[order],
            column(self.kind, np.uint8)[order],
            column(self.repository, np.uint64)[order],
            column(self.conversation, np.uint64)[order],
            column(self.link, np.uint64),
            place[column(self.link_row, np.uint32)],
            column(self.link_kind, np.uint8),
        )


class _Scanned(NamedTuple):
    """The rows of a range, counted from 0, and their fingerprints with the number of the row of each."""

    columns: _Columns
    fingerprints: np.ndarray
    owners: np.ndarray
    seen: tuple[np.ndarray, np.ndarray]
    """Which runs that are looked for are seen in which rows."""


def time_of(record: Record) -> int:
    """The time of a record in seconds since 1970, or NO_TIME."""
    text = record.provenance.time
    if not text:
        return NO_TIME
    try:
        moment = datetime.fromisoformat(text)
        seconds = int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        return NO_TIME
    return seconds if 0 <= seconds < NO_TIME else NO_TIME


def _place(link: str, record: Record) -> str:
    """What a link to a file names: the folder or name of the repository and the path, without the kind of link and the owner.

    So a file of `owner/app` that git has, and the same that a session changed in a folder `app`, are tied together.
    """
    path = link.partition(":")[2]
    repository = record.provenance.repository or ""
    if "/" in repository and path.startswith(f"{repository}/"):
        path = path[repository.rindex("/") + 1 :]
    return f"place:{path}"


def _rank_of(link: str) -> int:
    kind = link.partition(":")[0]
    if kind in _TIED:
        return 0
    return {"path": 2, "file": 3}.get(kind, 1)
