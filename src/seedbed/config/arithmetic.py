"""Compute what training with a config costs: parameters, FLOPs and memory. Builds no model and imports no torch."""

from __future__ import annotations

from typing import NamedTuple

from seedbed.config.families.family import features
from seedbed.config.families.windows import windows
from seedbed.config.schema import Config, ModelConfig
from seedbed.config.tiling import (
    BLOCKED_CONTEXT,
    keeps_probabilities,
    probabilities,
    slice_rows,
    softmax_rows,
    window_blocks,
)


def padded_vocab(model: ModelConfig, vocab_size: int) -> int:
    """Number of rows of the embedding: `vocab_size` rounded up to a multiple of `model.vocab_multiple`."""
    return -(-vocab_size // model.vocab_multiple) * model.vocab_multiple


def matrix_parameters(model: ModelConfig) -> int:
    """Number of weights in the matrices of all transformer blocks, without biases."""
    qkv = model.hidden * (model.heads + 2 * model.kv_heads) * model.head_dim
    out = model.heads * model.head_dim * model.hidden
    mlp = (_mlp_inputs(model) + 1) * model.hidden * model.ffn
    return model.layers * (qkv + out + mlp)


def vector_parameters(model: ModelConfig) -> int:
    """Number of gains and biases in all transformer blocks and in the last norm."""
    built = features(model)
    norm = model.hidden * (2 if built.norm == "layer" else 1)
    per_block = 2 * norm + (2 * model.head_dim if built.qk_norm else 0)
    if built.qkv_bias:
        per_block += (model.heads + 2 * model.kv_heads) * model.head_dim
    if built.out_bias:
        per_block += model.hidden
    if built.mlp_bias:
        per_block += _mlp_inputs(model) * model.ffn + model.hidden
    return model.layers * per_block + norm


def _mlp_inputs(model: ModelConfig) -> int:
    """Number of first matrices in a feed-forward layer: 2 (gate and up) for SwiGLU, else 1 (up)."""
    return 2 if features(model).mlp == "swiglu" else 1


def table_parameters(model: ModelConfig, vocab_size: int) -> int:
    """Number of parameters in the embedding, in an untied head, and in the table of learned positions."""
    rows = padded_vocab(model, vocab_size)
    positions = model.longest_context if features(model).positions == "learned" else 0
    return (rows * (1 if model.tie_embeddings else 2) + positions) * model.hidden


def count_parameters(model: ModelConfig, vocab_size: int) -> int:
    """Number of trained parameters of a model. A head that is tied to the embedding is not counted again."""
    return matrix_parameters(model) + vector_parameters(model) + table_parameters(model, vocab_size)


def divisors(number: int) -> list[int]:
    """Divisors of a positive number in ascending order: all up to 1,024, and `number` divided by each of these."""
    small = [each for each in range(1, min(number, 1024) + 1) if number % each == 0]
    return sorted({*small, *(number // each for each in small)})


def nearest_divisors(whole: int, wanted: int) -> str:
    """The divisors of `whole`, at most the 16 nearest to `wanted`, in words: `one of 1, 2, 3, 6`."""
    nearest = sorted(divisors(whole), key=lambda each: abs(each - wanted))[:16]
    return f"one of {', '.join(map(str, sorted(nearest)))}" if len(nearest) > 1 else str(nearest[0])


def flops_per_step(model: ModelConfig, vocab_size: int, sequences: int, *, fused_attention: bool = False) -> int:
    """Floating-point operations of one training step on `sequences` sequences of `model.context` tokens.

    A multiply-add counts as two operations. Counts only matmuls, as torch's FlopCounterMode does: for each weight and
    token, two operations forward and four backward; attention is counted in full, as if it were not causal.
    `fused_attention`: also count the attention scores that a flash kernel computes a second time in its backward pass, as
    FlopCounterMode does on CUDA.
    """
    tokens = sequences * model.context
    weights = matrix_parameters(model) + padded_vocab(model, vocab_size) * model.hidden
    scores = 2 * sequences * model.heads * _scores(model) * model.head_dim
    return 6 * tokens * weights + (7 if fused_attention else 6) * scores


def _scores(model: ModelConfig) -> int:
    """The attention scores that one head computes for a sequence, in all layers. A window leaves out most of them."""
    whole = model.context**2
    if not 0 < model.window < model.context:
        return model.layers * whole
    narrow = sum(
        (end - begin) * (last - first)
        for begin, end, first, last in window_blocks(model.context, model.context, model.window)
    )
    return sum(narrow if window else whole for window in windows(model))


class Memory(NamedTuple):
    """Estimated peak memory of a training step, in bytes; `snapshot` is needed in addition while a checkpoint is written.

    `activations` and `logits` are those of one micro-batch and are in memory at the same time. `gradients` reach their full
    size only after both are freed, so `total` is less than the sum.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int
    logits: int
    runtime: int
    total: int
    snapshot: int

    @property
    def fixed(self) -> int:
        """Bytes that do not depend on the batch size: weights, gradients and optimizer state."""
        return self.weights + self.gradients + self.optimizer


def memory_estimate(config: Config, vocab_size: int, precision: str, *, on_gpu: bool = False) -> Memory:
    """Estimate the peak memory of training steps, without the fixed memory that torch itself needs.

    `precision` is the precision that is used: fp32, bf16 or fp16. Counts the tensors of uncompiled training on a CPU,
    or with `on_gpu` what a GPU keeps in addition. Compiled training needs less for activations, but it, and a GPU, have the
    softmax of a whole slice of the head in fp32. Does not count freed memory that the C library keeps (10 to 50 % more in trials
    with glibc's defaults).
    """
    model, train = config.model, config.train
    sequences = train.micro_batch or train.batch_size
    tokens = sequences * model.context
    size = 4 if precision == "fp32" else 2
    split = precision != "fp32"
    parameters = count_parameters(model, vocab_size)
    head = padded_vocab(model, vocab_size) * model.hidden
    matrices = matrix_parameters(model)
    state = 4 * matrices + 8 * (parameters - matrices) if config.optimizer.name == "muon" else 8 * parameters
    weights = 4 * parameters + (size * parameters if split else 0)
    activations = model.layers * _kept_by_block(model, sequences, size, config.data.document_mask, on_gpu)
    activations += tokens * _kept_around_blocks(model, size)
    logits = _head_bytes(model, vocab_size, tokens, size)
    started = 4 * parameters if sequences < train.batch_size else 0
    # Memory use is highest at one of four moments: at the loss, with all activations; in the backward pass of the head, with its
    # gradient before and after it is scaled, or in both precisions; in that of the last block, with the head's gradient; and
    # at the update, with the gradients of all masters. A gradient of the working copy is freed as soon as it is on its master.
    forward = started + activations + logits
    inner = (5 if features(model).mlp == "swiglu" else 3) * model.ffn
    widest = tokens * size * max(inner, 3 * model.heads * model.head_dim)
    in_head = (size + 4 if split and not started else 2 * size) * head
    in_block = (size if model.tie_embeddings else 4) * head + widest
    backward = started + activations + max(in_head, in_block)
    update = 4 * parameters + max(size * head if split else 0, _update_bytes(config))
    # Ids and targets of the rest of the batch, and of prefetched batches.
    waiting = (train.batch_size * (1 + train.prefetch) - sequences) * model.context * 16
    runtime = _RUNTIME_BYTES + waiting
    total = weights + state + max(forward, backward, update) + runtime
    snapshot = 4 * parameters + state
    return Memory(weights, 4 * parameters, state, activations, logits, runtime, total, snapshot)


_RUNTIME_BYTES = 16 << 20
"""Bytes for thread stacks, temporary memory of kernels, and packed weights."""


def _kept_by_block(model: ModelConfig, sequences: int, size: int, masked: bool, on_gpu: bool) -> int:
    """Bytes that one transformer block keeps for its backward pass, added up in the order of the forward pass."""
    hidden, ffn, context, built = model.hidden, model.ffn, model.context, features(model)
    query, key = model.heads * model.head_dim, model.kv_heads * model.head_dim
    # On a CPU, an RMSNorm keeps the normalised residual. Other norms keep the residual, and the next matmul their output.
    norms = 2 * ((1 if built.norm == "rms" and not on_gpu else 2) * hidden * size + 8)
    attended = (query + 2 * key) * size + query * size
    kept = 0
    if size == 2 and context <= BLOCKED_CONTEXT:
        if keeps_probabilities(model.layers, model.heads, sequences, context):
            kept = probabilities(model.heads, sequences, context)
    else:
        attended += model.heads * 4 + (context * size if masked else 0)
    if built.qk_norm:
        attended += (query + key) * size + (model.heads + model.kv_heads) * size
    if built.positions == "rotary":
        attended += (query + key) * size
    # The input of the activation: up, for SwiGLU also the gate.
    inner = (2 if built.mlp == "swiglu" else 1) * ffn * size
    return sequences * context * (norms + attended + inner) + kept


def _kept_around_blocks(model: ModelConfig, size: int) -> int:
    """Bytes per token kept outside the blocks: last norm, the head's input and its gradient, ids and targets."""
    return 3 * model.hidden * size + 24


def _head_bytes(model: ModelConfig, vocab_size: int, tokens: int, size: int) -> int:
    """Bytes that computing logits and loss needs in addition to activations; done in slices of tokens (see cross_entropy.py).

    A slice needs its logits, whose gradient takes their place, and a block of them in fp32. The head's gradient is in memory,
    too, and is accumulated in place in fp32 if there are several slices.
    """
    rows = padded_vocab(model, vocab_size)
    height = slice_rows(rows)
    first = min(tokens, height)
    logits = rows * (first * size + 8 * min(first, softmax_rows(rows)))
    gradient = rows * model.hidden * (4 if tokens > height else size)
    return logits + gradient


def _update_bytes(config: Config) -> int:
    """Bytes that an optimizer update needs in addition to gradients and state: for Muon, copies of a stack of matrices."""
    if config.optimizer.name != "muon":
        return 0
    model = config.model
    largest = model.hidden * max(model.ffn, model.heads * model.head_dim)
    return 12 * max(min(4 << 20, matrix_parameters(model)), largest)
