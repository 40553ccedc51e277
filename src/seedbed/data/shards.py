"""Open, verify and read a prepared dataset: token shards on disk.

A dataset is a folder:

    manifest.json            files with sizes and SHA-256, counts, tokenizer fingerprint; written last
    tokenizer/               tokenizer.json and tokenizer_config.json
    train-00000.ds           token ids, little-endian uint16 or uint32, end-of-text after each document
    train-00000.ds.index     end of each document in that file: token offsets, little-endian uint64
    train-00000.ds.loss      of a dataset of samples: for each token a byte, 1 if the loss counts it
    validation-00000.ds ...

.ds, .ds.index and .ds.loss have the layout of datatrove's tokenised files, so that its readers can open them.
"""

from __future__ import annotations

import bisect
import contextlib
import hashlib
import itertools
import json
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from seedbed import files
from seedbed.data.own_files import DATASET_KIND
from seedbed.errors import SeedbedError
from seedbed.text import quoted
from seedbed.tokenizer.tokenizer import Tokenizer

FORMAT = 1
"""The format of datasets of text: one stream of tokens, which are all trained."""
SAMPLES_FORMAT = 2
"""The format of datasets of samples: a document of the index is a sample, and .loss files say which tokens are trained."""
KIND = DATASET_KIND
MANIFEST = "manifest.json"
TOKENIZER = "tokenizer"
SPLITS: tuple[Literal["train"], Literal["validation"]] = ("train", "validation")
_VERIFIED = ".verified.json"
_REMAKE = (
    "Remove the folder {folder} and run again: the dataset is then built from its source. "
    "If you do not have the source, restore the folder from a copy."
)


def index_dtype(vocab_size: int) -> np.dtype:
    """The smallest unsigned little-endian dtype (uint16 or uint32) for token ids below `vocab_size`."""
    return np.dtype("<u2" if vocab_size <= 1 << 16 else "<u4")


def digest_of(value: Any) -> str:
    """SHA-256 (hex) of a JSON value; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


class ShardFile(NamedTuple):
    """One of the files of a shard, as its entry in the manifest describes it."""

    name: str
    size_bytes: int
    sha256: str


def files_of(shard: dict[str, Any]) -> list[ShardFile]:
    """The files of a shard, from its entry in the manifest: tokens, index, and what the loss counts if there is a mask."""
    name = shard["file"]
    found = [
        ShardFile(name, shard["size_bytes"], shard["sha256"]),
        ShardFile(f"{name}.index", shard["index_size_bytes"], shard["index_sha256"]),
    ]
    if "loss_sha256" in shard:
        found.append(ShardFile(f"{name}.loss", shard["tokens"], shard["loss_sha256"]))
    return found


def seal(manifest: dict[str, Any]) -> dict[str, Any]:
    """A copy of the manifest with `fingerprint` (of tokens and tokenizer) and `digest` (of the whole manifest) added."""
    content = {
        "format": manifest["format"],
        "dtype": manifest["dtype"],
        "tokenizer": manifest["tokenizer"],
        "shards": {
            name: [[each.sha256 for each in files_of(shard)] for shard in manifest["splits"][name]["shards"]]
            for name in SPLITS
        },
    }
    sealed = {**manifest, "fingerprint": digest_of(content)}
    sealed.pop("digest", None)
    return {**sealed, "digest": digest_of(sealed)}


class Dataset:
    """A prepared dataset on disk, opened for reading. Equal `fingerprint`s mean the same tokens in the same order."""

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        """Call `Dataset.open` instead, which checks the files. `manifest`: the parsed manifest.json."""
        self.folder, self.manifest = folder, manifest
        self.name: str = manifest["name"]
        self.fingerprint: str = manifest["fingerprint"]
        self.messages: list[dict[str, str]] = manifest.get("messages", [])
        """The messages from the time when the dataset was built; manifests of older versions have none."""
        self.train = Split(folder, "train", manifest)
        self.validation = Split(folder, "validation", manifest)
        self.has_samples: bool = manifest["format"] == SAMPLES_FORMAT
        """Whether it is a dataset of samples, each with a mask of what is trained: see samples.Samples."""

    @classmethod
    def open(cls, folder: Path) -> Dataset:
        """Open the dataset in a folder after checking its manifest and the sizes of its files.

        The SHA-256 of a file is also checked the first time, and after the file's time stamp has changed. Raises
        SeedbedError, which names the file and what to do.
        """
        manifest = _read_manifest(folder)
        _check_files(folder, manifest, only_changed=True)
        return cls(folder, manifest)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer that made the token ids. Raises SeedbedError if it is not the one that the manifest names."""
        for read in (Tokenizer.of_model, Tokenizer.load):  # the latter for what earlier versions wrote
            tokenizer = read(self.folder / TOKENIZER)
            if tokenizer.fingerprint == self.manifest["tokenizer"]:
                return tokenizer
        raise SeedbedError(
            f"{self.folder / TOKENIZER} is not the tokenizer that made this dataset.",
            _REMAKE.format(folder=self.folder),
        )

    def verify(self) -> None:
        """Check the SHA-256 of every shard file. Raises SeedbedError, which names the first file that differs."""
        _check_files(self.folder, self.manifest, only_changed=False)


class Split:
    """The tokens of one split (train or validation), in all its shards, as one circular stream."""

    def __init__(self, folder: Path, name: str, manifest: dict[str, Any]) -> None:
        """Use `Dataset.train` or `Dataset.validation` instead. `manifest`: the parsed manifest.json of the dataset."""
        described = manifest["splits"][name]
        self.name = name
        self.num_tokens: int = described["tokens"]
        self.num_documents: int = described["documents"]
        self.num_bytes: int = described["bytes"]
        """UTF-8 bytes of the split's text, without end-of-text tokens; of a dataset of samples, of the trained text."""
        self.num_trained: int = described.get("trained", self.num_tokens)
        """Number of tokens that the loss counts."""
        dtype = np.dtype(manifest["dtype"])
        self._shards = [map_file(folder / shard["file"], dtype) for shard in described["shards"]]
        self._indices = [folder / f"{shard['file']}.index" for shard in described["shards"]]
        self._offsets = [0, *itertools.accumulate(shard["tokens"] for shard in described["shards"])]

    @property
    def bytes_per_token(self) -> float:
        """UTF-8 bytes per token that the loss counts."""
        return self.num_bytes / max(self.num_trained, 1)

    def read(self, start: int, length: int) -> np.ndarray:
        """`length` token ids as int64 from position `start`. After the last token of the split comes the first."""
        ids: np.ndarray = self.rows(np.array([start]), length)[0]
        return ids

    def rows(self, starts: np.ndarray, length: int) -> np.ndarray:
        """`length` token ids from each position in `starts`: int64 [B, length]. After the last token comes the first."""
        ids = np.empty((len(starts), length), dtype=np.int64)
        for row, start in zip(ids, starts.tolist(), strict=True):
            self._fill(row, start % self.num_tokens)
        return ids

    def _fill(self, row: np.ndarray, position: int) -> None:
        done = 0
        while done < len(row):
            shard = bisect.bisect_right(self._offsets, position) - 1
            begin = position - self._offsets[shard]
            part = self._shards[shard][begin : begin + len(row) - done]
            row[done : done + len(part)] = part
            done, position = done + len(part), (position + len(part)) % self.num_tokens

    @cached_property
    def document_ends(self) -> np.ndarray:
        """The position after each document's end-of-text token in the split: int64, ascending."""
        ends = [
            np.fromfile(path, dtype="<u8").astype(np.int64) + offset
            for path, offset in zip(self._indices, self._offsets, strict=False)
        ]
        return np.concatenate(ends) if ends else np.zeros(0, dtype=np.int64)

    @cached_property
    def _document_starts(self) -> np.ndarray:
        return self.document_ends - 1

    def document_rows(self, starts: np.ndarray, length: int) -> np.ndarray:
        """The number of the document of each token that `rows` returns: int32 [B, length], counted from 0 in each row.

        An end-of-text token belongs to the document after it.
        """
        starts_of_documents, starts = self._document_starts, starts % self.num_tokens
        first = np.searchsorted(starts_of_documents, starts, side="right").tolist()
        last = np.searchsorted(starts_of_documents, starts + length - 1, side="right").tolist()
        steps = np.zeros((len(starts), length), dtype=np.int32)
        for row, start, begin, end in zip(steps, starts.tolist(), first, last, strict=True):
            row[starts_of_documents[begin:end] - start] = 1
            for wrap in range(self.num_tokens, start + length, self.num_tokens):  # the part that wraps around
                wrapped = starts_of_documents[: np.searchsorted(starts_of_documents, start + length - wrap)]
                row[wrapped + (wrap - start)] = 1
        numbers: np.ndarray = np.cumsum(steps, axis=1, dtype=np.int32)
        return numbers


def map_file(path: Path, dtype: np.dtype) -> np.ndarray:
    """A file of numbers, as an array that is read from disk where it is used."""
    return np.memmap(path, dtype=dtype, mode="r") if path.stat().st_size else np.zeros(0, dtype=dtype)


# ---------------------------------------------------------------------------------------------- opening and checking


def _read_manifest(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise SeedbedError(f"There is no dataset folder {quoted(folder)}.", "Check the path given as data.source.")
    manifest = files.read_json(folder / MANIFEST)
    if manifest is None:
        raise SeedbedError(
            f"{quoted(folder)} contains no {MANIFEST}, so it is not a prepared dataset.",
            f"To train on the text in this folder, use --data text:{folder}.",
        )
    if not isinstance(manifest, dict) or manifest.get("kind") != KIND:
        raise SeedbedError(
            f"{quoted(folder / MANIFEST)} does not describe a dataset.", "Check the path given as data.source."
        )
    if manifest.get("format") not in (FORMAT, SAMPLES_FORMAT):
        raise SeedbedError(
            f"{quoted(folder)} is a dataset of format {manifest.get('format')}; this version of Seedbed reads formats "
            f"{FORMAT} and {SAMPLES_FORMAT}.",
            _REMAKE.format(folder=quoted(folder)),
        )
    unsealed = {key: value for key, value in manifest.items() if key != "digest"}
    if manifest.get("digest") != digest_of(unsealed):
        raise SeedbedError(
            f"{quoted(folder / MANIFEST)} was modified after it was created.", _REMAKE.format(folder=quoted(folder))
        )
    return manifest


def _check_files(folder: Path, manifest: dict[str, Any], *, only_changed: bool) -> None:
    """Raise SeedbedError if the size or the SHA-256 of a file differs from the manifest.

    `only_changed`: compute the SHA-256 only of files whose time stamp has changed since the last check.
    """
    known = _known_stamps(folder / _VERIFIED) if only_changed else {}
    stamps: dict[str, list[int]] = {}
    for split in SPLITS:
        for shard in manifest["splits"][split]["shards"]:
            for name, size_bytes, sha256 in files_of(shard):
                stamps[name] = stamp_of(folder, name, size_bytes)
                if known.get(name) != stamps[name] and files.sha256_file(folder / name) != sha256:
                    raise SeedbedError(
                        f"{quoted(folder / name)} was modified after it was created: its SHA-256 differs from the manifest.",
                        _REMAKE.format(folder=quoted(folder)),
                    )
    if stamps != known:
        save_stamps(folder, stamps)


def save_stamps(folder: Path, stamps: dict[str, list[int]]) -> None:
    """Save the stamps (see `stamp_of`) of checked files, so that they are not hashed again. No error if read-only."""
    with contextlib.suppress(SeedbedError):
        files.write_json(folder / _VERIFIED, stamps, durable=False)


def _known_stamps(path: Path) -> dict[str, list[int]]:
    try:
        known = files.read_json(path)
    except SeedbedError:
        return {}
    return known if isinstance(known, dict) else {}


def stamp_of(folder: Path, name: str, size_bytes: int) -> list[int]:
    """Time, size and inode of a file in `folder`, to detect changes without reading it.

    Raises SeedbedError if the file is missing or its size is not `size_bytes`.
    """
    path = folder / name
    try:
        found = path.stat()
    except OSError as error:
        raise SeedbedError(
            f"{quoted(path)} cannot be read: {error.strerror}.", _REMAKE.format(folder=quoted(folder))
        ) from error
    if found.st_size != size_bytes:
        raise SeedbedError(
            f"{quoted(path)} was truncated or modified: it has {found.st_size} bytes, but the manifest says {size_bytes}.",
            _REMAKE.format(folder=quoted(folder)),
        )
    return [found.st_mtime_ns, found.st_size, found.st_ino]
