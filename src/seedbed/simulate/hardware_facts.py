"""What is known about a GPU or a network: the rows of the tables of facts, with the checks of their figures."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from seedbed.simulate.source import Source

PRECISIONS = ("fp32", "tf32", "fp16", "bf16", "fp8", "fp4")
"""The keys of the tables of rates. fp32 and tf32: fp32 values, multiplied as fp32 or as TensorFloat-32."""

Positive = Annotated[float, msgspec.Meta(gt=0)]
NotNegative = Annotated[float, msgspec.Meta(ge=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Share = Annotated[float, msgspec.Meta(gt=0, le=1)]

ASSUMED_USABLE = 0.97
"""Share of its memory that a GPU is assumed to offer if `usable_gib` is not given."""


class Gpu(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One kind of GPU or other accelerator, and the usual server and price for it.

    A figure of 0 is not known, except `link_gbps`: there, it says that there is no link. Bandwidths are in one direction, in
    10^9 bytes per second.
    """

    name: str
    aliases: tuple[str, ...] = ()
    vendor: str = ""
    generation: str = ""
    """Architecture: volta, turing, ampere, ada, hopper, blackwell, blackwell-rtx, cdna2, cdna3, apple, and so on."""
    machine: Literal["server", "desktop", "laptop"] = "server"
    """The usual machine around it, which decides the power beside that of the GPU."""
    peak_tflops: dict[str, Positive]
    """Highest rate of dense matrix products by precision, in 10^12 operations per second, without sparsity. Consumer cards:
    with fp32 accumulation, which training uses."""
    matmul_tflops: dict[str, Positive] = {}
    """Highest rate that somebody reached with one large matrix product, by precision; empty if none is published."""
    memory_gib: Positive
    """Nominal memory. Makers call a GiB a GB here, except where the row's source says otherwise."""
    usable_gib: NotNegative = 0.0
    """Memory that a framework sees; if not given, 97 % of `memory_gib`."""
    memory_gbps: Positive
    """Bandwidth of its memory."""
    link_gbps: NotNegative = 0.0
    """NVLink, xGMI or similar: total of one GPU; 0: only PCIe."""
    link_domain: Count = 1
    """GPUs that are joined by this link."""
    pcie_gbps: NotNegative = 31.0
    gpus_per_node: Count = 8
    """GPUs in one server, which share its network adapters."""
    network_gbps: NotNegative = 0.0
    """Usual network bandwidth for each GPU."""
    power_w: NotNegative = 0.0
    """Highest sustained power (TDP or power limit)."""
    idle_w: NotNegative = 0.0
    usd_per_hour: NotNegative = 0.0
    """Price of one GPU for an hour, on demand, at one provider; its source names both and the date."""
    sources: tuple[Source, ...] = ()

    def __post_init__(self) -> None:
        """Check the figures against each other, and set `usable_gib` if it is not given. Raises ValueError."""
        if not any(self.peak_tflops.get(precision) for precision in ("fp32", "fp16", "bf16")):
            raise ValueError("peak_tflops needs fp32, fp16 or bf16")
        for field in ("peak_tflops", "matmul_tflops"):
            for precision, rate in getattr(self, field).items():
                if precision not in PRECISIONS:
                    raise ValueError(f"{field} has no precision {precision!r}; it may have {', '.join(PRECISIONS)}")
                if rate > self.peak_tflops.get(precision, 0):
                    raise ValueError(f"matmul_tflops.{precision} is above peak_tflops.{precision}")
        if self.link_domain > 1 and not self.link_gbps:
            raise ValueError("link_domain is above 1, but link_gbps is 0")
        if not self.usable_gib:
            msgspec.structs.force_setattr(self, "usable_gib", round(ASSUMED_USABLE * self.memory_gib, 2))
        if self.usable_gib > self.memory_gib:
            raise ValueError("usable_gib is above memory_gib")


class Network(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A network between servers."""

    name: str
    aliases: tuple[str, ...] = ()
    gbps: Positive
    """Line rate of one link, in one direction, in 10^9 bytes per second."""
    links_per_node: Count = 1
    """Links (network adapters) of one server."""
    latency_us: NotNegative = 5.0
    """Time of one network step of a collective with a small message, in microseconds."""
    efficiency: Share = 0.9
    """Share of the line rate that large messages reach."""
    sources: tuple[Source, ...] = ()

    @property
    def node_gbps(self) -> float:
        """Line rate of all links of a server together, in one direction, in 10^9 bytes per second."""
        return self.gbps * self.links_per_node
