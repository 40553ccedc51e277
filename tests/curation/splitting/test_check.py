"""What the check of a finished split finds, against a count with Python's own tuples."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec

from seedbed.curation.record import Function, Message, Provenance, Record, ToolCall
from seedbed.curation.splitting.check import visible_answers
from seedbed.curation.splitting.split import SplitOptions
from split_rows import by_split, chat, leaked, named, prose, split_of, text_row, windows, with_other_markup, write


def test_a_shuffle_of_rows_is_caught_with_the_rows_that_show_the_answers(tmp_path: Path) -> None:
    rng = random.Random(1)
    records = [row for n in range(30) for row in windows(prose(rng, 500), f"file{n}.py", rng)]
    evaluated, trained = records[::7], [each for n, each in enumerate(records) if n % 7]
    parts = [write(tmp_path / "train.jsonl", trained)], [write(tmp_path / "eval.jsonl", evaluated)]
    found = visible_answers(*parts, lambda _: None)
    assert (found.leaked, found.answers) == leaked(evaluated, trained)
    assert found.rate > 0.3
    assert found.worst[0].share == 1.0
    for pair in found.worst:
        assert pair.train_share <= pair.share
        assert pair.eval_row != pair.train_row  # windows of the same file, which their ids tell apart
        assert pair.eval_row.partition(", row ")[0] == pair.train_row.partition(", row ")[0]


def test_a_split_of_seedbed_passes(tmp_path: Path) -> None:
    rng = random.Random(2)
    records = [row for n in range(30) for row in windows(prose(rng, 500), f"file{n}.py", rng)]
    _, where = split_of(tmp_path, records)
    parts = [write(tmp_path / f"{number}.jsonl", by_split(records, where, number)) for number in (0, 1)]
    assert visible_answers(parts[:1], parts[1:], lambda _: None).leaked == 0


def test_the_check_names_the_worst_pairs_of_the_split_in_the_same_order(tmp_path: Path) -> None:
    rng = random.Random(3)
    shared = [prose(rng, 30) for _ in range(6)]
    records = [text_row("\n".join([prose(rng, 20 + n % 40), *rng.sample(shared, n % 2)])) for n in range(120)]
    result, where = split_of(tmp_path, records)
    assert len({(each.share, each.train_share) for each in result.leakage.worst}) > 1
    for seed in (1, 2):
        random.Random(seed).shuffle(records)  # of rows that show as much, the order in the file does not decide
        parts = [write(tmp_path / f"{number}.jsonl", by_split(records, where, number)) for number in (0, 1)]
        assert list(visible_answers(parts[:1], parts[1:], lambda _: None).worst) == result.leakage.worst


def test_short_answers_count_only_if_they_say_something(tmp_path: Path) -> None:
    line = "raise UnexpectedConfigurationError(configuration_path, expected_version, found)"  # 9 tokens
    evaluated = [chat("What?", "return None"), chat("Which line?", line), chat("And?", "yes")]
    trained = [text_row(f"def f():\n    return None\n    {line}\n")]
    parts = [write(tmp_path / "train.jsonl", trained)], [write(tmp_path / "eval.jsonl", evaluated)]
    found = visible_answers(*parts, lambda _: None)
    assert (found.answers, found.too_short, found.leaked) == (1, 2, 1)


def test_an_answer_with_other_markup_is_seen_and_counted_once(tmp_path: Path) -> None:
    """A changelog in reStructuredText gives away the one in Markdown."""
    rng = random.Random(5)
    answer = prose(rng, 60)
    evaluated = [chat("Write it.", answer), chat("And another.", prose(rng, 60))]
    parts = (
        [write(tmp_path / "train.jsonl", [text_row(with_other_markup(answer))])],
        [write(tmp_path / "eval.jsonl", evaluated)],
    )
    found = visible_answers(*parts, lambda _: None)
    assert (found.answers, found.leaked) == (2, 1)
    assert [each.share for each in found.worst] == [1.0]


def test_text_in_the_arguments_of_a_tool_call_is_compared_without_its_escapes(tmp_path: Path) -> None:
    text = "\n".join(f'print("line {n}", value_{n})' for n in range(10))
    call = ToolCall(id="1", function=Function(name="Write", arguments=msgspec.json.encode({"content": text}).decode()))
    messages = [Message(role="user", content="Write it."), Message(role="assistant", tool_calls=[call])]
    evaluated = Record(kind="chat", messages=messages, provenance=Provenance(source="codex"))
    parts = [write(tmp_path / "train.jsonl", [text_row(text)])], [write(tmp_path / "eval.jsonl", [evaluated])]
    assert visible_answers(*parts, lambda _: None).leaked == 1


def session(rng: random.Random, number: int, *answers: str) -> Record:
    """A session of an agent that reads a file of its project, runs the tests and then answers."""
    calls = [
        Function(name="Read", arguments=f'{{"file_path": "/home/x/work/shop/src/shop/module_{number}.py"}}'),
        Function(
            name="Bash", arguments='{"command": "cd /home/x/work/shop && . .venv/bin/activate && python -m pytest -q"}'
        ),
    ]
    messages = [Message(role="user", content=prose(rng, 30))]
    for each in calls:
        messages.append(Message(role="assistant", tool_calls=[ToolCall(id="1", function=each)]))
        messages.append(Message(role="tool", content=prose(rng, 30), tool_call_id="1"))
    messages += [Message(role="assistant", content=each) for each in answers]
    origin = Provenance(source="claude-code", session=f"s{number}")
    return named(Record(kind="chat", messages=messages, provenance=origin, links=[f"session:s{number}"]))


def test_calls_that_every_session_has_are_no_leak(tmp_path: Path) -> None:
    rng = random.Random(4)
    sessions = [session(rng, n, prose(rng, 90)) for n in range(40)]
    result, where = split_of(tmp_path, sessions)
    assert result.leakage.leaked == 0
    assert len(by_split(sessions, where, 1)) >= 4


def test_short_calls_are_measured_with_all_answers_of_a_conversation_and_answers_on_their_own(tmp_path: Path) -> None:
    rng = random.Random(5)
    short, long = [prose(rng, 20) for _ in range(9)], prose(rng, 140)

    def calls(*texts: str) -> Record:
        found = [Function(name="Write", arguments=msgspec.json.encode({"content": text}).decode()) for text in texts]
        messages = [Message(role="user", content=prose(rng, 30))]
        messages += [Message(role="assistant", tool_calls=[ToolCall(id="1", function=each)]) for each in found]
        return named(Record(kind="chat", messages=messages, provenance=Provenance(source="codex")))

    evaluated = {
        "a long call that is known": (calls(prose(rng, 300), long), 1),
        "all calls, which are known": (calls(*short), 1),
        "one short call that is known": (calls(prose(rng, 300), short[0]), 0),
        "one call, which is short and known": (calls(short[0]), 1),
        "one short answer that is known": (session(rng, 0, prose(rng, 300), short[0]), 1),
    }
    trained = [session(rng, 3, prose(rng, 300), long), *(chat(prose(rng, 20), each) for each in short)]
    for what, (each, leaks) in evaluated.items():
        parts = [write(tmp_path / "train.jsonl", trained)], [write(tmp_path / "eval.jsonl", [each])]
        found = visible_answers(*parts, lambda _: None)
        assert found.leaked == leaks, what
        assert [pair.share > 0.5 for pair in found.worst].count(True) == leaks
    assert found.worst[0].answer == short[0]


def test_empty_files_have_no_leaks(tmp_path: Path) -> None:
    empty = write(tmp_path / "empty.jsonl", [])
    assert visible_answers([empty], [empty], lambda _: None).rate == 0
    assert SplitOptions().max_leaked == 0.01
