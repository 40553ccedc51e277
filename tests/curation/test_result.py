"""What a task says that it has made."""

from __future__ import annotations

from seedbed.curation.drops import Drops
from seedbed.curation.result import most_frequent


def test_counts_read_well_for_any_number_and_steps_are_named_where_a_reason_has_several() -> None:
    drops = Drops()
    for step, reason, count in (("commits", "merge", 3), ("edits", "merge", 2), ("files", "empty file", 1)):
        for number in range(count):
            drops.drop(step, reason, str(number))
    assert most_frequent(drops) == "merge (3 in commits, 2 in edits); empty file (1)"
    assert most_frequent(drops, 1) == "merge (3 in commits, 2 in edits); 1 other reason"
    assert most_frequent(Drops()) == ""
