"""Descriptions of networks as published tables write them."""

from __future__ import annotations

import pytest

from seedbed.simulate import catalog
from seedbed.simulate.interconnect import read_interconnect


@pytest.mark.parametrize(
    ("text", "gpu", "gbit_per_gpu", "node"),
    [
        ("1600 Gbps/node RoCE", "A100", 200, 8),
        ("NVLink 8-GPU nodes + RDMA 400 Gb/s per GPU", "H100", 400, 8),
        ("DGX H100: NVLink, 8x 400 Gb/s InfiniBand", "H100", 400, 8),
        ("Selene: NVLink 8-GPU nodes, 8x HDR InfiniBand (200 Gb/s each), fat tree", "A100", 200, 8),
        ("8-GPU nodes NVLink; 800 Gb/s per node InfiniBand", "A100", 100, 8),
        ("4-GPU NVLink nodes + Omni-Path 100 Gb/s x4 per node", "V100", 100, 4),
        ("8-GPU NVLink nodes, 4 Omni-Path links (100 Gb/s each) per node", "A100", 50, 8),
        ("DGX: NVLink 8-GPU nodes + InfiniBand 400-800 Gb/s per GPU", "H100", 400, 8),
        ("GB200 NVL72", "GB200", 400, 72),
        ("InfiniBand NDR", "H100", 400, 8),
    ],
)
def test_bandwidth_and_node_size_are_read(text: str, gpu: str, gbit_per_gpu: float, node: int) -> None:
    found = read_interconnect(text, catalog.gpu(gpu))
    assert found.gbps * 8 == pytest.approx(gbit_per_gpu)
    assert found.node_gpus == node


def test_without_a_statement_the_usual_network_of_the_gpu_is_used() -> None:
    found = read_interconnect("", catalog.gpu("H100"))
    assert not found.stated
    assert found.gbps == catalog.gpu("H100").network_gbps


def test_omni_path_and_ethernet_reach_less_of_their_line_rate() -> None:
    for text in ("Omni-Path 100 Gb/s x4 per node", "100 Gb/s per GPU Ethernet"):
        assert read_interconnect(text, catalog.gpu("A100")).efficiency < 0.8
    assert read_interconnect("InfiniBand 100 Gb/s per GPU", catalog.gpu("A100")).efficiency == 1
