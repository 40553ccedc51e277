"""Runs of the show for tests: the items of the first run of a seed."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple, TypeVar

from seedbed.simulate.show.items import Beat, Next
from seedbed.simulate.show.playlist import Options, Take
from seedbed.simulate.show.stream import played

T = TypeVar("T")


class Played(NamedTuple):
    """A run of the show and its items, up to the announcement of the next run."""

    take: Take
    beats: list[Beat]

    def all(self, kind: type[T]) -> list[T]:
        """The items of one kind, in order."""
        return [beat.item for beat in self.beats if isinstance(beat.item, kind)]

    def one(self, kind: type[T]) -> T:
        """The only item of a kind."""
        (found,) = self.all(kind)
        return found


@cache
def first_run(seed: int) -> Played:
    """The first run of the show with this seed."""
    return play(Options(seed=seed))


def play(options: Options) -> Played:
    """The first run of a show."""
    beats: list[Beat] = []
    for beat, take in played(options):
        beats.append(beat)
        if isinstance(beat.item, Next):
            return Played(take, beats)
    raise AssertionError("the show never ends")
