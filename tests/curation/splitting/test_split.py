"""The split: no evaluation answer is seen in training, whatever the rows are, and however often they are built again."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seedbed.curation.drops import Drops
from seedbed.curation.folder import LEDGER
from seedbed.curation.record import Message, Provenance, Record, content_id, encode
from seedbed.curation.splitting.ledger import encode_line
from seedbed.curation.splitting.split import SplitOptions, SplitResult, row_name, rows_of, split
from seedbed.errors import SeedbedError, UsageError
from split_rows import by_split, chat, fim, leaked, named, prose, runs, split_of, text_row, windows, write

SOURCES = Path(__file__).resolve().parents[3] / "src" / "seedbed"


def test_defect_14_no_answer_of_this_projects_files_is_seen_where_a_shuffle_of_rows_shows_most(tmp_path: Path) -> None:
    rng = random.Random(3)
    records: list[Record] = []
    for path in sorted(SOURCES.rglob("*.py"))[:120]:
        text = path.read_text()
        if len(text) > 400:
            records += windows(text, str(path.relative_to(SOURCES)), rng)
    shuffled = [rng.random() < 0.15 for _ in records]
    bad, total = leaked(
        [each for each, chosen in zip(records, shuffled, strict=True) if chosen],
        [each for each, chosen in zip(records, shuffled, strict=True) if not chosen],
    )
    assert bad / total > 0.6
    result, where = split_of(tmp_path, records)
    bad, total = leaked(by_split(records, where, 1), by_split(records, where, 0))
    assert total > 0.08 * len(records)
    assert bad / total <= 0.01
    assert result.leakage.rate <= 0.01
    evaluated = {each.provenance.path for each in by_split(records, where, 1)}
    assert not evaluated & {each.provenance.path for each in by_split(records, where, 0)}


def test_growing_beginnings_of_a_conversation_keep_the_longest_only(tmp_path: Path) -> None:
    rng = random.Random(5)
    records = []
    for number in range(40):
        turns = [prose(rng, 30) for _ in range(8)]
        # No links: only the content shows that these are one session.
        records += [chat(*turns[:length], source="sharegpt") for length in (2, 4, 6, 8)]
        if number < 10:
            records.append(chat(*turns[:4], prose(rng, 30), prose(rng, 30), source="sharegpt"))  # goes another way
    drops = Drops()
    result, where = split_of(tmp_path, records, drops)
    assert drops.counts["split", "prefix of a longer row"] == 40 * 3
    assert result.train_rows + result.eval_rows == 50
    assert len({int(each) for each in result.group}) == 40  # the two ways of a conversation stay together
    assert leaked(by_split(records, where, 1), by_split(records, where, 0))[0] == 0
    assert drops.samples[0].text  # what was left out can be looked at


def everything_about_the_same_files(seed: int = 0) -> list[Record]:
    """Windows, commits and sessions over the same files: by links, all of it is one group."""
    rng = random.Random(seed)
    records = []
    files = {f"src/m{n}.py": [prose(rng, 40) for _ in range(12)] for n in range(40)}
    for number in range(160):
        touched = rng.sample(sorted(files), rng.choice([1, 1, 2, 3]))
        before = "\n".join("\n".join(files[path]) for path in touched)
        new = []
        for path in touched:
            files[path][rng.randrange(12)] = line = prose(rng, 40)
            new.append(line)
        time = f"2026-{1 + number // 28:02d}-{1 + number % 28:02d}T10:00:00Z"
        links = [f"commit:{number:040x}", *(f"path:app/{path}" for path in touched)]
        if number % 4:
            records.append(chat(f"Change {number}\n{before}", "\n".join(new), links=links, time=time, source="git"))
        else:
            links = [f"session:{number}", *(f"file:app/{path}" for path in touched)]
            records.append(chat(f"Please change {number}", before, "and", "\n".join(new), links=links, time=time))
    for path, lines in files.items():
        records += windows("\n".join(lines), path, rng, count=4)
    return records


def test_windows_commits_and_sessions_over_the_same_files_leak_nothing(tmp_path: Path) -> None:
    records = everything_about_the_same_files()
    drops = Drops()
    result, where = split_of(tmp_path, records, drops)
    evaluated, trained = by_split(records, where, 1), by_split(records, where, 0)
    bad, total = leaked(evaluated, trained)
    assert total >= 15
    assert bad == 0
    assert len(trained) > 0.75 * len(records)
    assert result.leakage.level == "time"
    assert "One group holds" in result.leakage.messages[0]
    assert {each.kind for each in evaluated} >= {"chat"}
    assert drops.total == len(records) - len(evaluated) - len(trained)


def test_the_newest_rows_of_a_divided_group_are_evaluated(tmp_path: Path) -> None:
    rng = random.Random(1)
    times = [f"2026-01-01T{n // 60:02d}:{n % 60:02d}:00Z" for n in range(200)]
    links = [[f"commit:{n}", "path:app/all.py"] for n in range(200)]
    records = [chat(prose(rng, 30), prose(rng, 30), links=links[n], time=times[n]) for n in range(200)]
    result, where = split_of(tmp_path, records)
    assert [where[each.id] for each in records[-20:]] == [1] * 20
    assert [where[each.id] for each in records[:100]] == [0] * 100
    assert 30 <= result.eval_rows <= 45


@pytest.mark.parametrize("seed", [1, 3])
def test_the_split_does_not_depend_on_the_order_or_on_how_rows_are_cut_into_files(tmp_path: Path, seed: int) -> None:
    records = everything_about_the_same_files(seed)
    result, where = split_of(tmp_path, records)
    groups = {each.id: int(group) for each, group in zip(records, result.group, strict=True)}
    random.Random(seed).shuffle(records)
    parts = [write(tmp_path / f"part-{n}.jsonl", records[n::3]) for n in (2, 0, 1)]
    again = split(parts, SplitOptions(eval_fraction=0.15), Drops(), lambda _: None)
    read = [each for n in (2, 0, 1) for each in records[n::3]]
    assert {each.id: int(s) for each, s in zip(read, again.split, strict=True)} == where
    assert {each.id: int(g) for each, g in zip(read, again.group, strict=True)} == groups
    assert again.leakage == result.leakage


def add_to_ledger(folder: Path, result: SplitResult) -> Path:
    path = folder / LEDGER
    with path.open("ab") as ledger:
        ledger.writelines(encode_line(each) for each in result.ledger)
    return path


@settings(max_examples=3, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(seed=st.integers(0, 1 << 32))
def test_defect_15_ten_builds_with_growing_data_never_train_what_was_evaluated(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("builds")
    rng = random.Random(seed)
    sessions: list[list[str]] = []
    files: dict[str, str] = {}
    others: list[Record] = []
    ever: dict[str, Record] = {}
    for build in range(10):
        for session in rng.sample(sessions, min(len(sessions), 4)):
            session += [prose(rng, 25), prose(rng, 25)]  # sessions grow, so their rows have other ids
        sessions += [[prose(rng, 25) for _ in range(4)] for _ in range(12)]
        for path in rng.sample(sorted(files), min(len(files), 3)):
            files[path] += "\n" + prose(rng, 60)
        files |= {f"f{build}-{n}.py": prose(rng, 300) for n in range(6)}
        if ever:  # a new row quotes an old evaluation row, without any link to it
            quoted = rng.choice(sorted(ever))
            others.append(
                chat("Quote it.", (ever[quoted].middle or (ever[quoted].messages or [])[-1].content) + prose(rng, 5))
            )
        records = list(others)
        for number, turns in enumerate(sessions):
            records.append(chat(*turns, links=[f"session:{number}"] if number % 2 else []))
        for path, text in sorted(files.items()):
            records += windows(text, path, random.Random(path + str(len(text))), count=2, size=900)
        rng.shuffle(records)
        records = list({each.id: each for each in records}.values())
        result, where = split_of(folder, records, ledger=folder / LEDGER)
        trained, evaluated = by_split(records, where, 0), by_split(records, where, 1)
        assert not {each.id for each in trained} & set(ever)
        ever |= {each.id: each for each in evaluated}
        assert leaked(ever.values(), trained)[0] == 0
        assert 0.05 * len(records) < len(evaluated) < 0.5 * len(records)
        add_to_ledger(folder, result)
    entries = [each for each in map(json.loads, (folder / LEDGER).read_text().splitlines()) if "row" in each]
    assert len(entries) == len(ever)  # each row once


def test_rows_stay_where_they_are_when_unrelated_data_is_added(tmp_path: Path) -> None:
    rng = random.Random(2)
    records = [text_row(prose(rng, 60)) for _ in range(400)]
    _, before = split_of(tmp_path, records)
    _, after = split_of(tmp_path, [text_row(prose(rng, 60)) for _ in range(40)] + records)
    assert sum(before[each.id] != after[each.id] for each in records) <= 4


def test_a_session_keeps_its_split_when_it_grows(tmp_path: Path) -> None:
    rng = random.Random(4)
    sessions = [[prose(rng, 25) for _ in range(2)] for _ in range(200)]

    def built() -> list[int]:
        records = [chat(*turns, links=[f"session:{n}"]) for n, turns in enumerate(sessions)]
        _, where = split_of(tmp_path, records)
        return [where[each.id] for each in records]

    before = built()
    for session in sessions[::2]:
        session += [prose(rng, 25), prose(rng, 25)]
    assert built() == before


@pytest.mark.parametrize("count", [101, 150])
def test_defect_16_a_small_dataset_is_mostly_trained(tmp_path: Path, count: int) -> None:
    rng = random.Random(count)
    result, _ = split_of(tmp_path, [text_row(prose(rng, 40)) for _ in range(count)])
    assert 0.07 * count <= result.eval_rows <= 0.23 * count
    assert result.train_rows + result.eval_rows == count


@pytest.mark.parametrize(("count", "evaluated"), [(1, 0), (2, 1), (3, 1), (7, 1)])
def test_a_tiny_dataset_has_one_evaluation_row_if_it_can(tmp_path: Path, count: int, evaluated: int) -> None:
    rng = random.Random(count)
    result, _ = split_of(tmp_path, [text_row(prose(rng, 40)) for _ in range(count)])
    assert (result.eval_rows, result.train_rows) == (evaluated, count - evaluated)


def test_the_size_of_the_evaluation_is_a_limit(tmp_path: Path) -> None:
    rng = random.Random(9)
    records = [text_row(prose(rng, 40)) for _ in range(500)]
    small, where = split_of(tmp_path, records, eval_fraction=0.15, eval_rows=20)
    assert 10 <= small.eval_rows <= 20
    _, all_of_it = split_of(tmp_path, records, eval_fraction=0.15, eval_rows=0)
    assert all(all_of_it[name] == 1 for name, s in where.items() if s == 1)  # the smaller one is part of the larger


def test_rows_of_many_repositories_are_split_by_repository(tmp_path: Path) -> None:
    rng = random.Random(6)
    records = [fim(prose(rng, 80), 100, 300, f"f{n}.py", f"repo{n % 25}") for n in range(250)]
    result, where = split_of(tmp_path, records)
    assert result.leakage.level == "repository"
    names = [{each.provenance.repository for each in by_split(records, where, number)} for number in (0, 1)]
    assert names[1]
    assert not names[0] & names[1]


def test_a_template_that_opens_every_conversation_ties_nothing_together(tmp_path: Path) -> None:
    rng = random.Random(8)
    template = "You are given a task. Read it with care and then answer it in full, step by step, please."
    records = [chat(template, prose(rng, 20), prose(rng, 20), prose(rng, 20)) for _ in range(200)]
    result, _ = split_of(tmp_path, records)
    assert result.leakage.groups == 200
    assert "template" in result.leakage.messages[0]


def test_the_same_question_with_another_answer_is_in_the_same_split(tmp_path: Path) -> None:
    rng = random.Random(8)
    records = [
        chat(f"What is {word}?", prose(rng, 30)) for word in (prose(rng, 2) for _ in range(60)) for _ in range(2)
    ]
    result, _ = split_of(tmp_path, records)
    assert result.leakage.groups == 60
    assert all(result.split[n] == result.split[n + 1] for n in range(0, 120, 2))


def test_a_middle_that_is_cut_inside_words_leaks_as_well(tmp_path: Path) -> None:
    rng = random.Random(11)
    pieces = [prose(rng, 80) for _ in range(100)]
    # A gap of about 15 tokens, from the middle of a word to the middle of a word; its text is a text row, too.
    records = [fim(piece, 101, 191, f"{n}.py") for n, piece in enumerate(pieces)]
    records += [text_row(piece[60:240] + prose(rng, 300)) for piece in pieces]
    result, where = split_of(tmp_path, records)
    trained = {run for each in by_split(records, where, 0) for run in runs(each.text or "")}
    for each in by_split(records, where, 1):
        if each.kind == "fim":
            inner = (each.middle or "").split(" ", 1)[1].rsplit(" ", 1)[0]
            assert not any(run in trained for run in runs(inner))
    assert result.leakage.leaked == 0


def test_rows_that_repeat_each_other_are_refused_with_the_worst_pairs(tmp_path: Path) -> None:
    rng = random.Random(13)
    phrases = [prose(rng, 25) for _ in range(60)]
    records = [text_row("\n".join(rng.sample(phrases, 20)), file=f"notes/{n}.txt") for n in range(240)]
    with pytest.raises(SeedbedError, match=r"No row can be evaluated: all .* answers .* can be seen") as caught:
        split_of(tmp_path, records)
    assert "other sources" in caught.value.hint


def test_the_ledger_has_no_text_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    rng = random.Random(1)
    records = [chat(prose(rng, 20), prose(rng, 40), links=[f"session:secret-{n}"]) for n in range(30)]
    result, _ = split_of(tmp_path, records)
    ledger = add_to_ledger(tmp_path, result)
    text = ledger.read_text()
    assert "secret" not in text
    assert not any(word in text for word in prose(rng, 200).split())
    kinds = {frozenset(json.loads(line)) for line in text.splitlines()}
    assert kinds == {
        frozenset({"version", "row", "links", "answers"}),
        frozenset({"version", "split", "evaluated", "trained", "left_out"}),
    }
    build = text.splitlines()[-1]
    for line in ('{"version": 1, "row"', build.replace('"trained":"', '"trained":"A'), "{}", "[]"):
        ledger.write_text(f"{text}{line}\n")
        with pytest.raises(SeedbedError, match=r"Line \d+ of the evaluation ledger .* cannot be read"):
            split_of(tmp_path, records, ledger=ledger)
    ledger.write_text(text.replace('"version":1', '"version":9'))
    with pytest.raises(SeedbedError, match="has version 9"):
        split_of(tmp_path, records, ledger=ledger)


def test_a_ledger_that_keeps_far_more_in_evaluation_than_wanted_is_told_with_numbers(tmp_path: Path) -> None:
    rng = random.Random(5)
    records = [chat(prose(rng, 20), prose(rng, 40), links=[f"session:{n}"]) for n in range(100)]
    result, where = split_of(tmp_path, records)
    assert result.leakage.messages == []
    ledger = add_to_ledger(tmp_path, result)
    sessions = [link for each in by_split(records, where, 1) for link in each.links or ()]
    more = [chat(prose(rng, 20), prose(rng, 40), links=[link]) for link in sessions for _ in range(3)]
    again, _ = split_of(tmp_path, [*records, *more], ledger=ledger)
    old, rows = len(sessions), len(records) + len(more)
    assert again.eval_rows == old + len(more)
    assert again.leakage.wanted_rows == round(0.15 * rows)
    (message,) = again.leakage.messages
    assert message.startswith(f"{old + len(more)} of {rows} rows ({(old + len(more)) / rows:.0%}) are for evaluation")
    assert f"{old} were evaluated before, and {len(more)} belong to the same groups" in message
    assert "--ledger FILE" in message


def test_far_fewer_evaluation_rows_than_wanted_are_told_with_the_reason(tmp_path: Path) -> None:
    rng = random.Random(7)
    shared = [prose(rng, 40) for _ in range(3)]
    records = [chat(prose(rng, 20), rng.choice(shared), links=[f"session:{n}"]) for n in range(90)]
    records += [chat(prose(rng, 20), prose(rng, 40), links=[f"session:{n}"]) for n in range(90, 96)]
    result, _ = split_of(tmp_path, records)
    assert 0 < 1.5 * result.eval_rows < result.leakage.wanted_rows
    message = result.leakage.messages[-1]
    assert message.startswith(f"{result.eval_rows} of {result.eval_rows + result.train_rows} rows (")
    assert f"and {result.leakage.wanted_rows} were wanted" in message


def test_rows_come_with_their_split_and_group(tmp_path: Path) -> None:
    rng = random.Random(1)
    records = [chat(prose(rng, 20), prose(rng, 40), links=[f"session:{n // 2}"]) for n in range(60)]
    result, where = split_of(tmp_path, records)
    rows = list(rows_of([tmp_path / "rows.jsonl"], result, lambda _: None))
    assert [(name == "eval", each.id) for name, each in rows] == [(where[each.id] == 1, each.id) for each in records]
    assert len({each.group for _, each in rows}) == 30
    assert all(each.group and len(each.group) == 16 for _, each in rows)


def test_bad_options_and_bad_lines_are_named(tmp_path: Path) -> None:
    records = [text_row("a")]
    with pytest.raises(UsageError, match=r"evaluation share is 1\.5"):
        split_of(tmp_path, records, eval_fraction=1.5)
    with pytest.raises(UsageError, match="most evaluation rows are -1"):
        split_of(tmp_path, records, eval_rows=-1)
    with pytest.raises(SeedbedError, match="no row to split"):
        split_of(tmp_path, [])
    part = write(tmp_path / "bad.jsonl", records)
    part.write_bytes(part.read_bytes() + b'{"kind": "tex\n')
    with pytest.raises(SeedbedError, match=r'Line 2 of ".*bad\.jsonl" is not a record'):
        split([part], SplitOptions(), Drops(), lambda _: None)


def test_tiny_and_empty_rows_are_split_without_harm(tmp_path: Path) -> None:
    rng = random.Random(1)
    records = [named(text_row(text)) for text in ("", " ", "x", "\x00", "漢字", "a b c")]
    records += [chat("hi", "hello"), chat("hi", "good day"), chat("only a question")]
    records += [text_row(prose(rng, 40)) for _ in range(40)]
    result, _ = split_of(tmp_path, records)
    assert result.train_rows + result.eval_rows == len(records)
    assert result.eval_rows


def test_a_file_that_git_has_and_that_a_session_changed_is_in_one_part(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    lines = []
    for number in range(60):
        text = " ".join(f"word{number}x{each}" for each in range(40))
        git = Provenance(source="git", repository="me/app", path=f"src/p{number}.py")
        log = Provenance(source="codex", repository="app", session=f"s{number}")
        turns = [
            Message(role="user", content=f"Please {text[::-1]}"),
            Message(role="assistant", content=" ".join(f"other{number}y{each}" for each in range(40))),
        ]
        for record in (
            Record(kind="text", text=text, provenance=git, links=[f"path:me/app/src/p{number}.py"]),
            Record(
                kind="chat", messages=turns, provenance=log, links=[f"session:s{number}", f"file:app/src/p{number}.py"]
            ),
        ):
            record.id = content_id(record)
            lines.append(encode(record))
    path.write_bytes(b"\n".join(lines) + b"\n")
    found = split([path], SplitOptions(eval_fraction=0.2), Drops(), lambda _: None, tmp_path)
    assert (found.split[::2] == found.split[1::2]).all()
    assert found.eval_rows > 0


def test_the_name_of_a_session_is_shown_once() -> None:
    for file, shown in (
        ("app/5e55.jsonl", "claude-code app app/5e55.jsonl, row"),
        ("app/log", "claude-code app app/log 5e55, row"),
    ):
        record = chat("q", "a")
        record.provenance = Provenance(source="claude-code", repository="app", file=file, session="5e55")
        assert row_name(record) == f"{shown} {record.id[:8]}"
