"""Seeds, saves and restores the state of the random number generators."""

from __future__ import annotations

import base64
import random
from typing import Any

import numpy as np
import torch

from seedbed.errors import SeedbedError


def seed_all(seed: int) -> None:
    """Seed the random number generators of torch (every device), numpy and Python."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def offset_seed(seed: int, offset: int) -> int:
    """The sum of `seed` and `offset`, modulo 2**63: for example the seed of the generated text with the number `offset`."""
    return (seed + offset) % 2**63


def generator(seed: int, *purpose: int) -> torch.Generator:
    """A separate CPU generator for one purpose, so that its random numbers do not affect other generators.

    `purpose`: numbers that identify the purpose.
    """
    mixed = np.random.SeedSequence([seed, *purpose]).generate_state(2, np.uint64)
    return torch.Generator().manual_seed(int(mixed[0] >> np.uint64(1)))


def rng_state() -> dict[str, Any]:
    """The states of all global random number generators, as JSON values."""
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()
    state: dict[str, Any] = {
        "torch": _pack(torch.get_rng_state()),
        "python": [version, list(words), gauss],
        "numpy": [str(name), np.asarray(keys).tolist(), int(position), int(has_gauss), float(cached)],
    }
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        state["cuda"] = [_pack(each) for each in torch.cuda.get_rng_state_all()]
    return state


def restore_rng(state: dict[str, Any]) -> None:
    """Restore the random states that `rng_state` returned. Call it last, after everything that may draw random numbers."""
    try:
        torch.set_rng_state(_unpack(state["torch"]))
        version, words, gauss = state["python"]
        random.setstate((version, tuple(words), gauss))
        name, keys, position, has_gauss, cached = state["numpy"]
        np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, cached))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise SeedbedError(
            f"The checkpoint's random state cannot be restored ({error}).",
            "Resume from an earlier checkpoint with --from.",
        ) from error
    cuda = state.get("cuda")
    if cuda and torch.cuda.is_available() and len(cuda) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([_unpack(each) for each in cuda])


def _pack(state: torch.Tensor) -> str:
    return base64.b64encode(state.numpy().tobytes()).decode()


def _unpack(text: str) -> torch.Tensor:
    return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.uint8)
