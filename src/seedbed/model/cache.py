"""The KV cache: attention keys and values of earlier tokens, so that only new tokens have to be computed."""

from __future__ import annotations

import torch
from torch import Tensor

from seedbed.config.schema import ModelConfig


class LayerCache:
    """Attention keys and values of one layer: [B, K, max_length, D] each (K key heads of width D), filled from the left."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        self.keys, self.values = keys, values
        self.length = 0

    def append(self, k_BKTD: Tensor, v_BKTD: Tensor) -> tuple[Tensor, Tensor]:
        """Append the keys and values of T new positions; return views [B, K, length, D] of all cached positions.

        The caller must not exceed `max_length` positions.
        """
        end = self.length + k_BKTD.shape[2]
        self.keys[:, :, self.length : end] = k_BKTD
        self.values[:, :, self.length : end] = v_BKTD
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]


class KVCache:
    """The attention keys and values of all layers, allocated once for `batch` sequences of up to `max_length` tokens."""

    def __init__(
        self,
        config: ModelConfig,
        *,
        batch: int = 1,
        max_length: int | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.max_length = config.context if max_length is None else max_length
        shape = (batch, config.kv_heads, self.max_length, config.head_dim)
        self.layers = [
            LayerCache(torch.empty(shape, device=device, dtype=dtype), torch.empty(shape, device=device, dtype=dtype))
            for _ in range(config.layers)
        ]

    @property
    def length(self) -> int:
        """Number of tokens per sequence whose keys and values are cached."""
        return self.layers[0].length

    def clear(self) -> None:
        """Forget all cached tokens, but keep the allocated memory for the next sequence."""
        for layer in self.layers:
            layer.length = 0
