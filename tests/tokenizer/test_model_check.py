"""What is refused before any work is what the work itself would refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from seedbed.config.schema import TokenizerConfig
from seedbed.errors import SeedbedError
from seedbed.events import discard
from seedbed.tokenizer.model_check import template_problems, usable_tokenizer
from seedbed.tokenizer.tokenizer import Tokenizer
from seedbed.tokenizer.train import train_tokenizer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a tokenizer of Seedbed."""
    train_tokenizer(["some words and more words"], TokenizerConfig(vocab_size=300), discard).save(tmp_path / "m")
    return tmp_path / "m"


def test_a_usable_tokenizer_is_accepted(folder: Path) -> None:
    assert usable_tokenizer(folder).num_tokens == Tokenizer.of_model(folder).vocab_size
    assert template_problems(folder) == []


@pytest.mark.parametrize(
    "change",
    [
        {"model": {"type": "Foo", "vocab": {}}},
        {"pre_tokenizer": {"type": "Foo"}},
        {"decoder": {"type": "ByteLevel", "add_prefix_space": "x"}},
    ],
    ids=["model", "pre-tokenizer", "decoder"],
)
def test_what_the_library_cannot_load_is_refused(folder: Path, change: dict[str, Any]) -> None:
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | change))
    for opened in (usable_tokenizer, Tokenizer.of_model):
        with pytest.raises(SeedbedError) as caught:
            opened(folder)
        assert str(folder) in caught.value.message
        assert caught.value.hint == "Restore it, or download the model again."


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", None])
def test_a_damaged_generation_config_is_refused(folder: Path, content: bytes | None) -> None:
    path = folder / "generation_config.json"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    for opened in (usable_tokenizer, Tokenizer.of_model):
        with pytest.raises(SeedbedError, match=r"generation_config\.json"):
            opened(folder)


def test_each_wrong_template_is_named(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("{{ messages[0].content }}")
    named = folder / "additional_chat_templates"
    named.mkdir()
    (named / "tool_use.jinja").write_text("{% if")
    (named / "rag.jinja").write_text("")
    told = template_problems(folder)
    assert len(told) == 2
    assert '"rag"' in told[0][0].message
    assert "has a mistake in line 1" in told[1][0].message
    assert not any(prevents_chat for _, prevents_chat in told), "a chat that names no template uses the right one"
    (folder / "chat_template.jinja").write_text("{% if")
    assert [prevents_chat for _, prevents_chat in template_problems(folder)].count(True) == 1


def test_a_template_that_is_not_valid_unicode_is_a_problem(folder: Path) -> None:
    (folder / "tokenizer_config.json").write_text('{"chat_template": "\\ud800"}')
    ((problem, prevents_chat),) = template_problems(folder)
    assert "not valid Unicode" in problem.message
    assert prevents_chat
