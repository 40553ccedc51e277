"""Download a model of the Hub into the Hub's cache, and continue a download that was interrupted.

Small files are downloaded by huggingface_hub. It starts a large file from its beginning if the program was interrupted, so
large files are written to `blobs/SHA256.seedbed.incomplete`, which the next download continues, and then given to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from seedbed.checkpoint.headers import shard_names
from seedbed.checkpoint.marker import WEIGHTS
from seedbed.checkpoint.tokenizer_files import TOKENIZER_JSON
from seedbed.disk_space import free_bytes
from seedbed.errors import SeedbedError, StorageError
from seedbed.files import explained, make_dir, publish_file, sha256_file, write_atomic
from seedbed.hub.cache import Snapshot, cache_folder, repository_folder, snapshot_of
from seedbed.hub.errors import explained_model, is_unreachable
from seedbed.hub.listing import Listing, RemoteFile, hub_library, list_model, refuse_unusable
from seedbed.hub.names import HubName, is_commit
from seedbed.locks import Lock
from seedbed.text import quoted, size

_LARGE = 4 << 20
"""Bytes from which a download is continued; smaller files are downloaded again."""
_MOST_OVER_HTTP = 50_000_000_000
"""The Hub serves larger files with a protocol of its own only, for which huggingface_hub needs hf_xet."""
_SPARE = 64 << 20
"""Bytes that must stay free on the disk."""
_PARTIAL = ".seedbed.incomplete"


class Progress(NamedTuple):
    """How far a download is. `doing`: downloading, verifying, or waiting for another process. Sizes of all needed files."""

    doing: str
    file: str
    done_bytes: int
    total_bytes: int


class HubModel(NamedTuple):
    """A model of the Hub on this machine. `note`: what the user should know, such as that the Hub was not reached, or ""."""

    name: str
    commit: str
    folder: Path
    note: str = ""

    @property
    def reference(self) -> str:
        """The reference that always names this commit, `hub:NAME@COMMIT`."""
        return str(HubName(self.name, self.commit))


OnProgress = Callable[[Progress], object]
Check = Callable[[Path], object]


def download(wanted: HubName, on_progress: OnProgress | None = None, check: Check | None = None) -> HubModel:
    """The files of a model at a revision, downloaded unless the cache has them all.

    A commit in the cache needs no network, except to ask for a tokenizer.json that is not there. If the Hub cannot be
    reached, the commit in the cache that the revision had when it was last seen is used, with a note. `check` gets the
    folder before the weights are downloaded, and may raise. Raises SeedbedError: see `list_model` and `refuse_unusable`;
    also if the disk is too small.
    """
    found, cache = _kept_or_listed(wanted)
    if isinstance(found, HubModel):
        return found
    refuse_unusable(found)
    return HubModel(found.name, found.commit, _Download(found, cache, on_progress).run(check))


def describe_files(wanted: HubName) -> tuple[HubModel, Listing | None]:
    """The small files of a model at a revision; its weights are not downloaded, but may be in the cache.

    Returns None as the listing if the cache has all files and the Hub is not needed or cannot be reached. Raises
    SeedbedError as `list_model` does.
    """
    found, cache = _kept_or_listed(wanted)
    if isinstance(found, HubModel):
        return found, None
    loading = _Download(found, cache, None)
    loading.fetch_small()
    return HubModel(found.name, found.commit, loading.folder), found


def _kept_or_listed(wanted: HubName) -> tuple[HubModel | Listing, Path]:
    """The model in the cache, if the Hub is not needed or cannot be reached, else what the Hub lists; and the cache."""
    hub_library()
    cache = cache_folder()
    assert cache is not None
    kept = snapshot_of(cache, wanted)
    if kept is not None and is_commit(wanted.revision) and _has_tokenizer(kept):
        return HubModel(kept.name, kept.commit, kept.folder), cache
    try:
        return list_model(wanted), cache
    except SeedbedError as error:
        return _kept_model(kept, error), cache


def _has_tokenizer(kept: Snapshot) -> bool:
    return (kept.folder / TOKENIZER_JSON).is_file()


def _kept_model(kept: Snapshot | None, error: SeedbedError) -> HubModel:
    """The model in the cache, with a note, if the Hub cannot be reached; else raises the error.

    If a commit in the cache lacks only its tokenizer.json, the error says that the Hub was asked for that file.
    """
    if kept is not None and not is_unreachable(error.__cause__) and kept.revisions == (kept.commit,):
        raise SeedbedError(
            f"{kept.reference} is in the cache without {TOKENIZER_JSON}, for which the Hub was asked. {error.message}",
            error.hint,
        ) from error
    if kept is None or not is_unreachable(error.__cause__):
        raise error
    note = "" if _is_offline() else f"{error.message} The commit in the cache is used, {kept.commit[:12]}."
    if not _has_tokenizer(kept):
        note = f"{note} The cache has no {TOKENIZER_JSON} of {kept.name}.".lstrip()
    return HubModel(kept.name, kept.commit, kept.folder, note)


def _is_offline() -> bool:
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


class _Download:
    """Downloads the files of one listing into the cache."""

    def __init__(self, listing: Listing, cache: Path, on_progress: OnProgress | None) -> None:
        self._listing = listing
        self._cache = cache
        self._report = on_progress
        self._repository = repository_folder(cache, listing.name)
        self.folder = self._repository / "snapshots" / listing.commit
        self._done_bytes = 0
        self._total_bytes = 0

    def run(self, check: Check | None) -> Path:
        """Download all files that are missing; returns the folder of the snapshot."""
        small = self._missing(self._listing.small_files())
        self._refuse_small_disk(small)
        for file in small:
            self._fetch_by_library(file)
        if check is not None:
            check(self.folder)
        weights = self._missing(self._listing.weights(self._shards()))
        self._refuse_small_disk(weights)
        self._total_bytes = sum(file.size_bytes for file in weights)
        for file in weights:
            if file.sha256 and _LARGE <= file.size_bytes <= _MOST_OVER_HTTP:
                self._fetch_large(file)
            else:
                self._tell("downloading", file.path)
            self._fetch_by_library(file)
            self._done_bytes += file.size_bytes
        self._remember_revision()
        return self.folder

    def fetch_small(self) -> None:
        """Download the small files that are missing."""
        for file in self._missing(self._listing.small_files()):
            self._fetch_by_library(file)

    def _missing(self, files: Sequence[RemoteFile]) -> list[RemoteFile]:
        return [file for file in files if not (self.folder / file.path).exists()]

    def _shards(self) -> list[str]:
        if WEIGHTS in self._listing.files:
            return []
        try:
            return shard_names(self.folder)
        except SeedbedError as error:
            raise SeedbedError(
                f"{self._listing.reference}: {error.message}", "Use another copy of the model."
            ) from error

    def _blob(self, file: RemoteFile) -> Path:
        return self._repository / "blobs" / file.blob

    def _partial(self, file: RemoteFile) -> Path:
        return self._blob(file).with_name(file.blob + _PARTIAL)

    def _refuse_small_disk(self, files: Sequence[RemoteFile]) -> None:
        """Raise SeedbedError if the disk has too little space for what is still missing of these files."""
        needed = 0
        for file in files:
            if not self._blob(file).exists():
                needed += max(0, file.size_bytes - _size(self._partial(file)))
        free = free_bytes(self._cache)
        if needed + _SPARE > free and needed:
            raise SeedbedError(
                f"{self._listing.reference} needs {size(needed)} more in {quoted(self._cache)}, where {size(free)} are free.",
                "Free some space, or set HF_HUB_CACHE to a folder on a larger disk.",
            )

    def _fetch_by_library(self, file: RemoteFile) -> None:
        """Let huggingface_hub download a file, or link it if its content is in the cache."""
        hub = hub_library()
        with explained_model(self._listing.name):
            hub.hf_hub_download(
                self._listing.name, file.path, revision=self._listing.commit, cache_dir=str(self._cache)
            )

    def _fetch_large(self, file: RemoteFile) -> None:
        """Download the content of a large file, from where an earlier download of it was interrupted."""
        blob, partial = self._blob(file), self._partial(file)
        make_dir(blob.parent)
        lock = Lock(partial)
        if not blob.exists() and not lock.acquire():
            self._tell("waiting for another process that downloads", file.path)
            lock.wait()
        try:
            if blob.exists():
                partial.unlink(missing_ok=True)
                return
            with explained(partial), partial.open("ab") as handle:
                if handle.tell() > file.size_bytes:
                    handle.truncate(0)
                    handle.seek(0)
                if handle.tell() < file.size_bytes:
                    self._receive(file, handle, partial)
            self._tell("verifying", file.path, file.size_bytes)
            if sha256_file(partial) != file.sha256:
                with explained(partial):
                    partial.write_bytes(b"")  # another process may wait for the lock on this file
                raise SeedbedError(
                    f"{file.path} of {self._listing.reference} was not received as the Hub announced it (its checksum differs).",
                    "Try again. If it repeats, check the network for a proxy that changes files.",
                )
            publish_file(partial, blob)
        finally:
            lock.release()

    def _receive(self, file: RemoteFile, handle: BinaryIO, partial: Path) -> None:
        """Append what is missing of a file to its partial copy."""
        from huggingface_hub import utils
        from huggingface_hub.file_download import hf_hub_url, http_get

        url = hf_hub_url(self._listing.name, file.path, revision=self._listing.commit)
        counted = _Counted(handle, partial, lambda done: self._tell("downloading", file.path, done))
        self._tell("downloading", file.path, handle.tell())
        with explained_model(self._listing.name):
            http_get(
                url,
                cast(Any, counted),
                resume_size=handle.tell(),
                headers=cast(Any, utils).build_hf_headers(),
                expected_size=file.size_bytes,
            )

    def _tell(self, doing: str, path: str, done_bytes: int = 0) -> None:
        if self._report is not None:
            self._report(Progress(doing, path, self._done_bytes + done_bytes, self._total_bytes))

    def _remember_revision(self) -> None:
        """Record in the cache which commit the revision is at, for when there is no network."""
        if not is_commit(self._listing.revision):
            ref = self._repository / "refs" / self._listing.revision
            with suppress(StorageError):  # the model can be used without it
                make_dir(ref.parent)
                write_atomic(ref, self._listing.commit, durable=False)


class _Counted:
    """A file opened for appending that reports its size after each write, and explains why a write fails."""

    def __init__(self, handle: BinaryIO, path: Path, report: Callable[[int], object]) -> None:
        self._handle = handle
        self._path = path
        self._report = report

    def write(self, data: bytes) -> int:
        with explained(self._path):
            written = self._handle.write(data)
            self._handle.flush()
        self._report(self._handle.tell())
        return written

    def tell(self) -> int:
        return self._handle.tell()

    def seek(self, position: int) -> int:
        return self._handle.seek(position)

    def truncate(self) -> int:
        return self._handle.truncate()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
