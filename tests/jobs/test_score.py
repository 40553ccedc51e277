"""The score of a model that writes no sentences, or never ends one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from saved_models import save_model
from seedbed.cli.score import describe
from seedbed.config.frozen import dump
from seedbed.config.resolving import resolve
from seedbed.config.roots import TRAIN
from seedbed.config.schema import ModelConfig, TokenizerConfig
from seedbed.data.stories.generator import stories
from seedbed.jobs.score import ScoreRequest, answer, longest_tokens, write
from seedbed.model.decoder import Decoder
from seedbed.tokenizer.tokenizer import Tokenizer
from seedbed.tokenizer.train import train_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(list(stories(1, 40)), TokenizerConfig(kind="char"), lambda _event: None)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of a run's config."""
    resolved = resolve(TRAIN, sets=("data.stories=40", "model.context=2000"))
    path = tmp_path_factory.mktemp("run") / "config.toml"
    path.write_text(dump(resolved.config, resolved.origins))
    return str(path)


def model_of(folder: Path, tokenizer: Tokenizer, favourite: str) -> str:
    """The path of a checkpoint whose model always writes one character; `""` is the end of the text."""
    shape = ModelConfig(layers=1, hidden=16, heads=2, kv_heads=2, head_dim=8, ffn=32, context=2000, tie_embeddings=True)
    network = Decoder(shape, tokenizer.vocab_size)
    network.init_weights(torch.Generator().manual_seed(1))
    with torch.no_grad():
        # All tokens have the same embedding, except the favourite, whose tied row gives it the highest logit.
        network.embed.weight[:] = 0.01
        network.embed.weight[tokenizer.encode(favourite)[0] if favourite else tokenizer.eot_id] = 1.0
    return str(save_model(folder, network, tokenizer))


def outcome_of(model: str, config: str) -> dict[str, Any]:
    return list(answer(ScoreRequest(checkpoint=model, config=config, sentences=5, temperature=0.0)))[-1]


def test_a_text_that_never_ends_a_sentence_is_cut_and_counts_as_wrong(
    tmp_path: Path, tokenizer: Tokenizer, config: str
) -> None:
    outcome = outcome_of(model_of(tmp_path, tokenizer, "a"), config)
    assert (outcome["stories"], outcome["cut"], outcome["sentences"], outcome["passed"]) == (5, 5, 5, 0)
    assert outcome["reasons"] == {"no sentence": 5}
    assert outcome["cut_tokens"] < 1000, "the text was not cut before the end of the context"
    description = "\n".join(describe(outcome))
    assert f"5 texts of 5 had {outcome['cut_tokens']} tokens without the end of a sentence" in description


def test_a_model_that_ends_every_text_at_once_has_a_pass_rate_of_0(
    tmp_path: Path, tokenizer: Tokenizer, config: str
) -> None:
    outcome = outcome_of(model_of(tmp_path, tokenizer, ""), config)
    assert (outcome["stories"], outcome["cut"], outcome["sentences"], outcome["pass_rate"]) == (5, 0, 5, 0.0)
    assert not any("went on" in line for line in describe(outcome))


class Pieces:
    """A stream of the given pieces, one token each."""

    def __init__(self, pieces: list[str]) -> None:
        self._pieces, self.num_tokens = pieces, 0

    def __iter__(self) -> Iterator[str]:
        for piece in self._pieces:
            self.num_tokens += 1
            yield piece


def test_a_text_is_cut_only_where_no_sentence_ends_within_the_limit() -> None:
    whole: Any = Pieces(["Sun ", "is", ". "] * 50)
    assert write(whole, 4) == ("Sun is. " * 50, False)
    endless: Any = Pieces([*(["Sun ", "is", ". "] * 2), *["and "] * 50])
    assert write(endless, 4) == ("Sun is. Sun is. and and and and ", True)


def test_the_limit_is_longer_than_every_sentence_of_the_training_text(tokenizer: Tokenizer) -> None:
    known = {"One two.", "A sentence of some length, with a rest.", "Three."}
    assert longest_tokens(known, tokenizer) > max(len(tokenizer.encode(each)) for each in known)
