"""The licence of a model: what the front matter of its README.md, or a licence file beside it, says."""

from __future__ import annotations

import re
from pathlib import Path

_MOST_BYTES = 1 << 16
_FRONT_MATTER = re.compile(r"\A\ufeff?---[ \t]*\r?\n(.*?)^---[ \t]*\r?$", re.DOTALL | re.MULTILINE)
_KNOWN = (
    ("apache license", "apache-2.0"),
    ("mit license", "mit"),
    ("gnu affero general public license", "agpl"),
    ("gnu lesser general public license", "lgpl"),
    ("gnu general public license", "gpl"),
    ("mozilla public license", "mpl-2.0"),
    ("bsd 3-clause", "bsd-3-clause"),
    ("bsd 2-clause", "bsd-2-clause"),
)
"""The beginning of a licence's text -> its short name."""


def licence_of(folder: Path) -> tuple[str, str]:
    """The licence of the model in a folder and the file that says it; two empty texts if none does."""
    card = card_licence(_beginning(folder / "README.md"))
    if card:
        return card, "README.md"
    try:
        names = sorted(path.name for path in folder.iterdir() if re.match(r"(?i)licen[cs]e|copying", path.name))
    except OSError:
        return "", ""
    for name in names:
        title = _title(_beginning(folder / name))
        if title:
            return title, name
    return "", ""


def card_licence(readme: str) -> str:
    """The licence in the front matter of a model card; "" if it says none. Reads no more YAML than such a line needs."""
    found = _FRONT_MATTER.match(readme)
    if found is None:
        return ""
    values = _values(found[1], "license")
    if values == ["other"]:
        values = _values(found[1], "license_name") or values
    return ", ".join(values)


def _values(front: str, key: str) -> list[str]:
    """The value of a key of a YAML table, or the items of its list."""
    line = re.search(rf"^{key}[ \t]*:[ \t]*(.*?)[ \t\r]*$", front, re.MULTILINE)
    if line is None:
        return []
    value = line[1].strip()
    if value:
        items = value[1:-1].split(",") if value.startswith("[") and value.endswith("]") else [value]
    else:
        items = re.findall(r"^[ \t]*-[ \t]+(.*?)[ \t\r]*$", _indented(front[line.end() :]), re.MULTILINE)
    return [plain for item in items if (plain := item.strip().strip("\"'"))]


def _indented(rest: str) -> str:
    """The lines of a list that follows a key: those up to the next key."""
    following = re.search(r"^[A-Za-z_][\w-]*[ \t]*:", rest, re.MULTILINE)
    return rest[: following.start()] if following else rest


def _title(text: str) -> str:
    """A short name for a licence's text: a known one, else its first line."""
    head = " ".join(text[:400].split()).lower()
    for beginning, name in _KNOWN:
        if beginning in head:
            return name
    return next((line.strip()[:60] for line in text.splitlines() if line.strip()), "")


def _beginning(path: Path) -> str:
    try:
        with path.open("rb") as handle:
            return handle.read(_MOST_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
