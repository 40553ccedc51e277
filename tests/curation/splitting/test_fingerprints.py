"""Tokens and runs of tokens, against a regular expression and Python's own tuples."""

from __future__ import annotations

import re
import sysconfig
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.curation.splitting.fingerprints import RUN, WINDOW, WORDS, runs_of, tokens_of, winnowed

# Words of ASCII letters, digits, underscores and two-byte characters; any other character that is not a space or control.
TOKEN = re.compile("[A-Za-z0-9_\u0080-\u07ff]+|[^\\s\x00-\x20\x7f\u0080-\u07ff]")


def reference(text: str) -> list[str]:
    return [re.sub("[A-Z]+", lambda match: match[0].lower(), token) for token in TOKEN.findall(text)]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text("ab C_9é漢🙂.,\n\t=", max_size=40), max_size=6))
def test_tokens_are_words_and_single_characters(texts: list[str]) -> None:
    tokens = tokens_of(texts)
    expected = [(number, token) for number, text in enumerate(texts) for token in reference(text)]
    assert tokens.texts.tolist() == [number for number, _ in expected]
    hashes: dict[str, int] = {}
    for (_, token), value in zip(expected, tokens.hashes.tolist(), strict=True):
        assert hashes.setdefault(token, value) == value
    assert len(set(hashes.values())) == len(hashes)


def test_runs_of_real_code_are_equal_exactly_where_its_tokens_are() -> None:
    folder = Path(sysconfig.get_paths()["stdlib"])
    texts = [(folder / name).read_text() for name in ("heapq.py", "bisect.py", "argparse.py", "difflib.py")]
    hashes, owner = runs_of(tokens_of(texts))
    expected = []
    for number, text in enumerate(texts):
        tokens = reference(text)
        expected += [(number, tuple(tokens[at : at + RUN])) for at in range(len(tokens) - RUN + 1)]
    assert owner.tolist() == [number for number, _ in expected]
    assert len(set(hashes.tolist())) == len({run for _, run in expected})
    one: dict[tuple[str, ...], int] = {}
    assert all(one.setdefault(run, value) == value for (_, run), value in zip(expected, hashes.tolist(), strict=True))


def test_runs_of_words_are_those_of_the_text_without_punctuation() -> None:
    text = "The `open_file` function, né *lazy*: it returns 日本 (a file) if - and only if - x > 3; else `None`!"
    plain = re.sub(r"[^\w\s]", " ", text)
    words = [token for token in reference(text) if re.match(r"\w", token)]
    assert len(runs_of(tokens_of([text]), WORDS)[0]) == len(words) - RUN + 1
    assert runs_of(tokens_of([text]), WORDS)[0].tolist() == runs_of(tokens_of([plain]), WORDS)[0].tolist()
    assert not set(runs_of(tokens_of([plain]), WORDS)[0].tolist()) & set(runs_of(tokens_of([plain]))[0].tolist())


def test_a_batch_gives_the_hashes_of_its_texts_alone() -> None:
    texts = ["def a():\n    return 1", "", "x" * 5000, "the same " * 20, "日本語 and English"]
    together = tokens_of(texts)
    for number, text in enumerate(texts):
        assert together.hashes[together.texts == number].tolist() == tokens_of([text]).hashes.tolist()


def test_a_shared_text_of_twenty_tokens_shares_a_fingerprint() -> None:
    shared = " ".join(f"shared{n}" for n in range(RUN + WINDOW - 1))
    texts = [
        " ".join(f"left{n}" for n in range(50)) + " " + shared,
        shared + " " + " ".join(f"r{n}" for n in range(50)),
    ]
    found, owner = winnowed(*runs_of(tokens_of(texts)))
    assert set(found[owner == 0].tolist()) & set(found[owner == 1].tolist())
    assert 12 <= np.count_nonzero(owner == 0) <= 30  # about two of nine of 58 runs


def test_short_texts_have_one_fingerprint_and_shorter_ones_none() -> None:
    found, owner = winnowed(*runs_of(tokens_of(["a b c", " ".join("abcdefghijklmn"), " ".join("abcdefghijklm")])))
    assert owner.tolist() == [1, 2]
    assert len(found) == 2
