"""Logs of Claude Code: whole fixtures, and each way in which conversations fork, repeat and break."""

from __future__ import annotations

import importlib.util
import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.logs.reading import FIXTURES, Session, golden, notes, plain, read, reasons
from seedbed.curation.logs.units import models_of
from seedbed.curation.record import Message, Record

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


def shape(record: Record) -> list[str]:
    """The turns in short: role and text, or the ids of calls."""
    return [_turn(each) for each in record.messages or ()]


def _turn(message: Message) -> str:
    if message.role == "tool":
        return f"tool {message.tool_call_id}: {message.content}"
    calls = "".join(f" [{each.id}]" for each in message.tool_calls or ())
    return f"{message.role}: {message.content}{calls}"


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_fixture_of_each_version_gives_the_records_checked_by_hand(version: str) -> None:
    records, _ = read(FIXTURES / "claude-code" / version)
    assert plain(records) == golden(f"claude-code/{version}")


def test_tool_calls_and_thinking_are_kept(tmp_path: Path) -> None:
    """Defect 1 of earlier scripts: only text was kept, so that the work itself was lost."""
    log = Session()
    log.user("fix it")
    log.assistant([{"type": "thinking", "thinking": "hm"}], message={"id": "m"})
    log.assistant([{"type": "text", "text": "I'll read the file first."}], message={"id": "m"})
    log.call("c1", "Read", message_id="m", file_path="/home/ana/shop/a.py")
    log.result("c1", "content")
    log.assistant("Fixed")
    log.write(tmp_path / "p")
    (record,), _ = read(tmp_path, thinking="keep")
    assert shape(record) == [
        "user: fix it", "assistant: I'll read the file first. [c1]", "tool c1: content", "assistant: Fixed",
    ]  # fmt: skip
    assert record.messages is not None
    assert record.messages[1].reasoning == "hm"
    assert record.messages[1].tool_calls is not None
    assert json.loads(record.messages[1].tool_calls[0].function.arguments) == {"file_path": "/home/ana/shop/a.py"}
    (without,), drops = read(tmp_path)
    assert without.messages is not None
    assert without.messages[1].reasoning is None
    assert notes(drops)["thinking left out"] == 1


def test_sub_agents_are_conversations_of_their_own(tmp_path: Path) -> None:
    """Defect 2: records of one session were merged by time, so that a sub-agent's task became a turn of the user."""
    log = Session()
    log.user("do it")
    task = log.call("c1", "Task", prompt="SUBAGENT TASK")
    log.user("SUBAGENT TASK", parent=None, isSidechain=True)
    log.assistant("found", isSidechain=True)
    log.result("c1", "found", parent=task)
    log.assistant("done")
    log.write(tmp_path / "p")
    agent = Session()
    agent.user("OTHER TASK", isSidechain=True, agentId="a7", uuid="x1")
    agent.assistant("other", isSidechain=True, agentId="a7", uuid="x2")
    agent.write(tmp_path / "p", "agent-a7")
    records, _ = read(tmp_path)
    shapes = [shape(each) for each in records]
    assert sorted(shapes) == [
        ["user: OTHER TASK", "assistant: other"],
        ["user: SUBAGENT TASK", "assistant: found"],
        ["user: do it", "assistant:  [c1]", "tool c1: found", "assistant: done"],
    ]
    agents = {tuple(shape(each)[0:1]): each.provenance.agent for each in records}
    assert agents["user: OTHER TASK",] == "a7"
    assert agents["user: do it",] is None
    assert {tuple(each.links or ()) for each in records} == {("session:s1",)}
    kept, drops = read(tmp_path, subagents="drop")
    assert [shape(each)[0] for each in kept] == ["user: do it"]
    assert reasons(drops)["sub-agent"] == 2


def test_abandoned_branches_are_left_out_and_counted(tmp_path: Path) -> None:
    """Defect 3: `parentUuid` was ignored, so that answers of a rewound branch stayed."""
    log = Session()
    first = log.user("q")
    log.assistant("dead answer", parent=first)
    log.user("dead question")
    log.assistant("dead end")
    log.assistant("live answer", parent=first)
    log.write(tmp_path / "p")
    (record,), drops = read(tmp_path)
    assert shape(record) == ["user: q", "assistant: live answer"]
    assert reasons(drops) == {"abandoned branch": 1}
    assert notes(drops)["turns of abandoned branches"] == 3
    assert drops.samples[0].text == "dead answer"
    both, _ = read(tmp_path, rejected_branches=True)
    assert [shape(each)[-1] for each in both] == ["assistant: live answer", "assistant: dead end"]
    assert both[1].provenance.session == "s1#abandoned"
    assert both[0].links == both[1].links == ["session:s1"]


def test_resumed_sessions_do_not_repeat_and_caveats_are_no_turns(tmp_path: Path) -> None:
    """Defect 4: a resumed session (same uuids, new session id) gave each exchange again, and an isMeta text was a turn."""
    log = Session("s1")
    log.user("Caveat: The messages below were generated by the user", isMeta=True)
    log.user("q1")
    log.assistant("a1")
    log.write(tmp_path / "p")
    again = Session("s2")
    again.lines = [line.replace('"sessionId": "s1"', '"sessionId": "s2"') for line in log.lines]
    again.last, again.count = log.last, log.count
    again.user("q2")
    again.assistant("a2")
    again.write(tmp_path / "p")
    (record,), drops = read(tmp_path)
    assert shape(record) == ["user: q1", "assistant: a1", "user: q2", "assistant: a2"]
    assert record.links == ["session:s1", "session:s2"]
    assert notes(drops)["repeated record left out"] == 3


def test_a_forked_session_trains_the_shared_turns_once(tmp_path: Path) -> None:
    log = Session("s1")
    log.user("q")
    shared = log.assistant("shared")
    log.user("q1")
    log.assistant("a1")
    log.write(tmp_path / "p")
    fork = Session("s2")
    fork.user("q2", parent=shared)
    fork.assistant("a2")
    fork.write(tmp_path / "p")
    (one, two), _ = read(tmp_path)
    assert shape(one) == ["user: q", "assistant: shared", "user: q1", "assistant: a1"]
    assert shape(two) == ["user: q", "assistant: shared", "user: q2", "assistant: a2"]
    assert [each.trained for each in two.messages or () if each.role == "assistant"] == [False, None]
    assert one.links == two.links == ["session:s1", "session:s2"]


@pytest.mark.parametrize(
    ("content", "structured", "expected"),
    [
        ([{"type": "text", "text": "one"}, {"type": "text", "text": "two"}], None, "one\ntwo"),
        ([{"type": "image", "source": {"data": "AAAA"}}], None, "[image]"),
        ("", {"stdout": "out", "stderr": "err"}, "out\nerr"),
        (None, {"file": {"content": "text of the file"}}, "text of the file"),
        ("", "Error: no", "Error: no"),
        ([], {"content": [{"type": "text", "text": "report"}]}, "report"),
        ("", {"stdout": 7}, ""),
    ],
)
def test_results_of_every_form_are_kept(tmp_path: Path, content: object, structured: object, expected: str) -> None:
    """Defect 5: results that are lists of blocks were dropped, and there was no fallback to toolUseResult."""
    log = Session()
    log.user("q")
    log.call("c1")
    log.result("c1", content, toolUseResult=structured)
    log.assistant("a")
    log.write(tmp_path / "p")
    (record,), _ = read(tmp_path)
    assert shape(record)[2] == f"tool c1: {expected}"


def test_times_are_compared_as_times(tmp_path: Path) -> None:
    """Defect 7: times were sorted as texts, so that records without one came first and other zones were misplaced."""
    log = Session()
    first = log.user("q", timestamp="2026-01-02T03:00:00.000Z")
    log.assistant("newest", parent=first, timestamp="2026-01-02T09:30:00+01:00")
    log.assistant("older", parent=first, timestamp="2026-01-02T08:00:00.000Z")
    log.lines.insert(0, json.dumps({"type": "summary", "summary": "s", "leafUuid": "elsewhere"}))
    log.lines.append(json.dumps({"type": "file-history-snapshot", "messageId": "m", "snapshot": {}}))
    log.write(tmp_path / "p")
    (record,), drops = read(tmp_path)
    assert shape(record) == ["user: q", "assistant: newest"]
    assert record.provenance.time == "2026-01-02T08:30:00Z"
    assert notes(drops)["record type: summary"] == 1


def test_parallel_calls_keep_all_their_results(tmp_path: Path) -> None:
    """Each parallel call is a record below the one before, and its result hangs on it: one path has only one result."""
    log = Session()
    log.user("q")
    one = log.call("c1", message_id="m")
    two = log.call("c2", message_id="m")
    log.call("c3", message_id="m")
    log.result("c3", "r3")
    log.result("c1", "r1", parent=one)
    log.result("c2", "r2", parent=two)
    log.assistant("a")
    log.write(tmp_path / "p")
    (record,), drops = read(tmp_path)
    assert shape(record) == [
        "user: q", "assistant:  [c1] [c2] [c3]", "tool c1: r1", "tool c2: r2", "tool c3: r3", "assistant: a",
    ]  # fmt: skip
    assert not drops.counts


def test_message_ids_that_repeat_do_not_join_different_messages(tmp_path: Path) -> None:
    """Some providers give every message the same id."""
    log = Session()
    log.user("q")
    log.call("c1", message_id="same")
    log.result("c1", "r1")
    log.call("c2", message_id="same")
    log.result("c2", "r2")
    log.user("q2")
    log.assistant("a", message={"id": "same"})
    log.write(tmp_path / "p")
    (record,), _ = read(tmp_path)
    assert shape(record) == [
        "user: q", "assistant:  [c1]", "tool c1: r1", "assistant:  [c2]", "tool c2: r2", "user: q2", "assistant: a",
    ]  # fmt: skip


def test_a_call_that_one_message_repeats_is_one_call(tmp_path: Path) -> None:
    log = Session()
    log.user("q")
    block = {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "ls"}}
    log.assistant([block, block, block | {"input": {"command": "pwd"}}])
    log.result("t1", "/home")
    log.assistant("done")
    log.write(tmp_path / "p")
    (record,), drops = read(tmp_path)
    calls = [each for message in record.messages or () for each in message.tool_calls or ()]
    assert [(each.id, each.function.arguments) for each in calls] == [
        ("t1", '{"command": "ls"}'),
        ("t1-2", '{"command": "pwd"}'),
    ]
    results = [message for message in record.messages or () if message.role == "tool"]
    assert [(each.tool_call_id, each.content) for each in results] == [
        ("t1", "[no result was recorded]"),
        ("t1-2", "/home"),
    ]
    assert notes(drops)["repeated tool call left out"] == 1


def test_a_call_without_a_result_and_a_result_without_a_call_are_counted(tmp_path: Path) -> None:
    log = Session()
    log.user("q")
    log.call("c1")
    log.user("[Request interrupted by user for tool use]")
    log.user("go on")
    log.result("lost", "text")
    log.assistant("a")
    log.write(tmp_path / "p")
    (record,), drops = read(tmp_path)
    assert shape(record) == [
        "user: q", "assistant:  [c1]", "tool c1: [no result was recorded]", "user: go on", "assistant: a",
    ]  # fmt: skip
    assert reasons(drops) == {"tool result without a call": 1}
    assert notes(drops)["tool call without a result"] == 1
    assert notes(drops)["interrupted by the user"] == 1


def test_a_compaction_begins_a_segment_whose_summary_is_a_turn_of_the_user(tmp_path: Path) -> None:
    log = Session()
    log.user("q")
    end = log.assistant("a")
    log.add("system", parent=None, subtype="compact_boundary", logicalParentUuid=end)
    log.user("This session is being continued from a previous conversation that ran out of context.")
    log.assistant("b")
    log.user("This session is being continued from a previous conversation", parent=None)  # older: no boundary
    log.assistant("c")
    log.write(tmp_path / "p")
    records, drops = read(tmp_path)
    assert [shape(each)[-1] for each in records] == ["assistant: a", "assistant: b", "assistant: c"]
    assert all(shape(each)[0].startswith("user: This session is being continued") for each in records[1:])
    assert not drops.counts


def test_a_compaction_that_keeps_turns_loses_no_earlier_ones(tmp_path: Path) -> None:
    """Kept turns stand behind the boundary, whose `logicalParentUuid` names one of them."""
    log = Session()
    log.user("q")
    log.assistant("a")
    log.add("system", parent=None, subtype="compact_boundary", logicalParentUuid="kept")
    log.user("This session is being continued", isCompactSummary=True)
    log.assistant("kept turn", uuid="kept")
    log.user("q2")
    log.assistant("a2")
    log.write(tmp_path / "p")
    records, drops = read(tmp_path)
    assert [shape(each)[-1] for each in records] == ["assistant: a", "assistant: a2"]
    assert not drops.counts


def test_a_record_whose_parent_was_never_written_stays_in_its_place(tmp_path: Path) -> None:
    log = Session()
    log.user("q")
    log.assistant("a")
    log.user("q2", parent="never written")
    log.assistant("a2")
    log.write(tmp_path / "p")
    (record,), drops = read(tmp_path)
    assert shape(record) == ["user: q", "assistant: a", "user: q2", "assistant: a2"]
    assert notes(drops)["record whose parent is missing, placed by its line"] == 1


def test_records_that_are_their_own_ancestors_end(tmp_path: Path) -> None:
    log = Session()
    log.user("q", uuid="u1", parent="u3")
    log.assistant("a", uuid="u2", parent="u1")
    log.user("q2", uuid="u3", parent="u2")
    log.assistant("a2", uuid="u4", parent="u3")
    log.assistant("self", uuid="u5", parent="u5")
    log.write(tmp_path / "p")
    records, drops = read(tmp_path)
    assert ["user: q", "assistant: a", "user: q2", "assistant: a2"] in [shape(each) for each in records]
    assert notes(drops)["record that is its own ancestor"] == 2


def test_a_log_with_only_tool_output_gives_no_record_and_is_counted(tmp_path: Path) -> None:
    log = Session()
    log.result("c1", "output")
    log.result("c2", "output")
    log.write(tmp_path / "p")
    records, drops = read(tmp_path)
    assert records == []
    assert reasons(drops) == {"conversation without an answer": 1}


def test_sessions_that_end_in_an_error_can_be_left_out(tmp_path: Path) -> None:
    log = Session()
    log.user("q")
    log.call("c1")
    log.result("c1", "boom", is_error=True)
    log.write(tmp_path / "p")
    good = Session("s2")
    good.user("q")
    good.call("c2")
    good.result("c2", "boom", is_error=True)
    good.assistant("repaired")
    good.write(tmp_path / "p")
    unanswered = Session("s3")
    unanswered.user("q")
    unanswered.assistant("a")
    unanswered.user("[Request interrupted by user]")
    unanswered.user("stop")
    unanswered.write(tmp_path / "p")
    assert len(read(tmp_path)[0]) == 3
    (record,), drops = read(tmp_path, failed_sessions=False)
    assert shape(record)[-1] == "assistant: repaired"
    assert reasons(drops) == {"session ends with: error": 1, "session ends with: interruption": 1}


def test_only_files_that_were_changed_link_sessions(tmp_path: Path) -> None:
    log = Session()
    log.user("q")
    for number, (name, path, error) in enumerate(
        [
            ("Read", "/home/ana/shop/read.py", False),
            ("Edit", "/home/ana/shop/src/edited.py", False),
            ("Write", "/home/ana/shop/refused.py", True),
            ("MultiEdit", "/etc/hosts", False),
        ]
    ):
        log.call(f"c{number}", name, file_path=path)
        log.result(f"c{number}", "ok", is_error=error)
    log.assistant("a")
    log.write(tmp_path / "p")
    (record,), _ = read(tmp_path)
    assert record.links == ["session:s1", "file:shop/src/edited.py"]


def test_no_absolute_path_or_user_name_is_in_the_provenance(tmp_path: Path) -> None:
    log = Session()
    log.user("q")
    log.assistant("a")
    log.write(tmp_path / "-home-ana-shop")
    (record,), _ = read(tmp_path)
    assert record.provenance.file == "shop/s1.jsonl"
    assert "ana" not in json.dumps(plain([record])[0]["provenance"])


@pytest.mark.parametrize("home", ["/home/ana", "/Users/ana", "C:\\\\Users\\\\ana", "/root"])
def test_a_home_folder_is_no_repository(tmp_path: Path, home: str) -> None:
    log = Session(cwd=home)
    log.user("q")
    log.assistant("a")
    log.write(tmp_path / "-home-ana")
    (record,), _ = read(tmp_path)
    assert record.provenance.repository is None
    assert record.provenance.file == "project/s1.jsonl"


def test_models_are_counted_by_turns_and_messages_of_the_program_are_none(tmp_path: Path) -> None:
    log = Session()
    log.user("q")
    log.assistant("a", model="claude-x", message={"id": "m1"})
    log.assistant("more", model="claude-x", message={"id": "m1"})
    log.user("q2")
    log.assistant("b", model="claude-y")
    log.user("q3")
    log.assistant("API Error: 529", model="<synthetic>", isApiErrorMessage=True)
    log.write(tmp_path / "p")
    (record,), drops = read(tmp_path)
    assert models_of(drops) == {"claude-x": 1, "claude-y": 1}
    assert record.provenance.model == "claude-x, claude-y"
    assert shape(record)[-1] == "assistant: b"


def test_a_slash_command_stands_with_its_prompt_and_local_commands_are_left_out(tmp_path: Path) -> None:
    log = Session()
    log.user("<command-name>/model</command-name><command-args>x</command-args>")
    log.user("<local-command-stdout>Set model</local-command-stdout>")
    log.user(
        "<command-message>review</command-message>\n<command-name>/review</command-name>\n<command-args>a b</command-args>"
    )
    log.user([{"type": "text", "text": "Review the changes."}], isMeta=True)
    log.assistant("a")
    log.write(tmp_path / "p")
    (record,), _ = read(tmp_path)
    assert shape(record) == ["user: /review a b\n\nReview the changes.", "assistant: a"]


def test_reminders_of_the_program_are_taken_out_of_what_the_user_wrote(tmp_path: Path) -> None:
    log = Session()
    log.user([
        {"type": "text", "text": "<system-reminder>\\nfiles\\n</system-reminder>"},
        {"type": "text", "text": "<system-reminder>a</system-reminder>my question<system-reminder>b</system-reminder>"},
    ])  # fmt: skip
    log.assistant("a")
    log.write(tmp_path / "p")
    (record,), drops = read(tmp_path)
    assert shape(record) == ["user: my question", "assistant: a"]
    assert notes(drops)["text that the program added left out"] == 3


def test_every_call_of_a_long_log_is_read_with_its_result(tmp_path: Path) -> None:
    """The log of the benchmark: what is fast must also be complete."""
    spec = importlib.util.spec_from_file_location("log_parsing", BENCHMARKS / "log_parsing.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.write_log(tmp_path / "p", 1)
    expected = {}
    for path in (tmp_path / "p").glob("*.jsonl"):
        for line in path.read_text("utf-8").splitlines():
            value = json.loads(line)
            for block in value["message"]["content"] if value["type"] == "assistant" else ():
                if block["type"] == "tool_use":
                    expected[block["id"]] = block["input"]
    records, drops = read(tmp_path)
    messages = [message for record in records for message in record.messages or ()]
    calls = {call.id: json.loads(call.function.arguments) for each in messages for call in each.tool_calls or ()}
    assert calls == expected
    assert {each.tool_call_id for each in messages if each.role == "tool"} == set(expected)
    assert not drops.counts


def test_a_log_without_parents_is_read_in_the_order_of_its_lines(tmp_path: Path) -> None:
    log = Session()
    for number in range(2):
        log.user(f"q{number}", parent=None)
        log.assistant(f"a{number}", parent=None)
    log.write(tmp_path / "p")
    (record,), _ = read(tmp_path)
    assert shape(record) == ["user: q0", "assistant: a0", "user: q1", "assistant: a1"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["user", "text", "call", "result", "rewind", "side"]), max_size=25), st.data())
def test_every_call_of_a_record_has_exactly_one_result_after_it(
    tmp_path_factory: pytest.TempPathFactory, kinds: list[str], data: st.DataObject
) -> None:
    log = Session()
    calls: list[str] = []
    log.user("begin")
    for number, kind in enumerate(kinds):
        if kind == "user":
            log.user(f"u{number}")
        elif kind == "text":
            log.assistant(f"t{number}")
        elif kind == "call":
            calls.append(f"c{number}")
            log.call(calls[-1], message_id=data.draw(st.sampled_from([None, "m1", "m2"])))
        elif kind == "result":
            log.result(data.draw(st.sampled_from([*calls, "unknown"])))
        elif kind == "rewind":
            log.last = f"s1-{data.draw(st.integers(1, log.count))}"
        else:
            log.assistant("side", isSidechain=True, parent=None)
            log.last = f"s1-{data.draw(st.integers(1, log.count))}"
    folder = tmp_path_factory.mktemp("log")
    log.write(folder / "p")
    records, _ = read(folder, rejected_branches=True)
    for record in records:
        seen: dict[str, int] = {}
        for message in record.messages or ():
            for call in message.tool_calls or ():
                assert call.id not in seen
                seen[call.id] = 0
            if message.role == "tool":
                seen[message.tool_call_id or ""] += 1  # a KeyError is a result before its call
        assert set(seen.values()) <= {1}
        roles = [message.role for message in record.messages or ()]
        assert roles[0] == "user"
        assert not any(a == b and a != "tool" for a, b in itertools.pairwise(roles))
