from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from planted_duplicates import chat, code, gap, identified, prose, words
from seedbed.curation.decontamination import Decontaminate, index_items
from seedbed.curation.drops import Drops
from seedbed.curation.evaluation_sets import Hit, Item, Overlap, Reading, SetFound, read_items
from seedbed.curation.record import ContextFile, Record
from seedbed.errors import SeedbedError, UsageError

PROMPT = "Write a function that returns the second largest of the different numbers in a list or None if there is no such number."
SOLUTION = """def second_largest(numbers):
    different = sorted(set(numbers))
    if len(different) < 2:
        return None
    return different[-2]
"""
SET = [{"task_id": "T/1", "prompt": PROMPT, "solution": SOLUTION}]
FILLER = " ".join(words(1, 400))


def cleaned(
    tmp_path: Path, records: Sequence[Record], rows: Sequence[dict[str, Any]] = SET, overlap: Overlap | None = None
) -> tuple[list[Record], Drops, list[Hit]]:
    path = tmp_path / "set.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    reading = Reading()
    step = Decontaminate(index_items(read_items([path], reading), reading), overlap)
    drops = Drops()
    return list(step(iter(records), drops)), drops, step.hits()


def test_records_that_repeat_an_item_are_left_out_and_the_item_is_named(tmp_path: Path) -> None:
    records = [
        chat("Please: " + PROMPT.upper(), "Here you are."),
        prose("Other words before. " + PROMPT + " And other words after it."),
        code(FILLER + "\n" + SOLUTION, "solved.py"),
        gap(SOLUTION + FILLER, 20, 60, "piece.py"),
        prose(FILLER),
    ]
    left, drops, hits = cleaned(tmp_path, records)
    assert left == [records[-1]]
    assert drops.counts == {("decontaminate", "repeats set.jsonl"): 4}
    assert [(hit.set_name, hit.item, hit.field, hit.dropped, hit.share) for hit in hits] == [
        ("set.jsonl", "T/1", "prompt", 2, 1),
        ("set.jsonl", "T/1", "solution", 2, 1),
    ]
    assert hits[1].example.startswith("app solved.py ")
    assert drops.samples[2].where.endswith("solution of T/1 in set.jsonl")


def test_what_was_found_of_each_set_is_counted(tmp_path: Path) -> None:
    rows = [
        *SET,
        {"task_id": "T/2", "prompt": " ".join(words(3, 30))},
        {"task_id": "T/3", "prompt": " ".join(words(7, 1000))},
    ]
    for name, content in (("a.jsonl", rows), ("b.jsonl", [{"task_id": "U", "text": " ".join(words(9, 40))}])):
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in content))
    reading = Reading()
    step = Decontaminate(index_items(read_items([tmp_path / "a.jsonl", tmp_path / "b.jsonl"], reading), reading))
    quoted = prose(FILLER + " " + " ".join(words(7, 1000)[100:120]))
    records = [prose("Before. " + PROMPT), code(SOLUTION, "a.py"), quoted, prose(FILLER)]
    assert list(step(iter(records), Drops())) == [quoted, records[3]]
    assert step.sets() == [
        SetFound(name="a.jsonl", items=3, found=2, repeated=1, dropped=2),
        SetFound(name="b.jsonl", items=1),
    ]


def test_files_shown_before_the_gap_count(tmp_path: Path) -> None:
    record = gap(FILLER, 20, 60, "piece.py")
    record.context = [ContextFile(path="b.py", text=FILLER[:99]), ContextFile(path="a.py", text=SOLUTION)]
    assert cleaned(tmp_path, [identified(record)])[0] == []


def test_a_few_equal_runs_are_noted_and_kept(tmp_path: Path) -> None:
    long_item = " ".join(words(7, 1000))
    quoted = " ".join(words(7, 1000)[100:120])
    left, drops, hits = cleaned(tmp_path, [prose(FILLER + " " + quoted)], [{"id": 1, "text": long_item}])
    assert len(left) == 1
    assert drops.notes["decontaminate", "kept with a few runs of an evaluation item"] == 1
    assert (hits[0].kept, hits[0].dropped) == (1, 0)
    assert hits[0].share == pytest.approx((20 - 12) / (420 - 12))  # of the runs of 13 words of the record


def test_many_equal_runs_of_a_long_item_are_contamination_whatever_their_share(tmp_path: Path) -> None:
    long_item = " ".join(words(7, 5000))
    for count, kept in ((61, 1), (62, 0)):  # 49 and 50 runs of 13 words
        record = prose(FILLER + " " + " ".join(words(7, 5000)[100 : 100 + count]))
        assert len(cleaned(tmp_path, [record], [{"text": long_item}])[0]) == kept


def test_a_short_record_inside_a_long_item_is_contamination(tmp_path: Path) -> None:
    part = prose(" ".join(words(7, 5000)[100:120]))
    assert cleaned(tmp_path, [part], [{"text": " ".join(words(7, 5000))}])[0] == []


def test_items_of_eight_words_are_found_as_a_whole_and_shorter_ones_are_counted(tmp_path: Path) -> None:
    rows = [
        {"id": "eight", "question": "Who wrote the first book about this subject?"},
        {"id": "two", "question": "Who wrote?"},
    ]
    records = [chat("Tell me, who wrote the first book about this subject?", "X."), chat("Who wrote?", "Y.")]
    left, drops, hits = cleaned(tmp_path, records, rows)
    assert left == records[1:]
    assert [hit.item for hit in hits] == ["eight"]
    assert drops.notes["decontaminate", "too short to be found, of set.jsonl"] == 1


@pytest.mark.parametrize("count", range(8, 15))
@pytest.mark.parametrize("as_code", [True, False])
def test_items_of_every_length_from_eight_words_are_found_in_code_and_prose(
    tmp_path: Path, count: int, as_code: bool
) -> None:
    text = FILLER + "\n" + " ".join(words(9, count)) + "\n" + FILLER
    record = code(text, "a.py") if as_code else prose(text)
    assert cleaned(tmp_path, [record], [{"text": " ".join(words(9, count))}])[0] == []
    missing = record.text.replace(words(9, count)[4], "another") if record.text else ""
    changed = code(missing, "a.py") if as_code else prose(missing)
    assert len(cleaned(tmp_path, [changed], [{"text": " ".join(words(9, count))}])[0]) == 1


def test_code_is_compared_by_shorter_runs_than_prose(tmp_path: Path) -> None:
    item = words(9, 30)
    part = FILLER + " " + " ".join([*item[:11], "x", *item[11:22]])
    assert cleaned(tmp_path, [code(part, "a.py")], [{"text": " ".join(item)}], Overlap(share=0.1))[0] == []
    assert len(cleaned(tmp_path, [prose(part)], [{"text": " ".join(item)}], Overlap(share=0.1))[0]) == 1


def test_what_all_prompts_begin_with_is_no_contamination(tmp_path: Path) -> None:
    preamble = (
        "You are given a programming task and must answer it with one complete Python function and nothing else at all."
    )
    rows = [{"id": n, "prompt": f"{preamble} {' '.join(words(n + 50, 20))}"} for n in range(30)]
    records = [chat(preamble + " My own task.", "ok"), chat(" ".join(words(60, 20)), "ok")]
    left, _, hits = cleaned(tmp_path, records, rows)
    assert left == records[:1]
    assert [hit.item for hit in hits] == ["10"]


def test_batches_give_the_same_as_single_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from seedbed.curation import decontamination

    records = [prose(f"{n} {PROMPT if n % 7 == 0 else FILLER}") for n in range(40)] + [prose("")] * 3
    together = cleaned(tmp_path, records)
    monkeypatch.setattr(decontamination, "_BATCH_RECORDS", 1)
    single = cleaned(tmp_path, records)
    assert together[0] == single[0]
    assert together[1].as_json() == single[1].as_json()
    assert together[2] == single[2]
    assert len(single[0]) == 43 - 6


def test_items_that_are_all_too_short_are_an_error() -> None:
    reading = Reading(items={"tiny": 1})
    with pytest.raises(SeedbedError, match="tiny"):
        index_items([Item("tiny", "1", "text", "too short")], reading)


def test_no_records_are_no_error(tmp_path: Path) -> None:
    assert cleaned(tmp_path, [])[0] == []


@pytest.mark.parametrize(("share", "runs"), [(0, 50), (1.1, 50), (0.2, 0)])
def test_an_overlap_that_means_nothing_is_refused(share: float, runs: int) -> None:
    with pytest.raises(UsageError):
        Overlap(share=share, runs=runs)
