"""Reports on model folders: what the files say, and why Seedbed cannot use a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import hand_made_models as made
from seedbed.actions.model_report import ModelReport, report_on


def report(folder: Path, content: Mapping[str, bytes]) -> ModelReport:
    made.write(folder, content)
    return report_on(folder, ModelReport(name="m", reference=str(folder), folder=str(folder)))


def without(name: str, content: Mapping[str, bytes]) -> dict[str, bytes]:
    return {each: data for each, data in content.items() if each != name}


def test_a_whole_folder_can_be_used(tmp_path: Path) -> None:
    found = report(tmp_path / "m", {**made.files(), "README.md": b"---\nlicense: mit\n---\n"})
    assert found.problems == []
    assert (found.family, found.architecture, found.parameters) == ("qwen3", "Qwen3ForCausalLM", made.PARAMETERS)
    assert (found.shape.layers, found.shape.kv_heads, found.shape.context, found.shape.vocab_rows) == (2, 1, 64, 12)
    assert found.weights is not None
    assert found.weights.elements == {"F32": made.PARAMETERS}
    assert found.weights.size_bytes == 4 * made.PARAMETERS
    assert found.weights.parameters == made.PARAMETERS
    assert (found.licence, found.licence_source) == ("mit", "README.md")
    assert [need.work for need in found.needs] == ["run", "train", "lora", "qlora"]
    assert found.machine is not None
    assert found.tokenizer is not None


def test_shards_and_16_bit_weights_are_read(tmp_path: Path) -> None:
    found = report(tmp_path / "m", made.sharded(made.files()))
    assert found.can_run
    assert found.weights is not None
    assert len(found.weights.files) == 2
    halves = report(tmp_path / "h", made.files(dtype="BF16"))
    assert halves.can_run
    assert halves.weights is not None
    assert halves.weights.size_bytes == 2 * made.PARAMETERS


def test_a_copy_of_tied_weights_and_names_without_the_prefix_fit(tmp_path: Path) -> None:
    tensors = made.shapes()
    copied = {**tensors, "lm_head.weight": tensors["model.embed_tokens.weight"]}
    found = report(tmp_path / "m", {**made.files(), "model.safetensors": made.safetensors(copied)})
    assert found.problems == []
    assert found.parameters == made.PARAMETERS
    bare = {name.removeprefix("model."): shape for name, shape in tensors.items()}
    assert report(tmp_path / "b", {**made.files(), "model.safetensors": made.safetensors(bare)}).problems == []


WHOLE = made.files()
SHARDED = made.sharded(WHOLE)
UNUSABLE: dict[str, tuple[dict[str, bytes], str]] = {
    "no config": (without("config.json", WHOLE), "no config.json"),
    "broken config": ({**WHOLE, "config.json": b"{"}, "not valid JSON"),
    "config without object": ({**WHOLE, "config.json": b"[1]"}, "not a JSON object"),
    "empty config": ({**WHOLE, "config.json": b"{}"}, "no model_type"),
    "unknown tokenizer": (made.files(tokenizer={"model": {"type": "Foo", "vocab": {}}}), "Invalid enum value 'Foo'"),
    "merge of unknown tokens": (
        made.files(tokenizer={"model": {**made.TOKENIZER["model"], "merges": [["a", "b"]]}}),
        'it merges "a" and "b"',
    ),
    "broken generation_config.json": ({**WHOLE, "generation_config.json": b"{"}, "not valid JSON"),
    "generation_config.json without object": ({**WHOLE, "generation_config.json": b"[]"}, "not a JSON object"),
    "no tokenizer": (without("tokenizer.json", WHOLE), "contains no tokenizer.json"),
    "no weights": (without("model.safetensors", WHOLE), "model.safetensors"),
    "pickle": ({**without("model.safetensors", WHOLE), "pytorch_model.bin": b"x"}, "pickle"),
    "truncated": ({**WHOLE, "model.safetensors": WHOLE["model.safetensors"][:-10]}, "model.safetensors"),
    "missing shard": (without("model-00002-of-00002.safetensors", SHARDED), "model-00002-of-00002.safetensors"),
    "adapter": ({"adapter_config.json": b"{}", "adapter_model.safetensors": b"x"}, "adapter, not a whole model"),
    "gguf": ({"model.Q4_1.gguf": b"x"}, "only model.Q4_1.gguf"),
    "unknown family": ({**WHOLE, "config.json": b'{"model_type": "gemma2", "hidden_size": 8}'}, "'gemma2'"),
    "refused option": (made.files({"hidden_act": "relu"}), "hidden_act"),
    "another shape": (
        {**WHOLE, "config.json": json.dumps({**made.QWEN3, "intermediate_size": 24}).encode()},
        "model.layers.0.mlp.gate_proj.weight has shape [16, 8], expected [24, 8]",
    ),
    "8 bits": (made.files(dtype="F8_E4M3"), 'stored as "F8_E4M3", which Seedbed does not read'),
    "more layers": (
        {**WHOLE, "config.json": json.dumps({**made.QWEN3, "num_hidden_layers": 3}).encode()},
        "config.json says 3 layers, but the weights have 2.",
    ),
    "billions of layers": (
        {**WHOLE, "config.json": json.dumps({**made.QWEN3, "num_hidden_layers": 10**9}).encode()},
        "1,000,000,000 layers",
    ),
    "not tied": (
        {**WHOLE, "config.json": json.dumps({**made.QWEN3, "tie_word_embeddings": False}).encode()},
        "missing lm_head.weight",
    ),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_why_a_folder_cannot_be_used_is_named(tmp_path: Path, case: str) -> None:
    content, message = UNUSABLE[case]
    found = report(tmp_path / "m", content)
    assert not found.can_run
    told = " ".join(problem.text for problem in found.problems)
    assert message in told, told
    assert all(problem.hint for problem in found.problems)


def test_what_is_known_of_an_unknown_family_is_shown(tmp_path: Path) -> None:
    config: dict[str, Any] = {
        "model_type": "gemma2",
        "architectures": ["Gemma2ForCausalLM"],
        "hidden_size": 8,
        "num_hidden_layers": 2,
        "max_position_embeddings": 4096,
        "vocab_size": 12,
    }
    found = report(tmp_path / "m", {**WHOLE, "config.json": json.dumps(config).encode()})
    assert (found.model_type, found.architecture, found.family) == ("gemma2", "Gemma2ForCausalLM", None)
    assert (found.shape.layers, found.shape.hidden, found.shape.context, found.shape.heads) == (2, 8, 4096, None)
    assert found.parameters == made.PARAMETERS, "counted from the headers of the weights"
    assert len(found.problems) == 1
    assert found.needs == ()


def test_dropout_in_the_config_is_shown(tmp_path: Path) -> None:
    assert report(tmp_path / "m", made.files({"attention_dropout": 0.1})).dropouts == {"attention_dropout": 0.1}


def test_every_problem_is_reported_at_once(tmp_path: Path) -> None:
    found = report(tmp_path / "m", {"config.json": b'{"model_type": "bert"}', "pytorch_model.bin": b"x"})
    assert len(found.problems) == 3, "family, pickle, tokenizer"


def test_a_damaged_checkpoint_is_a_problem(tmp_path: Path) -> None:
    folder = tmp_path / "step-00000010"
    size = len(WHOLE["model.safetensors"]) + 1
    marker = {
        "format": 1,
        "step": 10,
        "best": False,
        "files": {"model.safetensors": {"size_bytes": size, "sha256": "0"}},
    }
    found = report(folder, {**WHOLE, "DONE": json.dumps(marker).encode()})
    assert "The checkpoint is damaged: model.safetensors has" in found.problems[0].text


def test_an_id_beyond_the_embedding_prevents_only_training(tmp_path: Path) -> None:
    added = [*made.TOKENIZER["added_tokens"], {"id": 12, "content": "x", "special": True}]
    found = report(tmp_path / "m", made.files(tokenizer={"added_tokens": added}))
    assert (found.can_run, found.can_train) == (True, False)
    assert "the id 12, but the embedding has only 12 rows" in found.problems[0].text
    assert found.problems[0].prevents == ("train",)


@pytest.mark.parametrize(
    ("template", "message"),
    [(b"\xff\xfe", "is not UTF-8 text"), (b"{% if", "has a mistake in line 1"), (b" \n", "is empty")],
)
def test_a_chat_template_that_cannot_be_used_prevents_only_chats(tmp_path: Path, template: bytes, message: str) -> None:
    found = report(tmp_path / "m", {**WHOLE, "chat_template.jinja": template})
    assert (found.can_run, found.can_train, found.can_chat) == (True, True, False)
    assert message in found.problems[0].text
    assert found.problems[0].prevents == ("chat",)


def test_only_a_model_with_a_chat_template_can_chat(tmp_path: Path) -> None:
    assert report(tmp_path / "with", {**WHOLE, "chat_template.jinja": b"x"}).can_chat
    without_template = report(tmp_path / "without", WHOLE)
    assert not without_template.can_chat
    assert without_template.can_train


def test_nothing_more_is_reported_of_a_folder_without_config_json(tmp_path: Path) -> None:
    found = report(tmp_path / "m", {"notes.txt": b"x"})
    assert not found.is_model_folder
    assert [problem.text for problem in found.problems] == [
        f'"{tmp_path / "m"}" contains no config.json, so it is not a model folder.'
    ]
