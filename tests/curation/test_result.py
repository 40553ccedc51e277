"""What a task says that it has made."""

from __future__ import annotations

import json
from pathlib import Path

from seedbed.curation.decontamination import Decontaminate, index_items
from seedbed.curation.drops import Drops
from seedbed.curation.evaluation_sets import Reading, read_items
from seedbed.curation.folder import Description, FileFacts
from seedbed.curation.result import most_frequent, sentences


def test_counts_read_well_for_any_number_and_steps_are_named_where_a_reason_has_several() -> None:
    drops = Drops()
    for step, reason, count in (("commits", "merge", 3), ("edits", "merge", 2), ("files", "empty file", 1)):
        for number in range(count):
            drops.drop(step, reason, str(number))
    assert most_frequent(drops) == "merge (3 in commits, 2 in edits); empty file (1)"
    assert most_frequent(drops, 1) == "merge (3 in commits, 2 in edits); 1 other reason"
    assert most_frequent(Drops()) == ""


def test_what_the_split_says_about_its_evaluation_rows_is_shown() -> None:
    said = "320 of 1,000 rows (32%) are for evaluation, and 100 were wanted: ..."
    made = Description(
        name="full",
        made="merge",
        fingerprint="",
        files={"train.jsonl": FileFacts(rows=1, size_bytes=100, sha256="")},
        facts={"leakage": {"messages": [said]}},
    )
    assert sentences(made) == ["full: 1 row, 100 B.", said]
    made.files["eval.jsonl"] = FileFacts(rows=2, size_bytes=100, sha256="")
    assert sentences(made)[0] == "full: 3 rows, 2 of them for evaluation, 200 B."


def test_files_of_evaluation_sets_that_were_not_compared_are_named(tmp_path: Path) -> None:
    (tmp_path / "mbpp.parquet").write_bytes(b"PAR1")
    (tmp_path / "own.jsonl").write_text(json.dumps({"prompt": " ".join(f"word{n}" for n in range(30))}) + "\n{")
    reading, drops = Reading(), Drops()
    step = Decontaminate(index_items(list(read_items([tmp_path], reading)), reading))
    assert list(step(iter(()), drops)) == []
    made = Description(name="full", made="merge", fingerprint="", files={}, drops=drops.as_json())
    assert sentences(made)[1:] == [
        "Not compared with the rows: mbpp.parquet: a .parquet file (1), own.jsonl: not JSON (1)."
    ]
