"""The constants of the cost model: which are fitted on published runs, which are assumed, and their values."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import msgspec

FITTED_FILE = Path(__file__).parent / "facts" / "fitted.json"
"""Written by benchmarks/fit_cost.py only."""


class Constants(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fitted constants. They are the same for every model, machine and published source.

    The defaults are the values from which the fit starts, and towards which it pulls (its priors). They are round numbers
    from published measurements of single operations, or assumed.
    """

    matmul_ampere: float = 0.95
    """Share of the best published matmul rate that the matmuls of training reach on GPUs before Hopper."""
    matmul_hopper: float = 0.9
    """The same on Hopper, whose clock falls under sustained load."""
    matmul_blackwell: float = 0.8
    """The same on Blackwell and other new GPUs, whose libraries are young."""
    matmul_fp8: float = 1.0
    """Factor on these shares for fp8."""
    legacy: float = 1.1
    """Factor on the time of GPU work with the legacy stack."""
    attention_old: float = 0.33
    """Share of the peak rate that flash attention reaches before Hopper, counted with a causal mask."""
    attention_eager: float = 0.2
    """The same on Hopper and later without compiled or fused kernels (FlashAttention 2 does not use their new units)."""
    attention_new: float = 0.33
    """The same on Hopper and later with compiled or fused kernels."""
    elementwise: float = 1.5
    """Factor on the bytes that norms, activations and residuals move at least."""
    launch_s: float = 2.0e-3
    """Shortest time of a layer, forward and backward, for one micro-batch: the CPU launches its kernels."""
    exposed_torch: float = 0.9
    """Share of the communication of data parallelism that compute does not hide, with the torch and legacy stacks."""
    exposed_fused: float = 0.8
    """The same with the fused stack."""
    experts: float = 1.5
    """Factor on the time of the matmuls of experts: routing, imbalance, small matrices."""
    network: float = 0.9
    """Share of the line rate of the network that large messages reach."""


PRIORS = Constants()
"""The values from which the fit starts."""


# Assumed: fixed before the fit. Their effect on published runs is too small to fit them.
LINK_SHARE = 0.75
"""Share of NVLink's bandwidth that collectives reach (195 to 230 of 300 GB/s on 8 A100, li-plus/playground)."""
PCIE_SHARE = 0.7
"""Share of PCIe's bandwidth that collectives reach through host memory."""
MEMORY_SHARE = 0.85
"""Share of the memory's bandwidth that a kernel reaches."""
UNPUBLISHED_MATMUL = {"bf16": 0.82, "fp8": 0.72}
"""Share of the peak rate that one large matmul reaches, on GPUs without a published rate (A100: 0.87; H100: 0.80, 0.71)."""
TILE = 64.0
"""A matmul whose smallest side is this long takes twice its time at full rate."""
LIGHT_ELEMENTWISE = 0.2
"""Share of the element-wise traffic that is left with compiled or fused kernels."""
LIGHT_LAUNCH = 0.5
"""The same for the time to launch kernels."""
TP_EXPOSED_FUSED = 0.05
"""Share of the communication of tensor parallelism that the fused stack does not overlap with matmuls."""
CP_EXPOSED = 0.15
"""Share of the communication of context parallelism that attention does not hide."""
EAGER_PASSES = 4.0
"""Additional reads and writes of RMSNorm and rotary positions in PyTorch without compilation."""
FP8_CAST_BYTES = 4.0
"""Bytes moved for each input of an fp8 matmul to convert it: read 2, write 1, and write 1 transposed."""
OPTIMIZER_BYTES = 30.0
"""Bytes that an AdamW update moves for each parameter: weight, gradient and two moments in fp32, and the bf16 copy."""
FORWARD_SHARE = 1 / 3
"""The time of a token in a validation, as a share of its time in training: a validation runs only the forward pass."""
STRAGGLER = 0.004
"""Growth of the step time with each doubling of the GPUs above 8: the slowest one sets the pace."""


class Spread(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far predictions were off for rows of sources that the fit had not seen."""

    rows: int
    factor: float
    """80 % of these rows lie within predicted / factor and predicted * factor."""


class FittedFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What benchmarks/fit_cost.py writes."""

    about: str
    date: str
    rows: int
    constants: Constants
    ranges: dict[str, tuple[float, float]]
    """Constant -> its lowest and highest value when each source was left out in turn."""
    spreads: dict[str, Spread]
    """Class of a setup (see intervals.py) -> the spread of its throughput."""


@cache
def fitted_file() -> FittedFile:
    """The file of fitted constants."""
    return msgspec.json.decode(FITTED_FILE.read_bytes(), type=FittedFile)


def fitted() -> Constants:
    """The fitted constants."""
    return fitted_file().constants
