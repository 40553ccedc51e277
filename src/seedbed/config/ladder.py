"""The ladder of model sizes from which a time budget (`train.time`) chooses, and the config of each rung.

One number, the rung, decides everything about the size: layers, width, heads, feed-forward width, learning rates.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from msgspec.structs import replace

from seedbed.config.arithmetic import matrix_parameters, padded_vocab
from seedbed.config.schema import Config, ModelConfig

SMALL_BATCH = 8
"""Sequences per step in short runs: small batches learn most per token with Muon (see docs/log.md)."""
_SMALL_BATCH_TOKENS = 4e6
"""The batch size doubles with each doubling of this many training tokens. Assumed; the preset nano has 2.8 million."""
_LARGEST_BATCH = 256
_WIDE, _WIDE_BATCH, _WIDE_TOKENS = 192, 16, 2e6
"""Models that are at least so wide have at least so many sequences per step in runs of at least so many tokens: Muon's work for a
step grows with the width, and is a third of a step of SMALL_BATCH sequences there (measured: 10 % more tokens per second)."""
_TUNED_WIDTH = 128
"""The width for which the learning rates of the preset nano were tuned. Wider models use lower AdamW rates."""
ADAMW_LR = 1e-3
"""The usual peak learning rate of AdamW for models of this size."""
_LARGEST_DEPTH = 32


class Rung(NamedTuple):
    """The shape of one size: numbers of layers and heads, and widths."""

    layers: int
    hidden: int
    heads: int
    head_dim: int
    ffn: int


def _rung(layers: int) -> Rung:
    """The shape for a depth. The width grows with the depth by 64 per layer, and the feed-forward width is 8/3 of it."""
    hidden = {2: 64, 3: 96}.get(layers, 64 * (layers - 2))
    head_dim = 32 if hidden % 64 else 64
    return Rung(layers, hidden, hidden // head_dim, head_dim, 64 * max(1, round(hidden * 8 / 3 / 64)))


RUNGS: tuple[Rung, ...] = tuple(_rung(layers) for layers in (*range(2, 11), *range(12, _LARGEST_DEPTH + 1, 2)))
"""All sizes, smallest first: from 0.1 million parameters in matrices to over a billion."""


def shaped(model: ModelConfig, rung: Rung) -> ModelConfig:
    """The model config with the shape of a rung. Context, family and vocabulary rows stay as they are."""
    return replace(
        model,
        layers=rung.layers,
        hidden=rung.hidden,
        heads=rung.heads,
        kv_heads=rung.heads,
        head_dim=rung.head_dim,
        ffn=rung.ffn,
        tie_embeddings=False,
        init="zero-out",
    )


def computing_parameters(model: ModelConfig, vocab_size: int) -> int:
    """The parameters that take part in matrix products: all matrices of the blocks, and the head. The N of the law."""
    return matrix_parameters(model) + padded_vocab(model, vocab_size) * model.hidden


def sized(config: Config, index: int, tokens: float) -> Config:
    """The config with the size of rung `index` (into RUNGS), for about `tokens` training tokens.

    Replaces the model's shape, the batch size, the optimizer and its rates. If the user chose AdamW, its rate is the usual
    one, since the rates of the ladder are those of Muon.
    """
    rung = RUNGS[index]
    narrower = min(1.0, _TUNED_WIDTH / rung.hidden)
    batch_size = batch_for(tokens, rung.hidden)
    is_adamw = config.optimizer.name == "adamw" and "optimizer.name" in config.train.keep
    optimizer = replace(
        config.optimizer,
        name="adamw" if is_adamw else "muon",
        lr=ADAMW_LR if is_adamw else 0.02,
        adam_lr=round(0.03 * narrower, 6),
        head_lr=round(0.01 * narrower, 6),
        momentum=0.9 if batch_size == SMALL_BATCH else 0.95,
    )
    train = replace(config.train, batch_size=batch_size, micro_batch=0)
    return replace(config, model=shaped(config.model, rung), optimizer=optimizer, train=train)


def batch_for(tokens: float, hidden: int = 0) -> int:
    """Sequences per step for about `tokens` training tokens and a width: grows with the tokens, in powers of 2, up to a limit.

    A long run then has some 2,000 to 4,000 steps. Near the end of what a model can learn from its text, the noise of small
    batches costs more than the fewer steps of large ones (see docs/log.md).
    """
    doublings = math.floor(math.log2(max(tokens / _SMALL_BATCH_TOKENS, 1.0)))
    least = _WIDE_BATCH if hidden >= _WIDE and tokens >= _WIDE_TOKENS else SMALL_BATCH
    return int(min(max(SMALL_BATCH * 2**doublings, least), _LARGEST_BATCH))
