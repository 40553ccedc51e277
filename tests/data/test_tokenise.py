"""Blocks of text become the same ids for any text and in any process, and a stop takes effect between parts."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from child_processes import children
from seedbed.config.schema import TokenizerConfig
from seedbed.data import tokenise
from seedbed.data.tokenise import BlockEncoder, TextBlock, Tokeniser
from seedbed.tokenizer.tokenizer import Tokenizer
from seedbed.tokenizer.train import train_tokenizer

U2 = np.dtype("<u2")
PROSE = " ".join(["the", "tall", "tree", "saw", "a", "small", "fox"] * 400)
SOLID = "".join(random.Random(1).choices("ACGT", k=5000))


class StopError(Exception):
    """Raised by a check to stop the work."""


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Tokenizer, Path]]:
    found = {}
    for kind in ("bpe", "wordpiece", "unigram", "char"):
        config = TokenizerConfig(kind=kind, vocab_size=300)  # type: ignore[arg-type]
        tokenizer = train_tokenizer([PROSE, SOLID], config, lambda _: None)
        folder = tmp_path_factory.mktemp(kind)
        tokenizer.save(folder)
        found[kind] = tokenizer, folder
    return found


def block(*pieces: str) -> TextBlock:
    return TextBlock(list(pieces), [True] * len(pieces), sum(len(piece.encode()) for piece in pieces))


@pytest.mark.parametrize("kind", ["bpe", "wordpiece", "unigram", "char"])
def test_ids_do_not_depend_on_how_text_is_cut_into_parts(tokenizers, monkeypatch, kind):
    monkeypatch.setattr(tokenise, "PART_CHARACTERS", 300)
    tokenizer, folder = tokenizers[kind]
    pieces = [PROSE, "short", SOLID, PROSE + "\n" + SOLID + " " + PROSE]
    with Tokeniser(tokenizer, folder, U2, workers=1) as tokeniser:
        ((_, ids),) = tokeniser.encode([block(*pieces)])
    expected = [id_ for piece in pieces for id_ in [*tokenizer.encode(piece), tokenizer.eot_id]]
    assert np.frombuffer(ids.ids, U2).tolist() == expected
    assert len(ids.ends) == 4


def test_the_prefix_of_a_tokenizer_stands_before_each_document_and_not_inside_one(tokenizers, monkeypatch):
    monkeypatch.setattr(tokenise, "PART_CHARACTERS", 300)
    monkeypatch.setattr(Tokenizer, "prefix_ids", (7, 8))
    tokenizer = Tokenizer.load(tokenizers["bpe"][1])  # the fixture's one may have computed its prefix already
    encoder = BlockEncoder(tokenizer, U2)
    first = encoder.encode(TextBlock([PROSE, "begun"], [True, False], 0))
    second = encoder.encode(TextBlock([" and ended", "short"], [True, True], 0, continues=True))
    end, encode = tokenizer.eot_id, tokenizer.encode
    assert np.frombuffer(first.ids, U2).tolist() == [7, 8, *encode(PROSE), end, 7, 8, *encode("begun")]
    assert np.frombuffer(second.ids, U2).tolist() == [*encode(" and ended"), end, 7, 8, *encode("short"), end]
    assert second.ends == [len(encode(" and ended")) + 1, len(np.frombuffer(second.ids, U2))]


def test_text_that_cannot_be_cut_is_encoded_in_a_process_that_a_stop_ends(tokenizers, monkeypatch):
    monkeypatch.setattr(tokenise, "PART_CHARACTERS", 300)
    tokenizer, folder = tokenizers["bpe"]
    encoder = BlockEncoder(tokenizer, U2)
    assert not encoder.is_slow(block(PROSE, "short"))
    assert encoder.is_slow(block(PROSE, SOLID))
    stop_requested = False

    def check() -> None:
        nonlocal stop_requested
        if stop_requested:
            raise StopError

    def encode() -> None:
        nonlocal stop_requested
        with Tokeniser(tokenizer, folder, U2, workers=1, check=check) as tokeniser:
            blocks = tokeniser.encode([block(PROSE), block(SOLID)])
            next(blocks)
            stop_requested = True
            next(blocks)

    with pytest.raises(StopError):
        encode()
    assert not children()


def test_a_stop_takes_effect_between_the_parts_of_a_block(tokenizers, monkeypatch):
    monkeypatch.setattr(tokenise, "PART_CHARACTERS", 300)
    tokenizer, folder = tokenizers["bpe"]
    num_checks = 0

    def check() -> None:
        nonlocal num_checks
        num_checks += 1
        if num_checks == 3:
            raise StopError

    with pytest.raises(StopError), Tokeniser(tokenizer, folder, U2, workers=1, check=check) as tokeniser:
        list(tokeniser.encode([block(PROSE)]))
