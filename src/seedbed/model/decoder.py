"""The decoder network, which computes logits or a summed loss from token ids.

The model's family and config decide its features (config/families/): RMSNorm or LayerNorm, QK-norm, biases, SwiGLU or GELU,
rotary or learned positions, sliding windows. Each module reads them when it is built, not in the forward pass. Any family may
tie its head to the embedding.

Shapes: B sequences, T tokens, S keys (cached and new), N = B*T, C hidden, H query heads, K key/value heads,
D head width, F inner width of the feed-forward block, V vocabulary rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seedbed.config.families.family import Features
from seedbed.config.families.family import features as features_of
from seedbed.config.families.windows import windows
from seedbed.config.schema import ModelConfig
from seedbed.config.shape import check_shape
from seedbed.config.tiling import keeps_probabilities
from seedbed.errors import SeedbedError
from seedbed.model.activated_linear import GELU, GELU_TANH, SWIGLU, activated_linear
from seedbed.model.cache import KVCache, LayerCache
from seedbed.model.cross_entropy import summed_cross_entropy
from seedbed.model.kernels import causal_attention, embedding, rms_norm, rotate
from seedbed.model.normed_linear import normed_linear

Rotary = tuple[Tensor, Tensor]


_TABLE_ROWS = 4096
"""Rows of the rotary tables of a new model, at most. They grow when a sequence is longer: few are as long as 131,072."""


def rotary_tables(config: ModelConfig, rows: int, device: torch.device) -> Rotary:
    """Cosines and sines of the first `rows` positions, [rows, D] each, fp32; the first half of the sines is negative.

    Half-split rotation (RoFormer, arXiv 2104.09864, in GPT-NeoX's order): dimension i is paired with dimension i + D/2.
    """
    positions = torch.arange(rows, device=device, dtype=torch.float32)
    angles = torch.outer(positions, rotary_frequencies(config, device))
    sin = angles.sin()
    return angles.cos().repeat(1, 2), torch.cat((-sin, sin), dim=-1)


def rotary_frequencies(config: ModelConfig, device: torch.device) -> Tensor:
    """Radians per position for each pair of dimensions, [D/2], fp32, computed in the order of transformers' operations.

    linear (position interpolation, arXiv 2306.15595): all are divided by `rope_factor`. llama3 (Llama 3.1, arXiv 2407.21783):
    those with fewer turns than `rope_low_factor` in the original context are divided, those with more than `rope_high_factor`
    are kept, and between the two is a mean of both.
    """
    exponents = torch.arange(0, config.head_dim, 2, device=device, dtype=torch.float32) / config.head_dim
    plain = 1.0 / config.rope_theta**exponents
    if config.rope_scaling == "none":
        return plain
    stretched = plain / config.rope_factor
    if config.rope_scaling == "linear":
        return stretched
    low, high = config.rope_low_factor, config.rope_high_factor
    turns = (config.rope_original_context or config.longest_context) / (2 * math.pi / plain)
    kept = ((turns - low) / (high - low)).clamp(0.0, 1.0)
    return (1 - kept) * plain / config.rope_factor + kept * plain


class Linear(nn.Linear):
    """nn.Linear without initial weights: `init_weights` draws them, or they are read from files.

    PyTorch's own initialisation takes time, and imports the compiler for a model on the meta device.
    """

    def reset_parameters(self) -> None:
        """Do nothing."""


class Embedding(nn.Embedding):
    """nn.Embedding without initial weights: see `Linear`."""

    def reset_parameters(self) -> None:
        """Do nothing."""


class Attention(nn.Module):
    """Causal self-attention. One matrix (`qkv`) projects the normalised hidden states to queries, keys and values.

    `window`: the number of tokens to which each attends, itself included; 0: all earlier ones.
    """

    def __init__(self, config: ModelConfig, features: Features, window: int) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = config.heads, config.kv_heads, config.head_dim
        self.layers, self.window = config.layers, window
        self.eps = config.norm_eps
        width = (config.heads + 2 * config.kv_heads) * config.head_dim
        self.qkv = Linear(config.hidden, width, bias=features.qkv_bias)
        self.out = Linear(config.heads * config.head_dim, config.hidden, bias=features.out_bias)
        # The gains of QK-norm: D for every query head, then D for every key head.
        self.qk_gain = nn.Parameter(torch.ones(2 * config.head_dim)) if features.qk_norm else None

    def forward(
        self, x_BTC: Tensor, norm: Norm, rotary: Rotary | None, mask: Tensor | None, cache: LayerCache | None
    ) -> Tensor:
        B, T, _ = x_BTC.shape
        H, K, D = self.heads, self.kv_heads, self.head_dim
        qkv = projected(x_BTC, norm, self.qkv).view(B, T, H + 2 * K, D)
        # split, not slices: gradients of a split are concatenated, those of slices are padded with zeros and added.
        qk, v = qkv.split((H + K, K), dim=2)
        if self.qk_gain is not None:
            gain_q, gain_k = self.qk_gain.split(D)
            qk = rms_norm(qk, torch.cat((gain_q.expand(H, D), gain_k.expand(K, D))), self.eps)
        if rotary is not None:
            qk = rotate(qk, *rotary)
        q, k = qk.split((H, K), dim=2)
        q_BHTD, k_BKSD, v_BKSD = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        if cache is not None:
            k_BKSD, v_BKSD = cache.append(k_BKSD, v_BKSD)
        # Generation, which has a cache, reads a prompt once: there, bits equal to transformers' are worth more than time.
        y_BHTD = causal_attention(
            *(q_BHTD, k_BKSD, v_BKSD, mask, self.window),
            blocks=cache is None,
            keep=keeps_probabilities(self.layers, H, B, T),
        )
        out: Tensor = self.out(y_BHTD.transpose(1, 2).reshape(B, T, H * D))
        return out


class RMSNorm(nn.Module):
    """Scales each vector to unit root mean square, then multiplies it by a learned gain."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x_BTC: Tensor) -> Tensor:
        return rms_norm(x_BTC, self.weight, self.eps)


Norm = RMSNorm | nn.LayerNorm


def projected(x_BTC: Tensor, norm: Norm, linear: nn.Module) -> Tensor:
    """`linear` of the normalised `x_BTC`, for an RMSNorm in one operation that keeps less for the backward pass."""
    if isinstance(norm, RMSNorm) and isinstance(linear, Linear):
        return normed_linear(x_BTC, norm.weight, norm.eps, linear.weight, linear.bias)
    out: Tensor = linear(norm(x_BTC))
    return out


class SwiGLU(nn.Module):
    """Feed-forward layer: down(silu(gate(norm(x))) * up(norm(x))), with gate and up in one matrix (arXiv 2002.05202)."""

    def __init__(self, config: ModelConfig, features: Features) -> None:
        super().__init__()
        bias = features.mlp_bias
        self.activation = SWIGLU
        self.gate_up = Linear(config.hidden, 2 * config.ffn, bias=bias)
        self.down = Linear(config.ffn, config.hidden, bias=bias)

    def forward(self, x_BTC: Tensor, norm: Norm) -> Tensor:
        return activated_linear(projected(x_BTC, norm, self.gate_up), self.down.weight, self.down.bias, self.activation)


class GeluMLP(nn.Module):
    """Feed-forward layer: down(gelu(up(norm(x)))), with the tanh approximation of GELU, as in GPT-2, or the exact one."""

    def __init__(self, config: ModelConfig, features: Features) -> None:
        super().__init__()
        bias = features.mlp_bias
        self.activation = GELU if features.exact_gelu else GELU_TANH
        self.up = Linear(config.hidden, config.ffn, bias=bias)
        self.down = Linear(config.ffn, config.hidden, bias=bias)

    def forward(self, x_BTC: Tensor, norm: Norm) -> Tensor:
        return activated_linear(projected(x_BTC, norm, self.up), self.down.weight, self.down.bias, self.activation)


NORMS = {"rms": RMSNorm, "layer": nn.LayerNorm}
MLPS = {"swiglu": SwiGLU, "gelu": GeluMLP}


class Block(nn.Module):
    """A transformer block: attention, then feed-forward; each reads the normalised hidden states and adds to them."""

    def __init__(self, config: ModelConfig, features: Features, window: int) -> None:
        super().__init__()
        self.norm_1 = NORMS[features.norm](config.hidden, config.norm_eps)
        self.attention = Attention(config, features, window)
        self.norm_2 = NORMS[features.norm](config.hidden, config.norm_eps)
        self.mlp = MLPS[features.mlp](config, features)

    def forward(self, x_BTC: Tensor, rotary: Rotary | None, mask: Tensor | None, cache: LayerCache | None) -> Tensor:
        x_BTC = x_BTC + self.attention(x_BTC, self.norm_1, rotary, mask, cache)
        out: Tensor = x_BTC + self.mlp(x_BTC, self.norm_2)
        return out


class Decoder(nn.Module):
    """A decoder-only transformer. `vocab_rows`: number of embedding rows (vocabulary size, rounded up).

    Computes in the dtype of its weights, but the loss and the inside of the norms in fp32. The weights are undefined until
    `init_weights` or `weights.load_state` is called. Raises UsageError for a shape that the family does not allow.
    """

    cos: Tensor
    sin: Tensor
    uses_files = False
    """Whether weights are memory maps of the files that they were loaded from (see mapping.py)."""

    def __init__(self, config: ModelConfig, vocab_rows: int) -> None:
        super().__init__()
        check_shape(config)
        features = features_of(config)
        self.config, self.vocab_rows = config, vocab_rows
        self.windows = windows(config)
        self._kinds = tuple(dict.fromkeys(self.windows))
        self.embed = Embedding(vocab_rows, config.hidden)
        learned = features.positions == "learned"
        self.positions = Embedding(config.longest_context, config.hidden) if learned else None
        self.blocks = nn.ModuleList(Block(config, features, window) for window in self.windows)
        self.norm = NORMS[features.norm](config.hidden, config.norm_eps)
        self.head = None if config.tie_embeddings else Linear(config.hidden, vocab_rows, bias=False)
        self._fill_tables(min(config.context, _TABLE_ROWS))

    def _fill_tables(self, rows: int) -> None:
        """Compute the rotary tables in fp32. Called again after every cast or move, so that they stay exact."""
        if self.positions is None:
            # Tables that grow while a sample is generated are used in training, too.
            with torch.inference_mode(False), torch.no_grad():
                cos, sin = self._tables(rows)
            self.register_buffer("cos", cos, persistent=False)
            self.register_buffer("sin", sin, persistent=False)

    def _tables(self, rows: int) -> Rotary:
        weight = self.embed.weight
        if weight.is_meta:  # computing with meta tensors would import the compiler, too
            empty = torch.empty(rows, 1, self.config.head_dim, dtype=weight.dtype, device="meta")
            return empty, empty
        cos, sin = rotary_tables(self.config, rows, weight.device)
        return cos.to(weight.dtype)[:, None, :], sin.to(weight.dtype)[:, None, :]

    def rotary(self, start: int, T: int, positions_BT: Tensor | None = None) -> Rotary:
        """Cosines and sines of T positions from `start` on, or of the given ones. Computes more rows if necessary.

        In compiled code, given positions must be below the training window.
        """
        cos, sin, config = self.cos, self.sin, self.config
        index: slice | Tensor = slice(start, start + T) if positions_BT is None else positions_BT
        if cos.shape[0] == config.longest_context:
            return cos[index], sin[index]
        if torch.compiler.is_compiling():
            needed = start + T if positions_BT is None else config.context
            if needed > cos.shape[0]:
                cos, sin = self._tables(needed)
            return cos[index], sin[index]
        needed = start + T
        if positions_BT is not None:  # reading the largest position would make a GPU wait
            needed = int(positions_BT.max()) + 1 if positions_BT.device.type == "cpu" else config.longest_context
        if needed > cos.shape[0]:
            self._fill_tables(min(max(needed, 2 * cos.shape[0]), config.longest_context))
        return self.cos[index], self.sin[index]

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Decoder:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if self.positions is None:
            self._fill_tables(self.cos.shape[0])
        return self

    def allocated(self, device: torch.device | str, dtype: torch.dtype) -> Decoder:
        """This model, built on the meta device, with memory for its weights, which are undefined.

        PyTorch's own `to_empty` would import its compiler (2 s, 100 MB) for that.
        """
        return self._apply(lambda tensor: torch.empty(tensor.shape, dtype=dtype, device=device))

    @property
    def output_weight(self) -> Tensor:
        """The matrix [V, C] of the output head; for a tied head, this is the embedding matrix."""
        return self.embed.weight if self.head is None else self.head.weight

    @torch.no_grad()
    def init_weights(self, generator: torch.Generator) -> None:
        """Draw every weight on the CPU in fp32 from `generator`, so that all devices start with the same weights.

        Matrices: normal, std 1/sqrt(fan-in). `scaled` shrinks the two projections that write to the residual stream by
        1/sqrt(2 * layers) (GPT-2); `zero-out` starts them, and an untied head, at zero (arXiv 2203.03466).
        Embeddings: std 0.02; under `zero-out`, an untied token embedding has std 1.
        """
        zero_out = self.config.init == "zero-out"
        for name, parameter in self.named_parameters():
            role = name.rsplit(".", 2)[-2]
            if parameter.ndim == 1:
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)
                continue
            residual = role in ("out", "down")
            if zero_out and (residual or role == "head"):
                parameter.zero_()
                continue
            if role in ("embed", "positions", "head"):
                std = 1.0 if zero_out and role == "embed" and self.head is not None else 0.02
            else:
                std = parameter.shape[1] ** -0.5 * ((2 * self.config.layers) ** -0.5 if residual else 1.0)
            parameter.copy_(torch.empty(parameter.shape, dtype=torch.float32).normal_(0.0, std, generator=generator))

    def hidden_states(
        self, ids_BT: Tensor, positions_BT: Tensor | None, documents_BT: Tensor | None, cache: KVCache | None
    ) -> Tensor:
        """The hidden states [B, T, C] after the last norm, from which the output head computes logits."""
        T, start = ids_BT.shape[1], 0 if cache is None else cache.length
        if start + T > self.config.longest_context:
            raise SeedbedError(
                f"A sequence of {start + T} tokens is longer than the model's context of {self.config.longest_context}.",
                "Shorten the sequence, or train a model with a larger model.context.",
            )
        masks = self._masks(start, T, documents_BT, ids_BT.device)
        x_BTC = embedding(ids_BT, self.embed.weight)
        rotary: Rotary | None = None
        if self.positions is None:
            rotary = self.rotary(start, T, positions_BT)
        else:
            if positions_BT is None and documents_BT is not None:
                positions_BT = document_positions(documents_BT)
            table = self.positions.weight
            x_BTC = x_BTC + (table[start : start + T] if positions_BT is None else embedding(positions_BT, table))
        for index, block in enumerate(self.blocks):
            x_BTC = block(x_BTC, rotary, masks[self.windows[index]], None if cache is None else cache.layers[index])
        out: Tensor = self.norm(x_BTC)
        return out

    def _masks(self, start: int, T: int, documents_BT: Tensor | None, device: torch.device) -> dict[int, Tensor | None]:
        """For each window of a layer, the mask that its attention needs besides causality and the window, or None.

        T tokens follow `start` cached ones.
        """
        masks: dict[int, Tensor | None] = {}
        documents = None if documents_BT is None else document_mask(documents_BT)
        for window in self._kinds:
            narrow = 0 < window < start + T
            if documents is not None:
                masks[window] = documents.triu(1 - window) if narrow else documents
            elif start and T > 1 and not narrow:
                masks[window] = torch.ones(T, start + T, dtype=torch.bool, device=device).tril(start)
            else:
                masks[window] = None
        return masks

    def forward(
        self,
        ids_BT: Tensor,
        *,
        positions_BT: Tensor | None = None,
        documents_BT: Tensor | None = None,
        cache: KVCache | None = None,
    ) -> Tensor:
        """Logits [B, T, V] in the weights' dtype. With a `cache`, `ids_BT` are the tokens after the cached tokens.

        The T tokens are added to the cache. `documents_BT` limits attention to positions with equal numbers (only without a
        cache). Raises SeedbedError if the sequence is longer than the context.
        """
        return F.linear(self.hidden_states(ids_BT, positions_BT, documents_BT, cache), self.output_weight)

    def loss(
        self,
        ids_BT: Tensor,
        targets_BT: Tensor,
        documents_BT: Tensor | None = None,
        positions_BT: Tensor | None = None,
        grad_scale: Tensor | None = None,
    ) -> Tensor:
        """Cross entropy in nats, summed over targets other than -100: an fp32 scalar. The caller divides by their number.

        `grad_scale`: see `summed_cross_entropy`.
        """
        x_BTC = self.hidden_states(ids_BT, positions_BT, documents_BT, None)
        return summed_cross_entropy(x_BTC.flatten(0, 1), self.output_weight, targets_BT.flatten(), grad_scale)


def document_mask(documents_BT: Tensor) -> Tensor:
    """Boolean [B, 1, T, T]: true where a query (dim 2) may attend to a key (dim 3): same document, not later."""
    same = documents_BT[:, None, :, None] == documents_BT[:, None, None, :]
    return same.tril()


def document_positions(documents_BT: Tensor) -> Tensor:
    """Positions [B, T] that start again at 0 wherever the document number in a row changes."""
    index = torch.arange(documents_BT.shape[1], device=documents_BT.device).expand_as(documents_BT)
    first = F.pad(documents_BT[:, 1:] != documents_BT[:, :-1], (1, 0), value=True)
    return index - torch.where(first, index, 0).cummax(dim=1).values
