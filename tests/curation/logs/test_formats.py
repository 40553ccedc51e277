"""The other formats: whole fixtures, and what is particular to each."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest

from curation.logs.reading import FIXTURES, golden, notes, plain, read, reasons
from seedbed.curation.logs.cline import xml_call
from seedbed.curation.logs.units import models_of
from seedbed.curation.record import Record


def contents(record: Record) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in record.messages or ()]


def write_rows(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "name",
    ["codex/v0", "codex/v1", "cline", "aider", "chatgpt/v1", "chatgpt/v2", "claude-ai", "sharegpt", "openai", "alpaca"],
)
def test_the_fixture_of_each_format_gives_the_records_checked_by_hand(name: str) -> None:
    records, _ = read(FIXTURES / name)
    assert plain(records) == golden(name)


def test_a_folder_may_mix_formats_and_everything_in_it_is_counted(tmp_path: Path) -> None:
    shutil.copytree(FIXTURES, tmp_path / "logs", ignore=shutil.ignore_patterns("*.golden.json"))
    (tmp_path / "logs" / "settings.json").write_text('{"theme": "dark"}')
    (tmp_path / "logs" / "empty.jsonl").write_text("")
    (tmp_path / "logs" / "notes.txt").write_text("text")
    records, drops = read(tmp_path / "logs")
    found = {record.provenance.source for record in records}
    assert found == {"claude-code", "codex", "cline", "aider", "chatgpt", "claude-ai", "sharegpt", "openai", "alpaca"}
    unread = {(sample.where, sample.reason) for sample in drops.samples}
    assert {("settings.json", "unknown format"), ("empty.jsonl", "empty file")} <= unread
    assert notes(drops)["other file: .txt"] == 1
    assert notes(drops)["other file: ui_messages.json"] == 1


def test_tasks_of_cline_are_read() -> None:
    """Defect 6 of earlier scripts: only .jsonl files were read, so no task of Cline was, whose file is a JSON array."""
    (record,), drops = read(FIXTURES / "cline")
    calls = [call.function.name for message in record.messages or () for call in message.tool_calls or ()]
    assert calls == ["read_file", "write_to_file", "execute_command", "attempt_completion"]
    assert models_of(drops) == {"anthropic/claude-sonnet-4": 6}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x <read_file><path>a</path></read_file>", ("x", "read_file", {"path": "a"})),
        ("<list_files>\n<path>.</path>\n</list_files>\n", ("", "list_files", {"path": "."})),
        (
            "<write_to_file><path>a</path><content>\n<a></content>\n</content></write_to_file>",
            ("", "write_to_file", {"path": "a", "content": "<a></content>"}),
        ),
        ("use <read_file> like this", None),
        ("<read_file><path>a</path></read_file> and then", None),
        ("<read_file><path>a</read_file>", None),
        ("<read_file>text<path>a</path></read_file>", None),
        ("<unknown><path>a</path></unknown>", None),
        ("a <read_file> b <list_files><path>.</path></list_files>", ("a <read_file> b", "list_files", {"path": "."})),
    ],
)  # fmt: skip
def test_xml_becomes_a_tool_call_only_where_it_is_well_formed(text: str, expected: object) -> None:
    assert xml_call(text) == expected


def test_codex_repeats_in_events_and_injected_texts_are_no_turns() -> None:
    records, drops = read(FIXTURES / "codex" / "v1")
    texts = [text for record in records for _, text in contents(record)]
    assert texts.count("Make the title blue") == 1
    assert not any("environment_context" in text or "AGENTS.md" in text for text in texts)
    assert "Sorry." not in texts
    assert reasons(drops) == {"abandoned branch": 1}
    assert notes(drops)["record type: event_msg"] == 6


def test_the_zip_file_of_chatgpt_reads_like_its_files(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "export.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(FIXTURES / "chatgpt" / "v1" / "conversations.json", "conversations.json")
        archive.write(FIXTURES / "chatgpt" / "v2" / "conversations-000.json", "conversations-000.json")
        archive.writestr("user.json", "{}")
    records, _ = read(tmp_path / "export.zip")
    expected = golden("chatgpt/v2") + golden("chatgpt/v1")
    assert [each["messages"] for each in plain(records)] == [each["messages"] for each in expected]


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damage_of_any_method_of_compression_ends_no_reading(method: int, tmp_path: Path) -> None:
    content = (FIXTURES / "chatgpt" / "v2" / "conversations-000.json").read_bytes()
    with zipfile.ZipFile(tmp_path / "whole.zip", "w", method) as archive:
        archive.writestr("conversations.json", content)
    data = (tmp_path / "whole.zip").read_bytes()
    start = data.index(b"conversations.json") + 30
    for number in range(0, 200, 20):
        damaged = bytearray(data)
        for at in range(start + number, start + number + 8):
            damaged[at] ^= 0xA5
        (tmp_path / f"{number}.zip").write_bytes(damaged)
    (tmp_path / "whole.zip").unlink()
    _, drops = read(tmp_path, "chatgpt")
    assert sum(reasons(drops).values()) >= 10


def test_a_damaged_or_locked_zip_file_is_counted(tmp_path: Path) -> None:
    source = tmp_path / "whole.zip"
    text = (FIXTURES / "chatgpt" / "v1" / "conversations.json").read_text("utf-8")
    with zipfile.ZipFile(source, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("conversations.json", json.dumps(json.loads(text) * 400))
    data = bytearray(source.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 50] = b"\xff" * 50
    (tmp_path / "export.zip").write_bytes(bytes(data))
    source.unlink()
    _, drops = read(tmp_path)
    assert {"damaged archive", "unreadable part of a file", "half-written element"} & reasons(drops).keys()


def test_a_conversation_of_chatgpt_without_a_current_node_ends_at_the_newest_leaf(tmp_path: Path) -> None:
    (export, *_) = json.loads((FIXTURES / "chatgpt" / "v1" / "conversations.json").read_text("utf-8"))
    export["current_node"] = None
    export["mapping"]["n2"]["parent"] = "n8"  # and the tree has a loop
    (tmp_path / "conversations.json").write_text(json.dumps([export]))
    (record,), _ = read(tmp_path)
    assert contents(record)[-1] == ("assistant", "It is 97: prime.")


def test_thinking_is_kept_on_request() -> None:
    for name, thought in [
        ("codex/v1", "**Finding the style**"), ("cline", "I need the file."), ("chatgpt/v2", "Merge sort keeps order."),
        ("openai", "look"),
    ]:  # fmt: skip
        records, _ = read(FIXTURES / name, thinking="keep")
        assert thought in [message.reasoning for record in records for message in record.messages or ()]
        records, drops = read(FIXTURES / name)
        assert not any(message.reasoning for record in records for message in record.messages or ())
        assert notes(drops)["thinking left out"] == 1


def test_headings_and_quotations_in_an_answer_of_aider_are_no_turns() -> None:
    (first, _), _ = read(FIXTURES / "aider")
    roles = [role for role, _ in contents(first)]
    assert roles == ["user", "assistant", "user", "assistant"]
    answer = contents(first)[1][1]
    for line in ("#### heading in code", "> quoted in code", "#### A heading of the answer", "> As the docs say"):
        assert line in answer
    assert "Tokens:" not in answer


def test_an_answer_of_aider_with_an_open_code_block_ends_at_the_next_message(tmp_path: Path) -> None:
    (tmp_path / ".aider.chat.history.md").write_text(
        "# aider chat started at 2025-01-01 00:00:00\n\n#### q1  \n\n```python\nx = 1\n\n> ^C KeyboardInterrupt  \n\n"
        "#### q2  \n\nanswer\n"
    )
    (record,), _ = read(tmp_path)
    assert [text for role, text in contents(record) if role == "user"] == ["q1", "q2"]


def test_messages_of_openai_with_null_content_and_missing_results_stay_paired(tmp_path: Path) -> None:
    calls = [{"id": f"c{i}", "type": "function", "function": {"name": "f", "arguments": {"i": i}}} for i in range(2)]
    path = write_rows(
        tmp_path / "rows.jsonl",
        {"messages": [
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": None, "tool_calls": calls},
            {"role": "tool", "tool_call_id": "c1", "content": "one"},
            {"role": "assistant", "content": "done"},
        ]},
    )  # fmt: skip
    (record,), drops = read(path)
    assert contents(record) == [
        ("user", "q"), ("assistant", ""), ("tool", "[no result was recorded]"), ("tool", "one"), ("assistant", "done"),
    ]  # fmt: skip
    assert record.messages is not None
    assert record.messages[1].tool_calls is not None
    assert record.messages[1].tool_calls[0].function.arguments == '{"i": 0}'
    assert notes(drops)["tool call without a result"] == 1


def test_rows_that_prepare_wrote_can_be_read_again(tmp_path: Path) -> None:
    from seedbed.curation.record import encode

    records, _ = read(FIXTURES / "claude-code" / "v1", thinking="keep")
    path = tmp_path / "records.jsonl"
    path.write_bytes(b"".join(encode(record) + b"\n" for record in records))
    again, _ = read(path, thinking="keep")
    assert [record.messages for record in again] == [record.messages for record in records]


def test_parts_may_be_reasoning_and_calls_and_turns_may_have_a_weight(tmp_path: Path) -> None:
    call = {"type": "tool_call", "value": '{"name": "f", "arguments": {"x": 1}}'}
    path = write_rows(
        tmp_path / "rows.jsonl",
        {"messages": [
            {"role": "user", "content": [{"type": "image_url", "value": "1.jpg"}, {"type": "text", "value": "q"}]},
            {"role": "assistant", "content": [{"type": "reasoning", "value": "hm"}, call], "loss_weight": 0.0},
            {"role": "tool", "content": [{"type": "text", "value": "r"}]},
            {"role": "assistant", "content": [{"type": "text", "value": "a"}], "loss_weight": 1.0},
        ]},
        {"chosen_messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "good"}],
         "rejected_messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "bad"}]},
    )  # fmt: skip
    (one, two), _ = read(path, thinking="keep")
    assert contents(one) == [("user", "[image]\n\nq"), ("assistant", ""), ("tool", "r"), ("assistant", "a")]
    assert [(each.trained, each.reasoning) for each in one.messages or ()][1::2] == [(False, "hm"), (None, None)]
    assert contents(two)[-1] == ("assistant", "good")


def test_preference_rows_give_the_chosen_answer_only(tmp_path: Path) -> None:
    path = write_rows(
        tmp_path / "rows.jsonl",
        {"chosen": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "good"}],
         "rejected": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "bad"}]},
        {"prompt": [{"role": "user", "content": "q"}],
         "chosen": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "good"}],
         "rejected": [{"role": "assistant", "content": "bad"}]},
    )  # fmt: skip
    records, drops = read(path)
    assert [contents(record) for record in records] == [[("user", "q"), ("assistant", "good")]] * 2
    assert notes(drops)["rejected answer left out"] == 2


def test_an_export_of_claude_ai_is_read_from_its_zip_file_and_counts_what_it_leaves_out(tmp_path: Path) -> None:
    path = tmp_path / "data-2026-02-03-batch-0000.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(FIXTURES / "claude-ai" / "conversations.json", "conversations.json")
        archive.writestr("users.json", '[{"uuid": "acc-1", "full_name": "Ana"}]')
    records, drops = read(path)
    assert [record.messages for record in records] == [record.messages for record in read(FIXTURES / "claude-ai")[0]]
    assert reasons(drops) == {"abandoned branch": 1, "conversation without an answer": 1}
    assert notes(drops)["thinking left out"] == 1
    kept, _ = read(path, thinking="keep")
    assert [each.reasoning for each in kept[0].messages or ()] == [None, "Lower case first.", None, None]


def test_turns_of_claude_ai_whose_parents_are_missing_and_calls_without_ids_stay_in_order(tmp_path: Path) -> None:
    call = [
        {"type": "tool_use", "name": "repl", "input": {"code": "1"}},
        {"type": "tool_result", "name": "repl", "content": "one", "is_error": True},
        {"type": "tool_use", "name": "repl", "input": {"code": "2"}},
    ]
    said = [
        {"uuid": "1", "sender": "human", "text": "q", "parent_message_uuid": "gone"},
        {"uuid": "2", "sender": "assistant", "text": "", "content": call, "parent_message_uuid": "1"},
        {"uuid": "3", "sender": "assistant", "text": "a", "parent_message_uuid": "9"},
        {"uuid": "4", "sender": "narrator", "text": "b", "parent_message_uuid": "4"},
    ]
    path = tmp_path / "conversations.json"
    path.write_text(json.dumps([{"uuid": "x", "chat_messages": said}]))
    (record,), drops = read(path)
    assert contents(record) == [
        ("user", "q"), ("assistant", ""), ("tool", "one"), ("assistant", ""), ("tool", "[no result was recorded]"),
        ("assistant", "a"),
    ]  # fmt: skip
    assert reasons(drops) == {"unknown sender: narrator": 1}


def test_preference_rows_with_messages_keep_their_question(tmp_path: Path) -> None:
    """`chosen_messages` with the answer alone became rows without the question."""
    question, good = {"role": "user", "content": "q"}, {"role": "assistant", "content": "good"}
    bad = {"role": "assistant", "content": "bad"}
    path = write_rows(
        tmp_path / "rows.jsonl",
        {"chosen_messages": [question, good], "rejected_messages": [question, bad]},
        {"prompt": "q", "chosen_messages": [question, good], "rejected_messages": [question, bad]},
        {"prompt": "q", "chosen_messages": [good], "rejected_messages": [bad]},
        {"prompt": [question], "chosen_messages": [good], "rejected_messages": [bad]},
        {"prompt_messages": [question], "chosen_messages": [good], "rejected_messages": [bad]},
        {"prompt": "q", "chosen": [question, good], "rejected": [question, bad]},
        {"messages": [question], "chosen": good, "rejected": bad},
    )
    records, drops = read(path)
    assert [contents(record) for record in records] == [[("user", "q"), ("assistant", "good")]] * 7
    assert notes(drops)["rejected answer left out"] == 7


def test_a_named_format_is_used_whatever_the_file_looks_like(tmp_path: Path) -> None:
    write_rows(
        tmp_path / "rows.jsonl", {"messages": [{"role": "user", "content": "q"}]}, {"instruction": "q", "output": "a"}
    )
    records, drops = read(tmp_path, "alpaca")
    assert [contents(record) for record in records] == [[("user", "q"), ("assistant", "a")]]
    assert reasons(drops) == {"no instruction or no answer": 1}


def test_a_history_of_aider_without_its_two_spaces_is_read_by_the_beginnings_of_lines(tmp_path: Path) -> None:
    source = (FIXTURES / "aider" / "shop" / ".aider.chat.history.md").read_text("utf-8")
    stripped = "\n".join(line.rstrip() for line in source.split("\n"))
    (tmp_path / ".aider.chat.history.md").write_text(stripped)
    records, _ = read(tmp_path)
    assert contents(records[0])[0] == ("user", "Round the total\nto two places")
    assert contents(records[-1]) == [("user", "Undo that"), ("assistant", "Sorry, I can not")]


def test_questions_and_plans_that_aider_writes_twice_are_one_turn(tmp_path: Path) -> None:
    """`/ask q` is followed by `q`, and the architect's answer becomes the question to the editor model."""
    (tmp_path / ".aider.chat.history.md").write_text(
        "# aider chat started at 2025-01-01 00:00:00\n\n#### /architect do it  \n\n#### do it  \n\nThe plan:\n\n- one\n\n"
        "> Edit the files? (Y)es/(N)o [Yes]: y  \n\n#### The plan:  \n####   \n#### - one  \n\nthe edits\n"
    )
    (record,), drops = read(tmp_path)
    assert contents(record) == [("user", "do it"), ("assistant", "The plan:\n\n- one\n\nthe edits")]
    assert notes(drops)["answer of the architect that was given to the editor model"] == 1


def test_a_cleared_history_of_aider_begins_a_new_conversation(tmp_path: Path) -> None:
    (tmp_path / ".aider.chat.history.md").write_text(
        "# aider chat started at 2025-01-01 00:00:00\n\n> Main model: m with diff edit format  \n\n#### q  \n\na\n\n"
        "#### /reset  \n> All files dropped and chat history cleared.  \n\n#### q2  \n\n<think>\nhm\n</think>\n\nb\n"
    )
    records, drops = read(tmp_path)
    assert [contents(record) for record in records] == [
        [("user", "q"), ("assistant", "a")], [("user", "q2"), ("assistant", "b")],
    ]  # fmt: skip
    assert models_of(drops) == {"m": 2}
    assert notes(drops)["thinking left out"] == 1
    assert not drops.counts


def test_a_longer_fence_of_aider_may_have_shorter_ones_inside(tmp_path: Path) -> None:
    (tmp_path / ".aider.chat.history.md").write_text(
        "# aider chat started at 2025-01-01 00:00:00\n\n#### q  \n\n````md\n```\n#### inside  \n```\n````\n\n#### q2  \n\nb\n"
    )
    (record,), _ = read(tmp_path)
    assert [text for role, text in contents(record) if role == "user"] == ["q", "q2"]


@pytest.mark.parametrize(
    ("output", "text", "failed"),
    [
        ("plain", "plain", False),
        ('{"output":"x","metadata":{"exit_code":2}}', "x", True),
        ('[{"text":"a","type":"text"},{"text":"b","type":"text"}]', "a\nb", False),
        ("Exit code: 1\nWall time: 2s\nOutput:\nno", "Exit code: 1\nWall time: 2s\nOutput:\nno", True),
        ({"content": "c", "success": False}, "c", True),
        (7, "", False),
    ],
)
def test_outputs_of_codex_have_many_forms(tmp_path: Path, output: object, text: str, failed: bool) -> None:
    def item(**payload: Any) -> dict[str, Any]:
        return {"timestamp": "2026-01-01T00:00:00Z", "type": "response_item", "payload": payload}

    write_rows(
        tmp_path / "rollout-1.jsonl",
        item(type="message", role="user", content=[{"type": "input_text", "text": "q"}]),
        item(type="function_call", name="f", arguments="{}", call_id="c"),
        item(type="function_call_output", call_id="c", output=output),
        item(type="message", role="assistant", content=[{"type": "output_text", "text": "a"}]),
    )
    (record,), drops = read(tmp_path)
    assert contents(record)[2] == ("tool", text)
    assert notes(drops).get("tool error", 0) == failed
