"""What happens between steps when somebody asks to save, pause or stop."""

from __future__ import annotations

from collections.abc import Callable

from seedbed.events import ASKED
from seedbed.train.hooks import PauseHook, SaveHook
from seedbed.train.loop import Progress


class Somebody:
    """Asks to save and to pause, and to go on or to stop while it holds."""

    def __init__(self, *, goes_on: bool = True) -> None:
        self.wants_pause = False
        self.wants_save = False
        self.goes_on = goes_on
        self.did: list[str] = []

    def save_wanted(self) -> bool:
        wanted, self.wants_save = self.wants_save, False
        return wanted

    def save(self, progress: Progress, best: bool = False) -> None:
        self.did.append(f"save {progress.step}" + " best" * best)

    def hold(self) -> bool:
        self.did.append("hold")
        self.wants_pause = False
        return self.goes_on

    def pause_hook(self) -> PauseHook:
        return PauseHook(lambda: self.wants_pause, self.save, self.hold)

    def save_hook(self, every: int = 0) -> SaveHook:
        return SaveHook(self.save, lambda: None, every=every, keep_best=True, requested=self.save_wanted)


def run(hook: Callable[[Progress], None], steps: int, ask: Callable[[int], None]) -> Progress:
    progress = Progress(total=steps)
    while not progress.last:
        progress.step += 1
        ask(progress.step)
        hook(progress)
    return progress


def test_a_pause_saves_and_holds_between_two_steps() -> None:
    somebody = Somebody()

    def ask(step: int) -> None:
        somebody.wants_pause = step in (3, 4)

    end = run(somebody.pause_hook(), 9, ask)
    assert somebody.did == ["save 3", "hold", "save 4", "hold"]
    assert (end.step, end.stop) == (9, None)


def test_a_stop_while_it_holds_takes_no_other_step() -> None:
    somebody = Somebody(goes_on=False)
    somebody.wants_pause = True
    end = run(somebody.pause_hook(), 9, lambda _: None)
    assert somebody.did == ["save 1", "hold"]
    assert end.step == 1
    assert end.stop == ASKED


def test_who_has_taken_the_last_step_does_not_hold() -> None:
    somebody = Somebody()
    somebody.wants_pause = True
    progress = Progress(step=9, total=9)
    somebody.pause_hook()(progress)
    stopping = Progress(step=5, total=9, stop="asked to stop")
    somebody.pause_hook()(stopping)
    assert somebody.did == []
    assert stopping.stop == "asked to stop"


def test_one_request_to_save_is_one_checkpoint_even_where_one_was_due() -> None:
    somebody = Somebody()

    def ask(step: int) -> None:
        somebody.wants_save = somebody.wants_save or step in (4, 6)

    run(somebody.save_hook(every=4), 7, ask)
    assert somebody.did == ["save 4", "save 6", "save 7"]
