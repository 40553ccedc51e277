"""Views of texts with escapes of JSON or colours: what they show, where it comes from, and that they take linear time."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

import patience
from planted_secrets import filled
from seedbed.curation.redaction.escapes import views
from seedbed.curation.redaction.redactor import Redactor

HOOK = "https://hooks.slack.com/services/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"
SLASHED = HOOK.replace("/", r"\/")


@pytest.fixture(scope="module")
def redactor() -> Redactor:
    return Redactor(b"0123456789abcdef")


@pytest.mark.parametrize(
    "text",
    [
        '{"k": "' + SLASHED + '"}\n{"k": 1}',
        'it is 5" wide {"k": "' + SLASHED + '"}',
        r"cut off: \"k\": \"" + SLASHED,
        json.dumps('{"k": "' + SLASHED + '"}') + " and more",
        json.dumps(json.dumps('{"k": "' + SLASHED + '"}')) + " and more",
        "before\n" + json.dumps({"text": f"a\n{SLASHED}\nb"}) + "\nafter ü",
    ],
)
def test_a_secret_behind_escapes_is_replaced_and_the_rest_stays(redactor: Redactor, text: str) -> None:
    made = redactor.redact_text(text)
    assert "a1B2c3D4e5F6g7H8i9J0k1L2" not in made
    before, _, after = text.partition("https")
    assert made.startswith(before)
    assert "<" in made[len(before) :]
    assert made.endswith(after[after.index("k1L2") + 4 :])


@pytest.mark.parametrize("size", [50_000, 400_000])
def test_escaped_quotes_without_a_closing_one_take_linear_time(redactor: Redactor, size: int) -> None:
    text = json.dumps(json.dumps({f"key{number}": "value" for number in range(size // 22)}))[2:-2]
    began = time.process_time()
    assert redactor.redact_text(text) == text
    assert time.process_time() - began < patience.limit(size / 80_000)  # a quadratic search took 20 s for 56 KB


PARTS = [
    "a",
    "\\",
    "\\n",
    "\\/",
    '\\"',
    "\\u00e9",
    "\\ud83d\\ude00",
    "\n",
    '"',
    "\\\\n",
    "é",
    "\x1b[31m",
    "\x1b[m\x1b[K",
    "\\u001b[0m",
]


@given(st.lists(st.sampled_from(PARTS)))
def test_each_part_of_a_view_comes_from_the_part_of_the_text_that_its_origin_names(parts: list[str]) -> None:
    text = "".join(parts)
    for view in views(text):
        for start in range(len(view.text)):
            begin, end = view.origin(start, start + 1)
            assert 0 <= begin <= end <= len(text)
            shown, source = view.text[start], text[begin:end]
            assert shown == source or "\\" in source or (shown == "\n" and not source.strip("\n"))


@pytest.mark.parametrize(
    "template",
    [
        "\x1b[33m{}\x1b[0m",
        "TOKEN=\x1b[33m{}\x1b[0m",
        "config/.env:\x1b[01;31m\x1b[K{}\x1b[m\x1b[K",
        "\x1b[32m+\x1b[m\x1b[32mGITHUB_TOKEN={}\x1b[m",
        "\x1b]8;;https://x.io\x07\x1b[36m{}\x1b[0m\x1b]8;;\x07",
        'before {{"stdout": "\\u001b[33m{}\\u001b[0m"}} after',
    ],
)
def test_a_secret_in_colour_is_replaced_and_the_rest_stays(redactor: Redactor, template: str) -> None:
    token = filled("ghp_{A*36}")
    made = redactor.redact_text(f"first line\n{template.format(token)}\nlast line")
    assert token not in made
    assert "<GITHUB_TOKEN_1>" in made
    assert made.startswith("first line\n")
    assert made.endswith("\nlast line")
    colours = "\x1b[34mREADME.md\x1b[0m  \x1b[01;31mFAILED\x1b[0m"
    assert redactor.redact_text(colours) == colours


@pytest.mark.parametrize(
    "text",
    [
        '{"headers":{"Authorization":"Bearer ghp_0123456789abcdefghijABCDEFGHIJ012345"},"query":{"isbn":2}}',
        '{"author_token":"ghp_0123456789abcdefghijABCDEFGHIJ012345","publisher":"x"}',
        '{"author":"Jane Roe <jane.roe@acme-corp.io>","isbn":3}',
    ],
)
def test_data_about_books_hide_no_secret_and_no_address(redactor: Redactor, text: str) -> None:
    made = redactor.redact_text(text)
    assert "ghp_0123" not in made
    assert "jane.roe" not in made
    assert json.loads(made)
