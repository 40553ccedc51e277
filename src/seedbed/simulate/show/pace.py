"""The clock of the show: how long each item stays before the next one comes, in bursts and pauses."""

from __future__ import annotations

from seedbed.events import Event
from seedbed.simulate.counter_random import Stream
from seedbed.simulate.show.items import Beat, Item

_BURST, _BURST_SHARE = 0.2, 0.6
"""The share of short pauses, and how long they are against the mean. The next long pause makes up for them."""


class Pace:
    """Gives each item its time. The pauses are a pure function of the seed and of the number of items before."""

    def __init__(self, seed: int, number: int, at_s: float) -> None:
        self.at_s = at_s
        """Seconds of the show at which the next item comes."""
        self._draw = Stream(seed, f"pace of run {number}")
        self._count = 0
        self._owed_s = 0.0
        """Seconds that short pauses left for the next long one."""

    def show(self, item: Item | Event, pause_s: float = 0.0) -> Beat:
        """Show an item now. The next one follows after about `pause_s` seconds."""
        beat = Beat(round(self.at_s, 4), item)
        self.wait(pause_s)
        return beat

    def wait(self, mean_s: float) -> None:
        """Let about `mean_s` seconds pass."""
        if mean_s:
            self._count += 1
            self._owed_s += mean_s
            given_s = self._owed_s if self._draw.uniform(self._count) > _BURST_SHARE else _BURST * mean_s
            self._owed_s -= given_s
            self.at_s += given_s

    def hold(self, seconds: float) -> None:
        """Let exactly `seconds` pass."""
        self.at_s += seconds
