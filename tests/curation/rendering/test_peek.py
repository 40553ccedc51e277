"""The text of samples, in parts that are trained or not."""

from __future__ import annotations

from rendered_chats import chat, renderer
from seedbed.curation.drops import Drops
from seedbed.curation.record import Provenance, Record
from seedbed.curation.rendering.peek import peek


def test_the_spans_are_the_whole_text_with_control_tokens() -> None:
    rows = [
        chat(("user", "a\nb"), ("assistant", "c <|im_end|>\nd")),
        Record(kind="text", text="é🙂", provenance=Provenance(source="test")),
    ]
    with renderer() as made:
        first, second = peek(rows, made, Drops())
    assert first.spans == [
        ("<|im_start|>user\na\nb<|im_end|>\n<|im_start|>assistant\n", False),
        ("c <|im_end|>\nd<|im_end|>", True),
        ("\n", False),
    ]
    assert first.lines == [
        [("<|im_start|>user", False)],
        [("a", False)],
        [("b<|im_end|>", False)],
        [("<|im_start|>assistant", False)],
        [("c <|im_end|>", True)],
        [("d<|im_end|>", True)],
        [],
    ]
    assert second.spans == [("<|endoftext|>", False), ("é🙂<|endoftext|>", True)]
    assert second.tokens == second.trained_tokens + 1
    assert first.trained_tokens < first.tokens
    assert second.record is rows[1]
