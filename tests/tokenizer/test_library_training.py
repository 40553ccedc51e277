"""Learning from much text happens in a process that can be ended, and gives what learning here gives."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from patience import limit, until
from seedbed.config.schema import TokenizerConfig
from seedbed.errors import SeedbedError
from seedbed.tokenizer import library_training
from seedbed.tokenizer.library_training import train_model

UNIGRAM = TokenizerConfig(kind="unigram", vocab_size=600)


class StopError(Exception):
    """What a check raises where the work shall stop."""


def unheeding() -> None:
    """A check that lets the work go on."""


def prose() -> list[str]:
    rng = random.Random(3)
    words = ["".join(rng.choices("abcdefghij", k=rng.randint(2, 7))) for _ in range(400)]
    return [" ".join(rng.choices(words, k=200)) for _ in range(40)]


def slow() -> Iterator[str]:
    """Text that a Unigram model takes minutes to learn from: long words that are all different."""
    rng = random.Random(4)
    for _ in range(4000):
        yield "".join(rng.choices("ACGT", k=256))


@pytest.mark.parametrize("kind", ["bpe", "wordpiece", "unigram"])
def test_another_process_learns_the_same(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    config = TokenizerConfig(kind=kind, vocab_size=600)  # type: ignore[arg-type]
    here = train_model(iter(prose()), config, unheeding)
    monkeypatch.setitem(library_training.SINGLE_PROCESS_CHARACTERS, kind, 5000)
    there = train_model(iter(prose()), config, unheeding)
    if kind == "unigram":  # the library's scores differ in their last digits from one time to the next
        assert {piece for piece, _ in there["vocab"]} == {piece for piece, _ in here["vocab"]}
    else:
        assert there == here
    assert not psutil.Process().children()


def test_a_stop_is_heard_in_the_middle_of_learning() -> None:
    sent = False
    looks = 0

    def pieces() -> Iterator[str]:
        nonlocal sent
        yield from slow()
        sent = True

    def check() -> None:
        nonlocal looks
        looks += sent
        if looks > 5:
            raise StopError

    with pytest.raises(StopError):
        train_model(pieces(), UNIGRAM, check)
    assert not psutil.Process().children()


def test_a_process_that_is_killed_is_reported() -> None:
    def pieces() -> Iterator[str]:
        yield from slow()
        (child,) = psutil.Process().children()
        child.kill()

    with pytest.raises(SeedbedError, match=r"trains the tokenizer ended unexpectedly \(exit status -9\)") as caught:
        train_model(pieces(), UNIGRAM, unheeding)
    assert "sample_bytes" in caught.value.hint


PROGRAM = """
import random
from seedbed.config.schema import TokenizerConfig
from seedbed.tokenizer.library_training import train_model
def pieces():
    rng = random.Random(4)
    for _ in range(4000):
        yield "".join(rng.choices("ACGT", k=256))
    print("sent", flush=True)
train_model(pieces(), TokenizerConfig(kind="unigram", vocab_size=600), lambda: None)
"""


def test_it_ends_with_its_parent() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    assert parent.stdout.readline() == "sent\n"
    (child,) = psutil.Process(parent.pid).children()
    used = child.cpu_times().user
    until(lambda: child.cpu_times().user > used + 0.5)  # it has what it needs and learns
    parent.kill()
    parent.communicate()
    _, left = psutil.wait_procs([child], timeout=limit(5))
    assert not left
