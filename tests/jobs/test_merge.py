"""The job that merges datasets: a split without leaks that stays as data are added, and one that goes on after a stop."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from prepared import merged, new_task, preparation, prepared, repository, rows, run_task
from seedbed.config.preparing import DecontaminationConfig, MergeConfig, Merging, SplitConfig
from seedbed.curation import merging
from seedbed.curation.folder import EVAL, LEDGER, TRAIN, describe, verify
from seedbed.curation.report.summary import read_report, summarise
from seedbed.curation.splitting import ranges
from seedbed.curation.splitting.ranges import ranges_of
from seedbed.errors import SeedbedError
from seedbed.jobs.merge import WORK
from seedbed.runs.lifecycle import StopRequested


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two prepared datasets of five repositories each."""
    place = tmp_path_factory.mktemp("inputs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEEDBED_CACHE", str(place / "cache"))
        for number in range(10):
            repository(place / f"src{number // 5}" / f"app{number}", 1000 * number, files=4)
        return [
            prepared(place / "runs", preparation("harvest", place / f"src{number}"), place / "data" / f"set{number}")
            for number in range(2)
        ]


def test_a_merge_has_train_and_eval_without_leaks(tmp_path: Path, inputs: list[Path]) -> None:
    made = merged(tmp_path / "runs", tmp_path / "full", *inputs)
    description = describe(made)
    verify(made, description)
    train, held_out = rows(made / TRAIN), rows(made / EVAL)
    assert description.files[TRAIN].rows == len(train)
    assert 0.02 < len(held_out) / (len(train) + len(held_out)) < 0.3
    assert not {row["group"] for row in train} & {row["group"] for row in held_out}
    assert not {link for row in train for link in row["links"]} & {link for row in held_out for link in row["links"]}
    leakage = description.facts["leakage"]
    assert leakage["answers"] > 0
    assert leakage["rate"] <= 0.01
    assert [each["name"] for each in description.inputs] == ["set0", "set1"]
    assert description.steps[0] == "redact@7"
    assert not list((made / LEDGER).parent.glob("*.tmp"))


def test_rows_of_more_than_one_range_are_split_without_a_given_number_of_workers(
    tmp_path: Path, inputs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """0 workers, which means one for each core, ended every merge of more than a few megabytes."""
    one = merged(tmp_path / "runs", tmp_path / "one", inputs[0])
    monkeypatch.setattr(ranges, "ranges_of", lambda parts: ranges_of(parts, 20_000))
    some = merged(tmp_path / "runs", tmp_path / "some", inputs[0], workers=0)
    assert (some / TRAIN).read_bytes() == (one / TRAIN).read_bytes()


def test_only_the_owner_can_read_what_a_merge_writes_but_a_shared_dataset_stays_shared(
    tmp_path: Path, inputs: list[Path]
) -> None:
    task = new_task(
        tmp_path / "runs", "merge", Merging(merge=MergeConfig(inputs=(str(inputs[0]),), workers=1)), tmp_path / "full"
    )
    seen: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        remember = merging.remember
        patch.setattr(merging, "remember", lambda *each: (seen.append(modes(task.path / WORK)[0]), remember(*each)))
        run_task(task)
    assert seen == [0o700]
    assert {0o700, 0o600} == set(modes(tmp_path / "full"))
    assert modes(inputs[0])[0] == 0o700
    assert modes(tmp_path / "eval-ledger.jsonl") == [0o600]
    (tmp_path / "full").chmod(0o755)
    (tmp_path / "eval-ledger.jsonl").chmod(0o644)
    merged(tmp_path / "runs", tmp_path / "full", inputs[0])
    assert {0o755, 0o644} == set(modes(tmp_path / "full"))
    assert modes(tmp_path / "eval-ledger.jsonl") == [0o644]


def modes(path: Path) -> list[int]:
    """The permissions of a file or folder, and of all that is in it."""
    return [each.stat().st_mode & 0o777 for each in (path, *path.rglob("*"))]


def test_rows_once_in_eval_never_enter_train_when_data_are_added(tmp_path: Path, inputs: list[Path]) -> None:
    first = merged(tmp_path / "runs", tmp_path / "first", inputs[0])
    second = merged(tmp_path / "runs", tmp_path / "second", first, inputs[1])
    third = merged(tmp_path / "runs", tmp_path / "third", second, config=Merging(split=SplitConfig(salt="another")))
    old = {row["id"] for row in rows(first / EVAL)}
    assert old
    for made in (second, third):
        assert not old & {row["id"] for row in rows(made / TRAIN)}
    assert {row["id"] for row in rows(second / EVAL)} >= old


def test_two_merges_at_once_know_each_others_rows_in_eval(
    tmp_path: Path, inputs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that ends last splits again; before, its training rows had rows that the other evaluates."""
    remember = merging.remember

    def after_another(*each: Any) -> bool:
        monkeypatch.setattr(merging, "remember", remember)
        merged(tmp_path / "runs", tmp_path / "one", inputs[0], config=Merging(split=SplitConfig(salt="one")))
        return remember(*each)

    monkeypatch.setattr(merging, "remember", after_another)
    merged(tmp_path / "runs", tmp_path / "other", inputs[0], config=Merging(split=SplitConfig(salt="other")))
    held_out = {row["id"] for row in rows(tmp_path / "one" / EVAL)}
    assert held_out
    assert not held_out & {row["id"] for row in rows(tmp_path / "other" / TRAIN)}
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == [".seedbed", "one", "other", "runs"]


def test_another_build_of_the_same_inputs_in_the_same_folder_knows_the_rows_in_eval(
    tmp_path: Path, inputs: list[Path]
) -> None:
    first = merged(tmp_path / "runs", tmp_path / "data" / "first", inputs[0])
    fresh = merged(tmp_path / "runs", tmp_path / "data" / "fresh", *inputs)
    assert not {row["id"] for row in rows(first / EVAL)} & {row["id"] for row in rows(fresh / TRAIN)}
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == [
        ".seedbed",
        "eval-ledger.jsonl",
        "first",
        "fresh",
    ]


def test_the_report_has_the_figures_of_the_rows_as_they_were_written(tmp_path: Path, inputs: list[Path]) -> None:
    for made in (inputs[0], merged(tmp_path / "runs", tmp_path / "full", *inputs)):
        description = describe(made)
        assert read_report(made, description) == summarise(made, description)


def test_the_same_inputs_give_the_same_dataset_again(tmp_path: Path, inputs: list[Path]) -> None:
    first = merged(tmp_path / "runs", tmp_path / "data" / "first", *inputs)
    ledger = (tmp_path / "data" / LEDGER).read_bytes()
    second = merged(tmp_path / "runs", tmp_path / "data" / "second", *reversed(inputs))
    third = merged(tmp_path / "runs", tmp_path / "data" / "third", *inputs)
    assert describe(third).fingerprint == describe(first).fingerprint
    for name in (TRAIN, EVAL):
        assert {row["id"] for row in rows(second / name)} == {row["id"] for row in rows(first / name)}
        assert (third / name).read_bytes() == (first / name).read_bytes()
    assert (tmp_path / "data" / LEDGER).read_bytes() == ledger


def test_a_ledger_elsewhere_is_kept_up_to_date(tmp_path: Path, inputs: list[Path]) -> None:
    ledger = tmp_path / "kept" / "ledger.jsonl"
    config = Merging(split=SplitConfig(ledger=str(ledger)))
    first = merged(tmp_path / "runs", tmp_path / "first", inputs[0], config=config)
    assert len(ledger.read_text().splitlines()) == len(rows(first / EVAL)) + 1  # the last says what was trained
    other = merged(tmp_path / "runs", tmp_path / "other", *inputs, config=config)
    assert not {row["id"] for row in rows(first / EVAL)} & {row["id"] for row in rows(other / TRAIN)}


def test_rows_that_are_in_an_evaluation_set_are_left_out_and_named(tmp_path: Path, inputs: list[Path]) -> None:
    code = next(row for row in rows(inputs[0] / "records.jsonl") if row["kind"] == "text")
    (tmp_path / "benchmark.jsonl").write_text('{"id": "task-7", "solution": ' + _json(code["text"]) + "}\n")
    config = Merging(decontamination=DecontaminationConfig(against=(str(tmp_path / "benchmark.jsonl"),)))
    made = merged(tmp_path / "runs", tmp_path / "full", *inputs, config=config)
    assert code["id"] not in {row["id"] for name in (TRAIN, EVAL) for row in rows(made / name)}
    assert [hit["item"] for hit in describe(made).facts["evaluation_items"]] == ["task-7"]


def test_evaluation_sets_are_read_once(tmp_path: Path, inputs: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """They were read again at the end, only to name the step; gone by then, they ended a merge that was done."""
    benchmark = tmp_path / "benchmark.jsonl"
    benchmark.write_text('{"id": "task-8", "solution": "' + " ".join(f"word{each}" for each in range(40)) + '"}\n')
    work = merging.Merger.run_unique

    def without_benchmark(self: merging.Merger) -> merging.PhaseResult:
        benchmark.unlink(missing_ok=True)
        return work(self)

    monkeypatch.setattr(merging.Merger, "run_unique", without_benchmark)
    config = Merging(decontamination=DecontaminationConfig(against=(str(benchmark),)))
    made = merged(tmp_path / "runs", tmp_path / "full", *inputs, config=config)
    assert "decontaminate@1" in describe(made).steps


def test_the_same_inputs_in_another_order_give_the_same_split(tmp_path: Path, inputs: list[Path]) -> None:
    one = merged(tmp_path / "runs", tmp_path / "one", *inputs)
    two = merged(tmp_path / "runs", tmp_path / "two", *reversed(inputs))
    for name in (TRAIN, EVAL):
        assert {row["id"] for row in rows(one / name)} == {row["id"] for row in rows(two / name)}


def test_a_merge_that_was_stopped_goes_on_with_the_phase_that_is_not_done(
    tmp_path: Path, inputs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Merging(merge=MergeConfig(inputs=tuple(map(str, inputs)), workers=1))
    task = new_task(tmp_path / "runs", "merge", config, tmp_path / "full")

    def stopped(*_: object) -> None:
        raise StopRequested("asked")

    monkeypatch.setattr("seedbed.jobs.merge.assemble", stopped)
    with pytest.raises(StopRequested):
        run_task(task)
    assert not (tmp_path / "full").exists()
    assert {path.name for path in (task.path / WORK).iterdir()} >= {"unique.jsonl", "unique.json"}
    monkeypatch.undo()
    monkeypatch.setattr(merging.Merger, "_write", stopped)  # the first phases are not repeated
    run_task(task)
    assert rows(tmp_path / "full" / EVAL)
    assert not (task.path / WORK).exists()


def test_a_phase_whose_file_is_cut_short_is_done_again(
    tmp_path: Path, inputs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files of phases are not written through to the disk, so a power failure may cut them short."""
    config = Merging(merge=MergeConfig(inputs=tuple(map(str, inputs)), workers=1))
    task = new_task(tmp_path / "runs", "merge", config, tmp_path / "full")
    with monkeypatch.context() as patch:
        patch.setattr("seedbed.jobs.merge.assemble", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run_task(task)
    unique = task.path / WORK / "unique.jsonl"
    lines = unique.read_bytes().splitlines(keepends=True)
    unique.write_bytes(b"".join(lines[: len(lines) // 2]))
    run_task(task)
    assert sum(len(rows(tmp_path / "full" / name)) for name in (TRAIN, EVAL)) > 0.9 * len(lines)


def test_what_another_merge_adds_to_a_shared_ledger_meanwhile_stays(
    tmp_path: Path, inputs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = tmp_path / "ledger.jsonl"
    config = Merging(split=SplitConfig(ledger=str(ledger)))
    write = merging.write_report

    def write_while_another_merge_ends(*arguments: object) -> None:
        monkeypatch.setattr(merging, "write_report", write)
        merged(tmp_path / "runs", tmp_path / "other", inputs[1], config=config)
        write(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(merging, "write_report", write_while_another_merge_ends)
    first = merged(tmp_path / "runs", tmp_path / "first", inputs[0], config=config)
    known = set(ledger.read_text().splitlines())
    for made in (first, tmp_path / "other"):
        assert set((made / LEDGER).read_text().splitlines()) <= known


def test_what_a_killed_merge_leaves_is_in_its_task_and_not_in_the_dataset(
    tmp_path: Path, inputs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hidden folders with whole datasets stayed beside the output, and no command removed them."""
    task = new_task(
        tmp_path / "runs", "merge", Merging(merge=MergeConfig(inputs=(str(inputs[0]),), workers=1)), tmp_path / "full"
    )
    left = task.path / WORK / "dataset"
    left.mkdir(parents=True)
    (left / "half.jsonl").write_text("{")
    beside: list[str] = []
    remember = merging.remember

    def seen(*each: Any) -> bool:
        beside.extend(path.name for path in tmp_path.iterdir())
        return remember(*each)

    monkeypatch.setattr(merging, "remember", seen)
    run_task(task)
    assert sorted(beside) == [".seedbed", "runs"]
    assert describe(tmp_path / "full")
    assert not (tmp_path / "full" / "half.jsonl").exists()
    assert not left.exists()


def test_a_task_on_another_disk_than_its_dataset(tmp_path: Path, inputs: list[Path], small_disk: Path) -> None:
    made = merged(tmp_path / "runs", small_disk / "full", inputs[0])
    verify(made, describe(made))
    assert [each.name for each in small_disk.iterdir() if each.name.startswith(".full")] == []


def test_a_dataset_that_was_changed_by_hand_is_refused(tmp_path: Path, inputs: list[Path]) -> None:
    made = merged(tmp_path / "runs", tmp_path / "one", inputs[0])
    with (made / TRAIN).open("a") as handle:
        handle.write("{}\n")
    with pytest.raises(SeedbedError, match="has changed"):
        merged(tmp_path / "runs", tmp_path / "two", made)


def _json(text: str) -> str:

    return json.dumps(text)
