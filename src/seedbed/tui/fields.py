"""Input widgets: a number that the arrow keys change, a prompt of several lines, and a checkbox."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.widgets import Checkbox, Input, TextArea

from seedbed.presentation.forms import INTEGER, Field
from seedbed.text import shorten
from seedbed.tui.safe_text import safe_string

_MAX_DIGITS = 24


class PlainCheckbox(Checkbox):
    """A checkbox that shows an X only while it is on, so that people who see no colours can tell its state."""

    @property
    def BUTTON_INNER(self) -> str:  # type: ignore[override]  # noqa: N802  # Textual's own name
        """The character in the box: X, or a space while the checkbox is off."""
        return "X" if self.value else " "


class NumberField(Input):
    """A text field for a number. Up and down change it by a step; so do + and -, unless they are part of the number.

    An empty field stands for the default, which it shows. A wrong value is kept, and `problem` says what is wrong.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "step(1)", "Increase", show=False),
        Binding("down", "step(-1)", "Decrease", show=False),
    ]

    def __init__(self, field: Field) -> None:
        super().__init__(
            field.default, placeholder=field.placeholder, id=field.name, compact=True, max_length=_MAX_DIGITS
        )
        self.field = field

    def problem(self) -> str:
        """What is wrong with the typed value; "" if nothing is wrong."""
        return self.field.problem(self.value)

    def number(self) -> float | None:
        """The typed number; None if the field is empty or the value is wrong."""
        return self.field.number(self.value)

    def action_step(self, direction: int) -> None:
        """Change the number to the next multiple of the step: up (`direction` 1) or down (-1).

        An empty field counts as the default.
        """
        self.value = self.field.stepped(self.value, direction, str(self.placeholder))
        self.cursor_position = len(self.value)

    async def _on_key(self, event: events.Key) -> None:
        is_exponent = self.field.kind != INTEGER and self.value.lower().endswith("e")
        if event.character in ("+", "-") and not is_exponent:
            event.stop()
            event.prevent_default()
            self.action_step(1 if event.character == "+" else -1)
            return
        await super()._on_key(event)


_PLACEHOLDER = "Prompt: enter generates"
_MAX_SHOWN = 200
"""The maximum number of characters of the default prompt to show."""


class Prompt(TextArea):
    """A text field for a prompt of one or more lines.

    Enter sends the prompt, ctrl+j starts a line, tab leaves the field.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "send", "Generate", priority=False),
        Binding("ctrl+j", "newline", "New line"),
    ]

    class Sent(Message):
        """The message that is posted when Enter is pressed."""

    def __init__(self, *, id: str) -> None:  # noqa: A002  # Textual's own name
        super().__init__(
            id=id,
            compact=True,
            soft_wrap=True,
            tab_behavior="focus",
            highlight_cursor_line=False,
            placeholder=_PLACEHOLDER,
        )

    def show_default(self, default: str) -> None:
        """Show, while the field is empty, the prompt that is used in this case; "" if there is none."""
        shown = shorten(" ".join(safe_string(default).split()), _MAX_SHOWN)
        self.placeholder = Content(f'{_PLACEHOLDER} (empty: "{shown}")' if shown else _PLACEHOLDER)

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
        """Send the prompt, that is, post the message Sent."""
        self.post_message(self.Sent())

    def action_newline(self) -> None:
        """Start a new line."""
        self.insert("\n")
