"""Text from elsewhere as a window shows it: literally. Nothing in it is markup, escapes or colour of its own."""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from seedbed.text import STATUS_STYLE, printable

BAD = "bold #ff7b72"
"""What is wrong. Light, so that it is no dark grey where a terminal shows no colours."""
_LIGHT = {"red": BAD, "blue": "#79c0ff"}
_LONGEST = 20_000
"""Characters of one piece of foreign text that a window ever lays out."""


def lit(foreign: object, style: str = "", *, newlines: bool = False) -> Text:
    """Foreign text in one style. Line breaks become spaces, unless `newlines`; tabs four spaces."""
    return Text(plain(foreign, newlines=newlines), style=style, no_wrap=not newlines, overflow="ellipsis", end="")


def plain(foreign: object, *, newlines: bool = False) -> str:
    """The same as a string, for widgets that take no markup."""
    said = str(foreign)
    if len(said) > _LONGEST:
        said = said[:_LONGEST] + "…"
    return printable(said, newlines=newlines).expandtabs(4)


def status_style(word: str) -> str:
    """The style of a status."""
    style = STATUS_STYLE.get(word, "")
    return _LIGHT.get(style, style)


def fit(foreign: object, cells: int, style: str = "") -> Text:
    """Foreign text cut to a number of terminal cells, the last an ellipsis where something was cut."""
    said = plain(str(foreign)[: 4 * cells + 64])
    if cell_len(said) > cells:
        said = set_cell_size(said, max(cells - 1, 0)).rstrip() + "…"
    return Text(said, style=style, no_wrap=True, end="")
