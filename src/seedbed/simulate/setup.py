"""What is trained, on what, and how it is split over GPUs: the input of the cost model."""

from __future__ import annotations

import math

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
    """Expert parallelism: data-parallel ranks that share the experts."""
    dp: int = 1
    """Data parallelism: GPUs / (tp * pp * cp)."""
    zero: int = 0
    """What data-parallel ranks share: 0 nothing, 1 optimizer state, 2 also gradients, 3 also weights (FSDP)."""
    shard: int = 1
    """Number of ranks over which that is shared."""
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
    optimizer: str = "adamw"
    """adamw, adamw-8bit, paged-adamw, ...; see memory.py."""
    reduce_bytes: float = 4.0
    """Bytes of a gradient while gradients are summed."""
    pure_bf16: bool = False
    """Whether weights, gradients and optimizer state are bf16, without fp32 copies."""
    chunked_loss: bool = False
    """Whether the logits are computed in pieces and never exist as a whole."""

    @property
    def light(self) -> bool:
        """Whether element-wise work is in few kernels: compiled, or with the fused stack."""
        return self.compiled or self.stack == "fused"

    @property
    def is_lora(self) -> bool:
        """Whether only adapters are trained."""
        return self.method in ("lora", "qlora")


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
    """GPUs that NVLink, or PCIe, connects."""

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
        share, shape = self.expert_share, self.shape
        dense = (1 - share) * shape.dense_ffn_parameters
        return shape.attention_parameters + dense + share * (experts + shape.shared_experts) * shape.expert_parameters

    @property
    def layer_parameters(self) -> float:
        """Weights of an average layer, all experts included."""
        return self._layer(self.shape.experts)

    @property
    def local_layer_parameters(self) -> float:
        """Weights of an average layer on one GPU, before sharding over data-parallel ranks."""
        return self._layer(self.shape.experts / self.layout.ep) / self.layout.tp

    @property
    def parameters_per_gpu(self) -> float:
        """Weights on the GPU that sets the pace, before sharding: its layers, and a table of the vocabulary."""
        layout, shape = self.layout, self.shape
        tables = shape.vocab * shape.hidden * (1 if shape.tied or layout.pp > 1 else 2) / layout.tp
        return self.local_layer_parameters * self.shape.layers / layout.pp + tables

    @property
    def trained_per_gpu(self) -> float:
        """Trained parameters on one GPU, before sharding."""
        if self.recipe.is_lora:
            return self.recipe.lora_parameters / (self.layout.tp * self.layout.pp)
        return self.parameters_per_gpu

    @property
    def optimizer_shards(self) -> int:
        """Ranks that share the optimizer state."""
        return max(1, self.layout.shard if self.layout.zero else 1)
