"""The nodes of a simulated cluster: which one fills each slot of the job, spares, repairs. Costs nothing per healthy node."""

from __future__ import annotations

import heapq
from typing import NamedTuple


class Replacement(NamedTuple):
    """A node that takes over a slot, and for how many seconds the job must wait until it is there."""

    node: int
    wait_s: float


class Coming(NamedTuple):
    """A node that will be ready at `at` (seconds of the run) to take the place of another."""

    at: float
    node: int
    replaces: int
    slot: int


class Nodes:
    """Slots 0 .. nodes - 1 of a job, filled by nodes of the same numbers at first; the spare nodes have the next numbers."""

    def __init__(self, nodes: int, spare_nodes: int) -> None:
        self._moved: dict[int, int] = {}
        self._free = list(range(nodes, nodes + spare_nodes))
        self._away: list[tuple[float, int]] = []
        """A heap of (time of return, node) of the nodes that are repaired or maintained."""

    def at(self, slot: int) -> int:
        """The number of the node that fills a slot."""
        return self._moved.get(slot, slot)

    def has_spare(self, t: float) -> bool:
        """Whether a spare node is free at `t`; nodes that have returned by then are spares."""
        while self._away and self._away[0][0] <= t:
            heapq.heappush(self._free, heapq.heappop(self._away)[1])
        return bool(self._free)

    def replace(self, slot: int, t: float, back_at: float) -> Replacement:
        """Take the node of a slot out at `t`, until `back_at`, and put another in: a spare, else the first that returns."""
        heapq.heappush(self._away, (back_at, self.at(slot)))
        self.has_spare(t)
        if self._free:
            node, wait_s = heapq.heappop(self._free), 0.0
        else:
            returned, node = heapq.heappop(self._away)
            wait_s = returned - t
        self._moved[slot] = node
        if node == slot:
            del self._moved[slot]
        return Replacement(node, wait_s)
