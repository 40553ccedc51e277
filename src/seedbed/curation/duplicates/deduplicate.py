"""Leaves duplicates out of files of records: reads them once for digests and signatures, and again to yield what is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from seedbed.curation.drops import Drops
from seedbed.curation.duplicates.clusters import Clusters, Numbers, clusters_of, numbered
from seedbed.curation.duplicates.content import place_of, whole_text
from seedbed.curation.duplicates.options import DuplicateOptions, DuplicateSummary, LargestCluster
from seedbed.curation.duplicates.processes import worker_pool
from seedbed.curation.duplicates.signature_files import (
    CHAT,
    LICENSED,
    Digests,
    RecordRows,
    SignatureFiles,
    record_id,
    write_signatures,
)
from seedbed.curation.record import Record, decode
from seedbed.errors import SeedbedError
from seedbed.files import explained
from seedbed.hardware.cpu import usable_cores
from seedbed.text import printable, quoted

STEP, VERSION = "deduplicate", 1
_RANGE_BYTES = 16 << 20
_LARGE_BYTES = 64 << 20
"""Files of together more bytes are read by several processes: starting them takes about half a second."""
_MOST_WORKERS = 8
_PULSE_S = 0.5


@dataclass
class Deduplicated:
    """The records of several files without duplicates; `summary` is complete when all of `records()` were read."""

    summary: DuplicateSummary
    _parts: Sequence[Path]
    _rows: RecordRows
    _clusters: Clusters
    _exact: npt.NDArray[np.bool_]
    _near: npt.NDArray[np.bool_]

    def records(self, drops: Drops) -> Iterator[Record]:
        """Yield the records that are kept, in order, with `cluster` and `cluster_size`; others are counted in `drops`.

        Raises SeedbedError if a file has changed meanwhile.
        """
        numbers = iter(range(self.summary.records))
        largest = dict.fromkeys(np.argsort(-self._clusters.sizes, kind="stable")[:10].tolist(), "")
        ids = self._rows.ids.astype(">u8")
        for path in self._parts:
            for record in read_records(path):
                number = next(numbers, None)
                if number is None or ids[number].tobytes() != record_id(record):
                    raise SeedbedError(f"{quoted(path)} has changed while it was read.", "Start again.")
                cluster = int(self._clusters.of_record[number])
                if cluster in largest:
                    largest[cluster] = largest[cluster] or place_of(record)
                if self._exact[number] or self._near[number]:
                    reason = "exact duplicate" if self._exact[number] else "near duplicate"
                    drops.drop(STEP, reason, place_of(record), whole_text(record))
                    continue
                record.cluster = self._clusters.names[cluster] if cluster >= 0 else None
                record.cluster_size = int(self._clusters.sizes[cluster]) if cluster >= 0 else None
                record.lineage = [*(record.lineage or ()), f"{STEP}@{VERSION}"]
                yield record
        if next(numbers, None) is not None:
            raise SeedbedError("A file has changed while it was read.", "Start again.")
        self.summary.largest = [
            LargestCluster(name=self._clusters.names[each], size=int(self._clusters.sizes[each]), example=place)
            for each, place in largest.items()
        ]


def deduplicate(
    parts: Sequence[Path],
    options: DuplicateOptions,
    workdir: Path,
    report: Callable[[int], None] = lambda read_bytes: None,
) -> Deduplicated:
    """Find the duplicates among the records of several JSONL files; `Deduplicated.records` then yields what is kept.

    Reads every file once; its digests and signatures go to `workdir`, which must exist, and are removed at the end. `report`
    is called with the bytes that were read so far, at least every second or two; what it raises ends the work. Takes less
    than 1.5 kB of memory per record, and 200 MB per process.
    Raises SeedbedError if a line is no record, StorageError if the disk is full.
    """
    maker = "none" if options.near == "off" else options.signatures
    ranges = [(path, begin, end) for path in parts for begin, end in _ranges(path)]
    total = sum(end - begin for _, begin, end in ranges)
    paths = [workdir / f"signatures-{number:06d}" for number in range(len(ranges))]
    try:
        _write_all(ranges, paths, maker, options.workers, report)
        files = SignatureFiles(paths)
        rows = files.record_rows()
        clusters = clusters_of(files, rows, options.code_similarity, options.prose_similarity, lambda: report(total))
    finally:
        for path in paths:
            path.unlink(missing_ok=True)
    exact, near = choose(rows, clusters)
    summary = DuplicateSummary(
        records=len(exact),
        exact=int(exact.sum()),
        near=int(near.sum()),
        clusters=len(clusters.names),
        clustered=int((clusters.of_record >= 0).sum()),
        signatures=files.maker,
        largest=[],
    )
    if options.near != "drop":
        near[:] = False
    return Deduplicated(summary, parts, rows, clusters, exact, near)


def choose(rows: RecordRows, clusters: Clusters) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which records are exact duplicates of a better one, and which of the others are near duplicates of a better one.

    The better one has a known licence, is newer, or longer; digests decide between equals. The rows of one piece of a file
    are kept or left out together. Conversations are no near duplicates.
    """
    exact = _worse(rows, numbered(rows.exact)[1])
    near = np.zeros(len(exact), bool)
    texts = np.flatnonzero(~exact & (clusters.of_record >= 0) & (rows.flags & CHAT == 0))
    if len(texts):
        _, documents = numbered(rows.documents)
        order = texts[_best_first(rows, clusters.of_record, texts)]
        new = _first_of_runs(clusters.of_record[order])
        kept = documents[order[new]]
        near[order] = documents[order] != kept[np.cumsum(new) - 1]
    return exact, near


def _worse(rows: RecordRows, groups: Numbers) -> npt.NDArray[np.bool_]:
    """Whether each record is not the best of its group."""
    order = _best_first(rows, groups, np.arange(len(groups)))
    worse = np.ones(len(groups), bool)
    worse[order[_first_of_runs(groups[order])]] = False
    return worse


def _best_first(rows: RecordRows, groups: npt.NDArray[np.signedinteger], among: Numbers) -> Numbers:
    """The places in `among`, sorted by group and within it from the best to the worst."""
    documents: Digests = rows.documents[among]
    unlicensed = rows.flags[among] & LICENSED == 0
    keys = (documents[:, 1], documents[:, 0], -rows.lengths[among], -rows.seconds[among], unlicensed, groups[among])
    return np.lexsort(keys)


def _first_of_runs(values: npt.NDArray[np.signedinteger]) -> npt.NDArray[np.bool_]:
    first = np.ones(len(values), bool)
    first[1:] = values[1:] != values[:-1]
    return first


def read_records(path: Path, begin: int = 0, end: int | None = None) -> Iterator[Record]:
    """Yield the records whose lines begin in a range of bytes of a file. Raises SeedbedError if a line is no record."""
    with explained(path), path.open("rb") as handle:
        if begin:
            handle.seek(begin - 1)
            handle.readline()
        place = handle.tell()
        while (end is None or place < end) and (line := handle.readline()):
            if not line.isspace():
                try:
                    record = decode(line)
                except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                    raise SeedbedError(
                        f"{quoted(path)} has a line at byte {place:,} that is no record: {printable(str(error))}.",
                        "Prepare this dataset again.",
                    ) from error
                yield record
            place += len(line)


def _ranges(path: Path) -> list[tuple[int, int]]:
    with explained(path):
        size = path.stat().st_size
    return list(pairwise([*range(0, size, _RANGE_BYTES), size]))


def _write_all(
    ranges: Sequence[tuple[Path, int, int]],
    paths: Sequence[Path],
    maker: str,
    workers: int | None,
    report: Callable[[int], None],
) -> None:
    total = sum(end - begin for _, begin, end in ranges)
    workers = workers or (1 if total < _LARGE_BYTES else min(usable_cores(), _MOST_WORKERS))
    done = 0
    if workers == 1 or len(ranges) <= 1:
        for (path, begin, end), out in zip(ranges, paths, strict=True):
            _write_range(path, begin, end, out, maker)
            report(done := done + end - begin)
        return
    pool = worker_pool(min(workers, len(ranges)))
    try:
        sizes: dict[Future[None], int] = {}
        for (path, begin, end), out in zip(ranges, paths, strict=True):
            sizes[pool.submit(_write_range, path, begin, end, out, maker)] = end - begin
        waiting = set(sizes)
        while waiting:
            finished, waiting = wait(waiting, _PULSE_S, FIRST_COMPLETED)
            for future in finished:
                future.result()
                done += sizes[future]
            report(done)
    except BrokenProcessPool as error:
        raise SeedbedError(
            "A process that compared records ended unexpectedly.",
            "Perhaps the memory was full. Start again with less data.",
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _write_range(path: Path, begin: int, end: int, out: Path, maker: str) -> None:
    write_signatures(read_records(path, begin, end), out, maker)
