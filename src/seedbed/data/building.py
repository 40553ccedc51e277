"""Build a dataset in the cache, whatever its source: one process at a time, and whole or not at all.

An interrupted build continues where it stopped.

    cache/datasets/KEY/             a finished dataset; KEY hashes the source's content and the tokenizer's config
    cache/datasets/.KEY.partial/    a dataset being built; it is renamed when it is complete
    cache/datasets/.KEY.lock        the lock of the process that builds, which removes it at the end
"""

from __future__ import annotations

import contextlib
import weakref
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from seedbed import __version__, files, locks
from seedbed.data import shards
from seedbed.data.dataset_cache import find_folder
from seedbed.data.interruption import Check, run_interruptibly, wait_for_lock
from seedbed.data.sample_prompt import sample_prompt
from seedbed.data.shard_writer import PROGRESS, ShardWriter
from seedbed.data.shards import Dataset
from seedbed.errors import SeedbedError
from seedbed.events import Data, Emit, Message
from seedbed.tokenizer.tokenizer import Tokenizer

CACHE_LOCK_REMEDY = "Set SEEDBED_CACHE to a folder on a local disk."
MESSAGES = "messages.json"
_KEY_LENGTH = 32


class Base(NamedTuple):
    """The tokenizer and the chat template (Jinja; None if it has none) of the model that is trained on.

    `positions`: its longest context in tokens, if it is known.
    """

    tokenizer: Tokenizer
    template: str | None = None
    positions: int | None = None


class Builder(ABC):
    """Builds one dataset in a hidden folder of the cache. `key`: its name in the cache; `final`: its folder when complete."""

    folder_mode = 0o755
    """The permissions of the folder."""

    def __init__(self, cache: Path, content: list[Any], name: str) -> None:
        """`content`: a JSON value that decides what the dataset contains. `name`: of its source, in messages."""
        self.name, self.cache = name, cache
        self.key = shards.digest_of(content)[:_KEY_LENGTH]
        self.final = cache / "datasets" / self.key
        self._partial = cache / "datasets" / f".{self.key}.partial"

    @abstractmethod
    def _fill(self) -> None:
        """Write what is missing into the hidden folder `_partial`, the manifest last."""

    @abstractmethod
    def _can_resume(self, error: BaseException) -> bool:
        """Whether a later build can continue from the files that a failed build left in the hidden folder."""

    def make(self) -> None:
        """Build the dataset in the hidden folder, then rename it to `final`. The caller must hold the lock of `key`."""
        if not (self._partial / shards.MANIFEST).exists():
            files.make_dir(self._partial, self.folder_mode)
            try:
                self._fill()
            except BaseException as error:
                if not self._can_resume(error):
                    with contextlib.suppress(SeedbedError):
                        files.remove_tree(self._partial)
                raise
        with files.explained(self._partial):
            for name in (PROGRESS, MESSAGES):
                (self._partial / name).unlink(missing_ok=True)
            for temporary in self._partial.glob(".*.tmp"):
                temporary.unlink()
        files.remove_tree(self.final)  # a folder without a manifest is unusable
        files.publish_dir(self._partial, self.final, mode=self.folder_mode)

    def _kept_tokenizer(self, reused: Tokenizer | None) -> Tokenizer | None:
        """The given tokenizer, which is saved in the hidden folder, or that of an interrupted build; None without either."""
        folder = self._partial / shards.TOKENIZER
        if reused is not None:
            reused.save(folder)
            return reused
        if (folder / "tokenizer_config.json").exists():
            with contextlib.suppress(SeedbedError):  # damaged by a power cut: it is trained again
                return Tokenizer.load(folder)
        return None

    def _finish(
        self, writer: ShardWriter, tokenizer: Tokenizer, layout: int, source: str, facts: Mapping[str, Any]
    ) -> None:
        """Write the manifest, last of all.

        `layout`: the number of its format; `source`: the fingerprint of the source; `facts`: further values.
        """
        manifest = {
            "kind": shards.KIND,
            "format": layout,
            "name": self.name,
            "made_by": f"seedbed {__version__}",
            "source": source,
            "tokenizer": tokenizer.fingerprint,
            "vocab_size": tokenizer.vocab_size,
            "eot_id": tokenizer.eot_id,
            "dtype": shards.index_dtype(tokenizer.vocab_size).str,
            **facts,
        }
        shards.save_stamps(self._partial, writer.stamps())
        files.write_json(self._partial / shards.MANIFEST, shards.seal(manifest))


def open_or_build(builder: Builder, emit: Emit, check: Check, expected_fingerprint: str | None) -> tuple[Dataset, bool]:
    """The dataset of a builder from the cache, or newly built; and whether it was built.

    While the dataset is in use, a lock protects it from pruning. Raises SeedbedError if a different dataset would have to be
    built although the cache contains the dataset with `expected_fingerprint`.
    """
    if (
        expected_fingerprint is not None
        and not (builder.final / shards.MANIFEST).exists()
        and find_folder(builder.cache, expected_fingerprint) is not None
    ):
        raise SeedbedError(
            f"{builder.name} has changed since its data was prepared, or this version of Seedbed splits it differently.",
            "Restore the original source, or use the version of Seedbed that prepared its data.",
        )
    built = False
    while (release := locks.share_lock(builder.final / shards.MANIFEST)) is None:
        files.make_dir(builder.final.parent)
        lock = locks.Lock(builder.final.parent / f".{builder.key}.lock", CACHE_LOCK_REMEDY)
        if not lock.acquire():
            emit(
                Message(
                    level="info",
                    code="dataset-wait",
                    text=f"Another process is preparing {builder.name}; waiting for it.",
                    why="Both processes need the same dataset.",
                )
            )
            wait_for_lock(lock, check)
        if not lock.is_current():
            lock.release()
            continue
        try:
            if not (builder.final / shards.MANIFEST).exists():
                builder.make()
                built = True
        finally:
            lock.remove()
    dataset = run_interruptibly(lambda: Dataset.open(builder.final), check)
    weakref.finalize(dataset, release)  # a shared lock while the dataset is in use, so that pruning spares it
    return dataset, built


def emit_contents(dataset: Dataset, emit: Emit) -> None:
    """Emit the `data` event of an opened dataset: counts, dropped records, fingerprint, and a prompt for samples."""
    counts = {
        f"{split.name}_{what}": getattr(split, f"num_{what}")
        for split in (dataset.train, dataset.validation)
        for what in ("documents", "tokens", "bytes")
    }
    drops = {f"dropped: {reason}": count for reason, count in sorted(dataset.manifest["drops"].items())}
    total = dataset.train.num_tokens + dataset.validation.num_tokens
    emit(
        Data(
            stage="dataset",
            done=total,
            total=total,
            unit="tokens",
            fingerprint=dataset.fingerprint,
            counts={**counts, "vocab_size": dataset.manifest["vocab_size"], **drops},
            opening=sample_prompt(dataset),
            answers=bool(dataset.manifest.get("answers")) or None,
        )
    )
