"""Builds the messages of one conversation from its turns, so that each tool call has exactly one result."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from seedbed.curation.drops import Drops
from seedbed.curation.logs.options import STEP, LogOptions
from seedbed.curation.record import Function, Message, ToolCall
from seedbed.text import printable

IMAGE = "[image]"
"""Stands for a picture."""
_THINKING = re.compile(r"\s*<think(?:ing)?>(.*?)</think(?:ing)?>\s*", re.DOTALL)
MODEL = "model: "
"""How the note begins that counts the turns of a model."""
NO_RESULT = "[no result was recorded]"
"""Stands for the result of a tool call that the log does not have."""


def call(call_id: str, name: str, arguments: str) -> ToolCall:
    """A tool call; `arguments` is a JSON text."""
    return ToolCall(id=call_id, function=Function(name=name, arguments=arguments))


@lru_cache(1024)
def model_note(name: str) -> str:
    """The note that counts a turn of a model."""
    return MODEL + printable(name)[:100]


class Conversation:
    """The turns so far. Neighbouring turns of the user, or of the assistant, become one.

    User turns that come before the results of open tool calls are moved behind them.
    """

    def __init__(self, options: LogOptions, drops: Drops) -> None:
        self.messages: list[Message] = []
        self.ends_badly: str = ""
        """Why the conversation ends in a failure so far: an error, an interruption or a refusal; "" if it does not."""
        self._options = options
        self._drops = drops
        self._waiting: list[str] = []  # texts of the user that came while calls were open
        self._open: dict[str, None] = {}  # ids of calls without a result, in order
        self._results: dict[str, Message | None] = {}  # id of every call so far -> its result
        self._calls: dict[str, tuple[int, str]] = {}  # id of every call so far -> its number and the tool's name
        self._renamed: dict[str, str] = {}

    def system(self, text: str) -> None:
        """Add an instruction; blank text adds nothing."""
        if text.strip():
            self._close()
            self.messages.append(Message(role="system", content=text))

    def user(self, text: str) -> None:
        """Add a turn of the user; blank text adds nothing."""
        if not text.strip():
            return
        if self._open:
            self._waiting.append(text)
            return
        last = self.messages[-1] if self.messages else None
        if last is not None and last.role == "user":
            last.content = f"{last.content}\n\n{text}"
        else:
            self.messages.append(Message(role="user", content=text))

    def assistant(
        self,
        text: str,
        calls: list[ToolCall] | None = None,
        reasoning: str | None = None,
        *,
        trained: bool | None = None,
    ) -> None:
        """Add a turn of the assistant; one without text and calls adds nothing. `trained`: see Message.

        Thinking in tags at the beginning of the text counts as reasoning.
        """
        while found := _THINKING.match(text):
            reasoning = "\n\n".join(filter(None, (reasoning, found[1].strip())))
            text = text[found.end() :]
        kept = reasoning if self._options.thinking == "keep" else None
        if reasoning and not kept:
            self._drops.note(STEP, "thinking left out")
        if not text.strip() and not calls and not kept:
            return
        self._close()
        self.ends_badly = ""
        calls = self._new_calls(calls or ())
        last = self.messages[-1] if self.messages else None
        if last is not None and last.role == "assistant":
            last.trained = trained if last.trained == trained else None
            last.content = "\n\n".join(filter(None, (last.content, text)))
            last.reasoning = "\n\n".join(filter(None, (last.reasoning, kept))) or None
            last.tool_calls = [*(last.tool_calls or ()), *calls] or None
            self._drops.note(STEP, "assistant turns joined")
        else:
            self.messages.append(
                Message(
                    role="assistant", content=text, reasoning=kept or None, tool_calls=calls or None, trained=trained
                )
            )
        for each in calls:
            self._open[each.id] = None
            self._calls[each.id] = (len(self._calls), each.function.name)

    def result(self, call_id: str, text: str, *, error: bool = False) -> None:
        """Add the result of a tool call. One whose call is not there, or that has a result, is counted."""
        call_id = self._renamed.get(call_id, call_id)
        if call_id not in self._results:
            self._drops.drop(STEP, "tool result without a call", call_id, text)
            return
        if (present := self._results[call_id]) is not None and present.content != NO_RESULT:
            self._drops.note(STEP, "second result of a tool call left out")
            return
        if error:
            self._drops.note(STEP, "tool error")
            self.ends_badly = "error"
        else:
            self.ends_badly = ""
        if present is not None:
            present.content = text
            return
        self._append_result(call_id, text)
        if not self._open:
            self._release()

    def new_id(self, after: int) -> str:
        """An id for the next tool call but `after`, in formats that have none: call-1, call-2 and so on."""
        return f"call-{len(self._calls) + after + 1}"

    def pending(self) -> list[str]:
        """The ids of the tool calls that have no result yet, in order."""
        return list(self._open)

    def roll_back(self, turns: int) -> list[Message]:
        """Take back the last turns of the user with all that followed; returns these messages."""
        self._close()
        starts = [i for i, each in enumerate(self.messages) if each.role == "user"]
        if turns < 1 or not starts:
            return []
        at = starts[-min(turns, len(starts))]
        taken, self.messages = self.messages[at:], self.messages[:at]
        for message in taken:
            for each in message.tool_calls or ():
                self._results.pop(each.id, None)
        return taken

    def left_out_as_failed(self, where: str) -> bool:
        """Count how the conversation ends if that is a failure; whether the options leave it out for that, then counted, too."""
        if not self.ends_badly:
            return False
        self._drops.note(STEP, f"session ends with: {self.ends_badly}")
        if self._options.failed_sessions:
            return False
        self._drops.drop(STEP, f"session ends with: {self.ends_badly}", where)
        return True

    def finish(self, *, begins_with_user: bool = True) -> list[Message]:
        """The messages: from the first turn of the user to the last of the assistant; empty if there is none.

        `begins_with_user`: leave out what the assistant and tools said before the first turn of the user.
        """
        self._close()
        messages = self.messages
        while messages and messages[-1].role in ("user", "system"):
            if messages.pop().role == "user":
                self._drops.note(STEP, "last turn of the user without an answer left out")
        if begins_with_user:
            first = next((i for i, each in enumerate(messages) if each.role == "user"), len(messages))
            early = [each for each in messages[:first] if each.role != "system"]
            if early:
                self._drops.note(STEP, "turns before the first of the user left out", len(early))
                messages = [each for each in messages[:first] if each.role == "system"] + messages[first:]
        if not any(each.role == "assistant" for each in messages):
            return []
        return messages

    def _new_calls(self, calls: Iterable[ToolCall]) -> list[ToolCall]:
        """The calls of a turn, each with an id of its own; one that the turn repeats is left out."""
        seen: set[ToolCall] = set()
        made: list[ToolCall] = []
        for each in calls:
            if each.id and each in seen:
                self._drops.note(STEP, "repeated tool call left out")
                continue
            seen.add(each)
            made.append(self._distinct(each))
            self._results[made[-1].id] = None
        return made

    def _distinct(self, each: ToolCall) -> ToolCall:
        if each.id and each.id not in self._results:
            return each
        number = 2
        while (name := f"{each.id or 'call'}-{number}") in self._results:
            number += 1
        self._drops.note(STEP, "tool call with an id that was used before")
        self._renamed[each.id] = name
        return call(name, each.function.name, each.function.arguments)

    def _close(self) -> None:
        for call_id in list(self._open):
            self._drops.note(STEP, "tool call without a result")
            self._append_result(call_id, NO_RESULT)
        self._release()

    def _append_result(self, call_id: str, text: str) -> None:
        number, name = self._calls[call_id]
        message = Message(role="tool", content=text, tool_call_id=call_id, name=name)
        at = len(self.messages)  # results stand in the order of their calls, whatever the order in which they came
        while at and self.messages[at - 1].role == "tool":
            before = self.messages[at - 1].tool_call_id
            if before is None or self._calls[before][0] < number:
                break
            at -= 1
        self.messages.insert(at, message)
        self._results[call_id] = message
        self._open.pop(call_id, None)

    def _release(self) -> None:
        waiting, self._waiting = self._waiting, []
        for text in waiting:
            self.user(text)
