from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planted_duplicates import chat, code, edited, gap, prose, words, written
from seedbed.curation.drops import Drops
from seedbed.curation.duplicates import deduplicate as module
from seedbed.curation.duplicates.deduplicate import deduplicate, read_records
from seedbed.curation.duplicates.options import DuplicateOptions, DuplicateSummary
from seedbed.curation.record import Record
from seedbed.errors import SeedbedError, UsageError

Kept = tuple[list[Record], Drops, DuplicateSummary]


def kept(folder: Path, records: Sequence[Record], options: DuplicateOptions | None = None) -> Kept:
    made = deduplicate([written(folder, records)], options or DuplicateOptions(), folder)
    drops = Drops()
    return list(made.records(drops)), drops, made.summary


def test_exact_duplicates_are_left_out_and_counted(tmp_path: Path) -> None:
    records = [
        prose("Hello there"),
        prose("hello  there\n"),
        prose("other"),
        chat("hi", "yes"),
        chat("hi", "yes", session="2"),
    ]
    left, drops, summary = kept(tmp_path, records)
    assert [record.kind for record in left] == ["text", "text", "chat"]
    assert drops.counts == {("deduplicate", "exact duplicate"): 2}
    assert (summary.records, summary.exact, summary.near) == (5, 2, 0)
    assert all(record.lineage == ["deduplicate@1"] for record in left)


def test_the_best_is_kept_by_licence_then_time_then_length(tmp_path: Path) -> None:
    text = " ".join(words(1, 300))
    longer = text + " and more"
    newest = code(text, "new.py", time="2026-02-02T00:00:00Z")
    records = [
        code(text, "old.py", time="2020-01-01T00:00:00Z"),
        newest,
        code(longer, "longer.py", time="2021-01-01T00:00:00Z"),
    ]
    assert [record.provenance.path for record in kept(tmp_path, records)[0]] == ["new.py"]
    records.append(code(text, "licensed.py", licence="MIT", time="2019-01-01T00:00:00Z"))
    assert [record.provenance.path for record in kept(tmp_path, records)[0]] == ["licensed.py"]
    newest.provenance.time = None
    assert [r.provenance.path for r in kept(tmp_path, [newest, code(longer, "longer.py")])[0]] == ["longer.py"]


def test_near_duplicate_texts_are_left_out_and_the_best_says_how_many_there_were(tmp_path: Path) -> None:
    original = words(1, 300)
    records = [code(" ".join(edited(original, n, n)), f"{n}.py", repository=f"app{n}") for n in range(4)]
    left, drops, summary = kept(tmp_path, [*records, code(" ".join(words(2)), "apart.py")])
    assert len(left) == 2
    clustered = next(record for record in left if record.cluster)
    assert clustered.cluster_size == 4
    assert left[-1].cluster is None
    assert drops.counts == {("deduplicate", "near duplicate"): 3}
    assert (summary.clusters, summary.near, summary.clustered) == (1, 3, 4)
    assert [(each.name, each.size) for each in summary.largest] == [(clustered.cluster, 4)]
    assert summary.largest[0].example.startswith("app0 0.py ")
    assert drops.samples[0].where.split()[1].endswith(".py")


def test_near_duplicate_conversations_are_marked_and_stay(tmp_path: Path) -> None:
    before = " ".join(words(1, 300))
    records = [chat(before, "first answer"), chat(before, "second answer"), chat("something else", "ok")]
    left, drops, summary = kept(tmp_path, records)
    assert [record.cluster_size for record in left] == [2, 2, None]
    assert left[0].cluster == left[1].cluster
    assert drops.total == summary.near == 0


def test_all_rows_of_the_best_piece_stay_and_all_rows_of_its_copies_go(tmp_path: Path) -> None:
    piece = " ".join(words(1, 300))
    copy = " ".join(edited(words(1, 300), 1, 1))
    records = [gap(copy, n * 10, n * 10 + 8, "vendored.py", repository="other") for n in range(6)]
    records += [gap(piece, n * 10, n * 10 + 8, "a.py", licence="MIT") for n in range(6)]
    records += [gap(piece, n * 10, n * 10 + 8, "copied.py", repository="third") for n in range(3, 9)]
    left, drops, _ = kept(tmp_path, records)
    assert [record.provenance.path for record in left] == ["a.py"] * 6
    assert {record.cluster_size for record in left} == {3}
    assert drops.counts == {("deduplicate", "exact duplicate"): 3, ("deduplicate", "near duplicate"): 9}


def test_rows_of_one_piece_alone_are_in_no_cluster(tmp_path: Path) -> None:
    records = [gap(" ".join(words(1)), n * 10, n * 10 + 8, "a.py") for n in range(6)]
    left, drops, summary = kept(tmp_path, records)
    assert len(left) == 6
    assert drops.total == summary.clusters == 0
    assert {record.cluster for record in left} == {None}


def test_clusters_are_only_marked_or_not_looked_for_by_option(tmp_path: Path) -> None:
    records = [code(" ".join(edited(words(1, 300), n, n)), f"{n}.py") for n in range(3)]
    left, drops, summary = kept(tmp_path, records, DuplicateOptions(near="mark"))
    assert [record.cluster_size for record in left] == [3, 3, 3]
    assert drops.total == 0
    assert summary.near == 2
    left, drops, summary = kept(tmp_path, [*records, records[0]], DuplicateOptions(near="off"))
    assert [record.cluster for record in left] == [None] * 3
    assert summary.signatures == "none"
    assert drops.counts == {("deduplicate", "exact duplicate"): 1}


def test_short_documents_are_compared_exactly_and_never_lost_from_the_comparison(tmp_path: Path) -> None:
    """Pipelines that compare runs of five words alone never find duplicates among texts with fewer."""
    records = [
        prose("Yes."),
        prose("yes."),
        prose("no"),
        code("x = 1", "a.py"),
        code("x = 1\n", "b.py"),
        code("x = 2", "c.py"),
    ]
    left, drops, _ = kept(tmp_path, records)
    assert sorted((record.text or "").strip().lower() for record in left) == ["no", "x = 1", "x = 2", "yes."]
    assert drops.counts == {("deduplicate", "exact duplicate"): 2}


def mixed(seed: int) -> list[Record]:
    chosen = random.Random(seed)
    records: list[Record] = []
    for number in range(30):
        original = words(seed * 100 + number, 250)
        for copy in range(chosen.randint(1, 4)):
            text = " ".join(edited(original, chosen.choice([0, 0, 1, 2]), number * 10 + copy))
            make = chosen.choice(["prose", "code", "gap", "chat"])
            place = {"path": f"{number}-{copy}.py", "repository": f"r{copy}", "licence": chosen.choice([None, "MIT"])}
            if make == "code":
                records.append(code(text, **place))
            elif make == "gap":
                records += [gap(text, n * 20, n * 20 + 9, **place) for n in range(3)]
            else:
                records.append(prose(text) if make == "prose" else chat(text, "ok"))
    return records


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 5))
def test_what_is_kept_depends_on_neither_order_nor_files(
    tmp_path_factory: pytest.TempPathFactory, seed: int, files: int
) -> None:
    folder = tmp_path_factory.mktemp("order")
    records = mixed(seed)
    expected = {(r.id, r.cluster, r.cluster_size, r.provenance.path) for r in kept(folder, records)[0]}
    random.Random(seed).shuffle(records)
    parts = [written(folder, records[n::files], f"{n}.jsonl") for n in range(files)]
    found = list(deduplicate(parts, DuplicateOptions(), folder).records(Drops()))
    assert {(r.id, r.cluster, r.cluster_size, r.provenance.path) for r in found} == expected
    again = kept(folder, found)
    assert [r.id for r in again[0]] == [r.id for r in found]


def test_two_processes_and_small_ranges_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = mixed(5)
    path = written(tmp_path, records)
    expected = [(r.id, r.cluster) for r in deduplicate([path], DuplicateOptions(), tmp_path).records(Drops())]
    monkeypatch.setattr(module, "_RANGE_BYTES", 20_000)
    seen: list[int] = []
    made = deduplicate([path], DuplicateOptions(workers=2), tmp_path, seen.append)
    assert [(r.id, r.cluster) for r in made.records(Drops())] == expected
    assert seen == sorted(seen)
    assert seen[-1] == path.stat().st_size
    assert [each.name for each in tmp_path.iterdir()] == ["records.jsonl"]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(max_size=30), max_size=10), st.integers(1, 200))
def test_ranges_of_bytes_have_every_line_once(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], size: int
) -> None:
    path = written(tmp_path_factory.mktemp("ranges"), [prose(text) for text in texts])
    total = path.stat().st_size
    read = [record for begin in range(0, total, size) for record in read_records(path, begin, min(begin + size, total))]
    assert [record.text for record in read] == texts


@pytest.mark.parametrize("workers", [1, 2])
def test_a_line_that_is_no_record_is_named(tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, [prose("a"), prose("b")])
    place = path.stat().st_size
    path.write_bytes(path.read_bytes() + b'{"kind": "text", "text": \n')
    monkeypatch.setattr(module, "_RANGE_BYTES", 64)
    with pytest.raises(SeedbedError, match=rf'records\.jsonl" has a line at byte {place}'):
        deduplicate([path], DuplicateOptions(workers=workers), tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["records.jsonl"]


@pytest.mark.parametrize("change", ["other", "fewer", "more"])
def test_a_file_that_changes_meanwhile_is_an_error(tmp_path: Path, change: str) -> None:
    made = deduplicate([written(tmp_path, [prose("a"), prose("b")])], DuplicateOptions(), tmp_path)
    texts = {"other": ["a", "c"], "fewer": ["a"], "more": ["a", "b", "c"]}[change]
    written(tmp_path, [prose(text) for text in texts])
    with pytest.raises(SeedbedError, match="changed"):
        list(made.records(Drops()))


def test_an_interruption_ends_the_processes_and_removes_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_RANGE_BYTES", 5_000)

    class StopError(Exception):
        pass

    def stop(read_bytes: int) -> None:
        raise StopError

    with pytest.raises(StopError):
        deduplicate([written(tmp_path, mixed(1))], DuplicateOptions(workers=2), tmp_path, stop)
    assert [each.name for each in tmp_path.iterdir()] == ["records.jsonl"]


def test_empty_files_have_nothing_to_keep(tmp_path: Path) -> None:
    left, drops, summary = kept(tmp_path, [])
    assert left == []
    assert drops.total == summary.records == 0


def test_a_dataset_given_twice_is_kept_once(tmp_path: Path) -> None:
    """Merging `data/*.jsonl` with an earlier merge in the same folder must not repeat rows."""
    path = written(tmp_path, mixed(2))
    once = list(deduplicate([path], DuplicateOptions(), tmp_path).records(Drops()))
    twice = list(deduplicate([path, path], DuplicateOptions(), tmp_path).records(Drops()))
    assert [(r.id, r.cluster, r.cluster_size) for r in twice] == [(r.id, r.cluster, r.cluster_size) for r in once]


@pytest.mark.parametrize("wrong", [{"code_similarity": 0}, {"prose_similarity": 1.5}, {"workers": 0}])
def test_options_that_mean_nothing_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        DuplicateOptions(**wrong)  # type: ignore[arg-type]


def test_an_unknown_maker_of_signatures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="quick"):
        deduplicate([written(tmp_path, [prose("a")])], DuplicateOptions(signatures="quick"), tmp_path)
