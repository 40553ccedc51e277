"""Node and collective events are summed up in bounded memory."""

from __future__ import annotations

import msgspec

from seedbed.events import Comm, Node
from seedbed.runs.cluster import Cluster


def test_a_node_is_counted_in_its_last_state() -> None:
    cluster = Cluster()
    for node in range(5):
        cluster.add_node(Node(node=node, state="joined"))
    cluster.add_node(Node(node=3, state="failed", reason="ECC error"))
    assert cluster.nodes() == {"joined": {"count": 4, "reason": None}, "failed": {"count": 1, "reason": "ECC error"}}


def test_many_states_and_operations_take_bounded_memory() -> None:
    cluster = Cluster()
    for number in range(20_000):
        cluster.add_node(Node(node=number, state=f"state {number}", reason="x"))
        cluster.add_comm(Comm(op=f"op {number}", size_bytes=1, elapsed_s=1.0))
    cluster.add_comm(Comm(op="op 0", size_bytes=1, elapsed_s=1.0))
    assert cluster.collectives["op 0"].count == 2
    assert len(cluster.nodes()) < 20
    assert len(msgspec.json.encode(cluster)) < 200_000
