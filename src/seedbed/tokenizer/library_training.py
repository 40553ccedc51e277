"""Train a vocabulary with the tokenizers library; with much text, in a child process, so that it can be stopped any time.

`python -P -m seedbed.tokenizer.library_training KIND VOCAB_SIZE SPLIT` runs that process. It reads length-prefixed pieces
of text from stdin, up to an empty piece, and writes the trained model as JSON to stdout.
"""

from __future__ import annotations

import itertools
import json
import os
import selectors
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self

import msgspec

from seedbed.config.schema import TokenizerConfig
from seedbed.errors import SeedbedError
from seedbed.tokenizer import patterns

SINGLE_PROCESS_CHARACTERS = {"bpe": 1 << 19, "wordpiece": 1 << 19, "unigram": 1 << 15}
"""For each kind of tokenizer: the most characters that are trained on in this process, which takes a second or two."""

_LENGTH_BYTES = 8
_POLL_S = 0.1
_WRITE_BYTES = 1 << 16
_MAX_UNIGRAM_PIECE = 16


def train_model(pieces: Iterator[str], config: TokenizerConfig, check: Callable[[], None]) -> dict[str, Any]:
    """Train on pieces of text, in order, and return the `model` part of a tokenizer.json (the vocabulary and its rules).

    The result is the same in this process and in a child process. With much text, `check` is
    called several times a second; an exception from it stops the training immediately.
    """
    head: list[str] = []
    characters, most = 0, SINGLE_PROCESS_CHARACTERS[config.kind]
    for piece in pieces:
        head.append(piece)
        characters += len(piece)
        if characters > most:
            with _TrainingProcess(config, check) as child:
                for each in itertools.chain(head, pieces):
                    child.send(each)
                return child.answer()
    return _train_here(iter(head), config)


def _train_here(pieces: Iterator[str], config: TokenizerConfig) -> dict[str, Any]:
    import tokenizers

    untrained, trainer = _trainer(config)
    learner = tokenizers.Tokenizer(untrained)
    spec = json.loads(learner.to_str())
    spec |= {"normalizer": patterns.normalizer(config.split)}
    spec |= {"pre_tokenizer": patterns.pre_tokenizer(config.split, limit_words=config.kind == "wordpiece")}
    learner = tokenizers.Tokenizer.from_str(json.dumps(spec))
    learner.train_from_iterator(pieces, trainer)
    model: dict[str, Any] = json.loads(learner.to_str())["model"]
    return model


def _trainer(config: TokenizerConfig) -> tuple[Any, Any]:
    """The library's empty model and its trainer, for `vocab_size` entries minus the special tokens, which are added later."""
    from tokenizers import models, trainers

    learned = config.vocab_size - len(patterns.SPECIAL_TOKENS)
    alphabet = list(patterns.byte_letters())
    if config.kind == "bpe":
        return models.BPE(), trainers.BpeTrainer(
            vocab_size=learned, min_frequency=2, initial_alphabet=alphabet, special_tokens=[], show_progress=False
        )
    if config.kind == "wordpiece":
        return models.WordPiece(vocab={}), trainers.WordPieceTrainer(
            vocab_size=learned, min_frequency=2, initial_alphabet=alphabet, special_tokens=[], show_progress=False,
            continuing_subword_prefix="",
        )  # fmt: skip
    return models.Unigram(), trainers.UnigramTrainer(
        vocab_size=learned, initial_alphabet=alphabet, special_tokens=[], show_progress=False,
        max_piece_length=_MAX_UNIGRAM_PIECE,
    )  # fmt: skip


class _TrainingProcess:
    """The child process that trains, as a context manager. It is killed at the end of the `with` block."""

    def __init__(self, config: TokenizerConfig, check: Callable[[], None]) -> None:
        words = [config.kind, str(config.vocab_size), config.split]
        command = [sys.executable, "-P", "-m", "seedbed.tokenizer.library_training", *words]
        self._check = check
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        os.set_blocking(self._stdin.fileno(), False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._stdin.close()
        self._stdout.close()

    def send(self, piece: str) -> None:
        """Send a piece of text to the child process. Waits while the process is busy with earlier pieces."""
        text = piece.encode()
        self._write(len(text).to_bytes(_LENGTH_BYTES, "little") + text)

    def answer(self) -> dict[str, Any]:
        """End the text, wait until the child process has trained, and return the `model` part of a tokenizer.json."""
        self._write(bytes(_LENGTH_BYTES))  # stdin stays open: the process exits when it closes
        parts = []
        with selectors.DefaultSelector() as waiting:
            waiting.register(self._stdout, selectors.EVENT_READ)
            while True:
                self._check()
                if waiting.select(_POLL_S):
                    part = os.read(self._stdout.fileno(), _WRITE_BYTES)
                    if not part:
                        break
                    parts.append(part)
        if self._process.wait():
            raise self._ended_error()
        model: dict[str, Any] = json.loads(b"".join(parts))
        return model

    def _write(self, message: bytes) -> None:
        rest = memoryview(message)
        with selectors.DefaultSelector() as waiting:
            waiting.register(self._stdin, selectors.EVENT_WRITE)
            while rest:
                self._check()
                if waiting.select(_POLL_S):
                    try:
                        rest = rest[os.write(self._stdin.fileno(), rest[:_WRITE_BYTES]) :]
                    except BrokenPipeError:
                        raise self._ended_error() from None

    def _ended_error(self) -> SeedbedError:
        return SeedbedError(
            f"The process that trains the tokenizer exited unexpectedly (exit status {self._process.wait()}).",
            "It may have run out of memory. Set a smaller tokenizer.sample_bytes and run again.",
        )


def main(kind: str, vocab_size: str, split: str) -> None:
    """Run the child process that trains. It exits when its parent exits, and ignores Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    settings = {"kind": kind, "vocab_size": int(vocab_size), "split": split}
    config = msgspec.convert(settings, TokenizerConfig)
    answer = json.dumps(_train_here(_read_pieces(), config)).encode()
    sys.stdout.buffer.write(answer)
    sys.stdout.buffer.flush()


def _read_pieces() -> Iterator[str]:
    """Yield pieces of text from stdin. After the last piece, start a thread that ends this process when the parent exits."""
    while True:
        length = int.from_bytes(sys.stdin.buffer.read(_LENGTH_BYTES), "little")
        if not length:
            break
        yield sys.stdin.buffer.read(length).decode()
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
