"""Tests of the step that redacts records."""

from __future__ import annotations

import json
import stat
import time
from pathlib import Path
from urllib.parse import quote

import pytest

import patience
from planted_secrets import filled
from seedbed.curation.drops import Drops
from seedbed.curation.record import (
    ContextFile,
    Function,
    Licence,
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
    assert made.lineage == ["redact@7"]
    counts = {each.rule: each.count for each in made.redactions or ()}
    assert counts["github-personal-token"] == 12
    assert counts["e-mail"] == 11


def test_short_texts_that_a_log_gives_are_redacted_and_calls_stay_paired_with_their_results() -> None:
    """A key in the name of a tool, an id or a version was written as it stands."""
    secret, person = f"x {TOKEN}", "/home/quent/agent"
    record = Record(
        kind="chat",
        messages=[
            Message(role="assistant", tool_calls=[ToolCall(id=secret, function=Function(name=person, arguments="{}"))]),
            Message(role="tool", content="done", tool_call_id=secret, name=person),
        ],
        provenance=Provenance(source="codex", agent=person, model=secret, version=secret, commit=secret, parent=secret),
        licence=Licence(spdx=f"LicenseRef-{TOKEN}", found_in="/home/quent/LICENSE"),
    )
    made = redacted(record)
    assert made is not None
    line = encode(made)
    assert TOKEN.encode() not in line
    assert b"quent" not in line
    assert made.messages
    assert made.messages[0].tool_calls
    (call,) = made.messages[0].tool_calls
    assert (call.id, call.function.name) == ("x <GITHUB_TOKEN_1>", "/home/<USER_1>/agent")
    assert (made.messages[1].tool_call_id, made.messages[1].name) == (call.id, call.function.name)


def test_names_of_models_versions_and_ids_of_calls_stay() -> None:
    source = Provenance(
        source="codex", model="claude-3-5-sonnet-20241022, gpt-4-0613", version="2.1.17.4", commit="a" * 40
    )
    ids = ["toolu_01A09q90qw90lq917835lq9", "call_AbC123xYz9876543210AbCdEf", "functions.shell:0"]
    calls = [ToolCall(id=each, function=Function(name="mcp__github__search", arguments="{}")) for each in ids]
    record = Record(kind="chat", messages=[Message(role="assistant", tool_calls=calls)], provenance=source)
    before = encode(record)
    made = redacted(record)
    assert made is not None
    made.lineage = None
    assert encode(made) == before


def test_a_secret_that_was_found_is_replaced_in_all_texts_of_the_record_also_in_earlier_ones() -> None:
    """A password in a URL became a placeholder, and stayed readable in the turns before and after."""
    password = filled("Zq{D*3}Wk{D*3}") + "@x"
    url = f"postgres://admin:{quote(password)}@db.acme.io/main"
    call = ToolCall(id="1", function=Function(name="run", arguments=json.dumps({"command": f"login -p {password}"})))
    record = Record(
        kind="chat",
        messages=[
            Message(role="user", content=f"pw is {password}, log in."),
            Message(role="assistant", content="Yes.", reasoning=f"so {password}", tool_calls=[call]),
            Message(role="tool", content=f"connected to {url}", tool_call_id="1"),
            Message(role="assistant", content=f"It worked with x{password}."),
        ],
        tools=json.dumps([{"description": f"\n{password}"}]),
        provenance=SOURCE,
    )
    drops = Drops()
    made = redacted(record, drops)
    assert made is not None
    line = encode(made).decode()
    assert password not in line
    assert quote(password) not in line
    assert made.messages
    assert made.messages[0].content == "pw is <DB_PASSWORD_1>, log in."
    assert made.messages[2].content == "connected to postgres://admin:<DB_PASSWORD_1>@db.acme.io/main"
    assert made.messages[3].content == "It worked with x<DB_PASSWORD_1>."
    assert json.loads(made.tools or "") == [{"description": "\n<DB_PASSWORD_1>"}]
    assert [each.count for each in made.redactions or ()] == [6]
    assert len([what for _, what in drops.notes if " " in what]) == 1  # one secret, whatever its spelling


def test_common_words_short_values_and_personal_data_are_not_looked_for_elsewhere() -> None:
    texts = "postgres://u:postgres@db/x\nuse postgres\nmysql://u:a7b9c@db/x\nword a7b9cd\nquent@acme.io quent\n"
    made = redacted(Record(kind="text", text=texts, provenance=SOURCE))
    assert made is not None
    assert made.text == (
        "postgres://u:<DB_PASSWORD_1>@db/x\nuse postgres\nmysql://u:<DB_PASSWORD_2>@db/x\nword a7b9cd\n<EMAIL_1> quent\n"
    )


def test_a_secret_of_words_and_a_number_is_found_elsewhere_as_a_whole_word_only() -> None:
    text = "mysql://u:summer123@db/x\nsummer123, summer1234 mysummer123 'a\\nsummer123'\n"
    made = redacted(Record(kind="text", text=text, provenance=SOURCE))
    assert made is not None
    secret = "<DB_PASSWORD_1>"
    assert made.text == f"mysql://u:{secret}@db/x\n{secret}, summer1234 mysummer123 'a\\n{secret}'\n"


def test_a_secret_of_the_text_is_replaced_in_the_path_and_its_link() -> None:
    password = filled("Zq{D*3}Wk{D*3}")
    where = Provenance(source="git", repository="acme/app", path=f"old/{password}/x.py")
    link = f"path:acme/app/old/{password}/x.py"
    made = redacted(Record(kind="text", text=f"password = '{password}'", provenance=where, links=[link]))
    assert made is not None
    assert password not in encode(made).decode()
    assert made.links is not None
    assert made.links[0].startswith("path:acme/app/old/<SECRET_")


def test_a_secret_of_the_context_is_replaced_across_the_parts_of_a_gap() -> None:
    password = filled("Zq{D*3}Wk{D*3}")
    piece = f"x = 1\nconnect('{password}')\n"
    for cut in range(len(piece) - 5):
        record = Record(
            kind="fim",
            prefix=piece[:cut],
            middle=piece[cut : cut + 5],
            suffix=piece[cut + 5 :],
            context=[ContextFile(path="a.py", text=f"password = '{password}'")],
            provenance=SOURCE,
        )
        made = redacted(record)
        if made is not None:
            assert f"{made.prefix}{made.middle}{made.suffix}" == "x = 1\nconnect('<SECRET_1>')\n"


def test_secrets_of_records_are_replaced_in_samples_of_what_was_left_out() -> None:
    password = filled("Zq{D*3}Wk{D*3}")
    step = RedactStep(Redactor(KEY))
    list(step(iter([Record(kind="text", text=f"password = '{password}'", provenance=SOURCE)]), Drops()))
    drops = Drops()
    drops.drop("logs", "too long", "x.jsonl:9", f"it is {password}")
    drops.mask(step.mask)
    assert drops.samples[0].text == "it is <SECRET_1>"
    list(step(iter([Record(kind="text", text="x", provenance=SOURCE)]), Drops()))
    assert step.mask(password) == password  # of another unit


def test_many_secrets_in_a_large_record_take_little_time() -> None:
    tokens = [filled("ghp_{A*36}", number) for number in range(2000)]
    passwords = [filled("{A*9}7{A*4}", number) for number in range(2000)]
    text = "".join(f"{token}\npassword = '{word}'\n" for token, word in zip(tokens, passwords, strict=True))
    record = Record(
        kind="text", text=text, context=[ContextFile(path="a", text=" ".join(passwords))], provenance=SOURCE
    )
    began = time.process_time()
    made = redacted(record)
    assert time.process_time() - began < patience.limit(
        5
    )  # about 0.5 s; minutes if each secret were searched in each text
    assert made is not None
    line = encode(made).decode()
    assert not any(word in line for word in passwords)


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
