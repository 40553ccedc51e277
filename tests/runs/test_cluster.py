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


def test_nodes_without_events_are_in_use_and_a_replaced_node_is_not() -> None:
    cluster = Cluster()
    assert cluster.in_use(2048) == 2048
    cluster.add_node(Node(node=17, state="failed", reason="GPU"))
    assert cluster.in_use(2048) == 2047
    cluster.add_node(Node(node=2048, state="joined", reason="replaces node 17"))  # a spare
    assert cluster.in_use(2048) == 2048
    cluster.add_node(Node(node=2048, state="left", reason="maintenance"))
    cluster.add_node(Node(node=17, state="joined", reason="replaces node 2048"))
    assert cluster.in_use(2048) == 2048
    assert cluster.failed == 17


def test_more_failures_than_nodes_are_tracked_do_not_change_the_number_in_use() -> None:
    cluster = Cluster()
    for node in range(6000):
        cluster.add_node(Node(node=node, state="failed"))
        cluster.add_node(Node(node=100_000 + node, state="joined"))
    assert cluster.in_use(12_500) == 12_500
