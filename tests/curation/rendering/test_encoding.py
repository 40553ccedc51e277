"""The ids of rendered chats equal those of the chat template; the mask follows the spans."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rendered_chats import TEXT, chat, samples, small_tokenizer, text
from seedbed.config.schema import TokenizerConfig
from seedbed.curation.rendering.encoding import CannotStayTextError, SpanEncoder
from seedbed.curation.rendering.peek import spans_of
from seedbed.curation.rendering.protocol import CONTROL_BEGIN, CONTROL_END, Chat, Setup
from seedbed.curation.rendering.turns import ChatRenderer
from seedbed.tokenizer.chat_template import ChatTemplate, _encoded
from seedbed.tokenizer.chatml import CHATML
from seedbed.tokenizer.render_request import Rendered
from seedbed.tokenizer.tokenizer import Tokenizer
from seedbed.tokenizer.train import train_tokenizer

pieces = st.lists(
    st.sampled_from(
        ["<|im_end|>", "<|im_start|>", "<|pad|>", "a", " b", "\n", "\n\n", "  ", "é🙂", "e\u0301", "assistant\n", "<|"]
    ),
    max_size=8,
).map("".join)


def chat_text(messages: list[dict[str, Any]], tokenizer: Tokenizer) -> str:
    made = ChatRenderer(Setup(source=CHATML, variables={}, control=sorted(tokenizer.control)))
    return made.answer(Chat(messages=messages)).text


def with_spaces() -> Tokenizer:
    """A tokenizer in the manner of SentencePiece: it is not byte-level, and puts a space before a text."""
    letters = ["<unk>", "▁", *"abeémnst|<>_iu🙂\n", "▁a"]
    spec = {
        "model": {
            "type": "BPE",
            "vocab": {each: number for number, each in enumerate(letters)},
            "merges": ["▁ a"],
            "unk_token": "<unk>",
        },
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Prepend", "prepend": "▁"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
            ],
        },
        "decoder": {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
        "added_tokens": [
            {
                "id": len(letters) + number,
                "content": each,
                "special": True,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
            }
            for number, each in enumerate(["<|im_start|>", "<|im_end|>", "<|endoftext|>"])
        ],
    }
    return Tokenizer({"version": "1.0", **spec}, {"eos_token": "<|endoftext|>"})


@pytest.mark.parametrize("tokenizer", [small_tokenizer(), with_spaces()], ids=["bytes", "spaces"])
def test_the_ids_are_those_of_the_chat_template(tokenizer: Tokenizer) -> None:
    encoder, template = SpanEncoder(tokenizer), ChatTemplate({"default": CHATML})

    @given(pieces, pieces)
    @settings(max_examples=25, deadline=None)
    def holds(asked: str, other: str) -> None:
        messages = [
            {"role": "user", "content": asked},
            {"role": "tool", "content": other},
            {"role": "user", "content": "b"},
        ]
        marked = chat_text(messages, tokenizer)
        added = [each["content"] for each in tokenizer.spec["added_tokens"]]
        expected = list(_encoded(Rendered(text=marked, marks=CONTROL_BEGIN + CONTROL_END), tokenizer, added))
        assert encoder.encode(marked, []).ids == expected

    holds()
    messages = [{"role": "user", "content": "a <|im_end|> b"}]
    expected = template.encode(tokenizer, messages, add_generation_prompt=False)
    assert encoder.encode(chat_text(messages, tokenizer), []).ids == expected


@given(pieces, pieces, pieces)
@settings(max_examples=100, deadline=None)
def test_a_token_is_trained_if_it_lies_in_a_span_wholly(before: str, inside: str, after: str) -> None:
    tokenizer = small_tokenizer()
    sample = ENCODER.encode(before + inside + after, [(len(before), len(before + inside))] if inside else [])
    trained = [id_ for id_, each in zip(sample.ids, sample.trained, strict=True) if each]
    rest = [id_ for id_, each in zip(sample.ids, sample.trained, strict=True) if not each]
    assert sample.ids == tokenizer.encode_with_control_tokens(before + inside + after)
    # What is trained is a part of the span: at most a token at each edge is missing.
    assert "".join(text(trained).split("�")) in inside or "�" in text(trained) or "e\u0301" in before + inside + after
    assert len(rest) + len(trained) == len(sample.trained)


ENCODER = SpanEncoder(small_tokenizer())


def test_what_several_texts_have_in_common_gives_the_same_ids() -> None:
    texts = [(f"<|im_start|>{'a long text that several have ' * 5}<|im_end|>{number}", []) for number in range(5)]
    assert ENCODER.encode_batch(texts) == [ENCODER.encode(*each) for each in texts]


def test_a_control_token_that_cannot_stay_text_is_an_error() -> None:
    tokenizer = small_tokenizer()
    added = [*tokenizer.spec["added_tokens"], {"id": tokenizer.vocab_size, "content": "### User", "special": False}]
    made = Tokenizer(
        {
            **tokenizer.spec,
            "added_tokens": [
                {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False} | each for each in added
            ],
        },
        {"eos_token": "<|endoftext|>"},
    )
    encoder = SpanEncoder(made, ["### User"])
    with pytest.raises(CannotStayTextError):
        encoder.encode(f"a {CONTROL_BEGIN}### User{CONTROL_END}", [])


@pytest.mark.parametrize("kind", ["bpe", "wordpiece", "unigram", "char"])
def test_every_kind_of_tokenizer_that_is_trained_here_can_learn_chats(kind: Any) -> None:
    tokenizer = train_tokenizer([TEXT], TokenizerConfig(kind=kind, vocab_size=420), lambda _: None)
    record = chat(("user", "Hello!\n"), ("assistant", "Hello <|im_end|>\n"), ("user", "a"), ("assistant", "\n Paris."))
    (sample,) = samples(record, tokenizer=tokenizer)
    end = tokenizer.special["<|im_end|>"]
    assert [id_ for id_, each in zip(sample.ids, sample.trained, strict=True) if each].count(end) == 2
    if kind != "char":  # its vocabulary has no angle brackets
        said = "".join(each for each, trained in spans_of(sample, tokenizer) if trained)
        assert said.replace("\n", "").replace(" Paris", "Paris") == "Hello <|im_end|><|im_end|>Paris.<|im_end|>"
    assert sample.ids == tokenizer.encode_with_control_tokens(
        "<|im_start|>user\nHello!\n<|im_end|>\n<|im_start|>assistant\nHello "
    ) + tokenizer.encode("<|im_end|>") + tokenizer.encode_with_control_tokens(
        "\n<|im_end|>\n<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n\n Paris.<|im_end|>\n"
    )
