"""A small tokenizer, chat records and templates for the tests of rendering."""

from __future__ import annotations

from functools import cache
from typing import Any

from seedbed.config.schema import TokenizerConfig
from seedbed.curation.drops import Drops
from seedbed.curation.record import Function, Message, Provenance, Record, ToolCall
from seedbed.curation.rendering.encoding import Sample
from seedbed.curation.rendering.renderer import Renderer
from seedbed.tokenizer.tokenizer import Tokenizer
from seedbed.tokenizer.train import train_tokenizer

TEXT = (
    "system user assistant tool Hello! What is the capital of France? Paris. def main(a, b):\n    return a + b\n\n" * 4
)

PLAIN = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""ChatML without tools and reasoning."""
BRACKETS = (
    "{{ '<|file_sep|>' }}{% for message in messages %}{% if message.role == 'user' %}[INST] {{ message.content | trim }} [/INST]"
    "{% else %} {{ message.content | trim }}<|endoftext|>{% endif %}{% endfor %}"
)
"""In the manner of Llama 2 and Mistral: nothing is written for the prompt of the assistant."""
TAGGED = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{% if message.role == 'assistant' %}{% generation %}"
    "{{ message.content }}<|im_end|>{% endgeneration %}{% else %}{{ message.content }}<|im_end|>{% endif %}\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""ChatML with `{% generation %}` around what the assistant writes."""


@cache
def small_tokenizer() -> Tokenizer:
    return train_tokenizer([TEXT], TokenizerConfig(vocab_size=420), lambda _: None)


def message(role: Any, content: str = "", **more: Any) -> Message:
    return Message(role=role, content=content, **more)


def call(name: str = "find", arguments: str = '{"name": "a"}') -> ToolCall:
    return ToolCall(id="call_1", function=Function(name=name, arguments=arguments))


def chat(*turns: Message | tuple[str, str], **more: Any) -> Record:
    messages = [turn if isinstance(turn, Message) else message(*turn) for turn in turns]
    return Record(kind="chat", messages=messages, provenance=Provenance(source="test"), **more)


def renderer(template: str | None = None, **options: Any) -> Renderer:
    given = {"fim_family": None, "max_tokens": None, "loss": "assistant", **options}
    return Renderer(given.pop("tokenizer", None) or small_tokenizer(), template=template, **given)


def samples(
    record: Record | list[Record], template: str | None = None, drops: Drops | None = None, **options: Any
) -> list[Sample]:
    """The samples of records; none may be left out unless `drops` is given."""
    counted = Drops() if drops is None else drops
    with renderer(template, **options) as made:
        found = [sample for _, sample in made.samples(record if isinstance(record, list) else [record], counted)]
    assert drops is not None or not counted.counts, counted.counts
    return found


def text(ids: list[int], tokenizer: Tokenizer | None = None) -> str:
    """The text of ids, control tokens included."""
    return (tokenizer or small_tokenizer()).library.decode(ids, skip_special_tokens=False)


def trained_text(sample: Sample, tokenizer: Tokenizer | None = None) -> list[str]:
    """The texts of the runs of trained tokens."""
    runs: list[list[int]] = []
    before = 0
    for id_, trained in zip(sample.ids, sample.trained, strict=True):
        if trained:
            if not before:
                runs.append([])
            runs[-1].append(id_)
        before = trained
    return [text(run, tokenizer) for run in runs]
