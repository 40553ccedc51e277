"""Training on much text runs in a child process, which can be ended, and gives the same model as in this process."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

import orphans
from patience import until
from seedbed.config.schema import TokenizerConfig
from seedbed.errors import SeedbedError
from seedbed.tokenizer import library_training
from seedbed.tokenizer.library_training import train_model

UNIGRAM = TokenizerConfig(kind="unigram", vocab_size=600)


class StopError(Exception):
    """Raised by a check to stop the work."""


def never_stops() -> None:
    """A check that never stops the work."""


def prose() -> list[str]:
    rng = random.Random(3)
    words = ["".join(rng.choices("abcdefghij", k=rng.randint(2, 7))) for _ in range(400)]
    return [" ".join(rng.choices(words, k=200)) for _ in range(40)]


def slow_text() -> Iterator[str]:
    """Text on which training a Unigram model takes minutes: long words that are all different."""
    rng = random.Random(4)
    for _ in range(4000):
        yield "".join(rng.choices("ACGT", k=256))


_EARLIER: set[int] = set()


@pytest.fixture(autouse=True)
def earlier_children() -> None:
    """Note the child processes that an earlier test has left."""
    _EARLIER.clear()
    _EARLIER.update(child.pid for child in psutil.Process().children())


def new_children() -> list[psutil.Process]:
    """The child processes that this test has started and that have not ended."""
    return [child for child in psutil.Process().children() if child.pid not in _EARLIER]


@pytest.mark.parametrize("kind", ["bpe", "wordpiece", "unigram"])
def test_a_child_process_trains_the_same_model(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    config = TokenizerConfig(kind=kind, vocab_size=600)  # type: ignore[arg-type]
    here = train_model(iter(prose()), config, never_stops)
    monkeypatch.setitem(library_training.SINGLE_PROCESS_CHARACTERS, kind, 5000)
    there = train_model(iter(prose()), config, never_stops)
    if kind == "unigram":  # the library's scores differ in their last digits from one time to the next
        assert {piece for piece, _ in there["vocab"]} == {piece for piece, _ in here["vocab"]}
    else:
        assert there == here
    assert not new_children()


def test_a_stop_takes_effect_during_training() -> None:
    sent = False
    num_checks = 0

    def pieces() -> Iterator[str]:
        nonlocal sent
        yield from slow_text()
        sent = True

    def check() -> None:
        nonlocal num_checks
        num_checks += sent
        if num_checks > 5:
            raise StopError

    with pytest.raises(StopError):
        train_model(pieces(), UNIGRAM, check)
    assert not new_children()


def test_a_killed_training_process_is_reported() -> None:
    def pieces() -> Iterator[str]:
        yield from slow_text()
        (child,) = new_children()
        child.kill()

    with pytest.raises(SeedbedError, match=r"trains the tokenizer exited unexpectedly \(exit status -9\)") as caught:
        train_model(pieces(), UNIGRAM, never_stops)
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


def test_the_training_process_ends_with_its_parent() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    assert parent.stdout.readline() == "sent\n"
    (child,) = psutil.Process(parent.pid).children()
    used = child.cpu_times().user
    until(lambda: child.cpu_times().user > used + 0.5)  # it has received all text and is training
    parent.kill()
    parent.communicate()
    until(lambda: not orphans.is_alive(child.pid))
