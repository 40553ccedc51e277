"""What the process that renders the chats of a dataset is asked, and what it answers."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from seedbed.tokenizer.template_rendering import MARK_SIGNS

CONTROL_BEGIN, CONTROL_END = MARK_SIGNS[:2]
"""Characters around a control token that stands in a message, so that it stays text."""
GENERATION = (MARK_SIGNS[2], MARK_SIGNS[3])
"""Characters that a `{% generation %}` block writes at its beginning and its end."""
TURN_BEGIN, TURN_END = MARK_SIGNS[4:6]
"""Characters around the number of a message, at the beginning and the end of what it says."""

Strategy = Literal["generation", "markers", "prefix"]
"""How the assistant's turns are found in a rendered chat.

`generation`: the template marks them with `{% generation %}`. `markers`: unique markers around what each turn says are located.
`prefix`: the chat is rendered up to each turn, with and without it, and the texts are compared.
"""
STRATEGIES: tuple[Strategy, ...] = ("generation", "markers", "prefix")

Span = tuple[int, int]
"""A part of a text: its first character, and the one after its last."""


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """A template, and what is known about how it writes the turns of the assistant."""

    source: str
    variables: dict[str, Any]
    """The special tokens by name, such as `bos_token`."""
    control: list[str]
    """The control tokens of the tokenizer, which stay text in messages."""
    others: list[str] = []
    """Other added tokens, which stay text in messages if the template writes them itself."""
    for_tools: bool = False
    """Whether the template is used only for chats with a list of tools."""
    header: str = ""
    """What stands before a turn of the assistant; "" if that depends on the message before, see `leads`."""
    leads: dict[str, str] = {}
    """If there is no header: what stands between a message and a turn of the assistant, by the role of the message."""
    ends: list[str] = []
    """The control tokens that end a turn of the assistant."""
    strategy: Strategy = "markers"
    per_turn: bool = False
    """Whether the template writes a turn differently once others follow, so that turns need samples of their own."""


class Chat(msgspec.Struct, kw_only=True):
    """A chat to render.

    `task` says what is asked: `text`, `samples` for training, or `probe` for the turns by each strategy. `turns`: the numbers
    of the messages to train. `wrapped`: leave the markers of turns in the text. `date`: for templates that write the date.
    """

    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None = None
    task: Literal["text", "samples", "probe"] = "text"
    turns: list[int] = []
    prompt: bool = False
    """Whether the text ends where the assistant begins to write."""
    wrapped: bool = False
    date: str = ""
    only_last: bool = False
    """Whether only the sample of the last of the turns is asked."""
    whole: bool = False
    """Whether one sample of the whole chat is asked, without spans."""


class RenderedSample(msgspec.Struct, frozen=True, kw_only=True):
    """A rendered chat: `text` with marks around control tokens of messages, and the spans of the turns that are trained."""

    text: str
    spans: list[Span] = []
    turns: list[int] = []
    """The numbers of the messages of the spans."""
    length: int = 0
    """How many messages of the chat are in the text."""


class ProbedTurn(msgspec.Struct, frozen=True, kw_only=True):
    """A chat up to a turn of the assistant, and that turn as each strategy finds it; None if it does not find it."""

    text: str
    spans: dict[str, Span | None]
    lasts: bool
    """Whether the whole chat has the turn, and all before it, in the same way."""
    whole_spans: dict[str, Span | None]
    """The turn in the whole chat."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to one chat. `problem` is a code, `message` is for people: see tokenizer/chat_template.py."""

    text: str = ""
    samples: list[RenderedSample] = []
    left: list[int] = []
    """The turns whose samples are not in this answer, because it has very many characters."""
    probed: list[ProbedTurn] = []
    problem: str = ""
    message: str = ""
