"""Text from runs, logs and models made safe to show: no markup, escape sequence or colour in it takes effect."""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from seedbed.text import STATUS_STYLE, printable

ERROR_STYLE = "bold #ff7b72"
"""The style of errors. A light red, since a terminal without colours would show a dark red as dark grey."""
_LIGHT = {"red": ERROR_STYLE, "blue": "#79c0ff"}
_MAX_CHARACTERS = 20_000
"""The maximum number of characters of a text that are shown; the rest is cut."""


def safe_text(value: object, style: str = "", *, newlines: bool = False) -> Text:
    """Any value as text in one style. Line breaks become spaces, unless `newlines`; a tab becomes four spaces."""
    return Text(safe_string(value, newlines=newlines), style=style, no_wrap=not newlines, overflow="ellipsis", end="")


def safe_string(value: object, *, newlines: bool = False) -> str:
    """Any value as a string for widgets that do not interpret markup, made safe as by `safe_text`."""
    shown = str(value)
    if len(shown) > _MAX_CHARACTERS:
        shown = shown[:_MAX_CHARACTERS] + "…"
    return printable(shown, newlines=newlines).expandtabs(4)


def fitted_text(value: object, cells: int, style: str = "") -> Text:
    """Any value as text of at most `cells` terminal cells; text that is cut ends with an ellipsis."""
    shown = safe_string(str(value)[: 4 * cells + 64])
    if cell_len(shown) > cells:
        shown = set_cell_size(shown, max(cells - 1, 0)).rstrip() + "…"
    return Text(shown, style=style, no_wrap=True, end="")


def status_style(status: str) -> str:
    """The style in which to show a status of a run."""
    style = STATUS_STYLE.get(status, "")
    return _LIGHT.get(style, style)
