"""Which widgets accept typed text, and which actions are bound only to keys that type a character."""

from __future__ import annotations

from functools import cache

from textual.binding import Binding
from textual.dom import DOMNode
from textual.keys import key_to_character
from textual.widget import Widget

_CHARACTERS = {"slash": "/", "plus": "+", "minus": "-"}
"""The characters of keys whose names in Textual are unknown to its function `key_to_character`."""


def is_editor(widget: Widget | None) -> bool:
    """Whether characters typed while this widget has the focus become its text, so that they are not commands."""
    return widget is not None and not widget.disabled and _takes_text(type(widget))


@cache
def _takes_text(kind: type[Widget]) -> bool:
    """Whether a class of widgets accepts text, judged by class names: importing the text area of Textual is slow."""
    return any(each.__name__ in ("Input", "TextArea") for each in kind.__mro__)


@cache
def typed_actions(owner: type[DOMNode]) -> frozenset[str]:
    """The names of the actions of a class that are bound only to keys that type a character, such as `q` but not F1."""
    typed: dict[str, bool] = {}
    for binding in Binding.make_bindings(owner.BINDINGS):
        character = _CHARACTERS.get(binding.key) or key_to_character(binding.key) or ""
        action = binding.action.partition("(")[0]
        typed[action] = typed.get(action, True) and character.isprintable() and character != ""
    return frozenset(action for action, only in typed.items() if only)
