"""Only complete checkpoints count, and the log names those that were deleted."""

from __future__ import annotations

from seedbed.events import Checkpoint
from seedbed.simulate.saves import Saved, Saves


def made(keep_last: int = 2) -> Saves:
    saves = Saves(keep_last, 10)
    for step in (100, 200, 300, 400):
        event = Checkpoint(step=step, path=f"checkpoints/step-{step:08d}")
        saves.add(Saved(step, step + 40.0, step), event, float(step), announce=False)
    return saves


def test_a_checkpoint_that_is_being_written_does_not_count() -> None:
    saves = made()
    assert saves.newest(439).step == 300
    assert saves.newest(440).step == 400
    saves.abandon(430)
    assert saves.newest(9999).step == 300


def test_old_checkpoints_are_deleted_when_newer_ones_are_complete() -> None:
    events = made().completed(1000)
    assert [(t, event.step) for t, event in events] == [(140, 100), (240, 200), (340, 300), (440, 400)]
    assert [event.deleted for _, event in events] == [
        (),
        (),
        ("checkpoints/step-00000100",),
        ("checkpoints/step-00000200",),
    ]


def test_going_back_reaches_the_oldest_that_is_kept() -> None:
    saves = made()
    assert saves.newest(1000, before=350).step == 300
    assert saves.newest(1000, before=50).step == 200, "older ones were deleted"
    saves.go_back(300)
    assert saves.newest(1000).step == 300


def test_before_the_first_checkpoint_a_run_starts_again() -> None:
    assert Saves(2, 10).newest(50) == Saved(0, 0.0, 0.0)
