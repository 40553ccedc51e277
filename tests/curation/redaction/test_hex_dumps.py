"""Secrets in hex dumps: the lines that have them are replaced, the others stay."""

from __future__ import annotations

import json
import random
from collections.abc import Callable

import pytest

import patience
from planted_secrets import filled
from seedbed.curation.redaction.escapes import hex_dump
from seedbed.curation.redaction.redactor import Redactor

REDACTOR = Redactor(bytes(range(32)))
TOKEN = filled("ghp_{A*36}")
TEXT = f"# the configuration of the server\nexport A=1\nGITHUB_TOKEN={TOKEN}\nPORT=80\nLANG=de_DE.UTF-8\nü\n".encode()


def _printed(data: bytes) -> str:
    return "".join(chr(byte) if 32 <= byte < 127 else "." for byte in data)


def xxd(offset: int, data: bytes) -> str:
    groups = " ".join(data[at : at + 2].hex() for at in range(0, len(data), 2))
    return f"{offset:08x}: {groups:<39}  {_printed(data)}"


def hexdump(offset: int, data: bytes) -> str:
    return f"{offset:08x}  {data[:8].hex(' '):<23}  {data[8:].hex(' '):<23}  |{_printed(data)}|"


def od(offset: int, data: bytes) -> str:
    return f"{offset:06x} {data.hex(' '):<47}  >{_printed(data)}<"


def bare(offset: int, data: bytes) -> str:
    return f"{offset:06x} {data.hex(' ')}"


Line = Callable[[int, bytes], str]
TOOLS = pytest.mark.parametrize("line", [xxd, hexdump, od, bare])


def dumped(line: Line, data: bytes, before: str = "") -> str:
    return "\n".join(before + line(at, data[at : at + 16]) for at in range(0, len(data), 16)) + "\n"


@TOOLS
@pytest.mark.parametrize("before", ["", "    12→", "  | "])
def test_a_secret_in_a_hex_dump_goes_with_its_lines_and_the_others_stay(line: Line, before: str) -> None:
    text = f"$ dump .env\n{dumped(line, TEXT, before)}and more\n"
    made = REDACTOR.redact_text(text)
    assert "<GITHUB_TOKEN_1>" in made
    first, last = TEXT.index(TOKEN.encode()) // 16, (TEXT.index(TOKEN.encode()) + len(TOKEN) - 1) // 16
    lines = text.split("\n")
    assert made.split("\n") == [*lines[: first + 1], before + "<GITHUB_TOKEN_1>", *lines[last + 2 :]]
    assert REDACTOR.redact_text(made) == made


@TOOLS
def test_secrets_that_share_a_line_go_both(line: Line) -> None:
    other = filled("glpat-{A*20}")
    made = REDACTOR.redact_text(dumped(line, f"a {TOKEN} {other} q@acme.io\n".encode()))
    assert made.strip() == "<GITHUB_TOKEN_1> <GITLAB_TOKEN_1> <EMAIL_1>"


@TOOLS
def test_a_secret_in_a_hex_dump_in_json_and_in_the_rest_of_a_row_has_one_placeholder(line: Line) -> None:
    made = REDACTOR.redact_text(json.dumps({"token": TOKEN, "output": dumped(line, TEXT)}))
    assert made.count("<GITHUB_TOKEN_1>") == 2
    assert json.loads(made)["output"].startswith("000")


@TOOLS
def test_dumps_of_other_bytes_stay(line: Line) -> None:
    rng = random.Random(7)
    for text in (dumped(line, rng.randbytes(20_000)), dumped(line, bytes(5000)), dumped(line, b"plain text\n" * 300)):
        assert REDACTOR.redact_text(text) == text


@pytest.mark.parametrize(
    "line",
    [
        "00000010: 4716 2384 9102 3845 9b1f 0010 4004 0000  G.#...8E........",
        "00000010: 4004 0000 a01f 4716 2384 9102 3845 b06d  @.....G.#...8E.m",
        "00000010: 4004 0000 a01f 0007 4716 2384 9102 3845  @.......G.#...8E",
    ],
)
def test_bytes_that_look_like_the_number_of_a_card_stay(line: str) -> None:
    assert REDACTOR.redact_text(line) == line


def test_lines_that_do_not_follow_one_another_are_not_joined() -> None:
    half = [TOKEN[:20].encode()[:16], TOKEN[16:32].encode()]
    view = hex_dump(f"{xxd(0, half[0])}\n*\n{xxd(64, half[1])}\n\n{xxd(0, half[1])}")
    assert view is not None
    assert [len(part) for part in view.text.split("\n")] == [0, 16, 16, 16]


@pytest.mark.parametrize(
    "text", ["offset 00001000: see", "0000: 1 2 3", "x = 0x00001000 00 11", "000000 done", "1000000000"]
)
def test_what_is_no_dump_is_none(text: str) -> None:
    assert hex_dump(text) is None
    assert REDACTOR.redact_text(text) == text


@pytest.mark.parametrize(
    "part", ["0", "0000", "000000 00 00 ", "00000000: ", "00000000: 0000 ", xxd(0, TEXT[:16]) + "\n"]
)
def test_pathological_dumps_take_time_in_proportion(part: str) -> None:
    patience.assert_linear_time(lambda size: REDACTOR.redact_text(part * (size // len(part))), 100_000)
