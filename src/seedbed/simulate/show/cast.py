"""The models, datasets and GPUs of the show: facts/show.json beside the catalog."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Annotated

import msgspec

from seedbed.simulate import catalog
from seedbed.simulate.hardware_facts import Gpu
from seedbed.simulate.shape import Shape
from seedbed.simulate.source import Source

LEAST_PARAMETERS = 1e9
"""The show picks no smaller model by itself: nobody trains one on 64 GPUs or more."""


class Dataset(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A dataset: its documents and tokens, and the shares of the domains if it is a mixture."""

    name: str
    documents: Annotated[int, msgspec.Meta(ge=1)]
    tokens: Annotated[int, msgspec.Meta(ge=1)]
    fictional: bool
    domains: dict[str, float] = {}
    sources: tuple[Source, ...] = ()


class Facts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of facts/show.json."""

    models: tuple[Shape, ...]
    """Models that do not exist."""
    datasets: tuple[Dataset, ...]
    gpus: tuple[str, ...]
    num_gpus: tuple[int, ...]
    checkpoint_warnings: tuple[str, ...]


@cache
def facts() -> Facts:
    """The facts of the show."""
    return msgspec.json.decode((files("seedbed.simulate") / "facts" / "show.json").read_bytes(), type=Facts)


def model(name: str) -> Shape:
    """The model of the show or of the catalog with this name. Raises UsageError with the nearest names."""
    from seedbed.simulate.fact_files import key

    for shape in facts().models:
        if key(shape.name) == key(name):
            return shape
    return catalog.model(name)


@cache
def real_models() -> tuple[Shape, ...]:
    """The models of the catalog that the show picks from."""
    return tuple(each for each in catalog.models() if each.parameters >= LEAST_PARAMETERS)


@cache
def gpus() -> tuple[Gpu, ...]:
    """The GPUs that the show picks from."""
    return tuple(catalog.gpu(name) for name in facts().gpus)
