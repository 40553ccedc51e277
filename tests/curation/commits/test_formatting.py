"""Changes that only format are told from others, and the parts that are the same in both texts are not compared again."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.curation.commits.context import indent_of
from seedbed.curation.commits.formatting import only_formats

LINES = st.lists(
    st.sampled_from(
        ["a = f(b,", "  c)", "c)", "", "   ", "if a:", "    b = [1,", "    ]", "  'x y'", "  'x  y'", "`", "d`", "}"]
    ),
    max_size=12,
)
TOKENS = re.compile(r"'[^'\n]*'|`[^`]*`|\w+|[^\w\s]")


def whole(before: str, after: str, *, indented: bool) -> bool:
    """The definition: the same tokens, without commas before closing brackets; and each line at the same depth."""

    def squeezed(text: str) -> list[str]:
        tokens = TOKENS.findall(text)
        following = [*tokens, ""][1:]
        return [
            token for token, then in zip(tokens, following, strict=True) if not (token == "," and then in list(")]}"))
        ]

    def depths(text: str) -> list[tuple[int, list[str]]]:
        found, opened = [], []
        for line in filter(str.strip, text.split("\n")):
            while opened and opened[-1] >= indent_of(line):
                opened.pop()
            opened.append(indent_of(line))
            found.append((len(opened), TOKENS.findall(line)))
        return found

    return squeezed(before) == squeezed(after) and (not indented or depths(before) == depths(after))


@settings(max_examples=300, deadline=None)
@given(LINES, LINES, LINES, LINES)
def test_comparing_what_differs_gives_what_comparing_everything_gives(
    first: list[str], one: list[str], other: list[str], last: list[str]
) -> None:
    before, after = ("\n".join([*first, *middle, *last]) for middle in (one, other))
    for language in ("Go", "YAML"):
        assert only_formats(before, after, language) == whole(before, after, indented=language == "YAML")


def test_lines_that_are_joined_or_indented_only_format() -> None:
    before, after = "x = f(\n    a,\n    b,\n)\ny = 1\n", "x = f(a, b)\ny = 1\n"
    assert only_formats(before, after, "Go")
    assert only_formats(before, after, "Python")  # the tokens of Python are the same
    assert not only_formats(before, after, "YAML")
    assert not only_formats("if a:\n    b\nc\n", "if a:\n    b\n    c\n", "Python")
    assert not only_formats("s = `\n  a`\n", "s = `\na`\n", "Go")
