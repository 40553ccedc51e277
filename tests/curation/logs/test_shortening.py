"""Long results of tools: they are redacted as a whole, and shortened then."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from prepared import KEY, preparation, prepared, rows
from seedbed.curation.drops import Drops
from seedbed.curation.logs.shortening import ShortenStep, shortened
from seedbed.curation.record import Message, Provenance, Record


def record(content: str, role: str = "tool") -> Record:
    return Record(kind="chat", messages=[Message(role=role, content=content)], provenance=Provenance(source="test"))


def test_both_ends_stay_and_the_mark_says_how_much_is_missing() -> None:
    drops = Drops()
    result, answer, short = ShortenStep(300)(
        iter([record("A" * 500 + "B" * 500), record("A" * 500, "assistant"), record("A" * 300)]), drops
    )
    assert [each.content for each in result.messages or ()] == [
        "A" * 200 + "\n[... 700 characters cut ...]\n" + "B" * 100
    ]
    assert [each.content for each in (*(answer.messages or ()), *(short.messages or ()))] == ["A" * 500, "A" * 300]
    assert drops.notes == {("shorten", "tool result shortened"): 1}


def test_any_length_is_kept_if_the_limit_is_0() -> None:
    (kept,) = ShortenStep(0)(iter([record("A" * 100_000)]), Drops())
    assert [len(each.content) for each in kept.messages or ()] == [100_000]


def test_no_half_of_a_placeholder_stays_beside_the_mark() -> None:
    text = "".join(f"{'a' * (n % 7)} <GITHUB_TOKEN_{n}> if x<y>z " for n in range(200))
    for most in range(200, 330):
        start, _, end = shortened(text, most).partition("\n[... ")
        end = end.partition(" characters cut ...]\n")[2]
        assert len(start) + len(end) <= most
        for part in (start, end):
            assert not re.search(r"[A-Z_0-9]", re.sub(r"<GITHUB_TOKEN_\d+>", "", part))
        missing = len(text) - len(start) - len(end)
        assert f"[... {missing:,} characters cut ...]" in shortened(text, most)


def test_a_secret_whose_mark_is_cut_off_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of a header with cookies is after the cut, its beginning in what is cut."""
    monkeypatch.setenv("SEEDBED_CACHE", str(tmp_path / "cache"))
    cookies = "; ".join(f"width{number}=1" for number in range(400))
    before, after = "a line of text\n" * 1200, "a line of text\n" * 200
    output = f"{before}> Cookie: {cookies}; session=Qk7Zp4Xw9Lm2Rt8Vb5Nc1; b=1\n{after}"
    turns = [
        {"role": "user", "content": "Call it."},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "curl", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": output},
        {"role": "assistant", "content": f"It has the key {KEY}."},
    ]
    (tmp_path / "log.jsonl").write_text(json.dumps({"messages": turns}) + "\n")
    made = prepared(tmp_path / "runs", preparation("logs", tmp_path / "log.jsonl"), tmp_path / "data")
    (row,) = rows(made / "records.jsonl")
    content = row["messages"][2]["content"]
    assert "characters cut ...]" in content
    assert "Zp4Xw9" not in content
    assert content.endswith(after)
