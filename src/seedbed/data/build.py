"""Build a dataset: read a source, train or load a tokenizer, and write token shards into the cache (see building.py)."""

from __future__ import annotations

import itertools
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from seedbed import files
from seedbed.config.schema import DataConfig, TokenizerConfig
from seedbed.config.source import is_rows
from seedbed.data import shards
from seedbed.data.build_samples import build_samples
from seedbed.data.building import MESSAGES, Base, Builder, emit_contents, open_or_build
from seedbed.data.byte_streams import NoTextError, UnreadableError
from seedbed.data.interruption import Check, never_stop, run_interruptibly
from seedbed.data.messages import FILES_SKIPPED, MessageRecorder, replay_messages
from seedbed.data.shard_writer import PROGRESS, ShardWriter
from seedbed.data.shards import Dataset
from seedbed.data.source import FolderSource, Source, SplitName, open_source
from seedbed.data.tokenise import TextBlock, Tokeniser
from seedbed.errors import UsageError
from seedbed.events import Data, Emit, Message
from seedbed.hardware.cpu import usable_cores
from seedbed.text import quoted
from seedbed.tokenizer import patterns
from seedbed.tokenizer.checks import check_vocab_size
from seedbed.tokenizer.tokenizer import Tokenizer, well_formed
from seedbed.tokenizer.train import train_tokenizer

PIECE_CHARACTERS = 1 << 20
BLOCK_BYTES = 1 << 20
SHARD_BYTES = 1 << 25
"""UTF-8 bytes of text per shard (a file of token ids). After a kill, at most this much is tokenised again."""
_CHECKED_CHARACTERS = 1 << 13
_REPORT_EVERY_S = 0.2
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


def build_dataset(
    data: DataConfig,
    tokenizer: TokenizerConfig,
    *,
    cache: Path,
    emit: Emit,
    check: Check = never_stop,
    expected_fingerprint: str | None = None,
    base: Base | None = None,
    context: int = 0,
) -> Dataset:
    """Open the dataset that a config describes if it is prepared or cached; otherwise build it.

    `base`: the base model's tokenizer, in place of the one that `tokenizer` describes, and its chat template. `context`: tokens
    per training sequence, which decides how long the samples of a dataset of rows are.

    The same source content and tokenizer config give byte-identical files, whatever the number of workers and
    interruptions. `check` is called several times a second, also while nothing is emitted. An exception from `check` or
    `emit` stops the build, and a later call continues from there.

    Raises SeedbedError (UsageError for an invalid config), also if a different dataset would have to be built although the
    cache contains the dataset with `expected_fingerprint`.
    """
    prepared, reused = prepared_folder(data.source), base.tokenizer if base is not None else None
    if prepared is not None:
        return _open_prepared(prepared, tokenizer, emit, check, reused)
    if not _SCHEME.match(data.source) and is_rows(data.source.strip(), Path()):
        return build_samples(
            data,
            tokenizer,
            context=context,
            cache=cache,
            emit=emit,
            check=check,
            expected_fingerprint=expected_fingerprint,
            base=base,
        )
    if reused is None and not tokenizer.path:
        check_vocab_size(tokenizer)
    recorder = MessageRecorder(emit)
    source = run_interruptibly(lambda: open_source(data, emit=recorder), check)
    return _build(source, tokenizer, data.workers, cache, recorder, check, expected_fingerprint, reused)


def prepared_folder(source: str) -> Path | None:
    """The folder that `source` (`data.source`) names if it contains a prepared dataset, else None."""
    if _SCHEME.match(source):
        return None
    folder = files.expand_home(source)
    return folder if (folder / shards.MANIFEST).is_file() else None


def build_from(
    source: Source,
    tokenizer: TokenizerConfig,
    *,
    workers: int = 0,
    cache: Path,
    emit: Emit,
    check: Check = never_stop,
    expected_fingerprint: str | None = None,
) -> Dataset:
    """Build the dataset of `source`, which is already open; see `build_dataset`. `workers` 0 means one process per core."""
    return _build(source, tokenizer, workers, cache, MessageRecorder(emit), check, expected_fingerprint)


def _build(
    source: Source,
    tokenizer: TokenizerConfig,
    workers: int,
    cache: Path,
    emit: MessageRecorder,
    check: Check,
    expected_fingerprint: str | None,
    reused: Tokenizer | None = None,
) -> Dataset:
    builder = _TextBuilder(source, tokenizer, workers or usable_cores(), cache, emit, check, reused)
    dataset, built = open_or_build(builder, emit, check, expected_fingerprint)
    if reused is not None:
        dataset.tokenizer = reused
    if not built:
        _replay_messages(dataset, source, emit)
    emit_contents(dataset, emit)
    return dataset


def _replay_messages(dataset: Dataset, source: Source, emit: Emit) -> None:
    """Emit the messages from the time when the dataset was built, but describe skipped files as they are now."""
    skipped = source.skipped_messages() if isinstance(source, FolderSource) else None
    kept = [each for each in dataset.messages if skipped is None or each.get("code") != FILES_SKIPPED]
    replay_messages(kept, emit, prepared_as=dataset.name, name=source.name)
    for message in skipped or ():
        emit(message)


def _open_prepared(
    folder: Path, config: TokenizerConfig, emit: Emit, check: Check, reused: Tokenizer | None
) -> Dataset:
    dataset = run_interruptibly(lambda: Dataset.open(folder), check)
    if reused is not None and reused.fingerprint != dataset.manifest["tokenizer"]:
        raise UsageError(
            f"{quoted(folder)} was prepared with another tokenizer than that of the base model.",
            "Give the text itself, such as --data text:PATH: it is then prepared with the tokenizer of the base.",
        )
    if config.path and Tokenizer.load(files.expand_home(config.path)).fingerprint != dataset.tokenizer.fingerprint:
        raise UsageError(
            f"tokenizer.path = {quoted(config.path)} is not the tokenizer that made {quoted(folder)}.",
            "Remove tokenizer.path: a prepared dataset contains its own tokenizer.",
        )
    replay_messages(dataset.messages, emit)
    emit_contents(dataset, emit)
    return dataset


class _Piece(NamedTuple):
    """A part of a document, small enough to tokenise at once.

    `begins` and `ends`: whether this is the document's first or last part.
    """

    text: str
    size_bytes: int
    begins: bool
    ends: bool


class _TextBuilder(Builder):
    """Builds the dataset of a source of text."""

    def __init__(
        self,
        source: Source,
        config: TokenizerConfig,
        workers: int,
        cache: Path,
        emit: MessageRecorder,
        check: Check,
        reused: Tokenizer | None = None,
    ) -> None:
        self._source, self._config, self._workers, self._emit, self._check = source, config, workers, emit, check
        self._reused = reused or (Tokenizer.load(files.expand_home(config.path)) if config.path else None)
        self._fingerprint = run_interruptibly(source.fingerprint, check)
        if self._reused is not None:
            settings: dict[str, Any] = {"tokenizer": self._reused.fingerprint}
        else:
            settings = {"kind": config.kind, "vocab_size": config.vocab_size, "sample_bytes": config.sample_bytes}
            if config.kind != "char":
                settings["split"] = config.split
        super().__init__(cache, [shards.FORMAT, self._fingerprint, settings], source.name)
        self._train_bytes: int | None = None
        self._empty = 0

    def _can_resume(self, error: BaseException) -> bool:
        """Whether a later build can continue from the files that a failed build left in the hidden folder."""
        if isinstance(error, NoTextError) or (isinstance(error, UnreadableError) and error.reason != "unreadable"):
            return False  # the same text fails again
        trained = self._reused is None and (self._partial / shards.TOKENIZER / "tokenizer_config.json").exists()
        return trained or (self._partial / PROGRESS).exists()

    def _fill(self) -> None:
        """Write what is missing into the hidden folder: tokenizer, shards (files of token ids) and manifest.json."""
        self._emit.record_to(self._partial / MESSAGES)
        tokenizer = self._tokenizer()
        dtype = shards.index_dtype(tokenizer.vocab_size)
        writer = run_interruptibly(lambda: ShardWriter(self._partial, dtype, tokenizer.fingerprint), self._check)
        folder = self._partial / shards.TOKENIZER
        with Tokeniser(tokenizer, folder, dtype, self._workers, self._check) as tokeniser:
            for split in shards.SPLITS:
                self._fill_split(split, writer, tokeniser)
        drops = Counter(self._source.drops)
        if self._empty:
            drops["empty"] += self._empty
        splits: dict[str, Any] = {split: writer.totals(split) for split in shards.SPLITS}
        self._check_splits(splits)
        facts = {"drops": dict(sorted(drops.items())), "messages": self._emit.finish(), "splits": splits}
        self._finish(writer, tokenizer, shards.FORMAT, self._fingerprint, facts)

    def _tokenizer(self) -> Tokenizer:
        """Return the given tokenizer, the one of an interrupted build, or a new one; it is saved in the hidden folder."""
        if (kept := self._kept_tokenizer(self._reused)) is not None:
            return kept
        documents = _ByteCounter(self._documents("train"))
        tokenizer = train_tokenizer(documents, self._config, self._emit, self._check)
        if documents.exhausted:
            self._train_bytes = documents.size_bytes
        tokenizer.save(self._partial / shards.TOKENIZER)
        return tokenizer

    def _fill_split(self, split: SplitName, writer: ShardWriter, tokeniser: Tokeniser) -> None:
        """Write the shards (files of token ids) of a split that an interrupted build did not write."""
        progress = _Progress(split, self._train_bytes if split == "train" else None, self._emit)
        pieces = self._pieces(split)
        for piece in itertools.islice(pieces, sum(shard["pieces"] for shard in writer.shards[split])):
            progress.add(piece.size_bytes)
        blocks = _blocks(pieces)
        first = next(blocks, None)
        if first is not None:
            self._check_fast_encoder(first, tokeniser)
            for text, ids in tokeniser.encode(itertools.chain([first], blocks)):
                writer.add(text, ids)
                progress.add(text.size_bytes)
                if text.closes_shard:
                    writer.close_shard(split)
            writer.close_shard(split)
        progress.end()

    def _check_fast_encoder(self, block: TextBlock, tokeniser: Tokeniser) -> None:
        """Compare the fast encoder with the tokenizers library on this text. If their ids differ, use only the library."""
        sample = list(itertools.islice(patterns.cut(block.pieces[0], _CHECKED_CHARACTERS), 4))
        bulk = tokeniser.local.bulk
        if not bulk.matches_library(sample):
            bulk.use_library()
            self._emit(
                Message(
                    level="warning",
                    code="slow-tokenising",
                    text="Tokenising takes longer: the fast encoder gave wrong ids, so the tokenizers library is used.",
                    why="The ids of the library are correct. Please report the first lines of this text as a bug.",
                )
            )

    def _documents(self, split: SplitName) -> Iterator[str]:
        """Yield the documents of a split.

        The first document can take long, because a source may first read a large file to its end.
        """
        texts = self._source.documents(split)
        first = run_interruptibly(lambda: next(texts, None), self._check)
        if first is not None:
            yield well_formed(first)
            yield from map(well_formed, texts)

    def _pieces(self, split: SplitName) -> Iterator[_Piece]:
        """Yield the documents of a split in pieces of at most PIECE_CHARACTERS. Empty documents are counted and omitted."""
        for text in self._documents(split):
            if not text:
                self._empty += 1
                continue
            rest, begins = len(text), True
            for piece in patterns.cut(text, PIECE_CHARACTERS):
                rest -= len(piece)
                yield _Piece(piece, len(piece) if piece.isascii() else len(piece.encode()), begins, not rest)
                begins = False

    def _check_splits(self, splits: dict[str, Any]) -> None:
        """Raise SeedbedError for a split without text; warn about characters that a `char` vocabulary lacks."""
        for split in shards.SPLITS:
            if not splits[split]["documents"]:
                raise NoTextError(
                    f"{self._source.name} contains no {split} text.",
                    "Check data.source, data.validation and data.max_documents.",
                )
            unknown, tokens = splits[split]["unknown"], splits[split]["tokens"]
            if unknown:
                self._emit(
                    Message(
                        level="warning",
                        code="unknown-characters",
                        text=f"{unknown} of {tokens} characters of the {split} text become U+FFFD.",
                        why="The character vocabulary does not contain them.",
                        hint="Increase tokenizer.vocab_size or tokenizer.sample_bytes, or set tokenizer.kind to bpe.",
                    )
                )


def _blocks(pieces: Iterator[_Piece]) -> Iterator[TextBlock]:
    """Group pieces into blocks of about BLOCK_BYTES, and mark the block that ends a shard of about SHARD_BYTES.

    The same pieces always give the same groups.
    """
    block, shard_bytes = TextBlock([], [], 0), 0
    for piece in pieces:
        block.continues = block.continues if block.pieces else not piece.begins
        block.pieces.append(piece.text)
        block.ends.append(piece.ends)
        block.size_bytes += piece.size_bytes
        shard_bytes += piece.size_bytes
        block.closes_shard = shard_bytes >= SHARD_BYTES
        if block.closes_shard or block.size_bytes >= BLOCK_BYTES:
            shard_bytes = 0 if block.closes_shard else shard_bytes
            yield block
            block = TextBlock([], [], 0)
    if block.pieces:
        yield block


class _ByteCounter:
    """Yields documents unchanged and counts their UTF-8 bytes. `exhausted`: whether all documents were read."""

    def __init__(self, texts: Iterator[str]) -> None:
        self._texts = texts
        self.size_bytes, self.exhausted = 0, False

    def __iter__(self) -> Iterator[str]:
        for text in self._texts:
            self.size_bytes += len(text) if text.isascii() else len(text.encode())
            yield text
        self.exhausted = True


class _Progress:
    """Emits the progress of tokenising a split as `data` events, at intervals of _REPORT_EVERY_S seconds."""

    def __init__(self, split: SplitName, total_bytes: int | None, emit: Emit) -> None:
        self._split, self._total_bytes, self._emit = split, total_bytes, emit
        self._done_bytes, self._reported_at = 0, time.monotonic()

    def add(self, size_bytes: int) -> None:
        self._done_bytes += size_bytes
        if time.monotonic() - self._reported_at >= _REPORT_EVERY_S:
            self._report(self._total_bytes)

    def end(self) -> None:
        self._report(self._done_bytes)

    def _report(self, total_bytes: int | None) -> None:
        self._reported_at = time.monotonic()
        stage = "tokenize" if self._split == "train" else f"tokenize {self._split}"
        self._emit(Data(stage=stage, done=self._done_bytes, total=total_bytes, unit="bytes"))
