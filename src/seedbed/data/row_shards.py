"""Cuts the rows of a dataset into shards by their content, and finds shards of other datasets that have the same rows.

Where a shard ends depends on the rows near its end, not on how many came before. So when rows are added to a dataset, most
shards stay as they are, and what was rendered for an earlier version is used again (content-defined chunking).
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from seedbed import files
from seedbed.data.dataset_cache import manifests
from seedbed.data.interruption import Check
from seedbed.data.shards import files_of
from seedbed.errors import SeedbedError
from seedbed.text import quoted

SHARD_BYTES = 1 << 25
"""The most bytes of rows of a shard, unless one row has more. After a kill, at most this much is rendered again."""
_CHECK_EVERY_ROWS = 1000


class _Row(msgspec.Struct):
    """What of a row decides which samples it gives. `id` is a hash of its content."""

    kind: str
    id: str = ""
    order: str | None = None
    provenance: msgspec.Raw = msgspec.Raw(b"")


class PlannedShard(NamedTuple):
    """The rows of a shard: how many, their size in bytes, and a hash of them (hex)."""

    rows: int
    size_bytes: int
    digest: str


class Survey(NamedTuple):
    """What the files of a split dataset have: how many rows of each kind, and the shards of each file."""

    kinds: Counter[str]
    shards: Mapping[str, list[PlannedShard]]


def survey(paths: Iterable[tuple[Path, int | None]], check: Check) -> Survey:
    """Read files of rows once. Each comes with the most of its rows that are used; the kinds of the others count, too.

    Raises SeedbedError for a line that is no row.
    """
    kinds = Counter[str]()
    plans: dict[str, list[PlannedShard]] = {}
    for path, most in paths:
        used = itertools.islice(rows := _rows(path, kinds, check), most)
        plans[path.name] = list(_cut(used))
        for _ in rows:
            pass
    return Survey(kinds, plans)


def _rows(path: Path, kinds: Counter[str], check: Check) -> Iterator[tuple[int, bytes]]:
    """Yield the size of each line and the hash of its row, and count its kind."""
    decoder = msgspec.json.Decoder(_Row)
    with files.explained(path), path.open("rb") as handle:
        for number, line in enumerate(handle, 1):
            if not number % _CHECK_EVERY_ROWS:
                check()
            try:
                row = decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise SeedbedError(
                    f"Line {number} of {quoted(path)} is no row of a dataset: {error}.", "Make the dataset again."
                ) from None
            kinds[row.kind] += 1
            content = (
                b"\0".join((row.id.encode(), (row.order or "").encode(), bytes(row.provenance))) if row.id else line
            )
            yield len(line), hashlib.blake2b(content, digest_size=16).digest()


def _cut(rows: Iterable[tuple[int, bytes]]) -> Iterator[PlannedShard]:
    """Cut rows into shards: from half of SHARD_BYTES on, a shard ends behind a row whose hash says so.

    It is so for one of so many rows that a shard gets another quarter of SHARD_BYTES on average.
    """
    count, size, digest = 0, 0, hashlib.sha256()
    for length, row in rows:
        if count and size + length > SHARD_BYTES:
            yield PlannedShard(count, size, digest.hexdigest())
            count, size, digest = 0, 0, hashlib.sha256()
        count, size = count + 1, size + length
        digest.update(row)
        ends = int.from_bytes(row[:4], "little") * (SHARD_BYTES // 4) < length << 32
        if ends and 2 * size >= SHARD_BYTES:
            yield PlannedShard(count, size, digest.hexdigest())
            count, size, digest = 0, 0, hashlib.sha256()
    if count:
        yield PlannedShard(count, size, digest.hexdigest())


class RenderedShards:
    """The shards of the datasets in a cache that were rendered in the same way, by the hash of their rows."""

    def __init__(self, cache: Path, rendering: str) -> None:
        """`rendering`: the fingerprint of the tokenizer and of all settings that decide what samples a row gives."""
        self._known: dict[str, tuple[Path, dict[str, Any]]] = {}
        for folder, manifest in manifests(cache):
            if manifest.get("rendering") == rendering:
                for shard in (shard for split in manifest["splits"].values() for shard in split["shards"]):
                    self._known[shard["made_of"]] = (folder, shard)

    def link(self, digest: str, folder: Path, name: str) -> dict[str, Any] | None:
        """Put the files of the shard with these rows into a folder as shard `name`; returns its entry in the manifest.

        The files are shared with the other dataset where the file system can do that. None if there is no such shard, or if
        its files are damaged.
        """
        if digest not in self._known:
            return None
        source, known = self._known[digest]
        made = {**known, "file": name}
        with contextlib.suppress(OSError):
            for old, new in zip(files_of(known), files_of(made), strict=True):
                if files.sha256_file(source / old.name) != old.sha256:
                    return None
                (folder / new.name).unlink(missing_ok=True)
                try:
                    os.link(source / old.name, folder / new.name)
                except OSError:
                    shutil.copyfile(source / old.name, folder / new.name)
            return made
        return None
