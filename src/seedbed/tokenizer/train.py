"""Train a tokenizer on text."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from seedbed.config.schema import TokenizerConfig
from seedbed.errors import SeedbedError
from seedbed.events import Data, Emit, Message
from seedbed.tokenizer import patterns
from seedbed.tokenizer.checks import NUM_BYTES, check_vocab_size
from seedbed.tokenizer.library_training import train_model
from seedbed.tokenizer.tokenizer import UNKNOWN_CHARACTER, Tokenizer, well_formed

_PIECE_CHARACTERS = 1 << 16  # the library distributes pieces over cores
_REPORT_EVERY_S = 0.2
_LONG_WORD_BYTES = {"bpe": 4 << 20, "wordpiece": 4 << 20, "unigram": 1 << 16}
"""For each kind of tokenizer: the most bytes of long words to train on."""
_UNSPACED_BYTES = {"bpe": 16 << 20, "wordpiece": 16 << 20, "unigram": 1 << 19}
"""For each kind of tokenizer: the most bytes to train on of text in scripts without spaces, where most "words" differ."""
_LONG_S = 15.0
_UNIGRAM_PENALTY_STEP = 0.0001
_UNIGRAM_SCORE_DIGITS = 4


def train_tokenizer(
    texts: Iterable[str], config: TokenizerConfig, emit: Emit, check: Callable[[], None] = lambda: None
) -> Tokenizer:
    """Train a tokenizer of `config.kind` on the first `config.sample_bytes` of `texts`.

    The vocabulary has at most `config.vocab_size` entries, special tokens included; fewer if the text does not give enough.
    bpe, wordpiece and unigram work on bytes: all 256 bytes are in the vocabulary, so nothing is unknown. wordpiece takes
    the longest match from the left; it marks words by their leading space (BERT marks continuations by ##), so that
    decoding gives the exact text. The same text and config give identical files. With much text, `check` is called several
    times a second; an exception from it, or from `emit`, stops the training.

    Raises UsageError if `config.vocab_size` is too small for the kind, SeedbedError if there is no text.
    """
    check_vocab_size(config)
    sample = _Sample(texts, config.sample_bytes, emit)
    pieces = iter(sample)
    first = next(pieces, None)
    if first is None:
        raise SeedbedError(
            "There is no text to train a tokenizer on.", "Check data.source: it has no documents with text."
        )
    whole = itertools.chain([first], pieces)
    if config.kind == "char":
        model, steps = _characters(whole, config, emit)
    else:
        model, steps = _byte_level(whole, config, emit, check)
    tokenizer = Tokenizer(
        _spec(model, steps),
        {
            "eos_token": patterns.END_OF_TEXT,
            "pad_token": patterns.PAD,
            "additional_special_tokens": list(patterns.SPECIAL_TOKENS[2:]),
        },
    )
    sample.report(last=True)
    return tokenizer


class _Sample:
    """Iterates over the first `limit_bytes` of the texts, in pieces; the last text is cut. Emits the progress."""

    def __init__(self, texts: Iterable[str], limit_bytes: int, emit: Emit) -> None:
        self._texts, self._limit_bytes, self._emit = texts, limit_bytes, emit
        self._reported_at = time.monotonic()
        self.done_bytes = 0

    def __iter__(self) -> Iterator[str]:
        for text in self._texts:
            for piece in patterns.cut(well_formed(text), _PIECE_CHARACTERS):
                room = self._limit_bytes - self.done_bytes
                encoded = piece.encode()
                if len(encoded) > room:
                    piece = encoded[:room].decode(errors="ignore")
                self.done_bytes += min(len(encoded), room)
                if piece:
                    yield piece
                self.report()
                if self.done_bytes >= self._limit_bytes:
                    return

    def report(self, *, last: bool = False) -> None:
        now = time.monotonic()
        if last or now - self._reported_at >= _REPORT_EVERY_S:
            self._reported_at = now
            total = self.done_bytes if last else None
            self._emit(Data(stage="tokenizer", done=self.done_bytes, total=total, unit="bytes"))


# ---------------------------------------------------------------------------------------------- the kinds


def _characters(texts: Iterator[str], config: TokenizerConfig, emit: Emit) -> tuple[dict[str, Any], dict[str, Any]]:
    """Make a `char` vocabulary: the characters of the text by code point (the most frequent, if there are too many).

    Returns the `model` part of a tokenizer.json, and its other parts.
    """
    counts = np.zeros(0x110000, dtype=np.int64)
    for text in texts:
        if text.isascii():
            counts[:128] += np.bincount(np.frombuffer(text.encode("ascii"), dtype=np.uint8), minlength=128)
        else:
            codes, found = np.unique(np.frombuffer(text.encode("utf-32-le"), dtype="<u4"), return_counts=True)
            counts[codes] += found
    unknown = ord(UNKNOWN_CHARACTER)
    counts[unknown] = 0
    codes = np.flatnonzero(counts)
    room = config.vocab_size - len(patterns.SPECIAL_TOKENS) - 1
    if len(codes) > room:
        rare = codes[np.argsort(-counts[codes], kind="stable")[room:]]
        emit(_rare(len(codes), counts[rare], config, room))
        codes = np.setdiff1d(codes, rare)
    vocab = {chr(code): id_ for id_, code in enumerate(sorted([*codes.tolist(), unknown]))}
    model: dict[str, Any] = {
        "type": "BPE", "dropout": None, "unk_token": UNKNOWN_CHARACTER, "continuing_subword_prefix": None,
        "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
        "vocab": vocab, "merges": [],
    }  # fmt: skip
    return model, {"decoder": {"type": "Fuse"}}


def _rare(num_characters: int, rare: np.ndarray, config: TokenizerConfig, room: int) -> Message:
    """The warning about characters that a `char` vocabulary omits. `rare`: how often each omitted character occurs."""
    return Message(
        level="warning",
        code="rare-characters",
        text=f"{len(rare)} of the text's {num_characters} different characters ({rare.sum()} occurrences) become U+FFFD.",
        why=f"tokenizer.vocab_size = {config.vocab_size} has no room for them.",
        hint=f"Set tokenizer.vocab_size to {num_characters + config.vocab_size - room}, or tokenizer.kind to bpe.",
    )


def _byte_level(
    texts: Iterator[str], config: TokenizerConfig, emit: Emit, check: Callable[[], None]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Train BPE, WordPiece or Unigram with the library, on the bytes of the text's words.

    Returns the `model` part of a tokenizer.json, and its other parts.
    """
    steps: dict[str, Any] = {
        "normalizer": patterns.normalizer(config.split),
        "pre_tokenizer": patterns.pre_tokenizer(config.split, limit_words=config.kind == "wordpiece"),
        "post_processor": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False},
        "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False},
    }
    words = _BoundedWords(texts, config)
    learned = train_model(iter(words), config, _SlowTrainingNotice(words, config, emit, check))
    for message in words.messages():
        emit(message)
    if config.kind == "unigram":
        learned["vocab"] = _canonical_pieces(learned["vocab"], config.vocab_size - len(patterns.SPECIAL_TOKENS))
    elif config.kind == "wordpiece":
        learned["max_input_chars_per_word"] = patterns.WORD_LIMIT
    return learned, steps


class _BoundedWords:
    """Iterates over the text that a tokenizer is trained on, with long words cut.

    Omits text that would take too long: long words, and text in scripts without spaces, beyond a limit for each.
    """

    def __init__(self, texts: Iterator[str], config: TokenizerConfig) -> None:
        self._texts, self._split, self._kind = texts, config.split, config.kind
        self._most_bytes = _LONG_WORD_BYTES[config.kind]
        self._most_unspaced_bytes = _UNSPACED_BYTES[config.kind]
        self._long_bytes = self._left_out_bytes = 0
        self._unspaced_bytes = self._unspaced_left_out_bytes = 0
        self.size_bytes = 0
        """UTF-8 bytes of text yielded so far."""
        self.exhausted = False

    def __iter__(self) -> Iterator[str]:
        for text in self._texts:
            for part, long in patterns.without_long_words(text, self._split):
                size_bytes = len(part) if part.isascii() else len(part.encode())
                if long and self._long_bytes + size_bytes > self._most_bytes:
                    self._left_out_bytes += size_bytes
                    continue
                self._long_bytes += size_bytes if long else 0
                for bounded in [part] if long or part.isascii() else self._with_less_unspaced(part):
                    self.size_bytes += len(bounded.encode())
                    yield bounded
        self.exhausted = True

    def _with_less_unspaced(self, text: str) -> Iterator[str]:
        """Yield the text in parts. Once the limit is reached, omit parts in scripts without spaces."""
        start = 0
        for match in patterns.unspaced().finditer(text):
            size_bytes = len(match[0].encode())
            if self._unspaced_bytes + size_bytes <= self._most_unspaced_bytes:
                self._unspaced_bytes += size_bytes
                continue
            self._unspaced_left_out_bytes += size_bytes
            if match.start() > start:
                yield text[start : match.start()]
            start = match.end()
        if start < len(text):
            yield text[start:]

    def messages(self) -> Iterator[Message]:
        """Yield messages that say how much text was not used to train the tokenizer, and why."""
        if self._left_out_bytes:
            yield self._without_long_words()
        if self._unspaced_left_out_bytes:
            yield Message(
                level="info",
                code="unspaced-text",
                text=f"The tokenizer is trained only on {self._unspaced_bytes / 1e6:,.1f} MB of the text in scripts without "
                f"spaces; {self._unspaced_left_out_bytes / 1e6:,.1f} MB of it are not used.",
                why="Without spaces, a whole clause is one word and most words differ, so training on more takes long.",
                hint="The model is trained on the whole text.",
            )

    def _without_long_words(self) -> Message:
        return Message(
            level="info",
            code="long-words",
            text=f"The tokenizer is trained only on {self._long_bytes / 1e6:,.1f} MB of the words longer than "
            f"{patterns.LONG_WORD} characters; {self._left_out_bytes / 1e6:,.1f} MB of them are not used.",
            why="Text without spaces is one word, and training on many long words takes hours.",
            hint="The model is trained on the whole text. For such text, tokenizer.kind = char may work better.",
        )


class _SlowTrainingNotice:
    """When called, calls `check`; if training the tokenizer takes long, emits a message about it, once."""

    def __init__(self, words: _BoundedWords, config: TokenizerConfig, emit: Emit, check: Callable[[], None]) -> None:
        self._words, self._config, self._emit, self._check = words, config, emit, check
        self._since: float | None = None
        self._emitted = False

    def __call__(self) -> None:
        self._check()
        if not self._words.exhausted or self._emitted:
            return
        now = time.monotonic()
        self._since = self._since or now
        if now - self._since >= _LONG_S:
            self._emitted = True
            self._emit(
                Message(
                    level="info",
                    code="slow-vocabulary",
                    text=f"Training a {self._config.kind} tokenizer on {self._words.size_bytes / 1e6:,.1f} MB of text "
                    "takes long. It continues.",
                    why="The more different words a text has, the longer it takes; without spaces, most words differ.",
                    hint="To train on less text, use --set tokenizer.sample_bytes=1000000"
                    + ("; for a faster kind, use --set tokenizer.kind=bpe" if self._config.kind == "unigram" else ""),
                )
            )


def _canonical_pieces(pieces: list[list[Any]], limit: int) -> list[list[Any]]:
    """The entries [piece, score] of a Unigram vocabulary in a fixed order, at most `limit`, with rounded scores.

    So the same text always gives the same vocabulary. The library sums over words in a random order, gives unseen letters
    scores in a random order just above the lowest, and may return more pieces than requested if
    the request is little more than the 256 bytes.
    """
    lowest = min(score for _, score in pieces)
    unseen = lowest + (NUM_BYTES + 1) * _UNIGRAM_PENALTY_STEP
    scored = {
        piece: round(lowest if len(piece) == 1 and score <= unseen else score, _UNIGRAM_SCORE_DIGITS)
        for piece, score in pieces
    }
    ranked = sorted(scored, key=lambda piece: (len(piece) > 1, -scored[piece], piece))[:limit]
    return [[piece, scored[piece]] for piece in sorted(ranked, key=lambda piece: (-scored[piece], piece))]


def _spec(
    model: dict[str, Any], steps: dict[str, Any], special: tuple[str, ...] = patterns.SPECIAL_TOKENS
) -> dict[str, Any]:
    """A complete tokenizer.json, from its `model` part and the other parts, `steps`.

    Special tokens follow the learned ids and are not in the model, so no text gives their ids.
    """
    first = len(model["vocab"])
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": first + index, "content": content, **flags} for index, content in enumerate(special)],
        "normalizer": None,
        "pre_tokenizer": None,
        "post_processor": None,
        **steps,
        "model": model,
    }
