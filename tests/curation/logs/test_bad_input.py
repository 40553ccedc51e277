"""Damaged, huge, hostile and changing files: counted and named, and never the end of the rest."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import patience
from curation.logs.reading import FIXTURES, Session, notes, read, reasons
from seedbed.curation.drops import Drops
from seedbed.curation.logs import elements, lines
from seedbed.curation.logs.options import LogOptions
from seedbed.curation.logs.sniff import search
from seedbed.curation.logs.units import find_units
from seedbed.curation.record import encode
from seedbed.errors import SeedbedError, UsageError
from seedbed.text import is_utf_8


def good(session: str = "good") -> Session:
    log = Session(session)
    log.user("q")
    log.assistant("a")
    return log


def test_a_half_written_line_is_counted_and_the_line_that_follows_it_is_read(tmp_path: Path) -> None:
    log = good()
    lost = log.user("lost in the crash")
    log.assistant("answer", parent=lost)
    path = log.write(tmp_path / "p")
    *first, half, last = path.read_text().splitlines()
    path.write_text("\n".join(first) + "\n" + half[:80] + last + "\n" + half[:50])
    (record,), drops = read(tmp_path)
    assert [message.content for message in record.messages or ()] == ["q", "a\n\nanswer"]
    assert reasons(drops) == {"half-written line": 1, "damaged line": 1}
    assert drops.samples[0].where == "p/good.jsonl:3"
    assert notes(drops)["record whose parent is missing, placed by its line"] == 1


def test_records_without_a_line_break_between_them_are_all_read(tmp_path: Path) -> None:
    """Of two whole records on a line the first was lost, and of a whole one before a half-written one, both."""
    log = Session("good")
    for number in range(4):
        log.user(f"question {number} }}{{")
        log.assistant([{"type": "text", "text": f"answer {number}"}])
    whole = log.lines
    half = json.dumps({"type": "user", "uuid": "lost", "message": {"role": "user", "content": "x}{"}})
    log.lines = [
        whole[0] + whole[1] + "\0\0" + whole[2],
        whole[3] + half[:40],
        half[:-4] + whole[4] + whole[5],
        whole[6] + half[:-2] + whole[7] + "{",
    ]
    log.write(tmp_path / "p")
    (record,), drops = read(tmp_path)
    expected = [text for number in range(4) for text in (f"question {number} }}{{", f"answer {number}")]
    assert [message.content for message in record.messages or ()] == expected
    assert reasons(drops) == {"half-written line": 4}
    assert sorted(each.where for each in drops.samples) == [
        "p/good.jsonl:2",
        *["p/good.jsonl:3"],
        *["p/good.jsonl:4"] * 2,
    ]
    assert notes(drops)["line with several records"] == 3


@pytest.mark.parametrize("source", ["claude-code", "codex", "openai"])
def test_every_reader_of_lines_reads_records_without_line_breaks(source: str, tmp_path: Path) -> None:
    whole, joined = tmp_path / "whole", tmp_path / "joined"
    for folder in (whole, joined):
        shutil.copytree(FIXTURES / source, folder)
    for path in joined.rglob("*.jsonl"):
        rows = path.read_text("utf-8").splitlines()
        path.write_text("".join(row + "\n" * (i % 3 == 0) for i, row in enumerate(rows)), "utf-8")
    expected, before = read(whole)
    records, drops = read(joined)
    assert expected
    assert [encode(each) for each in records] == [encode(each) for each in expected]
    assert reasons(drops) == reasons(before)
    assert notes(drops)["line with several records"] > 0


@given(
    st.text(), st.recursive(st.text() | st.integers(), lambda each: st.lists(each) | st.dictionaries(st.text(), each))
)
@settings(max_examples=100, deadline=None)
def test_the_last_object_of_a_damaged_line_is_found_without_a_search(lost: str, value: Any) -> None:
    whole = json.dumps({"type": value, "text": json.dumps(json.dumps(value))}).encode()
    half = json.dumps({"lost": lost}).encode()[:-2]
    assert lines._last_object(half + whole) == len(half)
    blocks = b'{"type":"user","content":[' + b'{"type":"text"},' * 2000
    assert len(list(lines._candidates(blocks))) <= 2
    assert len(list(lines._candidates(blocks + b"{}"))) <= 2


def test_nul_bytes_invalid_utf_8_and_lone_surrogates_lose_no_turn(tmp_path: Path) -> None:
    log = good()
    log.user("caf\u00e9 and \\")
    log.assistant("emoji SURROGATE cut")
    path = log.write(tmp_path / "p")
    data = path.read_bytes().replace(b"SURROGATE", b"\\ud83d").replace(b"caf\\u00e9", b"caf\xe9")
    path.write_bytes(data.replace(b"\n", b"\n\0\0\0", 1) + b"\0" * 5000)
    (record,), drops = read(tmp_path)
    assert [message.content for message in record.messages or ()][2:] == ["caf\ufffd and \\", "emoji ? cut"]
    assert reasons(drops) == {"line of NUL bytes": 1}
    assert notes(drops)["invalid characters replaced"] >= 2


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_only_python_writes_lose_no_row(number: str, tmp_path: Path) -> None:
    row = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a NaN"}]}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row)[:-1] + f', "score": {number}}}\n')
    (record,), drops = read(tmp_path)
    assert [message.content for message in record.messages or ()] == ["q", "a NaN"]
    assert reasons(drops) == {}


@pytest.mark.parametrize(
    "line",
    [
        "42", '"text"', "[1]", '{"silly": 1}', '{"type": 7}', '{"type": "user", "uuid": ["x"]}', "not JSON", "{" * 100_000,
        '{"type":"user","uuid":"z","message":{"role":"user","content":{"a":1}}}', '{"type":"assistant","message":null}',
        '{"type":"user","uuid":"z","message":{"role":"user","content":["text",{"type":"tool_result"}]}}',
        '{"type":"assistant","uuid":"z","parentUuid":"good-2","message":{"role":"assistant","content":[{"type":"new"}]}}',
        '{"type":"user","uuid":"z","timestamp":1e999,"message":"text"}', '{"type":"user","uuid":"z","timestamp":"never"}',
    ],
)  # fmt: skip
def test_lines_of_unexpected_forms_leave_the_conversation_as_it_is(tmp_path: Path, line: str) -> None:
    log = good()
    log.lines.insert(1, line)
    log.write(tmp_path / "p")
    records, _ = read(tmp_path)
    shown = [[message.content for message in record.messages or ()] for record in records]
    assert ["q", "a"] in [each[:2] for each in shown]


def test_a_line_beyond_the_limit_is_skipped_in_bounded_memory(tmp_path: Path) -> None:
    """A line and an element of 200 MB are skipped by a process that may use 120 MB more than it has."""
    log = good()
    path = log.write(tmp_path / "p")
    first, rest = path.read_bytes().split(b"\n", 1)
    with path.open("wb") as handle:
        handle.write(first + b'\n{"type":"user","uuid":"huge","message":"')
        for _ in range(200):
            handle.write(b"x" * 1_000_000)
        handle.write(b'"}\n' + rest)
    array = tmp_path / "rows.json"
    with array.open("wb") as handle:
        handle.write(b'[{"instruction":"q","output":"a"},{"instruction":"')
        for _ in range(200):
            handle.write(b"x" * 999_994 + b'\\\\\\"}]')
        handle.write(b'","output":"b"},{"instruction":"q2","output":"a2"}]')
    script = """
        import resource, sys
        from pathlib import Path
        from seedbed.curation.drops import Drops
        from seedbed.curation.logs.units import find_units
        size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + 120_000_000, -1))
        drops = Drops()
        records = [record for unit in find_units(Path(sys.argv[1])) for record in unit.read(drops)]
        print(len(records), sorted(reason for _, reason in drops.counts))
    """
    if not Path("/proc/self/statm").exists():
        pytest.skip("needs /proc to limit the memory")
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "3 ['element longer than 32 MiB', 'line longer than 32 MiB']"


@pytest.mark.parametrize("source", ["aider", "alpaca", "claude-code", "cline", "codex", "openai"])
def test_names_of_files_and_folders_that_are_not_utf_8_can_be_written(source: str, tmp_path: Path) -> None:
    plain = len(read(FIXTURES / source)[0])
    odd = tmp_path / os.fsdecode(b"odd \xff")
    shutil.copytree(FIXTURES / source, odd)
    for path in [*odd.rglob("*")][::-1]:
        if path.is_dir() or path.suffix == ".jsonl":
            path.rename(path.with_name(os.fsdecode(b"\xfe") + path.name))
    units = find_units(tmp_path)
    records = [record for unit in units for record in unit.read(Drops())]
    assert len(records) >= plain > 0
    assert all(encode(record) for record in records)
    assert all(is_utf_8(unit.name) and unit.fingerprint() for unit in units)


def test_links_that_form_loops_end_and_each_file_is_read_once(tmp_path: Path) -> None:
    folder = tmp_path / "logs" / "p"
    good().write(folder)
    (folder / "loop").symlink_to(tmp_path / "logs", target_is_directory=True)
    (folder / "top").symlink_to("/", target_is_directory=True)
    (folder / "again.jsonl").symlink_to(folder / "good.jsonl")
    (folder / "broken.jsonl").symlink_to(folder / "nowhere.jsonl")
    (folder / "self.jsonl").symlink_to("self.jsonl")
    records, drops = read(tmp_path / "logs")
    assert len(records) == 1
    assert reasons(drops) == {"unreadable file": 2, "link to a folder above": 2}


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read every file")
def test_files_and_folders_without_permission_are_counted(tmp_path: Path) -> None:
    good().write(tmp_path / "p")
    locked = good("locked").write(tmp_path / "p")
    locked.chmod(0)
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0)
    listed = tmp_path / "listed"
    good("inner").write(listed)
    listed.chmod(0o600)
    try:
        records, drops = read(tmp_path)
    finally:
        closed.chmod(0o700)
        listed.chmod(0o700)
    assert len(records) == 1
    assert reasons(drops) == {"unreadable file": 2, "unreadable folder": 1}


def test_a_pipe_does_not_block(tmp_path: Path) -> None:
    good().write(tmp_path / "p")
    os.mkfifo(tmp_path / "p" / "pipe.jsonl")
    records, drops = read(tmp_path)
    assert len(records) == 1
    assert reasons(drops) == {"not a regular file": 1}


def test_a_file_that_changes_or_goes_while_it_is_read_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = good().write(tmp_path / "p")
    other = good("other").write(tmp_path / "p")
    (unit,) = find_units(tmp_path)
    from seedbed.curation.logs import claude_code

    whole = claude_code.Index

    def index_then_change(files: object, drops: Drops) -> object:
        made = whole(files, drops)  # type: ignore[arg-type]
        path.write_text("shorter\n")
        other.unlink()
        return made

    monkeypatch.setattr(claude_code, "Index", index_then_change)
    drops = Drops()
    assert list(unit.read(drops)) == []
    assert reasons(drops)["file changed while it was read"] == 4
    assert reasons(drops)["unreadable file"] == 1
    assert notes(drops)["file that changed while it was read: p/good.jsonl"] == 1


def test_nul_characters_are_removed_from_texts_and_arguments_and_counted(tmp_path: Path) -> None:
    """They stayed in the rows, and nothing said so."""
    log = Session()
    log.user("a\0b\0")
    log.call("c1", command="printf 'x\0y' \\u0000")
    log.result("c1", "x\0y")
    log.assistant("done\0")
    log.write(tmp_path / "p")
    (record,), drops = read(tmp_path)
    question, asked, answer, done = record.messages or ()
    assert [question.content, answer.content, done.content] == ["ab", "xy", "done"]
    assert asked.tool_calls
    assert json.loads(asked.tool_calls[0].function.arguments) == {"command": "printf 'xy' \\u0000"}
    assert notes(drops)["NUL characters removed"] == 5


@pytest.mark.parametrize(
    "source", ["aider", "claude-code/v2", "cline", "codex/v1", "openai", "sharegpt", "chatgpt/v2", "claude-ai"]
)
def test_bytes_that_are_not_utf_8_are_counted_wherever_they_stand(source: str, tmp_path: Path) -> None:
    """Those of Aider's files, and within the arguments of tool calls, became U+FFFD without a count."""
    shutil.copytree(FIXTURES / source, tmp_path / source)
    places = 0
    for path in [each for each in (tmp_path / source).rglob("*") if each.is_file()]:
        whole = path.read_bytes()
        for place in [each.start() for each in re.finditer(rb"(?<=[a-z]) (?=[a-z])", whole)][:30]:
            path.write_bytes(whole[:place] + b" \xff" + whole[place + 1 :])
            records, drops = read(tmp_path)
            if any("\ufffd" in encode(record).decode() for record in records):
                places += 1
                assert notes(drops)["invalid characters replaced"] > 0
        path.write_bytes(whole)
    assert places > 1


def test_the_fingerprint_changes_with_content_and_options(tmp_path: Path) -> None:
    log = good()
    path = log.write(tmp_path / "p")
    (unit,) = find_units(tmp_path)
    before = unit.fingerprint()
    assert find_units(tmp_path)[0].fingerprint() == before
    assert find_units(tmp_path, None, LogOptions(thinking="keep"))[0].fingerprint() != before
    log.user("more")
    log.write(tmp_path / "p")
    assert unit.fingerprint() != before
    size = unit.size_bytes
    assert size == path.stat().st_size
    path.unlink()
    assert unit.size_bytes == 0


def test_what_cannot_be_read_at_all_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        find_units(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="no format"):
        find_units(tmp_path, "word\x1b[31m")
    (tmp_path / "a.json").write_text('{"a": 1}')
    with pytest.raises(SeedbedError, match=r"No logs of a known format.*a\.json") as error:
        find_units(tmp_path)
    assert "claude-code, codex, cline, aider, claude-ai, chatgpt, sharegpt, openai, alpaca" in error.value.hint


def test_why_a_file_is_not_read_is_named(tmp_path: Path) -> None:
    """Files that were half-written, empty or damaged were only called of no known format."""
    whole = tmp_path / "whole.zip"
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("chat.html", "x" * 500)
    contents = {
        "blank.jsonl": b" \n\n",
        "cut.zip": whole.read_bytes()[:90],
        "empty.jsonl": b"",
        "half.jsonl": b'{"id": 1, "text": "half wri',
        "list.json": b"[1, 2, 3]",
        "nul.jsonl": b"\0" * 5000,
        "other.json": b'{"a": 1}',
        "words.json": b"words",
    }
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    os.mkfifo(tmp_path / "pipe.jsonl")
    expected = {
        "blank.jsonl": "empty file", "cut.zip": "damaged zip file", "empty.jsonl": "empty file", "half.jsonl": "damaged JSON",
        "list.json": "unknown format", "nul.jsonl": "file of NUL bytes", "other.json": "unknown format",
        "pipe.jsonl": "not a regular file: a pipe", "whole.zip": "zip file without conversations", "words.json": "no JSON",
    }  # fmt: skip
    assert dict(search(tmp_path, None).unknown) == expected
    for name, reason in expected.items():
        with pytest.raises(SeedbedError, match=re.escape(f"Not read: {name} ({reason}).")):
            find_units(tmp_path / name)


def test_names_from_logs_cannot_control_the_terminal(tmp_path: Path) -> None:
    log = Session()
    log.user("q")
    log.assistant("a", model="m\x1b[2J\nmodel: fake")
    log.add("evil\x1b]0;title\x07")
    log.write(tmp_path / "p")
    _, drops = read(tmp_path)
    assert not any("\x1b" in what or "\n" in what for what in notes(drops))


def test_a_session_whose_first_line_is_longer_than_what_is_looked_at_is_recognised(tmp_path: Path) -> None:
    log = Session()
    log.user("x" * 500_000)
    log.assistant("a")
    log.write(tmp_path / "p")
    (record,), _ = read(tmp_path)
    assert record.provenance.source == "claude-code"


def test_units_give_the_same_records_again() -> None:
    one, _ = read(FIXTURES)
    two, _ = read(FIXTURES)
    assert one == two


@settings(max_examples=80, deadline=None)
@given(
    rows=st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=20) | st.integers(), max_size=3), max_size=8),
    chunk=st.integers(1, 40),
    indent=st.sampled_from([None, 1]),
)
def test_an_array_is_split_into_its_objects_wherever_it_is_cut(
    rows: list[dict[str, object]], chunk: int, indent: int | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("rows") / "rows.json"
    path.write_text(json.dumps(rows, indent=indent, ensure_ascii=False))
    drops = Drops()
    patch = pytest.MonkeyPatch()
    with patch.context() as changed:
        changed.setattr(elements, "_CHUNK", chunk)
        found = [json.loads(data) for _, data in elements.objects_of(path, "rows.json", drops)]
    assert found == rows
    assert not drops.counts


def test_an_array_that_is_cut_off_gives_its_whole_objects(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text('[{"instruction": "q", "output": "a"}, 7, {"instruction": "half')
    records, drops = read(path)
    assert len(records) == 1
    assert reasons(drops) == {"half-written element": 1}


@pytest.mark.parametrize("part", ['}{"a', '{"type":"us{"type":"x"}', '{"type":"user","content":[', '"}{\\"'])
def test_a_line_of_many_damaged_records_takes_time_in_proportion(part: str) -> None:
    decoder = msgspec.json.Decoder(dict[str, Any])

    def work(size: int) -> None:
        for _ in lines.values_of(part.encode() * (size // len(part)), decoder, "x", Drops()):
            pass

    patience.assert_linear_time(work, 50_000)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300))
def test_repair_never_fails(data: bytes) -> None:
    drops = Drops()
    lines.repaired(data, msgspec.json.Decoder(dict), "x", drops)
    assert drops.total <= 1
    list(lines.values_of(data, msgspec.json.Decoder(dict), "x", drops))
    assert drops.total <= 2 + data.count(b"{")


JUNK = [b"\0", b"\xff", b'"', b"{", b"}", b"[", b"]", b"null", b"\n", b"\\", b"\\ud800", b"1e999", b"-1", b'"x":']
VALUES: list[Any] = [None, 7, -1, "x", "2026", [], {}, [1], {"a": 1}, True, 1e30, ["text"], [None]]


def damaged(data: bytes, suffix: str, rng: random.Random) -> bytes:
    """A file with some bytes, or one value of its JSON, replaced by others."""
    if suffix == ".md" or rng.random() < 0.4:
        changed = bytearray(data)
        for _ in range(rng.randint(1, 5)):
            at = rng.randrange(len(changed) + 1)
            changed[at : at + rng.choice([0, 0, 1, 30])] = rng.choice(JUNK)
        return bytes(changed)
    texts = data.decode().splitlines() if suffix == ".jsonl" else [data.decode()]
    at = rng.randrange(len(texts))
    texts[at] = json.dumps(with_other_value(json.loads(texts[at]), rng))
    return "\n".join(texts).encode()


def with_other_value(value: Any, rng: random.Random) -> Any:
    """A JSON value in which one value, at any depth, is another."""
    if not isinstance(value, dict | list) or not value or rng.random() < 0.2:
        return rng.choice(VALUES)
    key = rng.choice(list(value)) if isinstance(value, dict) else rng.randrange(len(value))
    value[key] = with_other_value(value[key], rng)
    return value


SOURCES = sorted(path for path in FIXTURES.rglob("*") if path.is_file() and "golden" not in path.name)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.relative_to(FIXTURES).as_posix())
def test_no_damage_ends_the_reading_or_leaves_a_call_without_its_result(source: Path, tmp_path: Path) -> None:
    for seed in range(25):
        rng = random.Random(f"{source.name} {seed}")
        path = tmp_path / str(seed) / source.relative_to(FIXTURES)
        path.parent.mkdir(parents=True)
        path.write_bytes(damaged(source.read_bytes(), source.suffix, rng))
        try:
            records, _ = read(tmp_path / str(seed), thinking="keep", rejected_branches=True)
        except SeedbedError:  # no file of a known format is left
            continue
        for record in records:
            encode(record)
            called = [call.id for message in record.messages or () for call in message.tool_calls or ()]
            answered = [message.tool_call_id for message in record.messages or () if message.role == "tool"]
            assert sorted(called) == sorted(map(str, answered))
