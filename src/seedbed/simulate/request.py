"""What the user asks to plan, and the setup that it means: what the user leaves open is chosen, and said."""

from __future__ import annotations

import math

import msgspec

from seedbed.config.spelling import any_of
from seedbed.errors import UsageError
from seedbed.simulate.hardware_facts import Gpu
from seedbed.simulate.lora import lora_input_width, lora_parameters
from seedbed.simulate.rates import default_flash, is_new
from seedbed.simulate.setup import Layout, Recipe, Setup
from seedbed.simulate.shape import Shape
from seedbed.text import count, plural

FINE_TUNING_BATCH = 16
"""Usual sequences of a step of fine-tuning."""
FINE_TUNING_TOKENS = 1e7
"""Usual tokens of fine-tuning: some ten thousand examples, one or a few times."""
USUAL_NETWORK_GBPS = 1.25
"""Network bandwidth of a GPU if it is not known: 10 Gb/s (assumed)."""
LORA_RANK = 16
"""Rank of adapters if nothing else is said."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What the user asks to plan. None: to be chosen, and said in `Plan.assumed`."""

    shape: Shape
    gpu: Gpu
    num_gpus: int
    tokens: float | None = None
    seq_len: int | None = None
    global_batch_tokens: float | None = None
    precision: str | None = None
    method: str = "pretrain"
    lora_rank: int = LORA_RANK
    recompute: str | None = None
    stack: str | None = None
    parallel: dict[str, int] = {}
    network_gbps: float | None = None
    target_days: float | None = None
    usd_per_hour: float | None = None
    said: tuple[str, ...] = ()
    """What the caller had to assume; the first of `Plan.assumed`."""


def setup_of(request: Request, assumed: list[str]) -> tuple[Setup, float]:
    """The setup without its layout, and the tokens to train on. Appends to `assumed` what the request leaves open.

    Raises UsageError if the request contradicts itself or its GPU.
    """
    shape, gpu, n = request.shape, request.gpu, request.num_gpus
    tokens = _tokens(request, assumed)
    _refuse_rank(request)
    recipe = _recipe(request, tokens, assumed)
    network = request.network_gbps if request.network_gbps is not None else gpu.network_gbps or USUAL_NETWORK_GBPS
    node = max(gpu.link_domain, gpu.gpus_per_node) if gpu.link_gbps else gpu.gpus_per_node
    setup = Setup(
        shape=shape,
        gpu=gpu,
        num_gpus=n,
        layout=Layout(dp=n),
        recipe=recipe,
        network_gbps=network,
        node_gpus=min(node, n),
    )
    if n > node and request.network_gbps is None:
        assumed.append(network_text(network))
    return setup, tokens


def sequences_text(seq_len: int) -> str:
    """The length of the sequences in words."""
    return f"sequences of {seq_len:,} tokens"


def software_text(stack: str) -> str:
    """The software in words."""
    return f"software {stack}"


def network_text(gbps: float) -> str:
    """The bandwidth of the network for each GPU in words."""
    return f"network of {gbps:.3g} GB/s per GPU"


def _tokens(request: Request, assumed: list[str]) -> float:
    """The tokens to train on."""
    if request.tokens is not None:
        if not 0 < request.tokens < math.inf:
            raise UsageError("The number of tokens must be above 0.", "Write for example --tokens 15T.")
        return request.tokens
    if request.method != "pretrain":
        assumed.append(f"{count(FINE_TUNING_TOKENS)} tokens, as is usual for fine-tuning")
        return FINE_TUNING_TOKENS
    tokens = 20.0 * request.shape.active_parameters
    each = "active parameter" if request.shape.experts else "parameter"
    assumed.append(f"{count(tokens)} tokens, 20 for each {each} (Chinchilla)")
    return tokens


def _refuse_rank(request: Request) -> None:
    """Raise UsageError for adapters that are wider than the model."""
    shape = request.shape
    if request.method in ("lora", "qlora") and request.lora_rank > shape.hidden:
        raise UsageError(
            f"--lora-rank {request.lora_rank:,} is above the width of {shape.name}, {shape.hidden:,}.",
            "Usual ranks are 8 to 64.",
        )


def _recipe(request: Request, tokens: float, assumed: list[str]) -> Recipe:
    """How the model is trained on `tokens` tokens, apart from the layout."""
    shape, gpu, method = request.shape, request.gpu, request.method
    seq_len = request.seq_len
    if seq_len is None:
        seq_len = min(shape.context, 8192 if method == "pretrain" else 2048)
        assumed.append(sequences_text(seq_len))
    precision = _precision(request, assumed)
    global_batch = _global_batch(request, tokens, seq_len, assumed)
    stack = request.stack
    if stack is None:
        stack = "fused" if request.num_gpus > gpu.gpus_per_node and is_new(gpu) and method == "pretrain" else "torch"
        assumed.append(software_text(stack))
    adapters = method in ("lora", "qlora")
    return Recipe(
        seq_len=seq_len,
        global_batch=global_batch,
        precision=precision,
        stack=stack,
        compiled=stack == "torch",
        flash=default_flash(gpu, stack, compiled=stack == "torch"),
        method=method,
        lora_parameters=lora_parameters(shape, request.lora_rank) if adapters else 0,
        lora_input_width=lora_input_width(shape) if adapters else 0,
        reduce_bytes=4.0 if stack == "torch" and method == "pretrain" else 2.0,
        pure_bf16=method != "pretrain" and precision in ("bf16", "fp8"),
        chunked_loss=method != "pretrain",
    )


def _precision(request: Request, assumed: list[str]) -> str:
    """The precision; the best that the GPU has if nothing is said."""
    gpu, precision = request.gpu, request.precision
    if precision is None:
        precision = "bf16" if "bf16" in gpu.peak_tflops else "fp16" if "fp16" in gpu.peak_tflops else "fp32"
        assumed.append(precision)
    if precision != "fp32" and precision not in gpu.peak_tflops:
        known = [each for each in ("fp8", "bf16", "fp16") if each in gpu.peak_tflops]
        raise UsageError(f"{gpu.name} has no {precision} units.", f"Choose {any_of([*known, 'fp32'])}.")
    return precision


def _global_batch(request: Request, tokens: float, seq_len: int, assumed: list[str]) -> int:
    """Sequences of a step."""
    batch_tokens = request.global_batch_tokens
    if batch_tokens is None:
        return _default_batch(request, tokens, seq_len, assumed)
    batch = _round_batch(batch_tokens / seq_len)
    if batch * seq_len != batch_tokens:
        assumed.append(
            f"{batch * seq_len:,} tokens per step, {plural(batch, 'sequence', f'{batch:,}')}, where "
            f"{batch_tokens:,.0f} are given"
        )
    return batch


def _default_batch(request: Request, tokens: float, seq_len: int, assumed: list[str]) -> int:
    """Sequences of a step if nothing is said: as many as is usual, and a number that the GPUs can share."""
    n = request.num_gpus
    multiple = _shared_by(request)
    if request.method != "pretrain":
        multiple = math.lcm(multiple, 1 if "dp" in request.parallel else n)
        batch = multiple * max(1, round(FINE_TUNING_BATCH / multiple))
        assumed.append(f"{batch * seq_len:,} tokens per step")
        return batch
    usual = max(1, _usual_batch(request.shape, tokens, seq_len) // seq_len)
    multiple = math.lcm(multiple, n // (n & -n))
    batch = multiple << max(0, round(math.log2(usual / multiple)))
    words = f"{batch * seq_len:,} tokens per step"
    if batch != usual:
        words += (
            f", {plural(batch, 'sequence', f'{batch:,}')} that {n:,} GPUs can share, where {usual * seq_len:,} are usual "
            "(to compare numbers of GPUs, give --global-batch)"
        )
    assumed.append(words)
    return batch


def _shared_by(request: Request) -> int:
    """The number of which the sequences of a step must be a multiple, as far as the given layout says."""
    fixed = request.parallel
    dp = fixed.get("dp", 1)
    if "dp" not in fixed and all(each in fixed for each in ("tp", "pp", "cp")):
        dp = max(1, request.num_gpus // (fixed["tp"] * fixed["pp"] * fixed["cp"]))
    return dp * fixed.get("micro_batch", 1) * (fixed.get("pp", 1) if fixed.get("interleave", 1) > 1 else 1)


def _usual_batch(shape: Shape, tokens: float, seq_len: int) -> int:
    """Tokens of a step by custom: 0.5 M for 0.1 B parameters, 4 M for 8 B, 16 M for 405 B (GPT-3, table 2.1; Llama 3, table
    3), but few enough for 1,000 steps."""
    usual = int(2 ** round(math.log2(0.5e6 * max(1.0, (shape.active_parameters / 1e8) ** 0.45))))
    batch = min(max(usual, 1 << 15), 1 << 24)
    while batch > seq_len and tokens / batch < 1000:
        batch //= 2
    return batch


def _round_batch(sequences: float) -> int:
    """The number of sequences of a step that the user gave in tokens.

    A whole number stays. Others become the multiple of the largest power of two that is at most 5 % away, which many ranks
    can share: 4M tokens of sequences of 8,192 are 512 sequences, not 488.
    """
    whole = max(1, round(sequences))
    if whole == sequences:
        return whole
    power = 1 << (whole.bit_length())
    while power > 1:
        near = round(sequences / power) * power
        if near and abs(near / sequences - 1) <= 0.05:
            return near
        power //= 2
    return whole
