"""The shape of a model: its parameters and its floating-point operations, by part."""

from __future__ import annotations

from typing import Annotated

import msgspec

from seedbed.simulate.source import Source

Count = Annotated[int, msgspec.Meta(ge=1, le=10**9)]
Whole = Annotated[int, msgspec.Meta(ge=0, le=10**13)]


class Shape(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The sizes of a decoder-only transformer that decide what its training costs.

    A dense feed-forward layer has `ffn` inner features. In a mixture of experts, each expert has `moe_ffn`, and a token
    goes through `top_k` of `experts` experts and through all `shared_experts`.
    """

    name: str
    aliases: tuple[str, ...] = ()
    layers: Count
    hidden: Count
    heads: Count
    kv_heads: Count
    head_dim: Count
    ffn: Whole
    vocab: Count
    gated: bool
    """Whether the feed-forward layer has a gate (SwiGLU, GeGLU): three matrices instead of two."""
    tied: bool
    """Whether the output layer shares the weights of the embedding."""
    biases: bool = False
    learned_positions: Whole = 0
    """Rows of a table of learned positions; 0 without one."""
    experts: Whole = 0
    top_k: Whole = 0
    shared_experts: Whole = 0
    moe_ffn: Whole = 0
    dense_layers: Whole = 0
    """In a mixture of experts: how many layers have a dense feed-forward layer instead of experts."""
    moe_every: Count = 1
    latent_q: Whole = 0
    """Width of the compressed queries of multi-head latent attention (DeepSeek); 0: queries are not compressed."""
    latent_kv: Whole = 0
    """Width of the compressed keys and values of multi-head latent attention; 0: ordinary attention."""
    rope_dim: Whole = 0
    """With latent attention: the part of each key that carries the position and is not compressed."""
    window: Whole = 0
    """Tokens that a layer with a sliding window sees; 0: all earlier tokens."""
    window_every: Count = 1
    """Every n-th layer sees all earlier tokens if `window` is set and this is above 1; 1: all layers have the window."""
    context: Count = 2048
    """Tokens of a sequence in the main stage of pre-training; later stages may use longer ones."""
    published_parameters: Whole = 0
    """Parameters of the published model; 0: not known."""
    published_active: Whole = 0
    """Parameters that a token of the published mixture of experts uses; 0: not known."""
    sources: tuple[Source, ...] = ()
    """Where the figures come from."""

    def __post_init__(self) -> None:
        """Check the sizes against each other. Raises ValueError."""
        if self.dense_layers > self.layers:
            raise ValueError("dense_layers is above layers")
        if self.experts and not (self.moe_ffn and 0 < self.top_k <= self.experts):
            raise ValueError("a mixture of experts needs moe_ffn, and top_k from 1 to experts")
        if not self.ffn and self.moe_layers < self.layers:
            raise ValueError("layers without experts need ffn")

    @property
    def query_width(self) -> int:
        """Features of all query heads together."""
        return self.heads * self.head_dim

    @property
    def score_width(self) -> float:
        """Mean features of all heads in the products of queries with keys, and of weights with values."""
        return self.heads * (self.head_dim + (self.rope_dim if self.latent_kv else 0) / 2)

    @property
    def kv_width(self) -> int:
        """Features of all key heads together; also of all value heads."""
        return self.kv_heads * self.head_dim

    @property
    def ffn_matrices(self) -> int:
        """Matrices of a feed-forward layer: 3 with a gate, else 2."""
        return 3 if self.gated else 2

    @property
    def moe_layers(self) -> int:
        """Number of layers with experts."""
        return (self.layers - self.dense_layers) // self.moe_every if self.experts else 0

    @property
    def attention_parameters(self) -> int:
        """Weights of the attention matrices of one layer, without biases and norms."""
        h, q = self.hidden, self.query_width
        if not self.latent_kv:
            return h * (q + 2 * self.kv_width) + q * h
        # Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434): queries and keys have `head_dim` features without
        # and `rope_dim` features with a position; values have `head_dim`.
        q_all = self.heads * (self.head_dim + self.rope_dim)
        query = h * self.latent_q + self.latent_q * q_all if self.latent_q else h * q_all
        return query + h * (self.latent_kv + self.rope_dim) + self.latent_kv * 2 * q + q * h

    @property
    def dense_ffn_parameters(self) -> int:
        """Weights of the matrices of one dense feed-forward layer."""
        return self.ffn_matrices * self.hidden * self.ffn

    @property
    def expert_parameters(self) -> int:
        """Weights of the matrices of one expert."""
        return self.ffn_matrices * self.hidden * self.moe_ffn

    def _layers(self, experts: int) -> int:
        """Parameters of all layers with this number of routed experts counted in each layer that has experts."""
        h = self.hidden
        norms = 2 * h * (2 if self.biases else 1)
        biases = (
            (self.query_width + 2 * self.kv_width + h + (self.ffn_matrices - 1) * self.ffn + h) if self.biases else 0
        )
        shared = self.layers * (self.attention_parameters + norms + biases)
        dense = (self.layers - self.moe_layers) * self.dense_ffn_parameters
        moe = self.moe_layers * ((experts + self.shared_experts) * self.expert_parameters + h * self.experts)
        return shared + dense + moe

    @property
    def table_parameters(self) -> int:
        """Parameters outside the layers: embedding, output layer if it is not tied, positions, last norm."""
        rows = self.vocab * (1 if self.tied else 2) + self.learned_positions
        return rows * self.hidden + self.hidden * (2 if self.biases else 1)

    @property
    def parameters(self) -> int:
        """All parameters of the model."""
        return self._layers(self.experts) + self.table_parameters

    @property
    def active_parameters(self) -> int:
        """The parameters that one token uses: of the routed experts only `top_k`."""
        return self._layers(self.top_k) + self.table_parameters

    @property
    def matmul_parameters(self) -> int:
        """The active parameters that a token is multiplied with: without lookup tables, with the output layer."""
        return self._layers(self.top_k) + self.vocab * self.hidden

    def attention_span(self, seq_len: int) -> float:
        """Mean number of tokens that a token attends to, counted as in full attention (a causal mask halves it).

        Averages layers with and without a sliding window.
        """
        if not self.window or self.window >= seq_len:
            return float(seq_len)
        # A token sees at most `window` earlier tokens; counted in full attention, where a token sees twice its causal share.
        windowed = 2 * self.window - self.window**2 / seq_len
        full = 1 / self.window_every if self.window_every > 1 else 0.0
        return full * seq_len + (1 - full) * windowed

    def flops_per_token(self, seq_len: int, *, causal: bool = False) -> float:
        """Floating-point operations of one token in a training step (forward and backward), without recomputation.

        6 for each weight that it is multiplied with (arXiv 2001.08361, appendix), and 12 * layers * query width * span for
        the attention scores. Published figures usually count the full score matrix; `causal` counts the half that a causal
        mask leaves.
        """
        scores = 12 * self.layers * self.score_width * self.attention_span(seq_len)
        return 6 * self.matmul_parameters + scores * (0.5 if causal else 1.0)
