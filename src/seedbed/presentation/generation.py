"""The options of text generation as fields of a form, the request made from them, and the result as one line."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from seedbed.presentation.forms import INTEGER, NUMBER, TEXT, Field
from seedbed.text import listed, plural, printable, quoted, shorten
from seedbed.tokenizer.newlines import unescaped

FIELDS = {
    field.name: field
    for field in (
        Field("max-tokens", "tokens", INTEGER, "max_new_tokens", low=1, high=100_000, step=10, default="100"),
        Field("temperature", "temp", NUMBER, "temperature", low=0, high=100, step=0.1, default="0.8"),
        Field("top-k", "top-k", INTEGER, "top_k", low=0, high=1_000_000, step=10, default="0"),
        Field("top-p", "top-p", NUMBER, "top_p", low=0, high=1, step=0.05, default="1"),
        Field("seed", "seed", INTEGER, "seed", low=0, high=2**62, placeholder="any"),
        Field("min-p", "min-p", NUMBER, "min_p", low=0, high=1, step=0.05, default="0"),
        Field("repetition", "repeat", NUMBER, "repetition_penalty", low=0.01, high=100, step=0.1, default="1"),
        Field("samples", "samples", INTEGER, "num_samples", low=1, high=100, default="1"),
        Field("stop", "stop", TEXT, "stop", placeholder="text|text"),
    )
}
"""The options by name; `key` is the name of the option in the request to the process that generates."""


def generation_request(prompt: str, values: Mapping[str, str]) -> dict[str, Any]:
    """The request to send to the process that generates the text. Options with an empty or wrong value are omitted."""
    request: dict[str, Any] = {"prompt": prompt}
    for field in FIELDS.values():
        if field.is_number and (value := field.number(values.get(field.name, ""))) is not None:
            request[field.key] = value
    if stop := stop_texts(values.get("stop", "")):
        request["stop"] = stop
    return request


def dropped_text(dropped: int, tokens: int, context: int) -> str:
    """A sentence about a prompt that is too long for the model's context."""
    first = "its first token is" if dropped == 1 else f"its first {dropped:,} tokens are"
    return (
        f"The prompt has {tokens:,} tokens, and the model's context {context:,}: {first} not read, "
        "so that there is room for the answer."
    )


def ignored_tools_text(template: str) -> str:
    """A sentence about a chat template that writes nothing about the tools."""
    return f"The chat template {quoted(printable(template))} ignores tools, so the model does not see those of --tools."


def stop_texts(typed: str) -> list[str]:
    r"""The texts at which generation stops, separated by `|`; \n, \t, \r and \\ in them are escapes."""
    return [unescaped(each) for each in typed.split("|") if each]


def recommended_text(settings: Mapping[str, float]) -> str:
    """A sentence that lists the settings which come from the model's folder."""
    named = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in settings.items())
    return f"Settings from the model's generation_config.json: {named}."


def ignored_text(settings: Mapping[str, Any]) -> str:
    """A sentence that lists the impossible values in the model's generation_config.json."""
    named = listed(
        [f"{printable(name)} {shorten(printable(json.dumps(value)), 60)}" for name, value in settings.items()]
    )
    return f"impossible values in the model's generation_config.json are ignored: {named}"


def result_text(ended: Sequence[Mapping[str, Any]]) -> str:
    """The numbers of tokens, speed and seeds of the samples (generated texts) that have ended.

    For a single sample also why it ended. `ended` has the last answer of the generating process about each sample.
    """
    tokens, seconds = sum(end["tokens"] for end in ended), sum(end["elapsed_s"] for end in ended)
    figures = plural(tokens, "token") + (f", {tokens / seconds:.0f} tokens/s" if seconds else "")
    if len(ended) > 1:
        return f"{len(ended)} samples, {figures}, seeds {ended[0]['seed']} to {ended[-1]['seed']}"
    reason = "end of text" if ended[0].get("finish") == "stop" else "token limit reached"
    return f"{figures}, {reason}, seed {ended[0].get('seed')}"
