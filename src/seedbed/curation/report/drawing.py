"""Pieces of the report card as HTML and SVG. All text from data is escaped, and cannot control a screen."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from seedbed.text import count, printable


class Row(NamedTuple):
    """A horizontal bar: its name, its parts, and what is written beside it, in one column or two."""

    name: str
    train: float
    evaluated: float
    number: str
    hint: str = ""
    more: str = ""
    kind: str = ""
    """The class of the colour of its first part, if it has its own."""


class Check(NamedTuple):
    """What was looked at, whether it is well (None: it was not looked at), and what was found."""

    title: str
    good: bool | None
    sentence: str


class Column(NamedTuple):
    """A vertical bar of a histogram: its label, its parts, and what it says when it is pointed at."""

    label: str
    train: int
    evaluated: int
    hint: str


def safe(text: object, *, newlines: bool = False) -> str:
    """Text for HTML: escaped, without control characters and changes of direction."""
    return escape(printable(str(text), newlines=newlines))


def small(text: str) -> str:
    """A remark below something; what is between backticks is shown as code."""
    return f'<p class="soft small">{_with_code(text)}</p>'


def _with_code(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", safe(text))


def tile(number: str, label: str, kind: str = "") -> str:
    """A key figure."""
    return f'<div class="tile {kind}"><b>{safe(number)}</b><span>{safe(label)}</span></div>'


def card(title: str, content: str, *, wide: bool = False) -> str:
    """A box with a title."""
    return f'<section class="card{" wide" if wide else ""}"><h3>{safe(title)}</h3>{content}</section>'


def bars(rows: Sequence[Row], kind: str = "", second: str = "eval", heads: tuple[str, str] | None = None) -> str:
    """Horizontal bars, all to the scale of the longest; the second part has the colour `second`, that of evaluation rows.

    `heads`: what stands above the numbers, if there are two columns of them.
    """
    most = max((row.train + row.evaluated for row in rows), default=0) or 1
    lines = []
    if heads is not None:
        lines.append("<div></div><div></div>" + "".join(f'<div class="head">{safe(each)}</div>' for each in heads))
    for row in rows:
        hint = f' title="{safe(row.hint or row.name)}"'
        bar = _bar(row.train / most, row.evaluated / most, row.kind or kind, second)
        more = f'<div class="number more">{safe(row.more)}</div>' if heads is not None else ""
        lines.append(
            f'<div class="name"{hint}>{safe(row.name)}</div>{bar}<div class="number">{safe(row.number)}</div>{more}'
        )
    return f'<div class="bars{" two" if heads is not None else ""}">{"".join(lines)}</div>'


def checks(found: Sequence[Check]) -> str:
    """A list of checks, each with a sign that does not depend on its colour."""
    signs = {True: ("good", "✓"), False: ("bad", "✗"), None: ("open", "–")}
    lines = []
    for each in found:
        kind, sign = signs[each.good]
        lines.append(
            f'<li class="{kind}"><i aria-hidden="true">{sign}</i><div><b>{safe(each.title)}</b>'
            f"<span>{_with_code(each.sentence)}</span></div></li>"
        )
    return f'<ul class="checks">{"".join(lines)}</ul>'


def parts(shares: Sequence[tuple[str, float, str]]) -> str:
    """One bar of several parts: pairs of a class of colour and a share of the whole, each with its hint."""
    at, shapes = 0.0, ""
    for kind, share, hint in shares:
        if share:
            width = max(share * 100, 0.4)
            rect = f'<rect class="fill {kind}" x="{at:.2f}" width="{width:.2f}" height="1"/>'
            shapes += f"<g><title>{safe(hint)}</title>{rect}</g>"
            at += width
    return (
        f'<svg class="parts" viewBox="0 0 {max(at, 100):.2f} 1" preserveAspectRatio="none" role="img" '
        f'aria-label="{safe("; ".join(hint for _, _, hint in shares))}">{shapes}</svg>'
    )


def thin_bar(share: float) -> str:
    """One bar without a name."""
    return _bar(share, 0, "out", "")


def _bar(first: float, second: float, kind: str, of_second: str) -> str:
    # A bar that is not empty is at least a little visible.
    first, second = (max(part * 100, 0.6) if part else 0 for part in (first, second))
    total = max(first + second, 100)
    parts = f'<rect class="fill {kind}" width="{first:.2f}" height="1"/>' if first else ""
    if second:
        parts += f'<rect class="fill {of_second}" x="{first:.2f}" width="{second:.2f}" height="1"/>'
    return f'<svg viewBox="0 0 {total:.2f} 1" preserveAspectRatio="none" aria-hidden="true">{parts}</svg>'


def columns(bars: Sequence[Column], label: str) -> str:
    """A histogram: the evaluation rows stand on the training rows."""
    most = max((bar.train + bar.evaluated for bar in bars), default=0) or 1
    parts = []
    for place, bar in enumerate(bars):
        low = bar.train / most * 96
        high = bar.evaluated / most * 96
        x, hint = place * 10 + 0.6, f"<title>{safe(bar.hint)}</title>"
        shapes = ""
        if bar.train:
            shapes += f'<rect class="fill" x="{x:.1f}" y="{100 - max(low, 0.7):.2f}" width="8.8" height="{max(low, 0.7):.2f}"/>'
        if bar.evaluated:
            height = max(high, 0.7)
            shapes += (
                f'<rect class="fill eval" x="{x:.1f}" y="{100 - low - height:.2f}" width="8.8" height="{height:.2f}"/>'
            )
        parts.append(f"<g>{hint}{shapes}</g>")
    ticks = "".join(f"<span>{safe(bar.label)}</span>" for bar in bars)
    return (
        f'<div class="columns"><svg viewBox="0 0 {max(len(bars), 1) * 10} 100" preserveAspectRatio="none" role="img" '
        f'aria-label="{safe(label)}">{"".join(parts)}</svg><div class="ticks">{ticks}</div></div>'
    )


def legend(*names: tuple[str, str]) -> str:
    """Which colour means what: pairs of a class and a name."""
    return (
        '<p class="legend">'
        + "".join(f'<span><i class="{kind}"></i>{safe(name)}</span>' for kind, name in names)
        + "</p>"
    )


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    """Names and values, one pair a line."""
    lines = (f"<div><dt>{safe(name)}</dt><dd>{safe(value)}</dd></div>" for name, value in pairs)
    return f'<dl class="facts">{"".join(lines)}</dl>'


def table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """A table; the columns `numbers` are set to the right. Cells are text, not HTML."""

    def cells(tag: str, row: Sequence[str]) -> str:
        return "".join(
            f"<{tag}{' class=number' if place in numbers else ''}>{safe(cell)}</{tag}>"
            for place, cell in enumerate(row)
        )

    lines = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f"<table><thead><tr>{cells('th', head)}</tr></thead><tbody>{lines}</tbody></table>"


def percent(part: float, whole: float) -> str:
    """A share as text: 12 %, 0.4 %, 99.8 %, or under 0.1 %. Only the whole is 100 %."""
    share = part / whole * 100 if whole else 0.0
    if 99.5 <= share < 100:
        return f"{int(share * 10) / 10:.1f} %"
    if share and share < 0.1:
        return "under 0.1 %"
    return f"{share:.1f} %" if 0 < share < 10 else f"{share:.0f} %"


def large(number: float) -> str:
    """A number in full up to 999,999, then to three figures."""
    return f"{number:,.0f}" if abs(number) < 1_000_000 else count(number)


def power_of_two(number: int) -> str:
    """A power of two as a short label, such as 512, 4k or 2M, where k is 1,024."""
    for suffix, bits in (("G", 30), ("M", 20), ("k", 10)):
        if number >= 1 << bits:
            return f"{number >> bits}{suffix}"
    return str(number)
