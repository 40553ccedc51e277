"""The KV cache: attention keys and values of earlier tokens, so that only new tokens have to be computed."""

from __future__ import annotations

import torch
from torch import Tensor

from seedbed.config.families.windows import windows
from seedbed.config.schema import ModelConfig


class LayerCache:
    """Attention keys and values of one layer: [B, K, capacity, D] each (K key heads of width D), filled from the left.

    With a `window`, only the newest positions are kept: those that a later token can attend to, and as many more, so that
    they rarely have to be moved to the left. `length` counts all positions that were appended.
    """

    def __init__(self, keys: Tensor, values: Tensor, window: int = 0) -> None:
        self.keys, self.values, self.window = keys, values, window
        self.length = self._stored = 0

    def append(self, k_BKTD: Tensor, v_BKTD: Tensor) -> tuple[Tensor, Tensor]:
        """Append the keys and values of T new positions; return those [B, K, S, D] that any of the T may attend to.

        Without a window these are all positions. The results are views, which the next call may overwrite. The caller must
        not exceed the capacity, unless there is a window of at most half of it.
        """
        T = k_BKTD.shape[2]
        self.length += T
        if self.window and self._stored + T > self.keys.shape[2]:
            return self._moved(k_BKTD, v_BKTD)
        end = self._stored + T
        self.keys[:, :, self._stored : end] = k_BKTD
        self.values[:, :, self._stored : end] = v_BKTD
        self._stored = end
        first = max(0, end - (self.window - 1 + T)) if self.window else 0
        return self.keys[:, :, first:end], self.values[:, :, first:end]

    def _moved(self, k_BKTD: Tensor, v_BKTD: Tensor) -> tuple[Tensor, Tensor]:
        """Append to a full cache: keep at the left what later tokens can attend to."""
        first, kept = max(0, self._stored - (self.window - 1)), self.window - 1
        k = torch.cat((self.keys[:, :, first : self._stored], k_BKTD), 2)
        v = torch.cat((self.values[:, :, first : self._stored], v_BKTD), 2)
        self._stored = min(kept, k.shape[2])
        self.keys[:, :, : self._stored] = k[:, :, k.shape[2] - self._stored :]
        self.values[:, :, : self._stored] = v[:, :, v.shape[2] - self._stored :]
        return k, v

    def clear(self) -> None:
        """Forget all positions, but keep the memory."""
        self.length = self._stored = 0


class KVCache:
    """The attention keys and values of all layers, allocated once for `batch` sequences of up to `max_length` tokens.

    A layer with a sliding window has memory for two windows, if these are shorter.
    """

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

        def layer(window: int) -> LayerCache:
            capacity = min(self.max_length, 2 * window) if window else self.max_length
            shape = (batch, config.kv_heads, capacity, config.head_dim)
            keys, values = (torch.empty(shape, device=device, dtype=dtype) for _ in range(2))
            return LayerCache(keys, values, window if capacity < self.max_length else 0)

        self.layers = [layer(window) for window in windows(config)]

    @property
    def length(self) -> int:
        """Number of tokens per sequence whose keys and values are cached."""
        return self.layers[0].length

    def clear(self) -> None:
        """Forget all cached tokens, but keep the allocated memory for the next sequence."""
        for layer in self.layers:
            layer.clear()
