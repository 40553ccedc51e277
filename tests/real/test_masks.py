"""What is trained in chats with the real templates of Qwen3, Llama 3.1 and SmolLM2; golden files in golden/ were checked by hand.

Each line of a golden file is a token: `+` if the loss counts it, `-` if not, and its text. An empty line parts samples.
Write them anew with `python tests/real/test_masks.py`, and read them.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from real.assets import chat_templates
from real.fuzz import text as random_text
from real.loading import Real, load
from rendered_chats import TAGGED, call, chat, message
from seedbed.curation.drops import Drops
from seedbed.curation.record import Provenance, Record
from seedbed.curation.rendering.conversations import messages_of, tools_of
from seedbed.curation.rendering.encoding import Sample
from seedbed.curation.rendering.renderer import Renderer
from seedbed.tokenizer.chatml import CHATML
from seedbed.tokenizer.tokenizer import Tokenizer

GOLDEN = Path(__file__).parent / "golden"
TOOLS = (
    '[{"type": "function", "function": {"name": "find_file", "description": "Finds a file", "parameters": '
    '{"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}}}]'
)
TALK = chat(
    ("system", "Be brief."),
    ("user", "What is <|im_end|>?"),
    ("assistant", "The token <|im_end|> or <|eot_id|>."),
    ("user", "Thanks"),
    message("assistant", "\n\nWelcome! 🙂", reasoning="They thank me."),
)
CALLS = chat(
    ("user", "Where is the map?"),
    message("assistant", "", reasoning="I look.", tool_calls=[call("find_file", '{"name":"map"}')]),
    message("tool", '["maps/a.svg"]', name="find_file", tool_call_id="call_1"),
    message("assistant", "In maps.", reasoning="Found."),
    tools=TOOLS,
)
CASES: dict[str, tuple[str, str | None, Record]] = {
    "qwen3-talk": ("qwen3", None, TALK),
    "qwen3-calls": ("qwen3", None, CALLS),
    "llama3-talk": ("llama3", None, TALK),
    "llama3_1-talk": ("llama3", "llama3_1", TALK),
    "llama3_1-calls": ("llama3", "llama3_1", CALLS),
    "smollm2-talk": ("smollm2", None, TALK),
}
"""The tokenizer, the published template if it is not the tokenizer's own, and the chat."""


def template_named(name: str | None) -> str | None:
    return None if name is None else (chat_templates() / f"{name}.jinja").read_text(encoding="utf-8")


def rendered(tokenizer: Tokenizer, template: str | None, records: list[Record], **options: Any) -> list[Sample]:
    given = {"fim_family": None, "max_tokens": None, "loss": "assistant", **options}
    with Renderer(tokenizer, template=template, **given) as renderer:
        return [sample for _, sample in renderer.samples(records, Drops())]


def shown(tokenizer: Tokenizer, samples: list[Sample]) -> str:
    """The tokens of samples, one a line, as golden files have them."""
    names = {token["id"]: token["content"] for token in tokenizer.spec["added_tokens"]}
    parts = []
    for sample in samples:
        lines = [
            f"{'+' if trained else '-'} {names.get(id_) or tokenizer.library.decode([id_])!r}"
            for id_, trained in zip(sample.ids, sample.trained, strict=True)
        ]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


@pytest.mark.parametrize("name", CASES)
def test_the_trained_tokens_are_those_of_the_golden_file(name: str) -> None:
    tokenizer, template, record = CASES[name]
    ours = load(tokenizer).ours
    expected = (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")
    assert shown(ours, rendered(ours, template_named(template), [record])) == expected


def random_chat(rng: random.Random, *, calls: bool) -> Record:
    """A chat of several turns without control tokens; with tool calls and reasoning if `calls`."""
    turns = [message("system", random_text(rng))] if rng.random() < 0.5 else []
    for _ in range(rng.randint(1, 4)):
        turns.append(message("user", random_text(rng)))
        if calls and rng.random() < 0.5:
            turns.append(message("assistant", random_text(rng), tool_calls=[call("f", '{"a": [1, "\u00e4"]}')]))
            turns.append(message("tool", random_text(rng), name="f", tool_call_id="call_1"))
        reasoning = random_text(rng) if calls and rng.random() < 0.5 else None
        turns.append(message("assistant", random_text(rng), reasoning=reasoning or None))
    return chat(*turns, tools=TOOLS if calls and rng.random() < 0.5 else None)


TEMPLATES = {
    "qwen3": ("qwen3", None, True),
    "qwen3 for training": ("qwen3", "qwen3_training", True),
    "llama3": ("llama3", None, False),
    "llama3.1": ("llama3", "llama3_1", True),
    "smollm2": ("smollm2", None, False),
}
"""The tokenizer, the published template if it is not the tokenizer's own, and whether the template writes tool calls."""


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_ids_are_those_of_transformers(name: str) -> None:
    tokenizer, template, calls = TEMPLATES[name]
    real, source = load(tokenizer), template_named(template)
    rng = random.Random(7)
    with renderer(real, source) as made:
        for _ in range(40):
            record = random_chat(rng, calls=calls)
            drops = Drops()
            samples = [sample for _, sample in made.samples([record], drops)]
            assert not drops.counts, (drops.counts, record)
            ends = [n for n, each in enumerate(record.messages or (), 1) if each.role == "assistant"]
            expected = [theirs(real, source, record, end)["input_ids"] for end in ends]
            assert samples[-1].ids == expected[-1], record
            assert [each.ids for each in samples] == [each for each in expected if each in [one.ids for one in samples]]


TRAINS_NEWLINES = ("qwen3_training", "qwen3_instruct_2507_training")
"""Templates whose `{% generation %}` blocks end after the newline that follows the end of a turn."""


@pytest.mark.parametrize(
    ("tokenizer", "template"),
    [
        ("qwen3", "qwen3_training"),
        ("qwen3", "qwen3_instruct_2507_training"),
        ("llama3", "llama3_training"),
        ("qwen3", TAGGED),
        ("smollm2", TAGGED),
        ("qwen3", CHATML),
        ("smollm2", CHATML),
    ],
)
def test_the_trained_tokens_are_those_of_transformers(tokenizer: str, template: str) -> None:
    real = load(tokenizer)
    source = template if "{" in template else template_named(template)
    calls = template not in ("llama3_training", TAGGED)
    rng = random.Random(8)
    with renderer(real, source) as made:
        for _ in range(30):
            record = random_chat(rng, calls=calls)
            ((_, sample),) = made.samples([record], Drops())
            expected = theirs(real, source, record, None, return_assistant_tokens_mask=True)
            assert sample.ids == expected["input_ids"]
            named = [real.ours.library.decode([id_], skip_special_tokens=False) for id_ in sample.ids]
            for at, (ours, wanted) in enumerate(zip(sample.trained, expected["assistant_masks"], strict=True)):
                if (
                    ours != wanted
                ):  # theirs also counts white space that begins in the header, and trl's the newline after a turn
                    assert (ours, wanted) == (0, 1), record
                    begins = named[at - 1].endswith("istant") and named[at].isspace()
                    follows = named[at - 1 : at + 1] == ["<|im_end|>", "\n"] and template in TRAINS_NEWLINES
                    assert begins or follows, (record, named[at - 2 : at + 2])


def renderer(real: Real, source: str | None) -> Renderer:
    return Renderer(real.ours, template=source, fim_family=None, max_tokens=None, loss="assistant")


def theirs(real: Real, source: str | None, record: Record, end: int | None, **options: Any) -> Any:
    """What transformers makes of the first `end` messages."""
    part = chat(*(record.messages or [])[:end])
    given = {} if source is None else {"chat_template": source}
    return real.theirs.apply_chat_template(
        messages_of(part, "object"), tools=tools_of(record), return_dict=True, **given, **options
    )


def test_the_end_of_a_turn_is_trained_once_in_every_golden_file() -> None:
    for name, (_, template, record) in CASES.items():
        end = "'<|im_end|>'" if name.startswith(("qwen3", "smollm2")) else "'<|eot_id|>'"
        for sample in (GOLDEN / f"{name}.txt").read_text(encoding="utf-8").split("\n\n"):
            lines = sample.strip("\n").split("\n")
            assert lines
            runs = "".join(line[0] for line in lines)
            ends = [n for n, line in enumerate(lines) if line == f"+ {end}"]
            assert len(ends) == sum(1 for _ in filter(None, runs.split("-"))), (name, template, record.kind)
            assert all(runs[n + 1 : n + 2] != "+" for n in ends)


def test_pieces_of_a_text_have_room_for_what_the_tokenizer_puts_before_and_after() -> None:
    llama = load("llama3").ours
    row = Record(
        kind="text", text="".join(f"{n} is a number\n" for n in range(300)), provenance=Provenance(source="test")
    )
    found = rendered(llama, None, [row], max_tokens=64)
    assert all(len(each.ids) <= 64 and each.ids[0] == llama.prefix_ids[0] for each in found)
    assert {each.trained[:2] for each in found} == {b"\x00\x01"}, "the beginning is no target"
    assert [each.ids[-1] == llama.eot_id for each in found] == [*[False] * (len(found) - 1), True]
    assert "".join(llama.decode(each.ids) for each in found) == row.text


def write() -> None:
    """Write the golden files."""
    GOLDEN.mkdir(exist_ok=True)
    for name, (tokenizer, template, record) in CASES.items():
        ours = load(tokenizer).ours
        text = shown(ours, rendered(ours, template_named(template), [record]))
        (GOLDEN / f"{name}.txt").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
