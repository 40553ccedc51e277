"""A dataset that is built again: what was trained stays in training, what was evaluated is evaluated, new data is split."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from seedbed.curation.drops import Drops
from seedbed.curation.folder import LEDGER
from seedbed.curation.record import Record
from seedbed.curation.splitting.ledger import encode_line
from seedbed.curation.splitting.split import SplitResult
from split_rows import by_split, chat, fim, leaked, prose, split_of, text_row, windows, with_other_markup


class Builds:
    """Builds of one dataset with one ledger."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.ledger = folder, folder / LEDGER

    def build(self, records: list[Record], **options: object) -> tuple[SplitResult, dict[str, int]]:
        """Split the records, and add to the ledger what is new."""
        result, where = split_of(self.folder, records, ledger=self.ledger, **options)
        with self.ledger.open("ab") as handle:
            handle.writelines(encode_line(each) for each in result.ledger)
        return result, where


@pytest.fixture
def builds(tmp_path: Path) -> Builds:
    return Builds(tmp_path)


def everything(rng: random.Random, count: int = 60) -> list[Record]:
    """Files in overlapping windows, conversations that quote each other, and commits: many answers are seen elsewhere."""
    records: list[Record] = []
    answers = [prose(rng, 40) for _ in range(count)]
    for number in range(4 * count):
        quoted = rng.choice(answers) if rng.random() < 0.3 else prose(rng, 40)
        links = [f"session:{number}"] if number % 3 else []
        records.append(chat(prose(rng, 100), quoted + " " + prose(rng, 15), links=links))
    for number in range(count):
        records += windows(prose(rng, 400), f"src/f{number}.py", rng, count=3, size=1200)
    for number in range(2 * count):
        links = [f"commit:{number:040x}", f"path:app/src/g{number % 7}.py"]
        time = f"2026-{1 + number // 28:02d}-{1 + number % 28:02d}T10:00:00Z"
        records.append(chat(prose(rng, 20), prose(rng, 40), links=links, time=time, source="git"))
    return records


@pytest.mark.parametrize("seed", range(3))
def test_the_same_data_is_split_in_the_same_way_again(builds: Builds, seed: int) -> None:
    records = everything(random.Random(seed))
    first, before = builds.build(records)
    assert first.leakage.leaked_before  # so rows were moved or left out
    text = builds.ledger.read_bytes()
    for _ in range(2):
        random.Random(seed).shuffle(records)
        again, after = builds.build(records)
        assert after == before
        assert not again.ledger
        assert {int(each) for each in again.group} == {int(each) for each in first.group}
    assert builds.ledger.read_bytes() == text


def test_rows_stay_and_of_new_data_the_wanted_share_is_evaluated(builds: Builds) -> None:
    rng = random.Random(5)
    records = everything(rng)
    _, before = builds.build(records)
    added = evaluated = 0
    for week in range(8):
        new = [chat(prose(rng, 20), prose(rng, 40), links=[f"session:new-{week}-{n}"]) for n in range(30)]
        new += [fim(prose(rng, 80), 200, 300, f"new{week}/{n}.py") for n in range(10)]
        records = [*records, *new]
        _, after = builds.build(records)
        assert {name: after[name] for name in before} == before
        added += len(new)
        evaluated += len(by_split(new, after, 1))
        before = after
    assert 0.08 * added < evaluated < 0.25 * added


def test_what_was_trained_stays_when_its_group_becomes_small_or_is_tied_to_an_evaluated_one(builds: Builds) -> None:
    """A group that was divided, since it was too large, would go to evaluation as a whole among more rows."""
    rng = random.Random(7)

    def commits(first: int, count: int, path: str) -> list[Record]:
        made = []
        for number in range(first, first + count):
            links = [f"commit:{number:040x}", f"path:app/{path}"]
            time = f"2026-{1 + number // 28:02d}-{1 + number % 28:02d}T10:00:00Z"
            made.append(chat(prose(rng, 20), prose(rng, 40), links=links, time=time, source="git"))
        return made

    repository = commits(0, 60, "core.py")
    sessions = [chat(prose(rng, 20), prose(rng, 40), links=[f"session:{n}"]) for n in range(100)]
    _, before = builds.build([*repository, *sessions])
    assert {before[each.id] for each in repository} == {0, 1}
    added = [chat(prose(rng, 20), prose(rng, 40), links=[f"session:{n}"]) for n in range(100, 600)]
    trained = next(each for each in sessions if before[each.id] == 0)
    evaluated = next(each for each in sessions if before[each.id] == 1)
    for number, each in enumerate((trained, evaluated)):
        each.links = [*(each.links or ()), f"file:app/shared{number}.py"]
    added.append(
        chat(prose(rng, 20), prose(rng, 40), links=["session:new", "file:app/shared0.py", "file:app/shared1.py"])
    )
    other = split_of(builds.folder, [*repository, *sessions, *added], ledger=builds.ledger, salt="other")[1]
    assert {other[each.id] for each in repository} == {0, 1}  # other options may evaluate what was trained, but not all
    result, after = builds.build([*repository, *sessions, *added])
    assert result.eval_rows < 1.2 * result.leakage.wanted_rows
    for each in [*repository, *sessions]:
        if before[each.id] != 2:
            assert after[each.id] in (before[each.id], 2), each.links


def test_a_trained_session_that_grows_stays_in_training(builds: Builds) -> None:
    rng = random.Random(6)
    turns = {n: [prose(rng, 20), prose(rng, 40)] for n in range(120)}

    def rows() -> list[Record]:
        return [chat(*each, links=[f"session:{n}"]) for n, each in turns.items()]

    first = rows()
    _, before = builds.build(first)
    for each in turns.values():
        each += [prose(rng, 20), prose(rng, 40)]
    grown = rows()
    _, after = builds.build(grown)
    assert [after[each.id] for each in grown] == [before[each.id] for each in first]


def test_a_row_that_shows_an_old_answer_takes_no_large_group_to_evaluation(builds: Builds) -> None:
    rng = random.Random(7)
    records = [chat(prose(rng, 100), prose(rng, 40), links=[f"session:{n}"]) for n in range(300)]
    _, before = builds.build(records)
    answer = (by_split(records, before, 1)[0].messages or [])[-1].content
    # Forty rows of one new commit, one of which shows the answer.
    new = [chat(prose(rng, 20), prose(rng, 40), links=["commit:1"]) for _ in range(39)]
    new.append(chat(prose(rng, 100), answer, links=["commit:1"]))
    drops = Drops()
    result, after = split_of(builds.folder, [*records, *new], drops, ledger=builds.ledger)
    assert {name: after[name] for name in before} == before
    assert after[new[-1].id] == 2
    assert drops.counts["split", "shows an evaluation answer"] == 1
    assert leaked(by_split([*records, *new], after, 1), by_split([*records, *new], after, 0))[0] == 0
    # A conversation of its own goes to evaluation instead.
    alone = chat(prose(rng, 100), answer)
    _, after = split_of(builds.folder, [*records, alone], ledger=builds.ledger)
    assert after[alone.id] == 1
    assert result.leakage.rate == 0


@pytest.mark.parametrize("options", [{"salt": "other"}, {"eval_fraction": 0.3}])
def test_other_options_choose_anew_beside_what_was_evaluated(builds: Builds, options: dict[str, object]) -> None:
    rng = random.Random(8)
    records = [text_row(prose(rng, 60)) for _ in range(300)]
    first, before = builds.build(records)
    second, after = builds.build(records, **options)
    assert all(after[name] == 1 for name, number in before.items() if number == 1)
    moved = sum(after[name] == 1 for name, number in before.items() if number == 0)
    told = [each for each in second.leakage.messages if "earlier versions trained on. A model" in each]
    assert [each.split()[0] for each in told] == ([str(moved)] if moved else [])
    assert not any("A model" in each for each in first.leakage.messages)
    if options.get("eval_fraction"):
        assert second.eval_rows > 1.5 * first.eval_rows
    else:
        assert second.eval_rows <= 1.5 * first.leakage.wanted_rows + 1
    _, again = builds.build(records, **options)
    assert again == after


def test_more_is_evaluated_if_most_of_the_evaluation_is_gone(builds: Builds) -> None:
    rng = random.Random(9)
    records = [text_row(prose(rng, 60)) for _ in range(300)]
    first, before = builds.build(records)
    left = [each for n, each in enumerate(records) if before[each.id] == 0 or n % 5 == 0]
    result, after = builds.build(left)
    assert sum(before[each.id] == 1 for each in left) < 0.4 * first.eval_rows
    assert result.eval_rows * 2 >= result.leakage.wanted_rows
    assert all(after[each.id] == 1 for each in left if before[each.id] == 1)


def test_answers_are_not_seen_in_training_with_other_markup(builds: Builds) -> None:
    """Neither in the first build, nor when rows with the answers of an earlier build in other markup are added."""
    rng = random.Random(4)
    answers = [prose(rng, 40) for _ in range(200)]
    records = [chat(prose(rng, 30), each, links=[f"session:{number}"]) for number, each in enumerate(answers)]
    converted = [text_row(with_other_markup(each)) for each in answers]
    _, where = builds.build([*records, *converted[:100]])
    after = builds.build([*records, *converted])[1]
    for build, count in ((where, 100), (after, 200)):
        evaluated = [each for each in records if build[each.id] == 1]
        trained = {each.text for each in converted[:count] if build[each.id] == 0}
        assert len(evaluated) > 10
        assert not [each for each in evaluated if with_other_markup(each.messages[1].content) in trained]  # type: ignore[index]


def test_rows_left_out_for_an_answer_that_went_to_training_are_trained(tmp_path: Path) -> None:
    rng = random.Random(10)
    # Each session has two answers: one is seen in one other row, the other in several, so that the session is trained.
    records: list[Record] = []
    for number in range(80):
        once, often = prose(rng, 40), prose(rng, 40)
        records.append(chat(prose(rng, 20), once, prose(rng, 20), often, links=[f"session:{number}"]))
        records += [chat(prose(rng, 20), prose(rng, 60) + " " + text) for text in (once, often, often, often)]
    drops = Drops()
    result, where = split_of(tmp_path, records, drops)
    assert result.leakage.leaked == 0
    trained, evaluated = by_split(records, where, 0), by_split(records, where, 1)
    for each in by_split(records, where, 2):  # what is left out does show an evaluation answer
        assert leaked(evaluated, [*trained, each])[0] > 0


def test_a_session_that_ties_old_evaluation_to_trained_sessions_takes_none_of_these_to_evaluation(
    builds: Builds,
) -> None:
    rng = random.Random(11)
    records = [
        chat(prose(rng, 20), prose(rng, 40), links=[f"session:{n}-{m}", f"file:app/f{n}.py"])
        for n in range(60)
        for m in range(3)
    ]
    _, before = builds.build(records)
    files = {split: [n for n in range(60) if before[records[3 * n].id] == split] for split in (0, 1)}
    assert len(files[0]) > 40
    # New sessions change a file of an evaluated session and one of trained sessions, or files of trained sessions only.
    both = [
        chat(
            prose(rng, 20),
            prose(rng, 40),
            links=[f"session:both-{n}", f"file:app/f{evaluated}.py", f"file:app/f{n}.py"],
        )
        for evaluated, n in zip(files[1], files[0], strict=False)
    ]
    trained = [
        chat(prose(rng, 20), prose(rng, 40), links=[f"session:trained-{n}", f"file:app/f{n}.py"])
        for n in files[0][len(both) :]
    ]
    everyone = [*records, *both, *trained]
    result, after = builds.build(everyone)
    assert {name: after[name] for name in before} == before
    assert {after[each.id] for each in both} == {1}
    assert {after[each.id] for each in trained} == {0}
    groups = dict(zip([each.id for each in everyone], result.group.tolist(), strict=True))
    names = {split: {groups[each.id] for each in by_split(everyone, after, split)} for split in (0, 1)}
    assert not names[0] & names[1]
    _, again = builds.build(everyone)
    assert again == after


@pytest.mark.parametrize("seed", range(4))
def test_an_old_evaluation_row_is_kept_if_rows_that_show_it_are_left_out_for_another(builds: Builds, seed: int) -> None:
    rng = random.Random(seed)
    records = [chat(prose(rng, 100), prose(rng, 40), links=[f"session:{n}"]) for n in range(300)]
    _, before = builds.build(records)
    answers = [(each.messages or [])[-1].content for each in by_split(records, before, 1)]
    # Of each pair of old answers, a new session shows both, and another one shows only one of them.
    new = []
    for number, (one, other) in enumerate(zip(answers[::2], answers[1::2], strict=False)):
        for name, shown in (("both", f"{one} {other}"), ("one", one)):
            links = [f"session:{name}-{number}"]
            new += [chat(prose(rng, 20), prose(rng, 40), links=links) for _ in range(25)]
            new.append(chat(prose(rng, 150) + " " + shown, prose(rng, 40), links=links))
    result, after = builds.build([*records, *new])
    assert [after[each.id] for each in by_split(records, before, 1)] == [1] * len(answers)
    assert result.leakage.leaked == 0
    again, once_more = builds.build([*records, *new])
    assert once_more == after
    assert not again.ledger
