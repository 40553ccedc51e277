"""Generation as a window requests it: one request in, lines out."""

from __future__ import annotations

import pytest
import torch

from saved_models import save_model
from seedbed.config.schema import ModelConfig, TokenizerConfig
from seedbed.data.stories.generator import stories
from seedbed.errors import UsageError
from seedbed.jobs.generate import GenerateRequest, answer
from seedbed.model.decoder import Decoder
from seedbed.tokenizer.train import train_tokenizer


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of a checkpoint whose tokenizer knows single characters."""
    tokenizer = train_tokenizer(list(stories(1, 40)), TokenizerConfig(kind="char"), lambda _event: None)
    config = ModelConfig(layers=1, hidden=16, heads=2, kv_heads=2, head_dim=8, ffn=32, context=64)
    network = Decoder(config, tokenizer.vocab_size)
    network.init_weights(torch.Generator().manual_seed(1))
    return str(save_model(tmp_path_factory.mktemp("model"), network, tokenizer))


def written(model: str, prompt: str, **settings: object) -> str:
    request = GenerateRequest(checkpoint=model, prompt=prompt, max_new_tokens=30, seed=3, device="cpu", **settings)  # type: ignore[arg-type]
    return "".join(line.get("text", "") for line in answer(request))


def test_a_prompt_is_normalized_like_training_text(model: str) -> None:
    plain = written(model, "The\nfox")
    assert written(model, "\ufeffThe\r\nfox") == written(model, "The\rfox") == plain
    assert written(model, "The fox") != plain


def test_unknown_characters_are_reported_first(model: str) -> None:
    first = next(answer(GenerateRequest(checkpoint=model, prompt="The ☃ and the ☃ or 日", device="cpu")))
    assert first["unknown"] == ["☃", "日"]
    assert next(answer(GenerateRequest(checkpoint=model, prompt="The fox", device="cpu")))["unknown"] == []


def test_a_stop_text_may_have_windows_line_ends(model: str) -> None:
    whole = written(model, "The fox")
    middle = whole[10]
    assert written(model, "The fox", stop=(middle,)) == whole[: whole.index(middle)]
    wordy = GenerateRequest(checkpoint=model, prompt="x", stop=("\r\n",), device="cpu", max_new_tokens=400, seed=1)
    assert "\n" not in "".join(line.get("text", "") for line in answer(wordy))


@pytest.mark.parametrize(
    "settings",
    [
        {"top_p": 0.0},
        {"repetition_penalty": 0.0},
        {"stop": ("",)},
        {"num_samples": 0},
    ],
    ids=str,
)
def test_invalid_settings_are_refused_before_a_model_is_loaded(settings: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        next(answer(GenerateRequest(checkpoint="nowhere", **settings)))  # type: ignore[arg-type]


def test_a_second_sample_after_the_largest_seed_gets_another_seed(model: str) -> None:
    request = GenerateRequest(
        checkpoint=model, prompt="The", seed=2**63 - 1, num_samples=2, max_new_tokens=3, device="cpu"
    )
    seeds = [line["seed"] for line in answer(request) if line.get("done")]
    assert len(set(seeds)) == 2
    assert seeds[0] == 2**63 - 1
