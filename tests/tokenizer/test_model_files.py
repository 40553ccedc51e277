"""The tokenizer files of model folders: ends of texts, files to copy, and folders that cannot be used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from seedbed.errors import SeedbedError
from seedbed.tokenizer.model_files import control_tokens, end_of_document, read_model_files


def token(id_: int, content: str, special: bool = True) -> dict[str, Any]:
    return {"id": id_, "content": content, "special": special}


def spec(*added: dict[str, Any]) -> dict[str, Any]:
    return {"model": {"type": "BPE", "vocab": {"a": 0, "</s>": 1}, "merges": []}, "added_tokens": list(added)}


def write(folder: Path, **files: Any) -> Path:
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


CHAT = spec(token(2, "<|endoftext|>"), token(3, "<|im_end|>"))


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"tokenizer": CHAT, "tokenizer_config": {"eos_token": "<|im_end|>"}}, (2, "<|endoftext|>")),
        (
            {"tokenizer": spec(token(3, "<|im_end|>")), "tokenizer_config": {"eos_token": "<|im_end|>"}},
            (3, "<|im_end|>"),
        ),
        ({"tokenizer": spec(), "special_tokens_map": {"eos_token": {"content": "</s>"}}}, (1, "</s>")),
        ({"tokenizer": spec(), "config": {"eos_token_id": 1}}, (1, "</s>")),
    ],
    ids=["of-a-chat-model", "only-a-turn-end", "of-the-map", "of-the-config"],
)
def test_the_end_of_a_document(tmp_path: Path, files: dict[str, Any], expected: tuple[int, str]) -> None:
    assert end_of_document(read_model_files(write(tmp_path, **files))) == expected


def test_the_ends_of_both_configs_count_as_numbers_or_lists(tmp_path: Path) -> None:
    folder = write(
        tmp_path,
        tokenizer=CHAT,
        config={"eos_token_id": 2, "pad_token_id": True},
        generation_config={"eos_token_id": [3, 7, "x", None, -1], "pad_token_id": 5},
    )
    found = read_model_files(folder)
    assert found.stop_ids == {2, 3, 7}
    assert found.pad_id == 5


def test_markers_are_control_tokens_and_other_added_tokens_are_text() -> None:
    added = [
        token(1, "<|im_end|>"),
        token(2, "word", special=True),
        token(3, "<think>", special=False),
        token(4, "</think>", special=False),
        token(5, "<|fim_prefix|>", special=False),
        token(6, "[INST]", special=False),
        token(7, "    ", special=False),
        token(8, "quark", special=False),
        token(9, "a < b > c", special=False),
    ]
    assert control_tokens(spec(*added)) == {"<|im_end|>", "word", "<think>", "</think>", "<|fim_prefix|>", "[INST]"}


def test_every_tokenizer_file_is_read_as_it_is(tmp_path: Path) -> None:
    files = {
        "tokenizer.json": json.dumps(spec()).encode() + b" \n\n",
        "tokenizer_config.json": b"{}",
        "special_tokens_map.json": b"{}\r\n",
        "vocab.json": b"not even JSON",
        "merges.txt": b"#version",
        "tokenizer.model": b"\x00\xff",
        "chat_template.jinja": b"{{ messages }}",
        "additional_chat_templates/rag.jinja": b"\xff",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    assert read_model_files(tmp_path).contents == files


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "contains no tokenizer.json"),
        ({"vocab": {}}, r'contains no tokenizer.json, only "vocab.json"'),
        ({"tokenizer": spec(), "tokenizer_config": [1]}, "tokenizer_config.json.* is not a JSON object"),
        ({"tokenizer": spec(), "generation_config": "x"}, "generation_config.json.* is not a JSON object"),
        ({"tokenizer": spec()}, "no end-of-text token"),
        ({"tokenizer": spec(), "tokenizer_config": {"eos_token": "<eos>"}}, 'names the end-of-text token "<eos>"'),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused(tmp_path: Path, files: dict[str, Any], message: str) -> None:
    with pytest.raises(SeedbedError, match=message) as refused:
        end_of_document(read_model_files(write(tmp_path, **files)))
    assert refused.value.hint
