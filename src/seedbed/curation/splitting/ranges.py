"""Reads the rows of files range by range, in several processes if there are many; results come in the order of reading."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from seedbed.curation.duplicates.processes import worker_pool
from seedbed.curation.record import Record, decode
from seedbed.errors import SeedbedError
from seedbed.files import explained
from seedbed.hardware.cpu import usable_cores
from seedbed.text import quoted

RANGE_BYTES = 16 << 20
LARGE_BYTES = 64 << 20
"""Files of together more bytes are read by several processes: starting them takes about half a second."""
_MOST_WORKERS = 8
_PULSE_S = 0.5
T = TypeVar("T")


class Range(NamedTuple):
    """The lines of a file that begin from byte `begin` to before `end`; `part` is the number of the file."""

    part: int
    path: Path
    begin: int
    end: int

    def records(self, report: Callable[[int], None] = lambda size: None) -> Iterator[tuple[int, Record]]:
        """The records, each with the byte where its line begins. `report`: bytes read. Raises SeedbedError for no record."""
        with explained(self.path), self.path.open("rb") as handle:
            if self.begin:
                handle.seek(self.begin - 1)
                handle.readline()
            offset, number = handle.tell(), 0
            while offset < self.end and (line := handle.readline()):
                number += 1
                if line.strip():
                    try:
                        record = decode(line)
                    except (msgspec.DecodeError, msgspec.ValidationError) as error:
                        where = f"The line at byte {offset:,}" if self.begin else f"Line {number}"
                        raise SeedbedError(
                            f"{where} of {quoted(self.path)} is not a record of a dataset ({error}).",
                            "Prepare the dataset again.",
                        ) from None
                    yield offset, record
                offset += len(line)
                report(len(line))


def ranges_of(parts: Sequence[Path]) -> list[Range]:
    """All lines of some files, in ranges of about RANGE_BYTES."""
    found = []
    for part, path in enumerate(parts):
        with explained(path):
            size = path.stat().st_size
        found += [Range(part, path, *cut) for cut in pairwise([*range(0, size, RANGE_BYTES), size])]
    return found


def processes_for(ranges: Sequence[Range], workers: int) -> int:
    """How many processes read the ranges; 1: this one. `workers` 0: one for each core, if there are many bytes."""
    total = sum(each.end - each.begin for each in ranges)
    wanted = workers or (min(usable_cores(), _MOST_WORKERS) if total >= LARGE_BYTES else 1)
    return min(wanted, len(ranges))


def in_processes(
    work: Callable[[Range], T],
    ranges: Sequence[Range],
    processes: int,
    report: Callable[[int], None],
    setup: Callable[[Any], None] | None = None,
    given: Any = None,
) -> Iterator[T]:
    """What `work`, a function of a module, returns for each range, in order.

    `setup(given)` is called once in each process. `report` is called with the bytes read, and with 0 while none is finished;
    what it raises ends the work.
    """
    pool = worker_pool(processes, setup, given)
    pending: deque[tuple[Range, Future[T]]] = deque()
    waiting = deque(ranges)
    try:
        while waiting or pending:
            while waiting and len(pending) < 2 * processes:
                pending.append((waiting[0], pool.submit(work, waiting.popleft())))
            first, future = pending[0]
            if not wait([future], _PULSE_S).done:
                report(0)
                continue
            pending.popleft()
            yield future.result()
            report(first.end - first.begin)
    except BrokenProcessPool as error:
        raise SeedbedError(
            "A process that read records ended unexpectedly.",
            "Perhaps the memory was full. Start again with less data, or with --workers 1.",
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)
