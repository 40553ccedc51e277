"""Source to tokenizer to shards: a dataset is made once, kept by its content, and gone on with when killed.

Refuses to know formats of text and how a vocabulary is learned.

    cache/datasets/KEY/             a finished dataset; KEY is of the source's content and the tokenizer's config
    cache/datasets/.KEY.partial/    one under construction, renamed when it is whole
    cache/datasets/.KEY.lock        held by the process that makes it, and removed by it
"""

from __future__ import annotations

import contextlib
import itertools
import re
import time
import weakref
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from seedbed import __version__, files
from seedbed.config.schema import DataConfig, TokenizerConfig
from seedbed.data import shards
from seedbed.data.cached import folder_of
from seedbed.data.messages import PASSED_OVER, Recorder, tell
from seedbed.data.opening import NoTextError, UnreadableError
from seedbed.data.sample_prompt import sample_prompt
from seedbed.data.shards import Dataset
from seedbed.data.source import Source, SplitName, Walked, open_source
from seedbed.data.tokenise import TextBlock, Tokeniser
from seedbed.data.waiting import Check, result_of, take, unheeding
from seedbed.data.writer import PROGRESS, ShardWriter
from seedbed.errors import SeedbedError, UsageError
from seedbed.events import Data, Emit, Message
from seedbed.hardware.cpu import usable_cores
from seedbed.text import quoted
from seedbed.tokenizer import patterns
from seedbed.tokenizer.sizes import check_vocab_size
from seedbed.tokenizer.tokenizer import Tokenizer, well_formed
from seedbed.tokenizer.train import train_tokenizer

PIECE_CHARACTERS = 1 << 20
BLOCK_BYTES = 1 << 20
SHARD_BYTES = 1 << 25
"""UTF-8 bytes of text in a shard: what a killed build may have to do again."""
CACHE_LOCK_REMEDY = "Set SEEDBED_CACHE to a folder on a local disk."
_CHECKED_CHARACTERS = 1 << 13
_REPORT_EVERY_S = 0.2
_MESSAGES = "messages.json"
_KEY_LENGTH = 32
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


def build_dataset(
    data: DataConfig,
    tokenizer: TokenizerConfig,
    *,
    cache: Path,
    emit: Emit,
    check: Check = unheeding,
    wanted: str | None = None,
) -> Dataset:
    """The dataset that a config asks for: opened where it is prepared or cached, made where it is not.

    The same source content and tokenizer config give the same files, byte for byte, however many workers make them and
    however often the making was interrupted. Where the cache holds the dataset of the fingerprint `wanted`, no other is
    made. `check` is called several times a second, also while nothing is emitted; an exception from it, or from `emit`,
    ends the work, and a later call goes on with it. Raises SeedbedError (UsageError for a config that makes no sense).
    """
    prepared = prepared_folder(data.source)
    if prepared is not None:
        return _open_prepared(prepared, tokenizer, emit, check)
    if not tokenizer.path:
        check_vocab_size(tokenizer)
    recorder = Recorder(emit)
    source = result_of(lambda: open_source(data, emit=recorder), check)
    return _build(source, tokenizer, data.workers, cache, recorder, check, wanted)


def prepared_folder(source: str) -> Path | None:
    """The folder where `data.source` is the path of one that holds a manifest, else None."""
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
    check: Check = unheeding,
    wanted: str | None = None,
) -> Dataset:
    """The dataset of an open source; see `build_dataset`. `workers` 0 means one per core."""
    return _build(source, tokenizer, workers, cache, Recorder(emit), check, wanted)


def _build(
    source: Source,
    tokenizer: TokenizerConfig,
    workers: int,
    cache: Path,
    emit: Recorder,
    check: Check,
    wanted: str | None,
) -> Dataset:
    maker = _Maker(source, tokenizer, workers or usable_cores(), cache, emit, check)
    if wanted is not None and not (maker.final / shards.MANIFEST).exists() and folder_of(cache, wanted) is not None:
        raise SeedbedError(
            f"{source.name} has changed since the data was prepared from it, or this version divides it otherwise.",
            "Put it back as it was.",
        )
    made = False
    while (let_go := files.share_lock(maker.final / shards.MANIFEST)) is None:
        files.make_dir(maker.final.parent)
        lock = files.Lock(maker.final.parent / f".{maker.key}.lock", CACHE_LOCK_REMEDY)
        if not lock.acquire():
            emit(
                Message(
                    level="info",
                    code="dataset-wait",
                    text=f"Another process is preparing {source.name}; waiting for it.",
                    why="Both want the same text with the same tokenizer.",
                )
            )
            take(lock, check)
        if not lock.is_current():
            lock.release()
            continue
        try:
            if not (maker.final / shards.MANIFEST).exists():
                maker.make()
                made = True
        finally:
            lock.remove()
    dataset = result_of(lambda: Dataset.open(maker.final), check)
    weakref.finalize(dataset, let_go)  # held for as long as it is read, so that nobody prunes it meanwhile
    if not made:
        _tell_again(dataset, source, emit)
    tell_contents(dataset, emit)
    return dataset


def _tell_again(dataset: Dataset, source: Source, emit: Emit) -> None:
    """Say what was said while the data was prepared, and of files that were not read what is true now."""
    walked = source.passed_over() if isinstance(source, Walked) else None
    kept = [each for each in dataset.messages if walked is None or each.get("code") != PASSED_OVER]
    tell(kept, emit, prepared_as=dataset.name, name=source.name)
    for message in walked or ():
        emit(message)


def _open_prepared(folder: Path, config: TokenizerConfig, emit: Emit, check: Check) -> Dataset:
    dataset = result_of(lambda: Dataset.open(folder), check)
    if config.path and Tokenizer.load(files.expand_home(config.path)).fingerprint != dataset.tokenizer.fingerprint:
        raise UsageError(
            f"tokenizer.path = {quoted(config.path)} is not the tokenizer that made {quoted(folder)}.",
            "Leave tokenizer.path out: a prepared dataset brings its own.",
        )
    tell(dataset.messages, emit)
    tell_contents(dataset, emit)
    return dataset


def tell_contents(dataset: Dataset, emit: Emit) -> None:
    """Tell what is in a dataset that was opened."""
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
        )
    )


class _Piece(NamedTuple):
    """A stretch of a document; `ends` where it is the last."""

    text: str
    size_bytes: int
    ends: bool


class _Maker:
    """Makes one dataset, and knows what it is called."""

    def __init__(
        self, source: Source, config: TokenizerConfig, workers: int, cache: Path, emit: Recorder, check: Check
    ) -> None:
        self._source, self._config, self._workers, self._emit, self._check = source, config, workers, emit, check
        self._reused = Tokenizer.load(files.expand_home(config.path)) if config.path else None
        self._fingerprint = result_of(source.fingerprint, check)
        if self._reused is not None:
            learned: dict[str, Any] = {"tokenizer": self._reused.fingerprint}
        else:
            learned = {"kind": config.kind, "vocab_size": config.vocab_size, "sample_bytes": config.sample_bytes}
            if config.kind != "char":
                learned["split"] = config.split
        self.key = shards.digest_of([shards.FORMAT, self._fingerprint, learned])[:_KEY_LENGTH]
        self.final = cache / "datasets" / self.key
        self._partial = cache / "datasets" / f".{self.key}.partial"
        self._train_bytes: int | None = None
        self._empty = 0

    def make(self) -> None:
        """Make the dataset in its hidden folder and publish it. The lock is the caller's."""
        if not (self._partial / shards.MANIFEST).exists():
            files.make_dir(self._partial)
            try:
                self._fill()
            except BaseException as error:
                if not self._is_worth_keeping(error):
                    with contextlib.suppress(SeedbedError):
                        files.remove_tree(self._partial)
                raise
        with files.explained(self._partial):
            for work in (PROGRESS, _MESSAGES):
                (self._partial / work).unlink(missing_ok=True)
            for stray in self._partial.glob(".*.tmp"):
                stray.unlink()
        files.remove_tree(self.final)  # there only if it lost its manifest, and then of no use
        files.publish_dir(self._partial, self.final)

    def _is_worth_keeping(self, error: BaseException) -> bool:
        """Whether a later attempt could go on with what a failed one leaves in the hidden folder."""
        if isinstance(error, NoTextError) or (isinstance(error, UnreadableError) and error.reason != "unreadable"):
            return False  # the same text fails again
        learned = self._reused is None and (self._partial / shards.TOKENIZER / "tokenizer_config.json").exists()
        return learned or (self._partial / PROGRESS).exists()

    def _fill(self) -> None:
        """Write tokenizer, missing shards and manifest into the hidden folder."""
        self._emit.keep_in(self._partial / _MESSAGES)
        tokenizer = self._tokenizer()
        dtype = shards.index_dtype(tokenizer.vocab_size)
        writer = result_of(lambda: ShardWriter(self._partial, dtype, tokenizer.fingerprint), self._check)
        folder = self._partial / shards.TOKENIZER
        with Tokeniser(tokenizer, folder, dtype, self._workers, self._check) as tokeniser:
            for split in shards.SPLITS:
                self._fill_split(split, writer, tokeniser)
        drops = Counter(self._source.drops)
        if self._empty:
            drops["empty"] += self._empty
        splits: dict[str, Any] = {split: writer.totals(split) for split in shards.SPLITS}
        self._examine(splits)
        manifest = {
            "kind": shards.KIND,
            "format": shards.FORMAT,
            "name": self._source.name,
            "made_by": f"seedbed {__version__}",
            "source": self._fingerprint,
            "tokenizer": tokenizer.fingerprint,
            "vocab_size": tokenizer.vocab_size,
            "eot_id": tokenizer.eot_id,
            "dtype": dtype.str,
            "drops": dict(sorted(drops.items())),
            "messages": self._emit.end(),
            "splits": splits,
        }
        shards.remember(self._partial, writer.stamps())
        files.write_json(self._partial / shards.MANIFEST, shards.seal(manifest))

    def _tokenizer(self) -> Tokenizer:
        """The tokenizer to use: reused, left by an interrupted build, or learned now; saved in the hidden folder."""
        folder = self._partial / shards.TOKENIZER
        if self._reused is not None:
            self._reused.save(folder)
            return self._reused
        if (folder / "tokenizer_config.json").exists():
            with contextlib.suppress(SeedbedError):  # torn by a power cut: learn it again
                return Tokenizer.load(folder)
        read = _Counted(self._documents("train"))
        tokenizer = train_tokenizer(read, self._config, self._emit, self._check)
        if read.exhausted:
            self._train_bytes = read.size_bytes
        tokenizer.save(folder)
        return tokenizer

    def _fill_split(self, split: SplitName, writer: ShardWriter, tokeniser: Tokeniser) -> None:
        """Write the shards of a split that are not there yet."""
        progress = _Progress(split, self._train_bytes if split == "train" else None, self._emit)
        pieces = self._pieces(split)
        for piece in itertools.islice(pieces, sum(shard["pieces"] for shard in writer.shards[split])):
            progress.add(piece.size_bytes)
        blocks = _blocks(pieces)
        first = next(blocks, None)
        if first is not None:
            self._compare(first, tokeniser)
            for text, ids in tokeniser.encode(itertools.chain([first], blocks)):
                writer.add(text, ids)
                progress.add(text.size_bytes)
                if text.closes_shard:
                    writer.close_shard(split)
            writer.close_shard(split)
        progress.end()

    def _compare(self, block: TextBlock, tokeniser: Tokeniser) -> None:
        """Hold the fast way to the library's ids on the data at hand, and leave it where one differs."""
        sample = list(itertools.islice(patterns.cut(block.pieces[0], _CHECKED_CHARACTERS), 4))
        bulk = tokeniser.here.bulk
        if not bulk.agrees(sample):
            bulk.leave_to_library()
            self._emit(
                Message(
                    level="warning",
                    code="slow-tokenising",
                    text="Tokenising goes the slow way: the fast one gave other ids for this text.",
                    why="The ids are right; only time is lost. Please report this text's first lines as a bug.",
                )
            )

    def _documents(self, split: SplitName) -> Iterator[str]:
        """The documents of a split. Before the first one comes, a source may have to read a large file to its end."""
        texts = self._source.documents(split)
        first = result_of(lambda: next(texts, None), self._check)
        if first is not None:
            yield well_formed(first)
            yield from map(well_formed, texts)

    def _pieces(self, split: SplitName) -> Iterator[_Piece]:
        """The text of a split in stretches of bounded length; empty documents are counted and left out."""
        for text in self._documents(split):
            if not text:
                self._empty += 1
                continue
            rest = len(text)
            for piece in patterns.cut(text, PIECE_CHARACTERS):
                rest -= len(piece)
                yield _Piece(piece, len(piece) if piece.isascii() else len(piece.encode()), not rest)

    def _examine(self, splits: dict[str, Any]) -> None:
        """Raise SeedbedError for a split without text; say how much a `char` vocabulary could not write."""
        for split in shards.SPLITS:
            if not splits[split]["documents"]:
                raise NoTextError(
                    f"{self._source.name} holds no {split} text.",
                    "Check data.source, data.validation and data.max_documents.",
                )
            unknown, tokens = splits[split]["unknown"], splits[split]["tokens"]
            if unknown:
                self._emit(
                    Message(
                        level="warning",
                        code="unknown-characters",
                        text=f"{unknown} of {tokens} characters of the {split} text are written as U+FFFD.",
                        why="The vocabulary of characters does not hold them.",
                        hint="Raise tokenizer.vocab_size or tokenizer.sample_bytes, or set tokenizer.kind to bpe.",
                    )
                )


def _blocks(pieces: Iterator[_Piece]) -> Iterator[TextBlock]:
    """Pieces in blocks of about BLOCK_BYTES, closing a shard at about SHARD_BYTES: decided by the pieces alone."""
    block, shard_bytes = TextBlock([], [], 0), 0
    for piece in pieces:
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


class _Counted:
    """Documents as they are read, with the bytes so far and whether that was all."""

    def __init__(self, texts: Iterator[str]) -> None:
        self._texts = texts
        self.size_bytes, self.exhausted = 0, False

    def __iter__(self) -> Iterator[str]:
        for text in self._texts:
            self.size_bytes += len(text) if text.isascii() else len(text.encode())
            yield text
        self.exhausted = True


class _Progress:
    """Tells how far tokenising is, now and then."""

    def __init__(self, split: SplitName, total_bytes: int | None, emit: Emit) -> None:
        self._split, self._total_bytes, self._emit = split, total_bytes, emit
        self._done_bytes, self._told_at = 0, time.monotonic()

    def add(self, size_bytes: int) -> None:
        self._done_bytes += size_bytes
        if time.monotonic() - self._told_at >= _REPORT_EVERY_S:
            self._tell(self._total_bytes)

    def end(self) -> None:
        self._tell(self._done_bytes)

    def _tell(self, total_bytes: int | None) -> None:
        self._told_at = time.monotonic()
        stage = "tokenize" if self._split == "train" else f"tokenize {self._split}"
        self._emit(Data(stage=stage, done=self._done_bytes, total=total_bytes, unit="bytes"))
