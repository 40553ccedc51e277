"""Measures the operations of training on this machine, and writes JSON lines to stdout: the machine, then its rates.

Only single operations run here, never a step of a model; what a step takes is computed from them (simulate/here.py).
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec
import torch
import torch.nn.functional as F
from torch import Tensor

from seedbed.config.schema import TrainConfig
from seedbed.events import Message
from seedbed.hardware import cpu, memory
from seedbed.jobs.answering import answer_request, write_line
from seedbed.model.activated_linear import GELU_TANH, SWIGLU, activation, activation_gradient
from seedbed.model.cross_entropy import summed_cross_entropy
from seedbed.model.kernels import causal_attention, embedding, rms_norm, rotate
from seedbed.optim.adamw import AdamW, ParameterGroup
from seedbed.optim.muon import Muon, Slice
from seedbed.optim.newton_schulz import fast_dtype
from seedbed.simulate.machine_rates import KINDS, VERSION, MachineRates, Point, Sizes, nearest_smaller
from seedbed.train.compiling import has_compiler
from seedbed.train.device import Device, decide_device
from seedbed.train.masters import DTYPES, Masters
from seedbed.train.step import clip_gradients

_ROUNDS, _FEWEST_ROUNDS = 5, 3
_MOST_S = 12.0
"""After so many seconds no round is added to the fewest."""
_WINDOW_S = 0.004
"""An operation is repeated for about so long in each round; its time is the mean."""
_SLOW_S = 0.12
"""An operation that should take longer is not measured, but scaled from a smaller one."""
_LONG_S = 0.05
"""An operation that takes longer is timed from its first call: what a first call does in addition hardly counts there."""
_FEWEST_COPIES, _MOST_COPIES = 4, 16
"""Calls in turn use copies of the tensors: a step rarely finds the tensors of an operation in the processor's caches."""
_HEAD, _HEADS = 64, 4
_TABLE_WIDTH = 256

Call = Callable[[], object]


class MeasureRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The device, precision and threads as in the config table `train`."""

    device: str = "auto"
    strict_device: bool = True
    precision: str = "auto"
    threads: int = 0


def main(arguments: Sequence[str]) -> int:
    """Answer the request on stdin; returns the exit status.

    Writes a line with `machine` (name, precision, memory), messages, then one with `rates` (machine_rates.MachineRates).
    """
    return answer_request(MeasureRequest, answer)


def answer(request: MeasureRequest) -> None:
    """Decide on the device as a run does, measure, and write the result."""
    options = msgspec.convert(msgspec.to_builtins(request), TrainConfig)
    device, precision = decide_device(options, lambda _name, _type: None, _emit)
    about: dict[str, Any] = {
        "version": VERSION,
        "name": device.name,
        "device": device.kind,
        "threads": torch.get_num_threads(),
        "cores": cpu.usable_cores(),
        "precision": precision,
        "torch": str(torch.__version__),
        "compiler": device.kind != "mps" and has_compiler(device.torch_device),
        "total_bytes": _total_bytes(device),
    }
    write_line({"machine": about})
    load, begun = os.getloadavg()[0], time.perf_counter()
    points = measure(device, precision)
    rates = MachineRates(**about, measured=time.time(), elapsed_s=time.perf_counter() - begun, load=load, points=points)
    write_line({"rates": msgspec.to_builtins(rates)})


def measure(
    device: Device,
    precision: str,
    *,
    grids: dict[str, tuple[Sizes, ...]] | None = None,
    most_s: float = _MOST_S,
) -> dict[str, tuple[Point, ...]]:
    """Measure all kinds of operations at the sizes of their grids (or of `grids`), in rounds, so that load meets all alike."""
    grids = grids or {name: kind.grid for name, kind in KINDS.items()}
    found: dict[str, dict[Sizes, list[float]]] = {name: {} for name in grids}
    fastest: dict[str, dict[Sizes, float]] = {name: {} for name in grids}
    scaled: dict[str, set[Sizes]] = {name: set() for name in grids}
    begun = time.perf_counter()
    for number in range(_ROUNDS):
        if number >= _FEWEST_ROUNDS and time.perf_counter() - begun > most_s:
            break
        for name, grid in grids.items():
            for sizes in sorted(grid, key=KINDS[name].work):
                if number == 0 and _scaled(name, sizes, fastest[name]) > _SLOW_S:
                    scaled[name].add(sizes)
                if sizes in scaled[name]:
                    last = {each: found[name][each][-1] for each in fastest[name]}
                    seconds = _scaled(name, sizes, last)
                else:
                    make = partial(operation, name, sizes, device.torch_device, precision)
                    if number == 0:
                        fastest[name][sizes] = _fastest(make(), device.torch_device)
                    seconds = _mean(make, fastest[name][sizes], device.torch_device)
                found[name].setdefault(sizes, []).append(seconds)
    return {
        name: tuple(Point(sizes, tuple(found[name][sizes]), sizes in scaled[name]) for sizes in grid)
        for name, grid in grids.items()
    }


def _scaled(kind: str, sizes: Sizes, seconds: dict[Sizes, float]) -> float:
    """The time of the nearest smaller size in `seconds`, in proportion to the work; 0 without one."""
    near = nearest_smaller(kind, sizes, seconds)
    return 0.0 if near is None else seconds[near] * KINDS[kind].work(sizes) / KINDS[kind].work(near)


def _fastest(call: Call, device: torch.device) -> float:
    """The shorter time of two calls."""
    times = []
    for _ in range(2):
        begun = time.perf_counter()
        call()
        _wait(device)
        times.append(time.perf_counter() - begun)
    return max(min(times), 1e-7)


def _mean(make: Callable[[], Call], fastest_s: float, device: torch.device) -> float:
    """Mean seconds of some calls. Their number is set in advance: otherwise, those that are interrupted would count more."""
    number = max(1, math.ceil(_WINDOW_S / fastest_s))
    calls = [make() for _ in range(min(max(number + 1, _FEWEST_COPIES), _MOST_COPIES))]
    if fastest_s < _LONG_S:
        calls[0]()  # a first call also gets its memory from the system
        _wait(device)
    begun = time.perf_counter()
    for index in range(1, number + 1):
        calls[index % len(calls)]()
    _wait(device)  # a GPU works in advance, as it does in a step
    return max(time.perf_counter() - begun, 1e-9) / number


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def operation(kind: str, sizes: Sizes, device: torch.device, precision: str) -> Call:
    """A function that does an operation once, forward and backward; its tensors are made here."""
    with torch.device(device):
        return _OPERATIONS[kind](sizes, DTYPES[precision])


def _values(*shape: int, dtype: torch.dtype, grad: bool = True) -> Tensor:
    return torch.full(shape, 0.5, dtype=dtype).requires_grad_(grad)


def _both_ways(forward: Callable[[], Tensor], inputs: Sequence[Tensor]) -> Call:
    """Forward and backward of a function of tensors; the gradient of its result has ones."""
    grad = torch.ones_like(forward())

    def call() -> None:
        torch.autograd.grad(forward(), inputs, grad)

    return call


def _operation(_: Sizes, dtype: torch.dtype) -> Call:
    x = _values(8, dtype=dtype)
    return _both_ways(lambda: x * 2.0, [x])


def _matmul(sizes: Sizes, dtype: torch.dtype) -> Call:
    rows, inputs, outputs = sizes
    x, weight = _values(rows, inputs, dtype=dtype), _values(outputs, inputs, dtype=dtype)
    return _both_ways(lambda: F.linear(x, weight), [x, weight])


def _attention(sizes: Sizes, dtype: torch.dtype, *, masked: bool = False) -> Call:
    """Attention as the decoder calls it, from queries, keys and values side by side to rows of all heads."""
    sequences, tokens, width = max(sizes[0] // _HEADS, 1), sizes[1], sizes[2]
    qkv = _values(sequences, tokens, 3 * _HEADS, width, dtype=dtype)
    mask = torch.ones(sequences, 1, tokens, tokens, dtype=torch.bool).tril() if masked else None

    def forward() -> Tensor:
        q, k, v = (each.transpose(1, 2) for each in qkv.split(_HEADS, dim=2))
        return causal_attention(q, k, v, mask).transpose(1, 2).reshape(sequences, tokens, -1)

    return _both_ways(forward, [qkv])


def _rms_norm(sizes: Sizes, dtype: torch.dtype) -> Call:
    x, gain = _values(sizes[0] // _TABLE_WIDTH, _TABLE_WIDTH, dtype=dtype), _values(_TABLE_WIDTH, dtype=dtype)
    return _both_ways(lambda: rms_norm(x, gain, 1e-6), [x, gain])


def _layer_norm(sizes: Sizes, dtype: torch.dtype) -> Call:
    x = _values(sizes[0] // _TABLE_WIDTH, _TABLE_WIDTH, dtype=dtype)
    gain, bias = _values(_TABLE_WIDTH, dtype=dtype), _values(_TABLE_WIDTH, dtype=dtype)
    return _both_ways(lambda: F.layer_norm(x, (_TABLE_WIDTH,), gain, bias), [x, gain, bias])


def _head_norm(sizes: Sizes, dtype: torch.dtype) -> Call:
    x, gain = _values(sizes[0] // (_HEADS * _HEAD), _HEADS, _HEAD, dtype=dtype), _values(_HEADS, _HEAD, dtype=dtype)
    return _both_ways(lambda: rms_norm(x, gain, 1e-6), [x, gain])


def _rotation(sizes: Sizes, dtype: torch.dtype) -> Call:
    tokens = 32
    x = _values(sizes[0] // (tokens * _HEADS * _HEAD), tokens, _HEADS, _HEAD, dtype=dtype)
    cos, sin = (_values(tokens, 1, _HEAD, dtype=dtype, grad=False) for _ in range(2))
    return _both_ways(lambda: rotate(x, cos, sin), [x])


def _swiglu(sizes: Sizes, dtype: torch.dtype) -> Call:
    return _activation(_values(sizes[0] // _TABLE_WIDTH, 2 * _TABLE_WIDTH, dtype=dtype, grad=False), SWIGLU)


def _gelu(sizes: Sizes, dtype: torch.dtype) -> Call:
    return _activation(_values(sizes[0], dtype=dtype, grad=False), GELU_TANH)


def _activation(x: Tensor, kind: str) -> Call:
    """An activation forward, and backward as the decoder does it, which computes the activation again."""
    grad = torch.ones_like(activation(x, kind))

    def call() -> None:
        with torch.no_grad():
            activation(x, kind)
            activation_gradient(x, grad, kind)

    return call


def _addition(sizes: Sizes, dtype: torch.dtype) -> Call:
    """x + f(x): the sum, and in the backward pass the sum of both gradients."""
    x, y = _values(sizes[0], dtype=dtype), _values(sizes[0], dtype=dtype)

    def call() -> None:
        with torch.no_grad():
            _ = x + y
            _ = x + y

    return call


def _pass(sizes: Sizes, dtype: torch.dtype) -> Call:
    x, y = (_values(sizes[0], dtype=dtype, grad=False) for _ in range(2))
    out = torch.empty_like(x)
    return lambda: torch.mul(x, y, out=out)


def _embedding(sizes: Sizes, dtype: torch.dtype) -> Call:
    rows = sizes[0] // _TABLE_WIDTH // 2
    table, ids = _values(rows, _TABLE_WIDTH, dtype=dtype), torch.arange(rows) % max(rows // 4, 1)
    return _both_ways(lambda: embedding(ids, table), [table])


def _loss(sizes: Sizes, dtype: torch.dtype) -> Call:
    tokens, vocabulary, inputs = sizes
    x, weight = _values(tokens, inputs, dtype=dtype), _values(vocabulary, inputs, dtype=dtype)
    targets = torch.arange(tokens) % vocabulary
    return _both_ways(lambda: summed_cross_entropy(x, weight, targets), [x, weight])


def _gradients(sizes: Sizes, dtype: torch.dtype) -> Call:
    """What a step does with gradients and weights besides the optimizer, for matrices of 2^16 weights."""
    working = [_values(256, 256, dtype=dtype) for _ in range(max(sizes[0] >> 16, 1))]
    gradients = [torch.ones_like(each) for each in working]
    precision = next(name for name, each in DTYPES.items() if each == dtype)
    masters = Masters.of(working, precision=precision)

    def call() -> None:
        for parameter, gradient in zip(masters.working, gradients, strict=True):
            parameter.grad = gradient
        if masters.has_working_copy:
            masters.collect()
        with torch.no_grad():
            norm = clip_gradients(masters.gradients(), 1.0)
        masters.finish_step(norm, lambda: None)

    return call


def _adamw(sizes: Sizes, _: torch.dtype) -> Call:
    weights = _values(sizes[0], dtype=torch.float32)
    weights.grad = torch.ones_like(weights)
    optimizer = AdamW([ParameterGroup([Slice(weights, None)], 1e-6, 0.0)], beta1=0.9, beta2=0.95, eps=1e-8)
    return lambda: optimizer.step(1.0)


def _muon(sizes: Sizes, _: torch.dtype) -> Call:
    number, short, long = sizes
    matrices = [torch.randn(short, long).requires_grad_() for _ in range(number)]
    for matrix in matrices:
        matrix.grad = torch.ones_like(matrix)
    optimizer = Muon(
        [Slice(matrix, None) for matrix in matrices],
        lr=1e-6,
        momentum=0.9,
        weight_decay=0.0,
        steps=5,
        dtype=fast_dtype(matrices[0].device),
    )
    return lambda: optimizer.step(1.0)


_OPERATIONS: dict[str, Callable[[Sizes, torch.dtype], Call]] = {
    "operation": _operation,
    "matmul": _matmul,
    "attention": _attention,
    "masked attention": lambda sizes, dtype: _attention(sizes, dtype, masked=True),
    "rms norm": _rms_norm,
    "layer norm": _layer_norm,
    "head norm": _head_norm,
    "rotation": _rotation,
    "swiglu": _swiglu,
    "gelu": _gelu,
    "addition": _addition,
    "memory pass": _pass,
    "embedding": _embedding,
    "loss": _loss,
    "gradients": _gradients,
    "adamw": _adamw,
    "muon": _muon,
}


def _total_bytes(device: Device) -> int:
    if device.kind == "cuda":
        return int(torch.cuda.mem_get_info(device.torch_device)[1])
    return memory.total_bytes()


def _emit(event: Message) -> None:
    write_line({"message": msgspec.to_builtins(event)})
