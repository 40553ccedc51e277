"""The cache of parts: the finished records of a unit of input, found again by what they were made from.

    cache/records/KEY.jsonl     the records of a unit after all steps, redacted
    cache/records/KEY.json      what was left out; written last, so a part without it is not finished

Only their owner can read them. KEY hashes the fingerprint of the unit, the settings and the versions of the steps, so that
work is repeated only where something has changed.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from seedbed import files, locks
from seedbed.config.directories import RECORDS_CACHE, RECORDS_LOCK, cache_dir
from seedbed.curation.drops import Drops
from seedbed.curation.folder import PRIVATE_DIR, PRIVATE_FILE
from seedbed.curation.record import Record, content_id, decode, encode
from seedbed.curation.steps import Step, Unit, through
from seedbed.errors import SeedbedError

FORMAT = 1
_KEY_BYTES = 16
_TICK_S = 0.2
_SETTLED_S = 3600.0


@contextmanager
def parts_in_use() -> Iterator[None]:
    """A context in which `seedbed prune` does not delete the parts in the cache.

    What preparations that were killed have left half-written is removed before.
    """
    folder = files.make_dir(cache_dir() / RECORDS_CACHE, PRIVATE_DIR)
    lock = folder / RECORDS_LOCK
    with files.explained(lock):
        lock.touch()
    _remove_half_written(folder, locks.Lock(lock))
    release = locks.share_lock(lock)
    try:
        yield
    finally:
        if release is not None:
            release()


class _From(msgspec.Struct):
    """Of the provenance of a record, what names it for people."""

    file: str | None = None


class Identity(msgspec.Struct):
    """Which record a line has: the hash of its content, and the file that it is from."""

    id: str
    provenance: _From


def _remove_half_written(folder: Path, lock: locks.Lock) -> None:
    """Remove the temporary files of parts that nobody has written for an hour, unless a preparation is at work.

    The age protects a process that has no lock: a worker whose preparation was killed, or one on another machine.
    """
    if not lock.acquire():
        return
    try:
        oldest_s = time.time() - _SETTLED_S
        for path in folder.glob(".*.tmp"):
            with suppress(OSError):
                if path.stat().st_mtime < oldest_s:
                    path.unlink()
    finally:
        lock.release()


class Part(NamedTuple):
    """The finished records of one unit: the file that has them, how many, and what was left out."""

    path: Path
    rows: int
    drops: Drops

    def records(self) -> Iterator[Record]:
        """Yield the records, in order. Raises SeedbedError if the file is gone."""
        with files.explained(self.path), self.path.open("rb") as handle:
            for line in handle:
                yield decode(line)

    def identities(self) -> Iterator[Identity]:
        """Which records there are, in order: much faster than reading all of each. Raises SeedbedError if the file is gone."""
        decoder = msgspec.json.Decoder(Identity)
        with files.explained(self.path), self.path.open("rb") as handle:
            for line in handle:
                yield decoder.decode(line)


class Ticker:
    """Calls a function at most every 0.2 seconds."""

    def __init__(self, check: Callable[[], None]) -> None:
        self._check, self._next_s = check, 0.0

    def __call__(self) -> None:
        now = time.monotonic()
        if now >= self._next_s:
            self._next_s = now + _TICK_S
            self._check()


def key_of(unit: Unit, settings: Any, steps: Sequence[Step]) -> str:
    """The name of a unit's part in the cache. `settings`: a JSON value with all that decides what the part contains."""
    versions = [[step.name, step.version] for step in steps]
    content = msgspec.json.encode([FORMAT, unit.name, unit.fingerprint(), settings, versions])
    return hashlib.blake2b(content, digest_size=_KEY_BYTES).hexdigest()


def finished_keys(cache: Path) -> set[str]:
    """The keys of all finished parts in the cache: a look at names alone, which is cheap enough to be repeated."""
    try:
        names = os.listdir(cache / RECORDS_CACHE)  # noqa: PTH208  # names alone
    except FileNotFoundError:
        return set()
    return {name.removesuffix(".json") for name in names if name.endswith(".json") and not name.startswith(".")}


def find_part(cache: Path, key: str) -> Part | None:
    """The finished part with this key; None if the cache does not have it, or if it cannot be read."""
    path = cache / RECORDS_CACHE / f"{key}.jsonl"
    try:
        facts = files.read_json(path.with_suffix(".json"))
        if path.stat().st_size != facts["size_bytes"]:
            return None
        return Part(path, facts["rows"], Drops.from_json(facts["drops"]))
    except (SeedbedError, OSError, KeyError, TypeError, msgspec.ValidationError):
        return None


def make_part(
    cache: Path, key: str, unit: Unit, steps: Sequence[Step], mask: Callable[[str], str], tick: Callable[[], None]
) -> Part:
    """Read a unit, put its records through the steps, and write the part; nothing is left behind if that fails.

    `mask` redacts the samples of what was left out, since these are written, too. `tick` is called after each record.
    Raises SeedbedError if nothing of the unit can be read, or if the part cannot be written.
    """
    folder = files.make_dir(cache / RECORDS_CACHE, PRIVATE_DIR)
    path, drops, rows = folder / f"{key}.jsonl", Drops(), 0
    with files.replacing(path, durable=False, mode=PRIVATE_FILE) as handle:
        for record in through(unit.read(drops), steps, drops):
            record.id = content_id(record)
            handle.write(encode(record) + b"\n")
            rows += 1
            tick()
    drops.mask(mask)
    facts = {"rows": rows, "size_bytes": path.stat().st_size, "drops": drops.as_json()}
    files.write_json(path.with_suffix(".json"), facts, durable=False, mode=PRIVATE_FILE)
    return Part(path, rows, drops)
