"""Aggregates the events of nodes and collective operations of a run on several machines, in bounded memory."""

from __future__ import annotations

from typing import Any

import msgspec

from seedbed.events import Comm, Node

JOINED, FAILED = "joined", "failed"
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
    others: int = 0
    """By how many the nodes in use have changed because of events of nodes beyond the first _MOST_NODES."""
    interruptions: int = 0
    """Unplanned interruptions of the run by failures."""
    failed: int | None = None
    """The number of the node that failed last."""

    def add_node(self, event: Node) -> None:
        """Record the new state of a node, and the reason for it.

        At most _MOST_NODES nodes, and the reasons of at most _MOST_STATES states, are tracked; of further ones, only the
        change of their number.
        """
        if event.node in self.states or len(self.states) < _MOST_NODES:
            self.states[event.node] = event.state
        else:
            self.others += 1 if event.state == JOINED else -1
        if event.state == FAILED:
            self.failed = event.node
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

    def in_use(self, num_nodes: int) -> int:
        """How many nodes are in use, if `num_nodes` are meant to be. The first nodes are, unless an event says otherwise."""
        joined = sum(state == JOINED for state in self.states.values())
        silent = num_nodes - sum(node < num_nodes for node in self.states)
        return min(max(joined + silent + self.others, 0), num_nodes)

    def nodes(self) -> dict[str, dict[str, Any]]:
        """State -> `count` of the nodes in that state, and the last `reason` for that state.

        The commonest states come first.
        """
        counts: dict[str, int] = {}
        for state in self.states.values():
            counts[state] = counts.get(state, 0) + 1
        shown = sorted(counts.items(), key=lambda each: -each[1])[:_MOST_STATES]
        return {state: {"count": count, "reason": self.reasons.get(state)} for state, count in shown}
