"""What is trained, on what, and how it is split over GPUs: the input of the cost model."""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec

from seedbed.simulate.hardware_facts import Gpu
from seedbed.simulate.shape import Shape

STACKS = ("legacy", "torch", "fused")
"""Software that trains, by speed. *legacy*: Megatron-LM and DeepSpeed without flash attention and with few fused kernels
(2020 to 2022). *torch*: PyTorch with FSDP or DDP and flash attention. *fused*: Megatron-Core, NeMo and others with NVIDIA's
fused kernels and overlapped tensor parallelism."""
PRECISIONS = ("fp32", "bf16", "fp16", "fp8")
RECOMPUTE = ("none", "selective", "full")
METHODS = ("pretrain", "full_ft", "lora", "qlora")


class Layout(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How training is split over GPUs. Neighbouring ranks share tensors, then context, then data, then the pipeline."""

    tp: int = 1
    """Tensor parallelism: GPUs that share each matrix."""
    pp: int = 1
    """Pipeline parallelism: stages."""
    cp: int = 1
    """Context parallelism: GPUs that share each sequence."""
    ep: int = 1
    """Expert parallelism: ranks that share the experts. Each has whole experts, also with tensor parallelism."""
    dp: int = 1
    """Data parallelism: GPUs / (tp * pp * cp)."""
    zero: int = 0
    """What data-parallel ranks share: 0 nothing, 1 optimizer state, 2 also gradients, 3 also weights (FSDP)."""
    shard: int = 1
    """Number of ranks, of dp * cp, over which that is shared."""
    interleave: int = 1
    """Virtual stages for each pipeline stage."""
    micro_batch: float = 1
    """Sequences per micro-batch of one data-parallel rank."""
    sequence_parallel: bool = True
    """With tensor parallelism: whether norms and residuals are split, too."""


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the model is trained, apart from the layout."""

    seq_len: int
    global_batch: float
    """Sequences per optimizer step."""
    precision: str = "bf16"
    """One of PRECISIONS; fp8: the matmuls of the layers, everything else in bf16."""
    recompute: str = "none"
    """Activation checkpointing, one of RECOMPUTE."""
    flash: bool = True
    compiled: bool = False
    stack: str = "torch"
    """One of STACKS."""
    method: str = "pretrain"
    """One of METHODS."""
    lora_parameters: int = 0
    """Number of trained parameters of the adapters."""
    lora_input_width: int = 0
    """Values for each token and layer that the adapters keep for their backward pass."""
    optimizer: str = "adamw"
    """adamw, adamw-8bit, paged-adamw, ...; see memory.py."""
    reduce_bytes: float = 4.0
    """Bytes of a gradient while gradients are summed."""
    pure_bf16: bool = False
    """Whether weights, gradients and optimizer state are bf16, without fp32 copies."""
    chunked_loss: bool = False
    """Whether the logits are computed in pieces and never exist as a whole."""

    @property
    def value_bytes(self) -> int:
        """Bytes of an activation, and of a weight in a matmul."""
        return 4 if self.precision == "fp32" else 2

    @property
    def light(self) -> bool:
        """Whether element-wise work is in few kernels: compiled, or with the fused stack."""
        return self.compiled or self.stack == "fused"

    @property
    def is_lora(self) -> bool:
        """Whether only adapters are trained."""
        return self.method in ("lora", "qlora")


class Weights(NamedTuple):
    """Numbers of weights: those that all data-parallel ranks have, and those of experts, which expert parallelism splits."""

    dense: float
    experts: float


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """One training: the model, the machine, the layout and the recipe."""

    shape: Shape
    gpu: Gpu
    num_gpus: int
    layout: Layout
    recipe: Recipe
    network_gbps: float
    """Bandwidth of the network between nodes for each GPU, in one direction, in 10^9 bytes per second."""
    network_efficiency: float = 1.0
    """Share of that bandwidth that this kind of network reaches, compared with InfiniBand."""
    node_gpus: int = 8
    """GPUs of a node, which PCIe connects at least."""

    @property
    def tokens(self) -> float:
        """Tokens of one micro-batch on one GPU."""
        return self.layout.micro_batch * self.recipe.seq_len / self.layout.cp

    @property
    def micro_batches(self) -> float:
        """Micro-batches of one data-parallel rank in one step."""
        return self.recipe.global_batch / (self.layout.dp * self.layout.micro_batch)

    @property
    def tokens_per_step(self) -> float:
        """Tokens of one optimizer step."""
        return self.recipe.global_batch * self.recipe.seq_len

    @property
    def layers_per_stage(self) -> float:
        """Layers of the largest pipeline stage."""
        stages = self.layout.pp * self.layout.interleave
        if self.shape.layers % self.layout.pp == 0:
            return self.shape.layers / self.layout.pp
        return math.ceil(self.shape.layers / stages) * self.layout.interleave

    @property
    def expert_share(self) -> float:
        """Share of the layers that have experts."""
        return self.shape.moe_layers / self.shape.layers

    @property
    def ffn_width(self) -> float:
        """Inner features of an average feed-forward layer that one token uses."""
        share, shape = self.expert_share, self.shape
        return share * shape.moe_ffn * (shape.top_k + shape.shared_experts) + (1 - share) * shape.ffn

    def _layer(self, experts: float) -> float:
        """Weights of an average layer with this number of routed experts."""
        share, shape = self.expert_share, self.shape
        dense = (1 - share) * shape.dense_ffn_parameters
        return shape.attention_parameters + dense + share * (experts + shape.shared_experts) * shape.expert_parameters

    @property
    def layer_weights(self) -> Weights:
        """Weights of an average layer on one GPU, before sharding over data-parallel ranks."""
        experts = self.expert_share * self.shape.experts / self.layout.ep * self.shape.expert_parameters
        return Weights(self._layer(0) / self.layout.tp, experts)

    @property
    def weights(self) -> Weights:
        """Weights on the GPU with most of them, before sharding: its layers, and a table of the vocabulary."""
        layout, shape, layer = self.layout, self.shape, self.layer_weights
        tables = shape.vocab * shape.hidden * (1 if shape.tied or layout.pp > 1 else 2) / layout.tp
        return Weights(layer.dense * self.layers_per_stage + tables, layer.experts * self.layers_per_stage)

    @property
    def trained(self) -> Weights:
        """Trained parameters on one GPU, before sharding."""
        if self.recipe.is_lora:
            return Weights(self.recipe.lora_parameters / (self.layout.tp * self.layout.pp), 0.0)
        return self.weights

    def expert_ranks(self, ranks: int) -> float:
        """Of `ranks` data-parallel ranks with their tensor-parallel ones: how many have the same experts."""
        return max(1.0, ranks * self.layout.tp / self.layout.ep)

    def share(self, weights: Weights, ranks: int) -> float:
        """Weights on one GPU if `ranks` data-parallel ranks share them."""
        return weights.dense / ranks + weights.experts / self.expert_ranks(ranks)

    @property
    def flops_per_token(self) -> float:
        """Useful operations for a token in a step, without recomputation; LoRA needs no gradients of frozen weights."""
        shape, seq_len = self.shape, self.recipe.seq_len
        return shape.flops_per_token(seq_len) - (2 * shape.matmul_parameters if self.recipe.is_lora else 0)

    @property
    def kv_width(self) -> float:
        """Features of the keys on one GPU: at least one head, which several GPUs have if there are fewer heads than GPUs."""
        return max(self.shape.kv_width / self.layout.tp, self.shape.head_dim)
