"""Memory of one GPU in training, by part."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from seedbed.simulate.layer_cost import NF4_BYTES
from seedbed.simulate.setup import Layout, Setup, Weights

GIB = float(1 << 30)

# Chosen by hand on published memory figures (docs/planner.md has the errors), or from the sources named.
LOGITS_BYTES = 13.0
"""Bytes for each logit: 16-bit, fp32, softmax and gradient exist together."""
CHUNKED_LOGITS_BYTES = 13.0 / 8
"""The same if the loss is computed in 8 pieces."""
SELECTIVE_KEPT = 0.35
"""Share of the activations that selective checkpointing in PyTorch keeps."""
COMPILED_KEPT = 0.85
LORA_KEPT = 0.7
"""Share that is left with frozen matrices: they need no input for their backward pass."""
DROPOUT_MASK_BYTES = 1.0
"""An adapter keeps its input after dropout and the mask of the dropout."""
QLORA_COPIES = 1.6
"""Copies of the input of each matrix that are kept with 4-bit weights, which are converted for each product."""
FRAGMENTATION = 1.12
"""Reserved against allocated memory with several GPUs, whose buffers come and go (1.11 to 1.17 were published)."""
FRAGMENTATION_LEGACY = 1.25
"""The same with the legacy stack, whose allocator could not grow its segments."""
FRAGMENTATION_FUSED = 1.05
"""The same with the fused stack, which allocates weights and gradients once, as two buffers, and whose segments grow
(assumed)."""
FRAGMENTATION_ALONE = 1.05
"""The same on one GPU (assumed)."""
CONTEXT_GIB = 1.0
"""CUDA context, NCCL buffers and libraries; assumed (0.5 to 1.5 GiB)."""
ADAPTER_BYTES = 16.0
"""Bytes for each LoRA weight: fp32 weight, gradient, two moments."""


class Memory(NamedTuple):
    """Peak memory of the GPU that needs most, in bytes, by part."""

    weights: float
    gradients: float
    optimizer: float
    gathered: float
    """Whole weights of the layers in use, if weights are sharded."""
    activations: float
    logits: float
    fragmentation: float
    context: float

    @property
    def total(self) -> float:
        """What the driver reports."""
        return sum(self)

    @property
    def states(self) -> float:
        """Weights, gradients and optimizer state at the peak."""
        return self.weights + self.gradients + self.optimizer

    @property
    def reserved(self) -> float:
        """What PyTorch's allocator holds: allocated memory with its gaps."""
        return self.total - self.context

    @property
    def allocated(self) -> float:
        """What PyTorch's allocator counts as allocated: without gaps and the driver's own memory."""
        return self.total - self.fragmentation - self.context


def memory_of(setup: Setup) -> Memory:
    """The peak memory of one GPU."""
    weights, gradients, optimizer = _states(setup)
    gathered = _gathered(setup)
    layer = layer_activation_bytes(setup)
    first = _stage(setup, layer, first=True)
    last = first if setup.layout.pp == 1 else _stage(setup, layer, first=False)
    # Gradients grow while activations are freed: at the loss there are all activations and no new gradients (unless they
    # are accumulated over micro-batches), at the end of the backward pass the reverse.
    accumulated = setup.micro_batches > 1 or setup.layout.pp > 1
    at_loss = max((((gradients if accumulated else 0.0), *stage) for stage in (first, last)), key=sum)
    at_end = (gradients, layer, 0.0)  # the backward pass of the last layer runs
    peak = max(at_loss, at_end, key=sum)
    parts = (weights, peak[0], optimizer, gathered, *peak[1:])
    several = {"legacy": FRAGMENTATION_LEGACY, "fused": FRAGMENTATION_FUSED}.get(setup.recipe.stack, FRAGMENTATION)
    gaps = (several if setup.num_gpus > 1 else FRAGMENTATION_ALONE) - 1
    return Memory(*parts, gaps * sum(parts), CONTEXT_GIB * GIB)


def least_state_bytes(setup: Setup) -> float:
    """Bytes of weights, gradients and optimizer state of all GPUs together if each exists once, as with FSDP."""
    return sum(_states(msgspec.structs.replace(setup, layout=Layout(zero=3))))


def _states(setup: Setup) -> tuple[float, float, float]:
    """Bytes of weights, gradients and optimizer state on one GPU."""
    recipe, layout = setup.recipe, setup.layout
    shards = max(1, layout.shard)
    ranks = {stage: shards if layout.zero >= stage else 1 for stage in (1, 2, 3)}
    if recipe.is_lora:
        return _lora_states(setup, ranks[3])
    moments = _moment_bytes(recipe.optimizer)
    if recipe.pure_bf16:
        weight, gradient, state = 2.0, (0.0 if _frees_gradients(recipe.optimizer) else 2.0), min(moments, 4.0)
    elif layout.zero == 3 or recipe.stack == "torch" or recipe.precision == "fp32":
        # PyTorch: fp32 weights and gradients, 16-bit copies only while a layer computes.
        weight, gradient, state = 4.0, 4.0, moments
    else:
        # Megatron: 16-bit weights and fp32 copies with the optimizer. Gradients: the fused stack keeps them as it sums them
        # (in 16 bits by default), the legacy stack in 16 bits (fp16) or fp32 (bf16).
        kept = recipe.reduce_bytes if recipe.stack == "fused" else 2.0 if recipe.precision == "fp16" else 4.0
        weight, gradient, state = 2.0, kept, 4.0 + moments
    held = setup.weights
    return tuple(each * setup.share(held, ranks[stage]) for each, stage in ((weight, 3), (gradient, 2), (state, 1)))  # type: ignore[return-value]


def _lora_states(setup: Setup, shards: int) -> tuple[float, float, float]:
    """Bytes of frozen weights and adapters, of the adapters' gradients, and of their moments."""
    recipe, layout, layer = setup.recipe, setup.layout, setup.layer_weights
    stage = setup.layers_per_stage
    blocks = Weights(layer.dense * stage, layer.experts * stage)
    tables = setup.weights.dense - blocks.dense
    each = NF4_BYTES if recipe.method == "qlora" else float(recipe.value_bytes)
    frozen = each * setup.share(blocks, shards) + recipe.value_bytes * tables / shards
    adapters = recipe.lora_parameters / (layout.tp * layout.pp) / shards
    return frozen + 4 * adapters, 4 * adapters, (ADAPTER_BYTES - 8) * adapters


def _frees_gradients(optimizer: str) -> bool:
    """Whether each gradient is used and freed in the backward pass; low-memory recipes with a paged optimizer do that, too."""
    return "backward" in optimizer or "paged" in optimizer


def _moment_bytes(optimizer: str) -> float:
    """Bytes of AdamW's moments for each parameter."""
    if "paged" in optimizer:
        return 0.0
    if "8bit" in optimizer:
        return 2.0
    return 4.0 if "bf16" in optimizer else 8.0


def _gathered(setup: Setup) -> float:
    """Bytes of whole weights and gradients with FSDP: two layers ahead, one layer's gradient, a vocabulary table."""
    if setup.layout.zero < 3 or setup.layout.shard < 2:
        return 0.0
    size = setup.recipe.value_bytes
    layer = sum(setup.layer_weights)
    each = 2 * NF4_BYTES if setup.recipe.method == "qlora" else 2.0 * size
    gradient = 0.0 if setup.recipe.is_lora else size + 4.0
    return (each + gradient) * layer + size * setup.shape.vocab * setup.shape.hidden / setup.layout.tp


def _stage(setup: Setup, layer: float, *, first: bool) -> tuple[float, float]:
    """Bytes of activations and of logits on the first or the last pipeline stage at its fullest moment.

    `layer`: the bytes of one layer's activations.
    """
    alone = setup.layout.pp == 1
    kept = _kept_bytes(setup, layer) * setup.layers_per_stage * (_in_flight(setup) if first else 1.0)
    live = layer if setup.recipe.recompute == "full" else 0.0
    logits = 0.0 if first and not alone else _logits(setup)
    if setup.recipe.is_lora:
        # The logits are freed before a layer is computed again. Otherwise the output layer's gradient takes their place.
        live, logits = (live, 0.0) if live > logits else (0.0, logits)
    return kept + live, logits


def _kept_bytes(setup: Setup, layer: float) -> float:
    """Bytes of one layer that a micro-batch keeps for its backward pass, of the `layer` bytes of its activations."""
    recipe, layout = setup.recipe, setup.layout
    if recipe.recompute == "full":
        split = layout.tp if layout.sequence_parallel else 1
        return recipe.value_bytes * setup.tokens * setup.shape.hidden / split
    return layer * SELECTIVE_KEPT if recipe.recompute == "selective" and recipe.stack == "torch" else layer


def _in_flight(setup: Setup) -> float:
    """Micro-batches whose activations the first stage keeps (1F1B; interleaving adds a share, arXiv 2205.05198).

    At most those of a step.
    """
    p, v = setup.layout.pp, setup.layout.interleave
    if p == 1:
        return 1.0
    return min(p * (1 + (p - 1) / (p * v) if v > 1 else 1.0), setup.micro_batches)


def layer_activation_bytes(setup: Setup) -> float:
    """Bytes that one layer keeps for its backward pass of one micro-batch, without full checkpointing.

    Of the inputs of each operation (arXiv 2205.05198, section 4, without dropout masks for models with a gate).
    """
    shape, recipe, layout = setup.shape, setup.recipe, setup.layout
    t, tokens = layout.tp, setup.tokens
    residual, inner = _kept_widths(setup)
    whole = tokens * (residual / (t if layout.sequence_parallel else 1) + inner / t)
    if not recipe.flash and not (recipe.recompute == "selective" and recipe.stack != "torch"):
        # Scores, their softmax and dropout; Megatron's selective checkpointing computes them again.
        whole += 5 * tokens * recipe.seq_len * shape.heads / t
    whole *= recipe.value_bytes / 2
    if recipe.compiled:
        whole *= COMPILED_KEPT
    if recipe.is_lora:
        size = recipe.value_bytes
        whole = LORA_KEPT * whole + tokens * recipe.lora_input_width * (size + DROPOUT_MASK_BYTES) / t
        if recipe.method == "qlora":
            whole += QLORA_COPIES * size * tokens * (2 * shape.hidden + shape.query_width + setup.ffn_width) / t
    return whole


def _kept_widths(setup: Setup) -> tuple[float, float]:
    """Bytes for each token that a layer keeps in 16 bits: what sequence parallelism splits, and what the GPUs of tensor
    parallelism share in any case."""
    shape, recipe = setup.shape, setup.recipe
    h, kv, wide = shape.hidden, setup.kv_width * setup.layout.tp, setup.ffn_width
    attention = 4 * shape.query_width + 4 * kv  # queries, keys, values and the output
    if recipe.stack == "legacy":
        return 10 * h, 24 * h
    if recipe.stack == "torch":
        # Llama in PyTorch: norms in fp32, and SiLU and its product with the gate are operations of their own.
        return (12 if shape.gated else 10) * h, attention + (8 if shape.gated else 4) * wide
    # Fused kernels: inputs and outputs of two norms; inputs of the activation function, and of the matrix after it.
    ups = shape.ffn_matrices - 1
    if recipe.recompute == "selective" and recipe.flash:
        # Norms and activation functions are computed again (arXiv 2412.19437, section 3.2.3).
        return 4 * h, attention + 2 * ups * wide
    return 8 * h, attention + 2 * (ups + 1) * wide


def _logits(setup: Setup) -> float:
    """Bytes of the logits of one micro-batch and their gradients."""
    each = CHUNKED_LOGITS_BYTES if setup.recipe.chunked_loss else LOGITS_BYTES
    return each * setup.tokens * setup.shape.vocab / setup.layout.tp
