"""Tests of the step that redacts records."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from planted_secrets import filled
from seedbed.curation.drops import Drops
from seedbed.curation.logs.conversation import shortened
from seedbed.curation.record import (
    ContextFile,
    Function,
    Message,
    Provenance,
    Record,
    Redaction,
    ToolCall,
    content_id,
    encode,
)
from seedbed.curation.redaction.redactor import RedactionOptions, Redactor
from seedbed.curation.redaction.step import ONLY_PLACEHOLDER, RedactStep, project_key
from seedbed.curation.steps import through
from seedbed.errors import SeedbedError

KEY = bytes(range(32))
TOKEN = filled("ghp_{A*36}")
AWS = filled("AKIA{U*16}")
SOURCE = Provenance(source="git", repository="acme/app")


def redacted(record: Record, drops: Drops | None = None, **options: object) -> Record | None:
    step = RedactStep(Redactor(KEY, RedactionOptions(**options)))  # type: ignore[arg-type]
    return next(through(iter([record]), [step], drops or Drops()), None)


def test_every_text_of_a_record_is_redacted() -> None:
    secret = f"see {TOKEN} of q@acme.io in /home/quent/x"
    call = ToolCall(id="1", function=Function(name="run", arguments=json.dumps({"command": secret})))
    record = Record(
        kind="chat",
        messages=[
            Message(role="system", content=secret),
            Message(role="user", content=secret),
            Message(role="assistant", content=secret, reasoning=secret, tool_calls=[call]),
            Message(role="tool", content=secret, tool_call_id="1", name="run"),
        ],
        tools=json.dumps([{"type": "function", "function": {"name": "run", "description": secret}}]),
        text=secret,
        prefix=secret,
        middle="x = 1",
        suffix=secret,
        context=[ContextFile(path="/home/quent/x.py", text=secret)],
        provenance=Provenance(
            source="git",
            file="-home-quent-app/1.jsonl",
            repository=f"https://me:{TOKEN}@github.com/acme/app",
            path="/home/quent/app/x.py",
            session="/home/quent/s",
        ),
        links=["path:acme/app//home/quent/x.py"],
    )
    made = redacted(record)
    assert made is not None
    line = encode(made)
    for value in (TOKEN, "quent", "q@acme.io"):
        assert value.encode() not in line
    assert made.messages
    assert made.messages[2].tool_calls
    assert json.loads(made.messages[2].tool_calls[0].function.arguments) == {
        "command": "see <GITHUB_TOKEN_1> of <EMAIL_1> in /home/<USER_1>/x"
    }
    assert made.provenance.file == "-home-<USER_1>-app/1.jsonl"
    assert made.provenance.repository == "https://me:<GITHUB_TOKEN_1>@github.com/acme/app"
    assert made.lineage == ["redact@1"]
    counts = {each.rule: each.count for each in made.redactions or ()}
    assert counts["github-personal-token"] == 12
    assert counts["e-mail"] == 11


def test_the_counts_of_an_earlier_redaction_are_kept_and_the_id_follows_the_content() -> None:
    record = Record(kind="text", text=f"{TOKEN}", provenance=SOURCE, redactions=[Redaction(rule="jwt", count=2)])
    record.id = content_id(record)
    before = record.id
    made = redacted(record)
    assert made is not None
    assert made.redactions == [Redaction(rule="github-personal-token", count=1), Redaction(rule="jwt", count=2)]
    assert made.id == content_id(made) != before


def test_a_clean_record_is_not_changed() -> None:
    record = Record(id="x", kind="text", text="def f(): ...\n", provenance=SOURCE)
    before = encode(record)
    made = redacted(record)
    assert made is not None
    made.lineage = None
    assert encode(made) == before


def test_notes_have_counts_by_rule_and_hashes_of_secrets_but_no_values() -> None:
    drops = Drops()
    redacted(Record(kind="text", text=f"{TOKEN} {TOKEN} {AWS} q@acme.io", provenance=SOURCE), drops)
    notes = {what: count for (_, what), count in drops.notes.items()}
    assert notes["github-personal-token"] == 2
    assert notes["e-mail"] == 1
    hashed = [what for what in notes if what.startswith("github-personal-token ")]
    assert len(hashed) == 1
    assert notes[hashed[0]] == 2
    assert not [what for what in notes if what.startswith("e-mail ")]
    assert TOKEN not in repr(drops.as_json())


def test_a_secret_across_the_parts_of_a_gap_is_found() -> None:
    piece = f"key = 1\nTOKEN = '{TOKEN}'\nprint(TOKEN)\n"
    for cut in range(len(piece)):
        record = Record(
            kind="fim", prefix=piece[:cut], middle=piece[cut : cut + 9], suffix=piece[cut + 9 :], provenance=SOURCE
        )
        made = redacted(record)
        if made is not None:
            joined = f"{made.prefix}{made.middle}{made.suffix}"
            assert joined == "key = 1\nTOKEN = '<GITHUB_TOKEN_1>'\nprint(TOKEN)\n"
            assert made.middle


def test_a_gap_that_is_only_a_placeholder_is_left_out_and_counted() -> None:
    drops = Drops()
    record = Record(
        kind="fim", prefix="a = '", middle=TOKEN, suffix="'\n", provenance=Provenance(source="git", path="a.py")
    )
    assert redacted(record, drops) is None
    assert drops.counts["redact", ONLY_PLACEHOLDER] == 1
    assert drops.samples[0].where == "a.py"
    assert TOKEN not in drops.samples[0].text


def test_fim_samples_that_held_keys_hold_none() -> None:
    """Notes 1.2 (12): 6 of 36 samples of an earlier script contained a private key or an AWS id."""
    key = filled("-----BEGIN RSA PRIVATE KEY-----\n{B*64}\n{B*64}\n-----END RSA PRIVATE KEY-----\n")
    source = f"AWS = '{AWS}'\nKEY = '''{key}'''\ndef f():\n    return 1\n"
    body = key.splitlines()[1]
    for cut in range(0, len(source) - 20, 7):
        made = redacted(
            Record(
                kind="fim",
                prefix=source[:cut],
                middle=source[cut : cut + 20],
                suffix=source[cut + 20 :],
                provenance=SOURCE,
            )
        )
        if made is not None:
            line = encode(made).decode()
            assert AWS not in line
            assert body not in f"{made.prefix}{made.middle}{made.suffix}"
            assert body[:30] not in line
            assert body[-30:] not in line


def test_halves_of_a_token_beside_the_mark_of_a_shortened_output_are_replaced() -> None:
    whole = "x" * 3000 + f" token {TOKEN} " + "y " * 1500
    for at in range(3008, 3048):
        cut = f"{whole[:at]}\n[... 2,000 characters cut ...]\n{whole[at + 3 :]}"
        made = Redactor(KEY).redact_text(cut)
        left = max((TOKEN[n : n + 10] in made for n in range(len(TOKEN) - 9)), default=False)
        assert not left, at
    assert shortened(whole, 100).count("characters cut ...]\n") == 1


def test_names_that_belong_to_a_record_are_replaced() -> None:
    step = RedactStep(Redactor(KEY), names_of=lambda record: ["Zebulon Quarles"])
    record = Record(kind="text", text="thanks to Zebulon Quarles", provenance=SOURCE)
    made = next(step(iter([record]), Drops()))
    assert made.text == "thanks to <NAME_1>"


def test_samples_reasons_and_notes_of_what_was_left_out_are_redacted_also_where_they_are_cut() -> None:
    key = filled("-----BEGIN RSA PRIVATE KEY-----\n" + "{B*64}\n" * 80 + "-----END RSA PRIVATE KEY-----\n")
    drops = Drops()
    drops.drop("logs", "unknown type of q@acme.io", "/home/quent/x.jsonl:7", f"key {TOKEN}")
    drops.drop("logs", "too long", "x.jsonl:9", (key + "a " * 990)[: 6000 - 20] + TOKEN)
    drops.note("logs", "read /home/quent/x")
    drops.mask(Redactor(KEY).redact_text)
    assert drops.counts == {("logs", "unknown type of <EMAIL_1>"): 1, ("logs", "too long"): 1}
    assert drops.notes == {("logs", "read /home/<USER_1>/x"): 1}
    first, second = drops.samples
    assert (first.where, first.text) == ("/home/<USER_1>/x.jsonl:7", "key <GITHUB_TOKEN_1>")
    assert second.text.startswith("<PRIVATE_KEY_1>\na a ")
    assert TOKEN[:8] not in second.text


def test_the_key_of_a_project_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "redaction.key"
    key = project_key(path)
    assert len(key) == 32
    assert project_key(path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_damaged_key_is_named(tmp_path: Path) -> None:
    path = tmp_path / "redaction.key"
    path.write_text("nonsense")
    with pytest.raises(SeedbedError, match="damaged"):
        project_key(path)
