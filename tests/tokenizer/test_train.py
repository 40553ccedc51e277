"""Training a tokenizer: the vocabulary is limited by the text and the config, and is the same every time."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.config.schema import TokenizerConfig
from seedbed.errors import SeedbedError, UsageError
from seedbed.events import Data, Event, Message
from seedbed.tokenizer import library_training, patterns, train
from seedbed.tokenizer.train import train_tokenizer

KINDS = ("bpe", "wordpiece", "unigram", "char")


def quiet(_event: object) -> None:
    """An emit for tests that do not read events."""


def prose(seed: int, num_words: int) -> str:
    rng = random.Random(seed)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9))) for _ in range(500)]
    return " ".join(rng.choices(words, [1 / (rank + 1) for rank in range(500)], k=num_words))


@pytest.mark.parametrize("kind", KINDS)
def test_small_text_gives_a_small_vocabulary(kind):
    tokenizer = train_tokenizer(["a rose is a rose is a rose"], TokenizerConfig(kind=kind, vocab_size=4096), quiet)
    assert tokenizer.vocab_size < 300
    assert tokenizer.decode(tokenizer.encode("a rose")) == "a rose"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("vocab_size", [266, 300, 1000])
def test_the_vocabulary_is_never_larger_than_configured(kind, vocab_size):
    tokenizer = train_tokenizer([prose(1, 5000)], TokenizerConfig(kind=kind, vocab_size=vocab_size), quiet)
    assert tokenizer.vocab_size <= vocab_size
    assert sorted(tokenizer.special.values()) == list(range(tokenizer.vocab_size - 10, tokenizer.vocab_size))
    if kind in ("bpe", "wordpiece"):
        assert tokenizer.vocab_size == vocab_size
    if kind != "char":
        assert tokenizer.decode(tokenizer.encode("ÿ\x00 日本")) == "ÿ\x00 日本"


@pytest.mark.parametrize("kind", KINDS)
def test_a_vocabulary_size_below_the_minimum_is_refused(kind):
    minimum = 12 if kind == "char" else 266
    with pytest.raises(UsageError, match="too small") as caught:
        train_tokenizer(["text"], TokenizerConfig(kind=kind, vocab_size=minimum - 1), quiet)
    assert str(minimum) in caught.value.hint
    train_tokenizer(["text"], TokenizerConfig(kind=kind, vocab_size=minimum), quiet)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("texts", [[], ["", ""]])
def test_no_text_is_an_error(kind, texts):
    with pytest.raises(SeedbedError, match="no text"):
        train_tokenizer(texts, TokenizerConfig(kind=kind), quiet)


PROGRAM = """
import random, sys
from seedbed.config.schema import TokenizerConfig
from seedbed.tokenizer.train import train_tokenizer
rng = random.Random(5)
words = ["".join(rng.choices("abcdefghij", k=rng.randint(2, 7))) for _ in range(400)]
texts = [" ".join(rng.choices(words, k=200)) for _ in range(40)]
for kind in ("bpe", "wordpiece", "unigram", "char"):
    tokenizer = train_tokenizer(texts, TokenizerConfig(kind=kind, vocab_size=600), lambda event: None)
    tokenizer.save(__import__("pathlib").Path(sys.argv[1]) / kind)
"""


def test_the_same_text_gives_the_same_files_in_any_process(tmp_path):
    """The library's hash maps have another seed in each process, which must not change the result."""
    for number in range(3):
        subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path / str(number))], check=True)
    for kind in KINDS:
        for name in ("tokenizer.json", "tokenizer_config.json"):
            assert len({(tmp_path / str(number) / kind / name).read_bytes() for number in range(3)}) == 1, (kind, name)


def test_every_character_of_the_text_is_in_a_char_vocabulary():
    text = "".join(chr(code) for code in range(32, 700)) + "日本🙂"
    tokenizer = train_tokenizer([text], TokenizerConfig(kind="char", vocab_size=1000), quiet)
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.unknown_id not in tokenizer.encode(text)
    assert tokenizer.decode(tokenizer.encode("known \u4e00 unknown")) == "known \ufffd unknown"


def test_rare_characters_are_left_out_with_a_message():
    events: list[Event] = []
    text = "a" * 50 + "b" * 40 + "c" * 30 + "d" * 2 + "e"
    tokenizer = train_tokenizer([text], TokenizerConfig(kind="char", vocab_size=14), events.append)
    assert tokenizer.decode(tokenizer.encode("abcde")) == "abc\ufffd\ufffd"
    (message,) = [event for event in events if isinstance(event, Message)]
    assert "2 of the text's 5 different characters (3 occurrences)" in message.text
    assert "16" in message.hint


def test_only_the_sample_is_read():
    read: list[int] = []

    def texts():
        for number in range(100):
            read.append(number)
            yield "x" * 90 + chr(0x100 + number)

    tokenizer = train_tokenizer(texts(), TokenizerConfig(kind="char", sample_bytes=1000), quiet)
    assert len(read) == 11
    assert tokenizer.decode(tokenizer.encode(chr(0x100) + chr(0x100 + 50))) == chr(0x100) + "\ufffd"


def test_progress_ends_with_the_bytes_read():
    events: list[Event] = []
    train_tokenizer(["héllo"], TokenizerConfig(), events.append)
    last = [event for event in events if isinstance(event, Data)][-1]
    assert (last.stage, last.done, last.total, last.unit) == ("tokenizer", 6, 6, "bytes")


# ---------------------------------------------------------------------------------------------- text without spaces


def pieces_given_to_the_library(
    monkeypatch: pytest.MonkeyPatch, texts: list[str], config: TokenizerConfig
) -> list[str]:
    """The pieces of text that the library is trained on."""
    pieces: list[str] = []
    original = train.train_model

    def train_model(given: Iterator[str], config: TokenizerConfig, check: Callable[[], None]) -> dict[str, Any]:
        pieces.extend(given)
        return original(iter(["some words"]), config, check)

    monkeypatch.setattr(train, "train_model", train_model)
    train_tokenizer(texts, config, quiet)
    return pieces


@pytest.mark.parametrize("kind", ["bpe", "wordpiece", "unigram"])
@pytest.mark.parametrize("split", ["qwen2", "gpt-2"])
@pytest.mark.parametrize("characters", ["ACGT", "a", "-", " ", "\n", "日本語", "_", "éà"])
def test_the_library_is_not_trained_on_long_words(monkeypatch, kind, split, characters):
    text = "Before. " + "".join(random.Random(1).choices(characters, k=5000)) + " After."
    config = TokenizerConfig(kind=kind, split=split, vocab_size=300)
    pieces = pieces_given_to_the_library(monkeypatch, [text], config)
    assert "".join(pieces) == text
    assert max(map(len, pieces)) <= 300


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_training_on_long_words_is_limited_with_a_message(monkeypatch, kind):
    monkeypatch.setitem(train._LONG_WORD_BYTES, kind, 10_000)
    events: list[Event] = []
    dna = "".join(random.Random(1).choices("ACGT", k=30_000))
    tokenizer = train_tokenizer(
        ["Some words first. ", dna, " And last."], TokenizerConfig(kind=kind, vocab_size=400), events.append
    )
    (message,) = [event for event in events if isinstance(event, Message)]
    assert message.code == "long-words"
    assert tokenizer.decode(tokenizer.encode(dna)) == dna
    assert len(tokenizer.encode(dna)) < 0.6 * len(dna)


def test_training_on_text_without_spaces_fills_the_vocabulary():
    """Without cutting long words, the library takes minutes for it."""
    text = "".join(random.Random(1).choices("ACGT", k=60_000)) * 3 + "a" * 200_000
    tokenizer = train_tokenizer([text], TokenizerConfig(vocab_size=600), quiet)
    assert tokenizer.vocab_size == 600


def test_tokens_learned_from_parts_of_a_long_word_occur_in_the_text():
    text = "".join(random.Random(1).choices(["ACG", "TT", "GA"], k=20_000))
    tokenizer = train_tokenizer([text], TokenizerConfig(vocab_size=400), quiet)
    assert all(tokenizer.decode([id_]) in text for id_ in set(tokenizer.encode(text)))


@given(words=st.lists(st.one_of(st.text(max_size=20), st.sampled_from(["a" * 600, " " * 700, "-" * 300])), max_size=8))
def test_long_words_are_cut_and_nothing_is_lost(words):
    text = "".join(words)
    for split in ("qwen2", "gpt-2"):
        parts = list(patterns.without_long_words(text, split))
        assert "".join(part for part, _ in parts) == text
        assert all(len(part) <= patterns.LONG_WORD for part, long in parts if long)


def test_ordinary_text_is_left_as_it_is():
    text = prose(1, 3000) + "\n" + "-" * 80 + "\n" + " " * 100 + "x"
    assert list(patterns.without_long_words(text, "qwen2")) == [(text, False)]


def test_a_message_reports_slow_training(monkeypatch):
    monkeypatch.setattr(train, "_LONG_S", 0.0)
    monkeypatch.setitem(library_training.SINGLE_PROCESS_CHARACTERS, "bpe", 100)
    events: list[Event] = []
    train_tokenizer([prose(1, 3000)], TokenizerConfig(vocab_size=400), events.append)
    (message,) = [event for event in events if isinstance(event, Message)]
    assert message.code == "slow-vocabulary"
    assert "sample_bytes" in message.hint


@pytest.mark.parametrize("kind", ["bpe", "wordpiece", "unigram"])
def test_training_on_scripts_without_spaces_is_limited_with_a_message(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(train._UNSPACED_BYTES, kind, 3000)
    events: list[Event] = []
    clauses = ["".join(chr(0x4E00 + (7 * n + 13 * place) % 900) for place in range(8)) for n in range(400)]
    thai = ["\u0e01\u0e34\u0e19\u0e02\u0e49\u0e32\u0e27" * 2] * 50
    texts = [f"clause {number}: {clause}。\n" for number, clause in enumerate([*clauses, *thai])]
    words = train._BoundedWords(texts, TokenizerConfig(kind=kind))
    given = "".join(words)
    assert clauses[0] in given
    assert clauses[-1] not in given
    assert thai[0] not in given
    assert all(f"clause {number}: " in given for number in range(450)), "other words were left out"
    bounded = len("".join(patterns.unspaced().findall(given)).encode())
    assert 2900 < bounded <= 3000
    learned = train_tokenizer(texts, TokenizerConfig(kind=kind, vocab_size=400), events.append)
    assert learned.decode(learned.encode(texts[-1])) == texts[-1]
    (message,) = [each for each in events if isinstance(each, Message) and each.code == "unspaced-text"]
    assert "trained only on 0.0 MB" in message.text


def test_a_little_text_in_scripts_without_spaces_is_used_whole() -> None:
    texts = ["一二三四五六七八, one two", "กินข้าวกินข้าว"]
    assert list(train._BoundedWords(texts, TokenizerConfig(kind="unigram"))) == texts
