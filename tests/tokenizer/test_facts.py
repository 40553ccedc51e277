"""What the files of a tokenizer say equals what the library `tokenizers` does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer as LibraryTokenizer

import hand_made_models as made
from seedbed.errors import SeedbedError
from seedbed.tokenizer.facts import Token, around_text, tokenizer_facts
from seedbed.tokenizer.tokenizer import Tokenizer

BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}
BEGIN = {"id": "<|begin|>", "ids": [11], "tokens": ["<|begin|>"]}
END = {"id": "<|end|>", "ids": [10], "tokens": ["<|end|>"]}


def template(*pieces: str) -> dict[str, Any]:
    single = [
        {"Sequence": {"id": "A", "type_id": 0}} if piece == "A" else {"SpecialToken": {"id": piece, "type_id": 0}}
        for piece in pieces
    ]
    return {
        "type": "TemplateProcessing",
        "single": single,
        "pair": [*single, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<|begin|>": BEGIN, "<|end|>": END},
    }


@pytest.mark.parametrize(
    "processor",
    [
        None,
        BYTE_LEVEL,
        template("<|begin|>", "A"),
        template("A", "<|end|>"),
        template("<|begin|>", "A", "<|end|>"),
        {"type": "Sequence", "processors": [BYTE_LEVEL, template("<|begin|>", "A")]},
        {"type": "Sequence", "processors": [template("A", "<|end|>"), template("<|begin|>", "A")]},
        {"type": "BertProcessing", "sep": ["<|end|>", 10], "cls": ["<|begin|>", 11]},
        {
            "type": "RobertaProcessing",
            "sep": ["<|end|>", 10],
            "cls": ["<|begin|>", 11],
            "trim_offsets": True,
            "add_prefix_space": False,
        },
    ],
    ids=["none", "byte-level", "bos", "eos", "both", "sequence", "two templates", "bert", "roberta"],
)
def test_what_is_put_around_a_text_equals_the_library(processor: dict[str, Any] | None) -> None:
    library = LibraryTokenizer.from_str(json.dumps({**library_file(), "post_processor": processor}))
    plain = library.encode("abc", add_special_tokens=False).ids
    around = around_text(processor)
    assert around is not None
    assert [*around[0], *plain, *around[1]] == library.encode("abc").ids


def library_file() -> dict[str, Any]:
    """The hand-made tokenizer.json with all that the library demands."""
    rest = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {
        **made.TOKENIZER,
        "truncation": None,
        "padding": None,
        "normalizer": None,
        "pre_tokenizer": None,
        "decoder": None,
        "added_tokens": [{**token, **rest} for token in made.TOKENIZER["added_tokens"]],
        "model": {
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            **made.TOKENIZER["model"],
        },
    }


@pytest.mark.parametrize(
    "processor", [{"type": "Later"}, {"type": "TemplateProcessing"}, template("A", "A"), template("unknown", "A")]
)
def test_a_rule_that_is_not_understood_is_unknown(processor: dict[str, Any]) -> None:
    assert around_text(processor) is None


def test_stop_tokens_come_from_all_files(tmp_path: Path) -> None:
    folder = made.write(tmp_path / "m", made.files(tokenizer={"post_processor": template("<|begin|>", "A")}))
    facts = tokenizer_facts(folder, [{"eos_token_id": 3}, {"eos_token_id": [3, 11]}, {"eos_token_id": None}, {}])
    assert facts.stops == (Token(3), Token(10, "<|end|>"), Token(11, "<|begin|>"))
    assert facts.before == (Token(11, "<|begin|>"),)
    assert facts.after == ()
    assert (facts.num_tokens, facts.largest_id, facts.kind) == (12, 11, "BPE")
    assert facts.special == {"bos_token": "<|begin|>", "eos_token": "<|end|>"}


def test_an_empty_value_does_not_hide_a_token_of_the_other_file(tmp_path: Path) -> None:
    content = {
        "tokenizer_config.json": b'{"eos_token": null}',
        "special_tokens_map.json": b'{"eos_token": {"content": "<|end|>"}}',
    }
    facts = tokenizer_facts(made.write(tmp_path / "m", {**made.files(), **content}))
    assert facts.stops == (Token(10, "<|end|>"),)


def test_a_unigram_vocabulary_is_counted(tmp_path: Path) -> None:
    unigram = {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["a", -1.0], ["b", -2.5]]}
    content = {**made.files(tokenizer={"model": unigram, "added_tokens": []}), "tokenizer_config.json": b"{}"}
    facts = tokenizer_facts(made.write(tmp_path / "m", content), [{"eos_token_id": 2}])
    assert (facts.num_tokens, facts.largest_id) == (3, 2)


def test_a_unigram_piece_that_occurs_twice_has_two_ids(tmp_path: Path) -> None:
    unigram = {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["a", -1.0], ["a", -2.5]]}
    content = {**made.files(tokenizer={"model": unigram, "added_tokens": []}), "tokenizer_config.json": b"{}"}
    facts = tokenizer_facts(made.write(tmp_path / "m", content), [{"eos_token_id": 1}])
    assert (facts.num_tokens, facts.stops[0].known) == (3, True)


def test_a_byte_order_mark_before_tokenizer_json_is_no_problem(tmp_path: Path) -> None:
    content = made.files()
    content["tokenizer.json"] = b"\xef\xbb\xbf" + content["tokenizer.json"]
    assert tokenizer_facts(made.write(tmp_path / "m", content)).kind == "BPE"


def test_only_bpe_has_merges_that_count(tmp_path: Path) -> None:
    vocab = {**made.TOKENIZER["model"]["vocab"], "[UNK]": 12}
    model = {
        "type": "WordPiece",
        "unk_token": "[UNK]",
        "vocab": vocab,
        "merges": ["x y"],
        "max_input_chars_per_word": 9,
    }
    model["continuing_subword_prefix"] = "##"
    LibraryTokenizer.from_str(json.dumps({**library_file(), "model": model}))
    assert tokenizer_facts(made.write(tmp_path / "m", made.files(tokenizer={"model": model}))).kind == "WordPiece"


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ({}, ()),
        ({"chat_template.jinja": b"x"}, ("default",)),
        ({"chat_template.jinja": b"x", "additional_chat_templates/rag.jinja": b"x"}, ("default", "rag")),
        ({"tokenizer_config.json": b'{"chat_template": "x"}'}, ("default",)),
        (
            {"tokenizer_config.json": json.dumps({"chat_template": [{"name": "tool_use", "template": "x"}]}).encode()},
            ("tool_use",),
        ),
        ({"chat_template.jinja": b"x", "tokenizer_config.json": b'{"chat_template": [{"name": "b"}]}'}, ("default",)),
        ({"chat_template.json": b'{"chat_template": "x"}'}, ()),
        ({"tokenizer_config.json": b'{"chat_template": {"rag": "x", "default": "y"}}'}, ("default", "rag")),
    ],
)
def test_chat_templates_are_named(tmp_path: Path, content: dict[str, bytes], names: tuple[str, ...]) -> None:
    folder = made.write(tmp_path / "m", {**made.files(), **content})
    assert tokenizer_facts(folder, [{"eos_token_id": 10}]).chat_templates == names


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "contains no tokenizer.json"),
        ({"tokenizer.model": b"x", "vocab.txt": b"x"}, 'only "tokenizer.model"'),
        ({"tokenizer.json": b"{"}, "cannot be read"),
        ({"tokenizer.json": b'{"model": {"vocab": {"a": "one"}}}'}, "cannot be read"),
        ({"tokenizer.json": b"[]"}, "cannot be read"),
        ({"tokenizer.json": b"[" * 100_000}, "cannot be read"),
        ({"tokenizer.json": b'{"model": {"type": "Foo"}}'}, "cannot be read"),
        ({"tokenizer.json": b'{"model": {"vocab": {"a": 0}, "merges": ["a b"]}}'}, 'it merges "a" and "b" into "ab"'),
        ({"tokenizer.json": b'{"model": {"vocab": {"a": 0}, "merges": ["a"]}}'}, "a merge does not have two tokens"),
        ({"tokenizer.json": b'{"model": {"vocab": {"a": 0}, "merges": [1]}}'}, "cannot be read"),
    ],
)
def test_unusable_files_are_explained(tmp_path: Path, content: dict[str, bytes], message: str) -> None:
    folder = made.write(tmp_path / "m", {"config.json": b"{}", **content})
    with pytest.raises(SeedbedError, match=message):
        tokenizer_facts(folder)


@pytest.mark.parametrize(
    ("merges", "prefix"),
    [([["a", "b"]], None), (["a b"], None), (["#version: 0.2", "a b"], None), ([["a", "##b"]], "##")],
)
def test_merges_that_the_library_loads_are_accepted(tmp_path: Path, merges: list[Any], prefix: str | None) -> None:
    vocab = {**made.TOKENIZER["model"]["vocab"], "ab": 12, "##b": 13}
    model = {**library_file()["model"], "vocab": vocab, "merges": merges, "continuing_subword_prefix": prefix}
    LibraryTokenizer.from_str(json.dumps({**library_file(), "model": model}))
    folder = made.write(tmp_path / "m", made.files(tokenizer={"model": model}))
    assert tokenizer_facts(folder).largest_id == 13


@pytest.mark.parametrize(
    ("named", "ids", "message"),
    [
        ({"eos_token": "<|none|>"}, [], 'names the end-of-text token "<|none|>"'),
        ({"eos_token": "a"}, [], ""),
        ({"eos_token": ""}, [3], ""),
        ({"eos_token": ""}, [], "has no end-of-text token"),
        ({}, [3], ""),
        ({}, [99], "has no end-of-text token"),
        ({}, [], "has no end-of-text token"),
    ],
)
def test_a_tokenizer_without_an_end_is_refused_as_when_it_is_loaded(
    tmp_path: Path, named: dict[str, str], ids: list[int], message: str
) -> None:
    content = {"tokenizer.json": json.dumps(library_file()), "tokenizer_config.json": json.dumps(named)}
    content["config.json"] = json.dumps({"eos_token_id": ids})
    folder = made.write(tmp_path / "m", {name: text.encode() for name, text in content.items()})
    told = []
    for opened in (lambda: tokenizer_facts(folder, [{"eos_token_id": ids}]), lambda: Tokenizer.of_model(folder)):
        try:
            opened()
        except SeedbedError as error:
            told.append(error.message)
    assert len(told) == (2 if message else 0), told
    assert all(message in each for each in told)


def test_an_end_that_the_vocabulary_does_not_have_is_known_to_be_missing(tmp_path: Path) -> None:
    folder = made.write(tmp_path / "m", made.files())
    assert tokenizer_facts(folder, [{"eos_token_id": 99}]).stops == (Token(10, "<|end|>"), Token(99, "", known=False))
