"""Requests to save, pause and stop between steps."""

from __future__ import annotations

from collections.abc import Callable

from seedbed.events import ASKED
from seedbed.train.hooks import PauseHook, SaveHook
from seedbed.train.loop import Progress


class FakeUser:
    """Requests saves and pauses, and decides whether training continues after a pause."""

    def __init__(self, *, continues: bool = True) -> None:
        self.wants_pause = False
        self.wants_save = False
        self.continues = continues
        self.calls: list[str] = []

    def save_wanted(self) -> bool:
        wanted, self.wants_save = self.wants_save, False
        return wanted

    def save(self, progress: Progress, best: bool = False) -> None:
        self.calls.append(f"save {progress.step}" + " best" * best)

    def pause(self) -> bool:
        self.calls.append("pause")
        self.wants_pause = False
        return self.continues

    def pause_hook(self) -> PauseHook:
        return PauseHook(lambda: self.wants_pause, self.save, self.pause)

    def save_hook(self, every: int = 0) -> SaveHook:
        return SaveHook(self.save, lambda: None, every=every, keep_best=True, requested=self.save_wanted)


def run(hook: Callable[[Progress], None], steps: int, ask: Callable[[int], None]) -> Progress:
    progress = Progress(total=steps)
    while not progress.last:
        progress.step += 1
        ask(progress.step)
        hook(progress)
    return progress


def test_a_pause_saves_and_waits_between_two_steps() -> None:
    user = FakeUser()

    def ask(step: int) -> None:
        user.wants_pause = step in (3, 4)

    end = run(user.pause_hook(), 9, ask)
    assert user.calls == ["save 3", "pause", "save 4", "pause"]
    assert (end.step, end.stop) == (9, None)


def test_a_stop_during_a_pause_trains_no_further_step() -> None:
    user = FakeUser(continues=False)
    user.wants_pause = True
    end = run(user.pause_hook(), 9, lambda _: None)
    assert user.calls == ["save 1", "pause"]
    assert end.step == 1
    assert end.stop == ASKED


def test_a_pause_request_after_the_last_step_or_a_stop_is_ignored() -> None:
    user = FakeUser()
    user.wants_pause = True
    progress = Progress(step=9, total=9)
    user.pause_hook()(progress)
    stopping = Progress(step=5, total=9, stop="asked to stop")
    user.pause_hook()(stopping)
    assert user.calls == []
    assert stopping.stop == "asked to stop"


def test_a_save_request_at_a_step_with_a_due_checkpoint_saves_once() -> None:
    user = FakeUser()

    def ask(step: int) -> None:
        user.wants_save = user.wants_save or step in (4, 6)

    run(user.save_hook(every=4), 7, ask)
    assert user.calls == ["save 4", "save 6", "save 7"]
