"""Generation as a window requests it: one request in, lines out."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from msgspec.structs import replace

from saved_models import save_model
from seedbed.config.schema import ModelConfig, TokenizerConfig
from seedbed.data.stories.generator import stories
from seedbed.errors import SeedbedError, UsageError
from seedbed.hardware import cpu
from seedbed.hardware.cpu import Cpu
from seedbed.jobs.generate import GenerateRequest, answer, generation_dtype
from seedbed.model import mapping
from seedbed.model.decoder import Decoder
from seedbed.tokenizer.tokenizer import Tokenizer
from seedbed.tokenizer.train import train_tokenizer


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of a checkpoint whose tokenizer knows single characters."""
    tokenizer = train_tokenizer(list(stories(1, 40)), TokenizerConfig(kind="char"), lambda _event: None)
    config = ModelConfig(layers=1, hidden=16, heads=2, kv_heads=2, head_dim=8, ffn=32, context=64)
    network = Decoder(config, tokenizer.vocab_size)
    network.init_weights(torch.Generator().manual_seed(1))
    return str(save_model(tmp_path_factory.mktemp("model"), network, tokenizer))


def copied(model: str, folder: Path) -> Path:
    """A copy of a model's folder that is no checkpoint of a run."""
    shutil.copytree(model, folder / "copy")
    (folder / "copy" / "DONE").unlink()
    return folder / "copy"


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


def test_the_folder_recommends_settings_and_the_request_has_precedence(model: str, tmp_path: Path) -> None:
    folder = copied(model, tmp_path)
    config = {"do_sample": True, "temperature": 0.6, "top_p": 0.9, "top_k": True, "repetition_penalty": 1.05}
    (folder / "generation_config.json").write_text(json.dumps(config))

    def settings(**given: float) -> tuple[dict[str, float], dict[str, float]]:
        request = GenerateRequest(checkpoint=str(folder), device="cpu", **given)  # type: ignore[arg-type]
        first = next(answer(request))
        return first["settings"], first["recommended"]

    neutral = {"temperature": 0.8, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "repetition_penalty": 1.0}
    recommended = {"temperature": 0.6, "top_p": 0.9, "repetition_penalty": 1.05}
    assert settings() == ({**neutral, **recommended}, recommended)
    assert settings(temperature=0.0, top_p=1.0) == (
        {**neutral, "temperature": 0.0, "top_p": 1.0, "repetition_penalty": 1.05},
        {"repetition_penalty": 1.05},
    )
    (folder / "generation_config.json").write_text(json.dumps({**config, "do_sample": False}))
    assert settings() == ({**neutral, "repetition_penalty": 1.05}, {"repetition_penalty": 1.05})
    (folder / "generation_config.json").unlink()
    assert settings() == (neutral, {})


@pytest.mark.parametrize(
    "impossible",
    [
        {"temperature": "x"},
        {"temperature": -3},
        {"repetition_penalty": 0},
        {"top_p": 9, "top_k": -5, "min_p": True},
        {"eos_token_id": ["x", -1]},
        {"top_k": 0.5},
        {"eos_token_id": -1},
    ],
)
def test_impossible_values_are_named_and_ignored(model: str, tmp_path: Path, impossible: dict[str, Any]) -> None:
    folder = copied(model, tmp_path)
    usual = {"do_sample": True, "temperature": None, "top_k": 0, "top_p": 1.0, "eos_token_id": [0, 1]}
    (folder / "generation_config.json").write_text(json.dumps({**usual, **impossible}))
    first = next(answer(GenerateRequest(checkpoint=str(folder), device="cpu")))
    assert first["ignored"] == impossible
    assert first["recommended"] == {}
    (folder / "generation_config.json").write_text(json.dumps({**usual, "do_sample": False, "temperature": -3}))
    assert "ignored" not in next(answer(GenerateRequest(checkpoint=str(folder), device="cpu")))


def test_a_run_of_seedbed_recommends_nothing(model: str) -> None:
    first = next(answer(GenerateRequest(checkpoint=model, device="cpu")))
    assert first["recommended"] == {}
    assert first["precision"] == "fp32"


def test_generation_stops_at_every_end_that_the_configs_name(model: str, tmp_path: Path) -> None:
    whole = written(model, "The fox")
    folder = copied(model, tmp_path)
    middle = Tokenizer.of_model(folder).encode(whole[10])[0]
    config = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps({**config, "eos_token_id": [middle, 1]}))
    assert written(str(folder), "The fox") == whole[: whole.index(whole[10])]


def test_a_chat_goes_through_the_template_of_the_folder(model: str, tmp_path: Path) -> None:
    folder = copied(model, tmp_path)
    messages = ({"role": "system", "content": "The\r\nfox"}, {"role": "user", "content": "a dog"})
    request = GenerateRequest(checkpoint=str(folder), messages=messages, device="cpu", max_new_tokens=9, seed=3)
    with pytest.raises(UsageError, match="no chat template") as refused:
        next(answer(request))
    assert "--chat" in refused.value.hint
    template = "{% for message in messages %}{{ message.content }}. {% endfor %}"
    (folder / "chat_template.jinja").write_text(template)
    lines = list(answer(request))
    assert lines[0]["prompt_tokens"] == len("The\nfox. a dog. ")
    text = "".join(line.get("text", "") for line in lines)
    assert text == "".join(
        line.get("text", "")
        for line in answer(
            GenerateRequest(checkpoint=model, prompt="The\nfox. a dog. ", device="cpu", max_new_tokens=9, seed=3)
        )
    )
    long = GenerateRequest(checkpoint=str(folder), messages=({"role": "user", "content": "a" * 80},), device="cpu")
    with pytest.raises(UsageError, match="82 tokens, but the model's context has only 64"):
        next(answer(long))


def test_a_chat_uses_the_named_template_and_the_tools(model: str, tmp_path: Path) -> None:
    folder = copied(model, tmp_path)
    (folder / "chat_template.jinja").write_text("{{ messages[0].content }}.")
    (folder / "additional_chat_templates").mkdir()
    source = "{{ messages[0].content }} {% for tool in tools %}{{ tool.function.name }}{% endfor %}"
    (folder / "additional_chat_templates" / "tool_use.jinja").write_text(source)
    tools = ({"type": "function", "function": {"name": "weather"}},)

    def first(**options: Any) -> dict[str, Any]:
        messages = ({"role": "user", "content": "a dog"},)
        return next(answer(GenerateRequest(checkpoint=str(folder), messages=messages, device="cpu", **options)))

    assert (first()["template"], first()["prompt_tokens"]) == ("default", len("a dog."))
    found = first(tools=tools)
    assert (found["template"], found["prompt_tokens"]) == ("tool_use", len("a dog weather"))
    assert "ignores_tools" not in found
    ignoring = first(tools=tools, template="default")
    assert ignoring["prompt_tokens"] == len("a dog.")
    assert ignoring["ignores_tools"] is True
    with pytest.raises(UsageError, match='no chat template named "rag"') as refused:
        first(template="rag")
    assert '"default", "tool_use"' in refused.value.hint
    assert "template" not in next(answer(GenerateRequest(checkpoint=model, prompt="x", device="cpu")))


def test_bf16_is_for_stored_bf16_on_a_cpu_that_computes_it_fast(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text('{"torch_dtype": "bfloat16"}')
    device = torch.device("cpu")
    for features, expected in ((("avx512_bf16",), torch.bfloat16), (("avx2",), torch.float32)):
        monkeypatch.setattr(cpu, "probe", lambda features=features: Cpu("a CPU", 2, features, {}))
        assert generation_dtype(device, tmp_path) == expected
    monkeypatch.setattr(cpu, "probe", lambda: Cpu("a CPU", 2, ("amx_bf16",), {}))
    (tmp_path / "config.json").write_text('{"dtype": "float32"}')
    assert generation_dtype(device, tmp_path) == torch.float32
    assert generation_dtype(device, tmp_path, "bf16") == torch.bfloat16


def test_weights_that_are_written_while_they_are_used_are_an_error(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapping, "_FEWEST_BYTES", 0)
    weights = copied(model, tmp_path) / "model.safetensors"
    request = GenerateRequest(checkpoint=str(weights.parent), prompt="The", max_new_tokens=9, device="cpu")
    lines = answer(request)
    assert next(lines)["ready"]
    shutil.copy(weights, tmp_path / "new")
    (tmp_path / "new").replace(weights)  # the model in use is still the old one
    assert [line for line in lines if line.get("done")]
    lines = answer(request)
    assert next(lines)["ready"]
    os.utime(weights, (1, 1))
    with pytest.raises(SeedbedError, match=r'model\.safetensors" was changed while it was in use'):
        list(lines)
    lines = answer(replace(request, precision="bf16", max_new_tokens=1))  # of weights in fp32: they are copied
    assert next(lines)["ready"]
    os.utime(weights, (2, 2))
    assert [line for line in lines if line.get("done")]


def test_a_cpu_that_emulates_bf16_is_said(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def first(features: tuple[str, ...], precision: Any) -> dict[str, Any]:
        monkeypatch.setattr(cpu, "probe", lambda: Cpu("a CPU", 2, features, {}))
        request = GenerateRequest(checkpoint=model, prompt="x", device="cpu", precision=precision)
        return next(answer(request))

    assert first(("avx2",), "bf16")["emulated"] is True
    for features, precision in ((("avx2",), "fp32"), (("avx512_bf16",), "bf16"), (("bf16",), "bf16")):
        assert "emulated" not in first(features, precision)


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
