"""The kinds of config (roots), such as `train`: for each, the schema of its tables, its presets and its rules.

Schemas are imported when they are first used, so that the command line can list the kinds at no cost.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from seedbed.config.evaluation import Evaluation
    from seedbed.config.preparing import Clipping, Merging, Preparation
    from seedbed.config.schema import Config, Table
    from seedbed.config.simulation import Simulation

S = TypeVar("S", bound="Table")
"""The schema of a kind of config: the class whose fields are its tables."""


class Contradiction(NamedTuple):
    """Values of a config that contradict each other.

    `problem`: a sentence without its full stop; `hint`: what to set; `paths`: the keys, such as `train.steps`.
    """

    problem: str
    hint: str
    paths: tuple[str, ...]


class Root(NamedTuple, Generic[S]):
    """One kind of config, such as `train`: what its files, options and presets may set.

    Everything about a single key (type, bounds, help, whether it names a path, which keys exclude it) is declared on the
    key's field, and rules between keys belong to the tables (`rules.py`). So they apply to every root that has the
    table. A table that several roots share has the same name in each root.
    """

    name: str
    schema_at: str
    """`module:class` of a frozen struct. Its fields are tables, and `preset` if the root has presets. Every key has a
    default. The default of a value that the user must give is None or empty, and a rule demands the value."""
    presets: str = ""
    """The folder in `config/presets` that contains its presets; "" for a root without presets."""
    default_preset: str = ""
    rules_at: str = ""
    """`module:function` of the rules for this root alone; the function returns the contradictions in a config."""

    @property
    def schema(self) -> type[S]:
        """The class whose instances are the configs of this kind, such as `Config`; its fields are the tables."""
        return cast("type[S]", _imported(self.schema_at))

    @property
    def rules(self) -> Callable[[S], Iterable[Contradiction]]:
        """The function that returns the contradictions in a config by the rules for this root alone."""
        return cast("Callable[[S], Iterable[Contradiction]]", _imported(self.rules_at)) if self.rules_at else _no_rules

    @property
    def title(self) -> str:
        """The name of this kind of config in messages: `a train config`."""
        return f"{'an' if self.name[0] in 'aeiou' else 'a'} {self.name} config"


@cache
def _imported(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


def _no_rules(_: Any) -> Iterable[Contradiction]:
    return ()


TRAIN: Root[Config] = Root("train", "seedbed.config.schema:Config", presets="train", default_preset="nano")
SIMULATE: Root[Simulation] = Root(
    "simulate", "seedbed.config.simulation:Simulation", rules_at="seedbed.config.simulation_rules:contradictions"
)
EVALUATE: Root[Evaluation] = Root(
    "evaluate", "seedbed.config.evaluation:Evaluation", rules_at="seedbed.config.evaluation_rules:contradictions"
)
PREPARE: Root[Preparation] = Root("prepare", "seedbed.config.preparing:Preparation")
MERGE: Root[Merging] = Root("merge", "seedbed.config.preparing:Merging")
CLIP: Root[Clipping] = Root("clip", "seedbed.config.preparing:Clipping")

ROOTS: dict[str, Root[Any]] = {
    "train": TRAIN,
    "simulate": SIMULATE,
    "evaluate": EVALUATE,
    "prepare": PREPARE,
    "merge": MERGE,
    "clip": CLIP,
}
"""Every kind of config by its name."""
