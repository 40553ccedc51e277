"""Every command of the README, one after the other, as they stand there."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

README = Path(__file__).resolve().parents[2] / "README.md"
ELSEWHERE = ("git", "make", "pip", "$")
"""How a line begins that is shown by the quickstart or the installation, not here."""


def blocks(kind: str = "") -> list[str]:
    """What stands between fences of a kind."""
    fenced = README.read_text(encoding="utf-8").split("\n```")[1:]
    return [block.removeprefix(kind).strip() for block in fenced[::2] if block.startswith(f"{kind}\n")]


def commands(block: str) -> list[list[str]]:
    lines = [line.partition("  #")[0].strip() for line in block.splitlines()]
    return [shlex.split(each) for line in lines for each in line.split("&&")]


def test_every_command_works_as_it_stands_there(desk: Any) -> None:
    desk.environment |= {"HOME": str(desk.folder), "FAKE_STEP_S": "0.2"}
    (desk.folder / "novels").mkdir()
    (desk.folder / "novels" / "one.txt").write_text("It was a dark night. " * 200)
    [config] = blocks("toml")
    for name in ("my", "a", "b"):
        (desk.folder / f"{name}.toml").write_text(config)
    shown = [block for block in blocks() if not block.startswith(ELSEWHERE)]
    found = [words for block in shown for words in commands(block)]
    assert len(found) >= 15
    for words in found:
        assert words[0] == "seedbed"
        desk.seedbed(*words[1:])
