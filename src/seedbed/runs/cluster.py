"""Aggregates the events of nodes and collective operations of a run on several machines, in bounded memory."""

from __future__ import annotations

from typing import Any

import msgspec

from seedbed.events import Comm, Node

_MOST_NODES = 4096
_MOST_STATES = 16
_MOST_OPS = 32


class Total(msgspec.Struct, omit_defaults=True):
    """The number, bytes and seconds of all collective operations of one kind."""

    count: int = 0
    size_bytes: int = 0
    elapsed_s: float = 0.0


class Cluster(msgspec.Struct, omit_defaults=True):
    """The state of each node, and the totals of each kind of collective operation."""

    states: dict[int, str] = {}
    """Number of a node -> its last state: joined, failed, left, ..."""
    reasons: dict[str, str] = {}
    """State (joined, failed, ...) -> the last reason reported for it."""
    collectives: dict[str, Total] = {}

    def add_node(self, event: Node) -> None:
        """Record the new state of a node, and the reason for it.

        At most _MOST_NODES nodes, and the reasons of at most _MOST_STATES states, are tracked; further ones are ignored.
        """
        if event.node in self.states or len(self.states) < _MOST_NODES:
            self.states[event.node] = event.state
        if event.reason is not None and (event.state in self.reasons or len(self.reasons) < _MOST_STATES):
            self.reasons[event.state] = event.reason

    def add_comm(self, event: Comm) -> None:
        """Add a collective operation (such as an all-reduce) to the total of its kind. At most _MOST_OPS kinds are tracked."""
        total = self.collectives.get(event.op)
        if total is None:
            if len(self.collectives) >= _MOST_OPS:
                return
            total = self.collectives[event.op] = Total()
        total.count += 1
        total.size_bytes += event.size_bytes
        total.elapsed_s += event.elapsed_s

    def nodes(self) -> dict[str, dict[str, Any]]:
        """State -> `count` of the nodes in that state, and the last `reason` for that state.

        The commonest states come first.
        """
        counts: dict[str, int] = {}
        for state in self.states.values():
            counts[state] = counts.get(state, 0) + 1
        shown = sorted(counts.items(), key=lambda each: -each[1])[:_MOST_STATES]
        return {state: {"count": count, "reason": self.reasons.get(state)} for state, count in shown}
