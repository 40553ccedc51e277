"""What takes characters as text, and which actions are called by such keys alone."""

from __future__ import annotations

from functools import cache

from textual.binding import Binding
from textual.dom import DOMNode
from textual.keys import key_to_character
from textual.widget import Widget

_NAMED = {"slash": "/", "plus": "+", "minus": "-"}
"""Keys whose names Textual shortens, and does not lengthen again."""


def is_editor(widget: Widget | None) -> bool:
    """Whether keys that make a character are typed into this widget, and so command nothing."""
    return widget is not None and not widget.disabled and _takes_text(type(widget))


@cache
def _takes_text(kind: type[Widget]) -> bool:
    """By name: to load Textual's text area takes time, and the window asks this before it has one."""
    return any(each.__name__ in ("Input", "TextArea") for each in kind.__mro__)


@cache
def typed_actions(owner: type[DOMNode]) -> frozenset[str]:
    """The actions of a class's bindings that only keys which make a character call."""
    typed: dict[str, bool] = {}
    for binding in Binding.make_bindings(owner.BINDINGS):
        character = _NAMED.get(binding.key) or key_to_character(binding.key) or ""
        action = binding.action.partition("(")[0]
        typed[action] = typed.get(action, True) and character.isprintable() and character != ""
    return frozenset(action for action, only in typed.items() if only)
