"""The config of a made-up kind of work, for test_new_config_root.py: two shared tables and one of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from msgspec import Meta

from seedbed.config.roots import Contradiction
from seedbed.config.schema import PATH, DataConfig, Table, TokenizerConfig

LENGTH = {"decides": "how much to read"}


class Probe(Table, frozen=True, kw_only=True):
    """What is measured, on how much text."""

    documents: Annotated[Annotated[int, Meta(ge=1)] | None, Meta(description="Documents to read.", extra=LENGTH)] = None
    characters: Annotated[Annotated[int, Meta(ge=1)] | None, Meta(description="Characters to read.", extra=LENGTH)] = (
        None
    )
    pooling: Annotated[Literal["mean", "last"], Meta(description="How tokens become one vector.")] = "mean"
    width: Annotated[int, Meta(ge=1, description="Numbers in that vector.")] = 8
    report: Annotated[str, Meta(description="File that the figures are written to.", extra=PATH)] = ""


class ProbeConfig(Table, frozen=True, kw_only=True):
    """The config of a probe."""

    data: DataConfig = DataConfig()
    tokenizer: TokenizerConfig = TokenizerConfig()
    probe: Probe = Probe()


def contradictions(config: ProbeConfig) -> Iterator[Contradiction]:
    """The rules of a probe."""
    if config.probe.pooling == "last" and config.probe.width < 2:
        yield Contradiction("The last token alone needs two numbers", "Set probe.width=2.", ("probe.width",))
