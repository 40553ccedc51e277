"""What the process that renders a chat template is asked, what it answers, and its limits."""

from __future__ import annotations

from typing import Any

import msgspec

CPU_LIMIT_S = 10
MEMORY_LIMIT_BYTES = 1 << 30
MAX_CHARACTERS = 1 << 23
"""The most characters of a rendered chat: no context of a model has room for as many."""


class RenderRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A chat to render with the template `source`.

    `variables` are further variables of the template, such as the special tokens. With `control` or `others`, control tokens
    in the texts of users, system and tools are marked: the tokens in `control`, and those in `others` that the template
    itself writes. `now`: an ISO time for templates that write the date; "" for the time of rendering. `only_read`: compile the
    template, and render nothing.
    """

    source: str
    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None = None
    add_generation_prompt: bool = True
    variables: dict[str, Any] = {}
    control: list[str] = []
    others: list[str] = []
    now: str = ""
    only_read: bool = False


class Rendered(msgspec.Struct, frozen=True, omit_defaults=True):
    """A rendered chat, or why it could not be rendered: `problem` is a code, `message` is for people.

    `marks`: the characters before and after each marked control token in `text`; "" if none is marked.
    """

    text: str = ""
    marks: str = ""
    problem: str = ""
    message: str = ""
