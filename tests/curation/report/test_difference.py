"""What differs between two versions of a dataset."""

from __future__ import annotations

from pathlib import Path

from reported import chat_with_tools, dataset, measured
from seedbed.curation.drops import Drops
from seedbed.curation.report.difference import Difference, difference, difference_lines
from seedbed.curation.report.measured import Measured, TokenAmount
from seedbed.curation.report.summary import summarise
from split_rows import chat, fim


def compared(
    first: tuple[Path, object], second: tuple[Path, object], tokens: tuple[Measured | None, ...] = (None, None)
) -> Difference:
    versions = [(path, description, summarise(path, description)) for path, description in (first, second)]  # type: ignore[arg-type]
    for (_, _, summary), own in zip(versions, tokens, strict=True):
        summary.tokens = own
    return difference(*versions)  # type: ignore[arg-type]


def test_rows_reasons_distributions_and_settings_are_compared(tmp_path: Path) -> None:
    old, new = Drops(), Drops()
    for number in range(5):
        old.drop("files", "vendored folder", str(number))
    new.drop("files", "vendored folder", "0")
    new.drop("split", "prefix of a longer row", "0")
    shared = [chat(f"q{n}", f"a{n}") for n in range(10)]
    first = dataset(tmp_path / "a", shared[:8], shared[8:], old, settings={"split": {"salt": "x", "level": "auto"}})
    second = dataset(
        tmp_path / "b",
        [*shared[:6], shared[8], fim("abcd", 1, 2, "a.py")],
        [shared[7], shared[9]],
        new,
        settings={"split": {"salt": "y", "level": "auto", "eval_rows": 5}},
    )
    found = compared(first, second)
    assert (found.kept, found.added, found.removed) == (9, 1, 1)
    assert found.moved == {"eval to train": 1, "train to eval": 1}
    assert [(each.name, each.before, each.after) for each in found.by["kind"]] == [("chat", 10, 9), ("fim", 0, 1)]
    assert [(each.name, each.before, each.after) for each in found.left_out] == [
        ("vendored folder (files)", 5, 1),
        ("prefix of a longer row (split)", 0, 1),
    ]
    assert found.settings == [("split.eval_rows", "(not set)", "5"), ("split.salt", "x", "y")]
    text = "\n".join(difference_lines(found, 80))
    for shown in ("Rows: 9 in both, 1 added, 1 removed", "1 moved from eval to train", "split.salt: x -> y", "5 -> 1"):
        assert shown in " ".join(text.split())
    assert all(len(line) <= 80 for line in text.splitlines())
    narrow = difference_lines(found, 40)
    assert all(len(line) <= 40 for line in narrow)
    assert "…" not in "".join(narrow)
    assert "prefix of a longer row (split)" in "\n".join(narrow)


def test_two_datasets_with_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    old = dataset(tmp_path / "old" / "full", [chat("q", "a")], [])
    new = dataset(tmp_path / "data" / "full", [chat("q", "b")], [])
    found = compared(old, new, (measured(), None))
    assert (found.before, found.after) == (str(tmp_path / "old" / "full"), str(tmp_path / "data" / "full"))
    assert str(tmp_path / "data" / "full") in found.not_compared


def test_settings_that_only_one_of_two_kinds_has_are_counted(tmp_path: Path) -> None:
    own = {"fim": {"rate": 0.5, "context": "file"}, "quality": {"filters": False, "note": ""}}
    other = {"split": {"salt": "x"}, "quality": {"filters": True, "note": "n"}}
    first, second = (
        dataset(tmp_path / name, [chat("q", "a")], settings=each) for name, each in (("a", own), ("b", other))
    )
    found = compared(first, second)
    assert found.settings == [("quality.filters", "False", "True"), ("quality.note", "none", "n")]
    text = " ".join(difference_lines(found, 80))
    assert "3 settings that only one of them can have" in text
    assert "fim.rate" not in text
    assert "values redacted" not in text, "neither has any"


def test_leaks_duplicates_sets_mixes_and_time_are_compared(tmp_path: Path) -> None:
    facts = [
        {
            "leakage": {"answers": 50, "leaked": n, "groups": 9},
            "duplicates": {"records": 9, "exact": 3 + n, "near": 2},
            "evaluation_sets": [{"name": "a", "items": 164, "repeated": 2 * n, "dropped": 3 * n}],
        }
        for n in (0, 1)
    ]
    first = dataset(tmp_path / "a", [chat("q", "a", time="2025-01-01T00:00:00Z")], facts=facts[0])
    second = dataset(tmp_path / "b", [chat_with_tools(), chat("q", "a", time="2026-02-01T00:00:00Z")], facts=facts[1])
    found = compared(first, second)
    counts = {each.name: (each.before, each.after) for each in found.counts}
    assert counts["evaluation answers that leak"] == (0, 1)
    assert counts["exact duplicates"] == (3, 4)
    assert counts["items of evaluation sets repeated"] == (0, 2)
    assert counts["rows left out for them"] == (0, 3)
    assert "near duplicates" not in counts  # they are the same
    assert {each.name for each in found.mixes["Tool calls"]} == {"Read", "Edit"}
    assert found.lengths[-1].name == "longest"
    assert found.lengths[-1].after > found.lengths[-1].before == 2
    assert found.times == ("2025-01-01 to 2025-01-01", "2026-02-01 to 2026-02-01")
    text = "\n".join(difference_lines(found, 90))
    for shown in ("Made: 2025-01-01 to 2025-01-01 ->", "Tool calls", "Characters of a row"):
        assert shown in text


def test_tokens_are_compared_if_they_were_measured_alike(tmp_path: Path) -> None:
    first, second = dataset(tmp_path / "a", [chat("q", "a")]), dataset(tmp_path / "b", [chat("q", "b")])
    old, new = measured(), measured()
    new.splits = {"train": TokenAmount(samples=12, tokens=1500, trained=300)}
    new.fitted.fill = 0.5
    found = compared(first, second, (old, new))
    assert [(each.name, each.before, each.after) for each in found.tokens][:2] == [
        ("tokens", 1000, 1500),
        ("trained tokens", 250, 300),
    ]
    text = "\n".join(difference_lines(found))
    assert "pack fill: 98.76 % -> 50.00 %" in text
    new.tokenizer = "other"
    other = compared(first, second, (old, new))
    assert (other.tokens, other.fill) == ([], None)
    assert "Tokens are not compared: their tokens were measured with different tokenizers." in "\n".join(
        difference_lines(other)
    )
    assert compared(first, second, (old, None)).not_compared == "the tokens of b were not measured"
    assert compared(first, second).not_compared == ""


def test_a_dataset_equals_itself(tmp_path: Path) -> None:
    rows = [chat(f"q{n}", f"a{n}") for n in range(5)]
    found = compared(dataset(tmp_path / "a", rows), dataset(tmp_path / "b", rows))
    assert found.same_rows
    assert (found.kept, found.added, found.removed, found.by, found.left_out) == (5, 0, 0, {}, [])
    assert "Both have the same rows in the same order." in difference_lines(found)


def test_other_marks_and_provenance_are_no_other_row(tmp_path: Path) -> None:
    one, same = chat("q", "a"), chat("q", "a", links=["session:1"])
    same.cluster, same.group, same.id = "c", "g", "other"
    found = compared(dataset(tmp_path / "a", [one]), dataset(tmp_path / "b", [same]))
    assert not found.same_rows
    assert (found.kept, found.added, found.removed) == (1, 0, 0)
