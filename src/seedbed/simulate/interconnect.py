"""Reads a description of a network such as `NVLink 8-GPU nodes + 8x HDR InfiniBand (200 Gb/s each)`."""

from __future__ import annotations

import re
from typing import NamedTuple

from seedbed.simulate.hardware_facts import Gpu

_INFINIBAND = {"edr": 100, "hdr": 200, "ndr": 400, "xdr": 800}
"""Generation of InfiniBand -> Gb/s of a link."""
_EFFICIENCY = {"omni-path": 0.38, "ethernet": 0.7}
"""Kind of network -> the share that it reaches of what InfiniBand of its line rate reaches. Omni-Path: 135 of 400 Gb/s of a
node were measured (Jean Zay, bigscience-workshop). Ethernet without RDMA: assumed."""


class Interconnect(NamedTuple):
    """How GPUs are connected."""

    gbps: float
    """Bandwidth of the network for each GPU, in one direction, in 10^9 bytes per second."""
    efficiency: float
    node_gpus: int
    """GPUs that NVLink, or PCIe, connects."""
    stated: bool
    """Whether the text says how fast the network is; otherwise it is the GPU's usual network."""


def read_interconnect(text: str, gpu: Gpu) -> Interconnect:
    """The network that a text describes; what it does not say is taken from the usual server with this GPU."""
    words = text.lower()
    nodes = re.search(r"(\d+)[ -]gpu(?:s per)?(?: nvlink)? node", words)
    usual = max(gpu.link_domain, gpu.gpus_per_node) if gpu.link_gbps else gpu.gpus_per_node
    node_gpus = int(nodes.group(1)) if nodes and gpu.link_domain <= 8 else usual
    efficiency = next((share for kind, share in _EFFICIENCY.items() if kind in words), 1.0)
    gbit = _gbit_per_gpu(words, node_gpus)
    return Interconnect(gbit / 8 if gbit else gpu.network_gbps or 1.25, efficiency, node_gpus, gbit is not None)


def _gbit_per_gpu(words: str, node_gpus: int) -> float | None:
    """The line rate of the network for each GPU in Gb/s; None if the text does not say it."""
    number = r"(\d+(?:\.\d+)?)"
    each = re.search(rf"{number}(?:-\d+)? gb(?:/s|ps|it/s)[^;,+]*? per gpu", words)
    if each:
        return float(each.group(1))
    links = re.search(rf"(\d+)\s*x?\s*[a-z -]*?(?:links? )?\(?{number} ?gb(?:/s|ps|it/s)(?: each)?", words)
    node = re.search(rf"{number} ?gb(?:/s|ps|it/s)(?: per |/)node", words)
    if node:
        return float(node.group(1)) / node_gpus
    after = re.search(rf"{number} ?gb(?:/s|ps|it/s) x\s*(\d+)", words)
    if after:
        return float(after.group(1)) * int(after.group(2)) / node_gpus
    if links:
        return int(links.group(1)) * float(links.group(2)) / node_gpus
    kind = re.search(r"(?:(\d+)\s*x\s*)?(edr|hdr|ndr|xdr)\b", words)
    if kind:
        return int(kind.group(1) or 1) * _INFINIBAND[kind.group(2)] / (node_gpus if kind.group(1) else 1)
    return None
