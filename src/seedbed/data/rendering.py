"""Turn rows of a dataset into samples (token ids with a mask of what is trained), here or in worker processes.

`python -m seedbed.data.rendering FOLDER [CACHE]` runs a worker; FOLDER, that of the dataset, has the tokenizer and settings.
"""

from __future__ import annotations

import itertools
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import msgspec
import numpy as np

from seedbed.curation.drops import Drops
from seedbed.curation.record import Record, decode
from seedbed.curation.rendering.encoding import Sample, before_text
from seedbed.curation.rendering.renderer import Renderer
from seedbed.curation.rendering.verification import TemplateFacts
from seedbed.data import row_fit
from seedbed.data.interruption import Check, never_stop
from seedbed.data.shards import TOKENIZER
from seedbed.data.worker_pool import PYTHON, SINGLE_PROCESS_BYTES, WorkerPool, serve
from seedbed.tokenizer.tokenizer import Tokenizer

VERSION = 2
"""Raised when the same rows give other samples, so that data prepared earlier are not used."""
INVALID, UNTRAINED, TOO_LONG = "invalid row", "nothing in it is trained", "longer than the context"
SETTINGS = "rendering.json"
"""The file of a dataset of samples that has its `Settings`."""
_STEP = "render"


class Settings(msgspec.Struct, frozen=True):
    """How rows become samples. `max_tokens`: of a sample, which is one more than the context; `dtype` of the ids."""

    dtype: str
    max_tokens: int
    template: str | None = None
    """The chat template (Jinja) for rows of messages; None if there are none."""
    fim_family: str | None = None
    """The name of the family whose fill-in-the-middle markers are used; None if there are no such rows."""
    loss: Literal["assistant", "targets", "all"] = "assistant"
    """See `data.loss` in the config."""


class RowBlock(msgspec.Struct, array_like=True):
    """Rows to render: lines of a file of rows. `closes_shard`: whether this block is the last of its shard."""

    lines: list[bytes]
    size_bytes: int
    closes_shard: bool = False


class SampleBlock(msgspec.Struct, array_like=True):
    """The samples of a RowBlock, one after the other."""

    ids: bytes
    ends: list[int]
    """For each sample, the position after its last id, counted in ids from the block's start."""
    trained: bytes
    """For each id a byte: 1 if the loss counts it as a target."""
    trained_bytes: int
    """UTF-8 bytes of the text of the trained ids."""
    unknown: int
    """Number of ids for characters that the vocabulary lacks."""
    drops: dict[str, int]
    notes: dict[str, int]
    kinds: dict[str, int]
    """Number of samples of each kind of row."""
    rows: dict[str, int]
    longer: dict[str, int]
    """See Fit in row_fit.py."""


class SampleEncoder:
    """Renders blocks of rows in this process. `check` is called before each sample."""

    def __init__(
        self, tokenizer: Tokenizer, settings: Settings, check: Check = never_stop, *, cache: Path | None = None
    ) -> None:
        """`cache`: a folder that keeps what is found out about chat templates."""
        self._tokenizer, self._dtype, self._check = tokenizer, np.dtype(settings.dtype), check
        self._max_tokens = settings.max_tokens
        self._begin = before_text(tokenizer)

        def renderer(most: int, loss: Literal["assistant", "all"]) -> Renderer:
            return Renderer(
                tokenizer,
                template=settings.template,
                fim_family=settings.fim_family,
                max_tokens=most,
                loss=loss,
                cache=cache,
            )

        self._renderers = {
            "chat": renderer(self._max_tokens, "all" if settings.loss == "all" else "assistant"),
            "fim": renderer(self._max_tokens, "assistant" if settings.loss == "targets" else "all"),
            "text": renderer(self._max_tokens - len(self._begin), "all"),
        }

    def encode(self, block: RowBlock) -> SampleBlock:
        """The samples of all rows, in order. An exception from `check` ends the work."""
        drops, kinds = Drops(), Counter[str]()
        self.take_long()
        records = list(self._decoded(block, drops))
        made = list(self.usable(records, drops))
        used = {record.id for record, _ in made}
        kinds.update(record.kind for record, _ in made)
        places = {record.id: place for place, record in enumerate(records)}
        kept = [sample for _, sample in sorted(made, key=lambda each: places[each[0].id])]
        ends = list(itertools.accumulate(len(each.ids) for each in kept))
        ids = np.fromiter(itertools.chain.from_iterable(each.ids for each in kept), self._dtype)
        trained = b"".join(each.trained for each in kept)
        unknown = self._tokenizer.unknown_id
        return SampleBlock(
            ids.tobytes(),
            ends,
            trained,
            self.num_bytes(ids[np.frombuffer(trained, np.uint8) != 0]),
            0 if unknown is None else int(np.count_nonzero(ids == unknown)),
            _by_name(drops.counts),
            _by_name(drops.notes),
            dict(kinds),
            *self._fit(records, used, len(block.lines)),
        )

    def usable(self, records: list[Record], drops: Drops) -> Iterator[tuple[Record, Sample]]:
        """Yield the samples that can be trained on, kind by kind, each with its record; others are counted in `drops`.

        Raises SeedbedError for a chat template that is refused.
        """
        for record, sample in self._samples(records, drops):
            self._check()
            if len(sample.ids) > self._max_tokens:
                drops.drop(_STEP, TOO_LONG, record.id)
            elif 1 not in sample.trained[1:]:  # the first id is no target
                drops.drop(_STEP, UNTRAINED, record.id)
            else:
                yield record, sample

    def take_long(self) -> dict[str, int]:
        """The ids of chats and rows with a gap that were too long since the last call, and about how many tokens they have."""
        found: dict[str, int] = {}
        for renderer in self._renderers.values():
            found |= renderer.too_long
            renderer.too_long.clear()
        return found

    @property
    def templates(self) -> dict[str, TemplateFacts]:
        """What is known about the chat templates that were needed so far, by name."""
        return self._renderers["chat"].facts

    def _fit(self, records: list[Record], used: set[str], lines: int) -> tuple[dict[str, int], dict[str, int]]:
        """`rows` and `longer` of a block, of whose records those with the ids `used` have samples."""
        lengths = self.take_long()
        with_samples = [each.id for each in records if each.id in used]
        rows = {
            row_fit.ALL: lines,
            row_fit.SHORTENED: sum(each in lengths for each in with_samples),
            row_fit.LEFT_OUT: lines - len(with_samples),
        }
        # A context of n takes samples of n + 1 tokens.
        longer = Counter(str(1 << (lengths[each.id] - 2).bit_length()) for each in records if each.id in lengths)
        return rows, dict(longer)

    def _samples(self, records: list[Record], drops: Drops) -> Iterator[tuple[Record, Sample]]:
        before = ""
        for kind, renderer in self._renderers.items():
            for record, sample in renderer.samples([each for each in records if each.kind == kind], drops):
                begins, before = kind == "text" and record.id != before, record.id
                yield record, sample.after(self._begin) if begins else sample

    def _decoded(self, block: RowBlock, drops: Drops) -> Iterator[Record]:
        for line in block.lines:
            try:
                yield decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError):
                drops.drop(_STEP, INVALID, "")

    def num_bytes(self, ids: np.ndarray) -> int:
        """UTF-8 bytes of the text of token ids; control tokens have none."""
        lengths = self._tokenizer.byte_lengths
        if lengths is None:
            return len(self._tokenizer.decode(ids.tolist()).encode())
        return int(lengths[ids].sum())

    def close(self) -> None:
        """End the processes of the renderers."""
        for renderer in self._renderers.values():
            renderer.close()


class RowRenderer:
    """Renders a stream of blocks: first in this process, then in workers if the stream is long. A context manager."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        folder: Path,
        settings: Settings,
        workers: int,
        check: Check = never_stop,
        *,
        cache: Path | None = None,
    ) -> None:
        """`folder`: of the dataset; the workers load its tokenizer and settings. `workers` 1: this process renders everything.

        `check` is called often; an exception from it stops the work. `cache`: see SampleEncoder.
        """
        self._local = SampleEncoder(tokenizer, settings, check, cache=cache)
        self._cache, self._folder, self._workers, self._check = cache, folder, workers, check
        self._pool: WorkerPool[RowBlock, SampleBlock] | None = None
        self._done_bytes = 0

    def encode(self, blocks: Iterable[RowBlock]) -> Iterator[tuple[RowBlock, SampleBlock]]:
        """Yield each block with its samples, in order."""
        rest = iter(blocks)
        while self._workers == 1 or self._done_bytes < SINGLE_PROCESS_BYTES:
            block = next(rest, None)
            if block is None:
                return
            self._done_bytes += block.size_bytes
            yield block, self._local.encode(block)
        if self._pool is None:
            command = [*PYTHON, "seedbed.data.rendering", str(self._folder), str(self._cache or "")]
            self._pool = WorkerPool(command, SampleBlock, self._workers, self._check)
        yield from self._pool.encode(rest)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._local.close()
        if self._pool is not None:
            self._pool.close(kill=error is not None)


def _by_name(counts: Counter[tuple[str, str]]) -> dict[str, int]:
    found: Counter[str] = Counter()
    for (_, what), count in counts.items():
        found[what] += count
    return dict(found)


def main(folder: str, cache: str = "") -> None:
    """Run a worker process until stdin closes."""
    settings = msgspec.json.decode(Path(folder, SETTINGS).read_bytes(), type=Settings)
    encoder = SampleEncoder(Tokenizer.of_model(Path(folder, TOKENIZER)), settings, cache=Path(cache) if cache else None)
    try:
        serve(RowBlock, encoder.encode)
    finally:
        encoder.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
