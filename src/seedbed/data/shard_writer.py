"""Write the shards (files of token ids) of a dataset one by one, so that an interrupted build continues with the next.

A shard is written under a temporary name, renamed, then recorded in `progress.json`. Files without record are ignored.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from seedbed import files
from seedbed.data.rendering import RowBlock, SampleBlock
from seedbed.data.shards import SPLITS, files_of, stamp_of
from seedbed.data.tokenise import IdBlock, TextBlock
from seedbed.errors import SeedbedError

PROGRESS = "progress.json"
_COUNTED = ("drops", "notes", "kinds", "rows", "longer")


def shard_name(split: str, number: int) -> str:
    """The file name of a shard: `train-00000.ds`."""
    return f"{split}-{number:05d}.ds"


class ShardWriter:
    """Writes the shards (files of token ids) of one dataset into the folder in which it is built."""

    def __init__(self, folder: Path, dtype: np.dtype, tokenizer: str) -> None:
        """Continue an earlier build with the same tokenizer (`tokenizer`: its fingerprint), if there is one.

        A shard that differs from its record is discarded, and so are all shards after it.
        """
        self.folder, self._dtype, self._tokenizer = folder, dtype, tokenizer
        self.shards: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
        try:
            earlier = files.read_json(folder / PROGRESS)
        except SeedbedError:
            earlier = None
        for split in SPLITS:
            if not isinstance(earlier, dict) or earlier.get("tokenizer") != tokenizer:
                break
            for shard in earlier[split]:
                if not self._intact(shard):
                    break
                self.shards[split].append(shard)
        self._begin()

    def _begin(self) -> None:
        self._blocks: list[IdBlock | SampleBlock] = []
        self._size_bytes = self._pieces = 0
        self._masks: list[bytes] = []
        self._counts = {what: Counter[str]() for what in _COUNTED}

    def add(self, text: TextBlock, ids: IdBlock) -> None:
        """Add a block of text and its token ids to the current shard."""
        self._blocks.append(ids)
        self._size_bytes += text.size_bytes
        self._pieces += len(text.pieces)

    def add_samples(self, rows: RowBlock, samples: SampleBlock) -> None:
        """Add the samples of a block of rows, with their masks, to the current shard."""
        self._blocks.append(samples)
        self._size_bytes += samples.trained_bytes
        self._pieces += len(rows.lines)
        self._masks.append(samples.trained)
        for what, total in self._counts.items():
            total.update(getattr(samples, what))

    def close_shard(self, split: str, made_of: str | None = None) -> dict[str, Any] | None:
        """Write the current shard as the next shard of a split and return its entry in the manifest; None if it is empty.

        `made_of`: a hash of the rows of its samples, for later datasets with the same rows.
        """
        if not self._blocks:
            return None
        name = shard_name(split, len(self.shards[split]))
        ids, ends = b"".join(block.ids for block in self._blocks), self._ends()
        files.write_atomic(self.folder / f"{name}.index", ends, durable=False)
        masked = self._write_mask(name) if self._masks else {}
        files.write_atomic(self.folder / name, ids, durable=False)
        shard = {
            "file": name,
            "tokens": len(ids) // self._dtype.itemsize,
            "documents": len(ends) // 8,
            "bytes": self._size_bytes,
            "pieces": self._pieces,
            "unknown": sum(block.unknown for block in self._blocks),
            "size_bytes": len(ids),
            "sha256": hashlib.sha256(ids).hexdigest(),
            "index_size_bytes": len(ends),
            "index_sha256": hashlib.sha256(ends).hexdigest(),
            **masked,
        }
        if made_of is not None:
            shard["made_of"] = made_of
        self.add_shard(split, shard)
        self._begin()
        return shard

    def add_shard(self, split: str, shard: dict[str, Any]) -> None:
        """Record a shard, whose files are complete, as the next shard of a split."""
        self.shards[split].append(shard)
        files.write_json(self.folder / PROGRESS, {"tokenizer": self._tokenizer, **self.shards}, durable=False)

    def forget_from(self, split: str, number: int) -> None:
        """Discard the shard with this number of a split, and all after it."""
        del self.shards[split][number:]

    def _write_mask(self, name: str) -> dict[str, Any]:
        """Write the .loss file of the current shard; returns what its entry in the manifest says about samples."""
        mask = b"".join(self._masks)
        files.write_atomic(self.folder / f"{name}.loss", mask, durable=False)
        return {
            "trained": mask.count(1),
            "loss_sha256": hashlib.sha256(mask).hexdigest(),
            **{what: dict(sorted(each.items())) for what, each in self._counts.items()},
        }

    def _ends(self) -> bytes:
        """The content of the shard's index file: where each document ends, in tokens, as little-endian uint64."""
        done, ends = 0, []
        for block in self._blocks:
            ends.append(np.array(block.ends, dtype="<u8") + np.uint64(done))
            done += len(block.ids) // self._dtype.itemsize
        return np.concatenate(ends).astype("<u8").tobytes()

    def totals(self, split: str) -> dict[str, Any]:
        """The entry of a split in manifest.json: total tokens, documents, bytes and unknown characters, and its shards."""
        shards = self.shards[split]
        keys = ["tokens", "documents", "bytes", "unknown"]
        if any("trained" in shard for shard in shards):
            keys.append("trained")
        return {**{key: sum(shard[key] for shard in shards) for key in keys}, "shards": shards}

    def counted(self, what: str) -> Counter[str]:
        """Counts of all shards with samples, of a field of SampleBlock in _COUNTED."""
        total: Counter[str] = Counter()
        for shard in (shard for split in SPLITS for shard in self.shards[split]):
            total.update(shard.get(what, {}))
        return total

    def stamps(self) -> dict[str, list[int]]:
        """Time, size and inode of all shard files (see `stamp_of`), so that opening the dataset does not hash them again."""
        stamps = {}
        for shard in (shard for split in SPLITS for shard in self.shards[split]):
            for name, size_bytes, _ in files_of(shard):
                stamps[name] = stamp_of(self.folder, name, size_bytes)
        return stamps

    def _intact(self, shard: dict[str, Any]) -> bool:
        """Whether the files of a shard still agree with its record in progress.json."""
        expected = files_of(shard)
        if not all((self.folder / each.name).is_file() for each in expected):
            return False
        return all(files.sha256_file(self.folder / each.name) == each.sha256 for each in expected)
