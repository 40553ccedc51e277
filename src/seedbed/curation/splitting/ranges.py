"""Reads JSONL files of records in ranges of bytes, in one process or several, with the results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from seedbed.curation.duplicates.processes import worker_pool
from seedbed.curation.record import Record, decode
from seedbed.errors import SeedbedError
from seedbed.files import explained
from seedbed.hardware.cpu import usable_cores
from seedbed.text import quoted

Result = TypeVar("Result")
RANGE_BYTES = 16 << 20
LARGE_BYTES = 64 << 20
"""With less than this, starting processes takes longer than they save."""
MOST_WORKERS = 8
_PULSE_S = 0.2


class Range(NamedTuple):
    """The lines of a file that begin at or after byte `begin` and before byte `end`; `part` is the number of the file."""

    part: int
    path: Path
    begin: int
    end: int

    def records(self, report: Callable[[int], None] = lambda _: None) -> Iterator[tuple[int, Record]]:
        """Yield the records, each with the offset of its line. `report`: bytes read.

        Raises SeedbedError, with the number of the line, if one is no record.
        """
        with explained(self.path), self.path.open("rb") as lines:
            offset = self.begin
            if offset:
                lines.seek(offset - 1)
                offset += len(lines.readline()) - 1
            while offset < self.end and (line := lines.readline()):
                if line.strip():
                    try:
                        record = decode(line)
                    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
                        raise SeedbedError(
                            f"Line {self._number(offset)} of {quoted(self.path)} is not a record of a dataset ({error}).",
                            "Prepare the dataset again.",
                        ) from None
                    yield offset, record
                offset += len(line)
                report(len(line))

    def _number(self, offset: int) -> int:
        number = 1
        with self.path.open("rb") as lines:
            while offset > 0 and (some := lines.read(min(offset, 1 << 20))):
                number += some.count(b"\n")
                offset -= len(some)
        return number


def ranges_of(parts: Sequence[Path], size_bytes: int = RANGE_BYTES) -> list[Range]:
    """All lines of the files, in ranges of about `size_bytes`."""
    found = []
    for part, path in enumerate(parts):
        with explained(path):
            size = path.stat().st_size
        found += [Range(part, path, *ends) for ends in pairwise([*range(0, size, size_bytes), size])]
    return found


def read_parts(parts: Sequence[Path], report: Callable[[int], None]) -> Iterator[tuple[int, int, Record]]:
    """The records of JSONL files, with the number of the file and the offset of the line. `report`: bytes read."""
    for part, path in enumerate(parts):
        for offset, record in Range(part, path, 0, path.stat().st_size).records(report):
            yield part, offset, record


def computed(
    parts: Sequence[Path], compute: Callable[[Range], Result], report: Callable[[int], None], workers: int | None
) -> Iterator[Result]:
    """Yield what `compute` returns for each range of the files, in order. `report`: the bytes of the ranges that are done.

    `compute` is called in `workers` processes, so it must be picklable; None: one process for little data, else one for each
    core. `report` may raise to end the work.
    """
    ranges = ranges_of(parts)
    total = sum(each.end - each.begin for each in ranges)
    if workers is None:
        workers = 1 if total < LARGE_BYTES else min(usable_cores(), MOST_WORKERS)
    if workers == 1 or len(ranges) <= 1:
        for each in ranges:
            yield compute(each)
            report(each.end - each.begin)
        return
    pool = worker_pool(min(workers, len(ranges)))
    try:
        running: deque[tuple[Range, Future[Result]]] = deque()
        for each in ranges:
            running.append((each, pool.submit(compute, each)))
            if len(running) > workers * 2:
                yield _finished(running, report)
        while running:
            yield _finished(running, report)
    except BrokenProcessPool as error:
        raise SeedbedError(
            "A process that compared rows ended unexpectedly.",
            "Perhaps the memory was full. Start again with fewer --workers.",
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _finished(running: deque[tuple[Range, Future[Result]]], report: Callable[[int], None]) -> Result:
    """The result of the first range, once it is there."""
    done, future = running.popleft()
    while not future.done():
        wait([future], _PULSE_S)
        report(0)
    report(done.end - done.begin)
    return future.result()
