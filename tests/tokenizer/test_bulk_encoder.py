"""Bulk encoding gives the ids of the library, and long text is cut where the ids do not change."""

from __future__ import annotations

import random

import numpy as np
import pytest

import patience
from seedbed.config.schema import TokenizerConfig
from seedbed.tokenizer import patterns
from seedbed.tokenizer.bulk_encoder import BulkEncoder
from seedbed.tokenizer.tokenizer import Tokenizer
from seedbed.tokenizer.train import train_tokenizer

U2 = np.dtype("<u2")
SPLITS = ("qwen2", "gpt-2")


def quiet(_event: object) -> None:
    """An emit for tests that do not read events."""


def texts_of(alphabet: str, count: int, longest: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    return ["".join(rng.choices(alphabet, k=rng.randint(0, longest))) for _ in range(count)]


EVERYTHING = (
    " \n\r\t\x0b\x0c\x00\x1c\x1d\x1e\x1f\x85\xa0ab'sſtSTDREdmLl.!,-0129½²é\u0301É日本\u200b\u180e\u3000😀\ufffd<|>"
    + "".join(chr(code) for code in range(0x80, 0x3000, 31))
)
CONTRACTIONS = "ab 's'Ll'RE\n\r\t 12.,é"


@pytest.fixture(scope="module")
def trained() -> dict[tuple[str, str], Tokenizer]:
    sample = texts_of("abcdefg   '\n.,12é", 400, 200, 1)
    return {
        (kind, split): train_tokenizer(sample, TokenizerConfig(kind=kind, split=split, vocab_size=500), quiet)
        for kind in ("bpe", "wordpiece", "unigram", "char")
        for split in SPLITS
    }


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("kind", ["bpe", "wordpiece", "unigram", "char"])
def test_ids_equal_those_of_the_library(trained, kind, split):
    tokenizer = trained[kind, split]
    fast, slow = BulkEncoder(tokenizer, U2), BulkEncoder(tokenizer, U2)
    slow.use_library()
    texts = texts_of(EVERYTHING, 1500, 60, 2) + texts_of(CONTRACTIONS, 1500, 60, 3) + ["", "=" * 500, "x" * 500]
    library = [np.array(e.ids, U2).tobytes() for e in tokenizer.library.encode_batch(texts, add_special_tokens=False)]
    assert fast.encode(texts) == library
    assert slow.encode(texts) == library


@pytest.mark.parametrize("split", SPLITS)
def test_trusted_characters_are_split_as_by_the_library(trained, split):
    """Each character below U+3000 in each position: alone, in a word, after a letter, a digit, a space, a newline."""
    words, untrusted = patterns.trusted_words(split), patterns.untrusted()
    pre_tokenizer = trained["bpe", split].library.pre_tokenizer
    letters = patterns.letter_bytes()
    trusted = 0
    for code in range(0x3000):
        char = chr(code)
        if untrusted.search(char):
            continue
        trusted += 1
        text = f"{char}a{char}1{char} {char}\n{char}.{char}{char} \n{char}"
        pieces = [bytes(letters[c] for c in piece).decode() for piece, _ in pre_tokenizer.pre_tokenize_str(text)]
        assert words.findall(text) == pieces, hex(code)
    assert trusted > 6000


def test_real_text_gets_the_ids_of_the_library(test_data):
    text = (test_data / "wikitext-2" / "valid.txt").read_text(encoding="utf-8")[:400_000]
    tokenizer = train_tokenizer([text], TokenizerConfig(vocab_size=2000), quiet)
    encoder = BulkEncoder(tokenizer, U2)
    lines = text.splitlines(keepends=True)
    assert encoder.matches_library(lines)
    assert encoder.caches_words


def test_a_difference_from_the_library_is_detected(trained):
    """If the ids ever differ, a build must detect it before it writes tokens."""
    encoder = BulkEncoder(trained["bpe", "qwen2"], U2)
    assert encoder.matches_library(["a bad cab"])
    assert encoder._words is not None
    encoder._words["a"] = b"\x01\x00"
    assert not encoder.matches_library(["a bad cab"])
    encoder.use_library()
    assert encoder.matches_library(["a bad cab"])


def test_unknown_characters_are_counted(trained):
    encoder = BulkEncoder(trained["char", "qwen2"], U2)
    (ids,) = encoder.encode(["a日b本"])
    assert encoder.count_unknown(ids) == 2


def test_the_word_cache_is_bounded(trained, monkeypatch):
    monkeypatch.setattr("seedbed.tokenizer.bulk_encoder._CACHED_WORDS", 10)
    tokenizer = trained["bpe", "qwen2"]
    encoder = BulkEncoder(tokenizer, U2)
    text = " ".join(texts_of("abcdefg", 100, 9, 4)) + " " + "a" * 90
    assert encoder.encode([text, text]) == [np.array(tokenizer.encode(text), U2).tobytes()] * 2
    assert encoder._words is not None
    assert len(encoder._words) == 10


# ---------------------------------------------------------------------------------------------- cutting


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("limit", [200, 1000])
def test_the_pieces_of_a_text_have_the_ids_of_the_whole(trained, split, limit):
    tokenizer = trained["bpe", split]
    rng = random.Random(6)
    words = [
        "and",
        "and",
        "and",
        "don't",
        "12",
        "...",
        "naïve",
        "(x)",
        "\n",
        "\n\n",
        "  ",
        " \n ",
        "\t",
        "日本",
        "'S",
        "\r\n",
    ]
    text = "".join(rng.choice(words) + rng.choice((" ", " ", "\n", "")) for _ in range(4000))
    pieces = list(patterns.cut(text, limit))
    assert "".join(pieces) == text
    assert max(map(len, pieces)) <= limit
    assert len(pieces) > 1
    assert [id_ for piece in pieces for id_ in tokenizer.encode(piece)] == tokenizer.encode(text)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("kind", ["bpe", "wordpiece", "unigram"])
@pytest.mark.parametrize("filling", ["x" * 900, " " * 900, "日" * 900, "\n" * 900, "12" * 450])
def test_parts_have_the_ids_of_the_whole_around_text_without_spaces(trained, kind, split, filling):
    """A part is longer where a cut would change the ids."""
    tokenizer = trained[kind, split]
    prose = " ".join(texts_of("abcdefg", 60, 9, 4)) + "\n" + " ".join(texts_of("abcdefg", 60, 9, 5))
    text = prose + filling + prose + "\n" + filling
    parts = list(patterns.parts(text, 200))
    assert "".join(parts) == text
    assert len(parts) > 4
    assert [id_ for part in parts for id_ in tokenizer.encode(part)] == tokenizer.encode(text)


@pytest.mark.parametrize("text", ["x" * 1000, " " * 1000, "\n" * 1000, "日" * 1000, "a\n\nb" * 250, ""])
def test_text_without_a_safe_position_is_still_cut_at_the_limit(text):
    pieces = list(patterns.cut(text, 64))
    assert "".join(pieces) == text
    assert all(len(piece) <= 64 for piece in pieces)


def test_very_long_words_are_encoded_quickly(trained):
    """WordPiece's greedy search must not be quadratic in a word of a hundred thousand letters."""
    import time

    for (kind, split), tokenizer in trained.items():
        encoder = BulkEncoder(tokenizer, U2)
        for text in ("x" * 100_000, " " * 100_000, "日" * 30_000, "=" * 100_000, "\n " * 50_000):
            began = time.process_time()
            encoder.encode([text])
            assert time.process_time() - began < patience.limit(1.25), (kind, split, text[:2])
