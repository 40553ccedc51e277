"""Fields to type into: a number that arrow keys step, and a prompt that takes every character."""

from __future__ import annotations

import math
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.widgets import Checkbox, Input, TextArea

from seedbed.text import shorten
from seedbed.tui.safe_text import safe_string


class PlainCheckbox(Checkbox):
    """A box that is empty while it is off, whatever colours the terminal has."""

    @property
    def BUTTON_INNER(self) -> str:  # type: ignore[override]  # noqa: N802  # Textual's own name
        """What stands in the box."""
        return "X" if self.value else " "


def _plainly(bound: float) -> str:
    """A bound without an exponent."""
    return f"{bound:,.0f}" if bound >= 1e6 else f"{bound:,g}"


class NumberField(Input):
    """A number, typed or stepped with the up and down keys; + and - step it too where they cannot be part of it.

    Empty means that the default, shown in the field, holds. What is no number, or out of bounds, is kept and complained of.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "step(1)", "More", show=False),
        Binding("down", "step(-1)", "Less", show=False),
    ]

    def __init__(
        self,
        *,
        id: str,  # noqa: A002  # Textual's own name
        low: float,
        high: float = math.inf,
        whole: bool = True,
        step: float = 1,
        value: str = "",
        placeholder: str = "",
    ) -> None:
        super().__init__(value, placeholder=placeholder, id=id, compact=True, max_length=24)
        self.low, self.high, self.whole, self._step = low, high, whole, step

    def problem(self) -> str:
        """What is wrong with the value; "" where nothing is."""
        words = self.value.strip()
        if not words:
            return ""
        value = self._parsed()
        if value is None:
            return f"{words[:24]} is not a {'whole number' if self.whole else 'number'}"
        if not self.low <= value <= self.high:
            return (
                f"{words[:24]} is not between {self.low:,g} and {_plainly(self.high)}"
                if self.high < math.inf
                else (f"{words[:24]} is not {self.low:g} or more")
            )
        return ""

    def number(self) -> float | None:
        """The value; None where the field is empty or wrong."""
        return None if self.problem() else self._parsed()

    def _parsed(self) -> float | None:
        try:
            value = float(self.value.strip())
        except ValueError:
            return None
        if not math.isfinite(value) or (self.whole and not value.is_integer()):
            return None
        return int(value) if self.whole else value

    def action_step(self, direction: int) -> None:
        """To the next multiple of the step, up or down, within the bounds; from the default where the field is empty."""
        start = self._parsed()
        if start is None:
            try:
                start = float(self.placeholder)
            except ValueError:
                start = 0.0
        steps = round(start / self._step, 6)
        steps = math.floor(steps) + 1 if direction > 0 else math.ceil(steps) - 1
        value = min(max(steps * self._step, self.low), self.high)
        self.value = str(int(value)) if self.whole else f"{value:.6g}"
        self.cursor_position = len(self.value)

    async def _on_key(self, event: events.Key) -> None:
        if event.character in ("+", "-") and (self.whole or not self.value.lower().endswith("e")):
            event.stop()
            event.prevent_default()
            self.action_step(1 if event.character == "+" else -1)
            return
        await super()._on_key(event)


_ENTER = "Prompt: enter sends it"
_SHOWN = 200
"""Characters that are shown of the text that is sent where none is typed."""


class Prompt(TextArea):
    """A prompt of any characters and lines. Enter sends it; ctrl+j begins a new line; tab leaves the field."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "send", "Generate", priority=False),
        Binding("ctrl+j", "newline", "New line"),
    ]

    class Sent(Message):
        """Enter was pressed."""

    def __init__(self, *, id: str) -> None:  # noqa: A002  # Textual's own name
        super().__init__(
            id=id,
            compact=True,
            soft_wrap=True,
            tab_behavior="focus",
            highlight_cursor_line=False,
            placeholder=_ENTER,
        )

    def offer(self, default: str) -> None:
        """Show the text that enter sends while nothing is typed; "" where there is none."""
        words = shorten(" ".join(safe_string(default).split()), _SHOWN)
        self.placeholder = Content(f'{_ENTER} (empty: "{words}")' if words else _ENTER)

    async def _on_key(self, event: events.Key) -> None:
        if event.key in ("enter", "ctrl+j"):
            event.stop()
            event.prevent_default()
            if event.key == "enter":
                self.action_send()
            else:
                self.action_newline()
            return
        await super()._on_key(event)

    def action_send(self) -> None:
        """Ask for what follows the prompt."""
        self.post_message(self.Sent())

    def action_newline(self) -> None:
        """Begin a new line."""
        self.insert("\n")
