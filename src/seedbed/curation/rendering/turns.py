"""Find the turns of the assistant in a rendered chat, by three strategies; runs where templates are rendered.

Control tokens in messages are marked before a template runs, so what is not marked was written by the template.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from seedbed.curation.rendering.protocol import (
    CONTROL_BEGIN,
    CONTROL_END,
    GENERATION,
    STRATEGIES,
    TURN_BEGIN,
    TURN_END,
    Answer,
    Chat,
    ProbedTurn,
    RenderedSample,
    Setup,
    Span,
    Strategy,
)
from seedbed.tokenizer.template_rendering import (
    MARK_SIGNS,
    environment,
    limited,
    normalised,
    problem_of,
    written_tokens,
)

DATE = "2024-07-26"
"""The date for templates that write one, if a chat has none: the one that Llama 3.1 writes by default."""
MOST_CHARACTERS = 1 << 23
"""About the most characters of one answer."""
UNLOCATED = "unlocated"
"""The problem of a chat in which the turns of the assistant cannot be found for certain."""
RESERVED = "reserved"
"""The problem of a chat with characters that are reserved for marks."""

_RESERVED = re.compile(f"[{MARK_SIGNS[0]}-{MARK_SIGNS[-1]}]")
_MARKER = re.compile(f"{TURN_BEGIN}(\\d+){TURN_BEGIN}|{TURN_END}(\\d+){TURN_END}")

Messages = Sequence[dict[str, Any]]
Spans = dict[int, Span]
"""The spans of turns in a text, by the numbers of their messages."""


class ChatRenderer:
    """Renders chats with one template, and finds the assistant's turns in them."""

    def __init__(self, setup: Setup) -> None:
        """Raises what Jinja raises if the template cannot be compiled."""
        self._setup = setup
        self._date = DATE
        made = environment(None, GENERATION)
        made.globals["strftime_now"] = lambda form: datetime.fromisoformat(self._date).strftime(form)
        self._template = made.from_string(setup.source)
        control = [*setup.control, *written_tokens(made, setup.source, setup.others)]
        self._control = _any_of(control)
        self._ends = _any_of(setup.ends, before=f"(?<!{CONTROL_BEGIN})")

    def answer(self, chat: Chat) -> Answer:
        """Do what a chat asks for; a template that fails gives an answer with `problem`."""
        self._date = chat.date or DATE
        try:
            messages = [self._marked(normalised(message)) for message in chat.messages]
            tools = None if chat.tools is None else self._marked(chat.tools)
            if chat.task == "text":
                shown = [_wrapped(each, number) for number, each in enumerate(messages)] if chat.wrapped else messages
                return Answer(text=self._text(shown, tools, prompt=chat.prompt)[0])
            if chat.task == "probe":
                return Answer(probed=list(self._probed(messages, tools)))
            if chat.whole:
                text = self._text(messages, tools)[0]
                return Answer(samples=[RenderedSample(text=text, length=len(messages))])
            return self._answer(messages, tools, chat)
        except _ProblemError as error:
            return Answer(problem=error.problem, message=str(error))
        except Exception as error:  # a template's expressions can raise anything that Python's operators raise
            found = problem_of(error)
            return Answer(problem=found.problem, message=found.message)

    # ------------------------------------------------------------------------------------------ samples and probes

    def _answer(self, messages: Messages, tools: Any, chat: Chat) -> Answer:
        """The samples of a chat, the first turns first, unless they have more than MOST_CHARACTERS."""
        samples: list[RenderedSample] = []
        left = set(chat.turns)
        for sample in self._samples(messages, tools, chat.turns):
            samples.insert(0, sample)
            left -= set(sample.turns)
            if chat.only_last or sum(len(each.text) for each in samples) > MOST_CHARACTERS:
                break
        return Answer(samples=samples, left=[] if chat.only_last else sorted(left))

    def _samples(self, messages: Messages, tools: Any, turns: Sequence[int]) -> Iterator[RenderedSample]:
        """The samples of a chat: one, or, if the template rewrites earlier turns, one per turn.

        In the latter case, earlier turns share a sample if it has them, and all before them, exactly as their own has. The
        samples come from the last to the first.
        """
        if not turns:
            return
        if not self._setup.per_turn:
            text, generated = self._text(messages, tools)
            yield self._sample(messages, turns, text, self._turns_in(messages, tools, text, generated, turns))
            return
        left = sorted(turns)
        own, generated = self._text(messages[: left[-1] + 1], tools)
        while left:
            upto = messages[: left[-1] + 1]
            text = own
            spans = self._turns_in(upto, tools, text, generated, left[-1:])
            covered = [left.pop()]
            while left:
                own, generated = self._text(messages[: left[-1] + 1], tools)
                span = spans.get(left[-1])
                if span is None or not own.startswith(text[: span[1]]):
                    break
                covered.insert(0, left.pop())
            yield self._sample(upto, covered, text, spans)

    def _sample(self, messages: Messages, turns: Sequence[int], text: str, spans: Spans) -> RenderedSample:
        return RenderedSample(text=text, spans=[spans[turn] for turn in turns], turns=list(turns), length=len(messages))

    def _turns_in(
        self, messages: Messages, tools: Any, text: str, generated: list[Span], turns: Sequence[int]
    ) -> Spans:
        """The spans of turns in the text of messages, at least of `turns`. Raises _ProblemError if one is not found."""
        found = self._by(self._setup.strategy, messages, tools, text, generated)
        if any(turn not in found for turn in turns) and self._setup.strategy != "prefix":
            found = self._by("prefix", messages, tools, text, generated)
        if any(turn not in found for turn in turns):
            raise _ProblemError(UNLOCATED, "")
        return found

    def _probed(self, messages: Messages, tools: Any) -> Iterator[ProbedTurn]:
        whole, generated = self._text(messages, tools)
        of_whole = {each: self._by(each, messages, tools, whole, generated) for each in STRATEGIES}
        for turn in _assistants(messages):
            upto = messages[: turn + 1]
            text, generated = self._text(upto, tools)
            spans = {each: self._by(each, upto, tools, text, generated).get(turn) for each in STRATEGIES}
            ends = [span[1] for span in spans.values() if span]
            yield ProbedTurn(
                text=text,
                spans=dict(spans.items()),
                lasts=bool(ends) and whole.startswith(text[: ends[0]]),
                whole_spans={each: of_whole[each].get(turn) for each in STRATEGIES},
            )

    # ------------------------------------------------------------------------------------------ the strategies

    def _by(self, strategy: Strategy, messages: Messages, tools: Any, text: str, generated: list[Span]) -> Spans:
        if strategy == "generation":
            return self._by_generation(messages, text, generated)
        if strategy == "markers":
            return self._by_markers(messages, tools, text)
        return self._by_prefix(messages, tools, text)

    def _by_generation(self, messages: Messages, text: str, generated: list[Span]) -> Spans:
        """The turns that the template marks with `{% generation %}`, each up to the token that ends it."""
        turns = _assistants(messages)
        if len(turns) != len(generated):
            return {}
        found = {}
        for turn, (begin, end) in zip(turns, generated, strict=True):
            last = self._ends.search(text, begin, end) or self._ends.match(text, end)
            if last:
                found[turn] = (begin, last.end())
        return found

    def _by_prefix(self, messages: Messages, tools: Any, text: str) -> Spans:
        """The turns by comparing texts: what follows the prompt of a turn, in the chat up to that turn."""
        found: Spans = {}
        for turn in _assistants(messages):
            if turn == 0:
                continue  # templates read the first message, so there is no prompt without one
            prompt = self._text(messages[:turn], tools, prompt=True)[0]
            if not text.startswith(prompt):
                continue
            upto = self._text(messages[: turn + 1], tools)[0] if turn + 1 < len(messages) else text
            end = self._ends.search(upto, len(prompt))
            if end and upto.startswith(prompt) and text.startswith(upto[: end.end()]):
                found[turn] = (len(prompt), end.end())
        return found

    def _by_markers(self, messages: Messages, tools: Any, text: str) -> Spans:
        """The turns by unique markers around what they say: from the end of their header to the token that ends them."""
        assistants = set(_assistants(messages))
        shown = [_wrapped(each, number) if number in assistants else each for number, each in enumerate(messages)]
        firsts: dict[int, int] = {}
        lasts: dict[int, int] = {}
        pieces, place, at = [], 0, 0
        marked = self._text(shown, tools)[0]
        for marker in _MARKER.finditer(marked):
            pieces.append(marked[place : marker.start()])
            at += len(pieces[-1])
            place = marker.end()
            number = int(marker[1] or marker[2])
            firsts.setdefault(number, at)
            lasts[number] = at
        if "".join([*pieces, marked[place:]]) != text:
            return {}  # the template reads what the assistant says, and writes something else with the markers
        found: Spans = {}
        bound = 0
        for number in sorted(firsts):
            lead = self._setup.header or self._setup.leads.get(messages[number - 1]["role"] if number else "", "")
            header = text.rfind(lead, bound, firsts[number]) if lead else -1
            end = self._ends.search(text, lasts[number])
            if header >= 0 and end and end.end() <= firsts.get(_next(firsts, number), len(text)):
                found[number] = (header + len(lead), end.end())
                bound = end.end()
        return found

    # ------------------------------------------------------------------------------------------ texts

    def _text(self, messages: Messages, tools: Any, *, prompt: bool = False) -> tuple[str, list[Span]]:
        """The text that the template writes, and the spans that it marks with `{% generation %}`."""
        parts = self._template.generate(
            messages=list(messages),
            tools=tools,
            documents=None,
            add_generation_prompt=prompt,
            **self._setup.variables,
        )
        text = "".join(limited(parts))
        if GENERATION[0] not in text:
            return text, []
        pieces = re.split(f"([{''.join(GENERATION)}])", text)
        spans: list[Span] = []
        begin, at = -1, 0
        for piece in pieces:
            if piece == GENERATION[0]:
                begin = at
            elif piece == GENERATION[1]:
                spans.append((begin, at))
            else:
                at += len(piece)
        return "".join(pieces[::2]), spans

    def _marked(self, value: Any) -> Any:
        """A value with each control token in its texts between marks. Raises _ProblemError for reserved characters."""
        if isinstance(value, str):
            if _RESERVED.search(value):
                raise _ProblemError(RESERVED, "")
            return self._control.sub(lambda found: f"{CONTROL_BEGIN}{found[0]}{CONTROL_END}", value)
        if isinstance(value, dict):
            return {self._marked(key): self._marked(each) for key, each in value.items()}
        return [self._marked(each) for each in value] if isinstance(value, list) else value


class _ProblemError(Exception):
    """A chat cannot be rendered for training; `problem` is a code."""

    def __init__(self, problem: str, message: str) -> None:
        super().__init__(message)
        self.problem = problem


def _any_of(tokens: Sequence[str], before: str = "") -> re.Pattern[str]:
    """A pattern that finds each of the tokens, the longest first; without tokens, nothing."""
    found = "|".join(re.escape(token) for token in sorted(tokens, key=len, reverse=True))
    return re.compile(f"{before}(?:{found})" if found else "(?!)")


def _assistants(messages: Messages) -> list[int]:
    return [number for number, message in enumerate(messages) if message.get("role") == "assistant"]


def _next(numbers: Mapping[int, int], number: int) -> int:
    return min((each for each in numbers if each > number), default=-1)


def _wrapped(message: dict[str, Any], number: int) -> dict[str, Any]:
    """A message with markers around its reasoning, its content and the names of its tool calls, inside white space."""
    made = dict(message)
    said = False
    for key in ("content", "reasoning_content", "thinking", "reasoning"):
        if isinstance(made.get(key), str) and made[key].strip():
            made[key], said = _with_markers(made[key], number), True
    calls = made.get("tool_calls")
    if calls:
        said = True
        made["tool_calls"] = [
            {**call, "function": {**call["function"], "name": _with_markers(call["function"]["name"], number)}}
            for call in calls
        ]
    if not said:
        made["content"] = str(made.get("content") or "") + _with_markers("", number)
    return made


def _with_markers(text: str, number: int) -> str:
    core = text.strip()
    begin = len(text) - len(text.lstrip())
    end = begin + len(core)
    return f"{text[:begin]}{TURN_BEGIN}{number}{TURN_BEGIN}{core}{TURN_END}{number}{TURN_END}{text[end:]}"
