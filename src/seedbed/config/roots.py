"""The kinds of config: for each, the schema of its tables, its presets and its rules.

Schemas are imported when they are first used, so that the command line can list the kinds at no cost.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from seedbed.config.schema import Config, Table

S = TypeVar("S", bound="Table")
"""The schema of a root."""


class Contradiction(NamedTuple):
    """Values that contradict each other: the problem as a sentence without its full stop, what to set, and the keys."""

    problem: str
    hint: str
    paths: tuple[str, ...]


class Root(NamedTuple, Generic[S]):
    """One kind of config: what its files, options and presets may set.

    Everything about a single key (type, bounds, help, whether it names a path, which keys exclude it) is declared on the
    key's field, and rules between keys belong to the tables (`rules.py`). So they apply to every root that has the table.
    A table that several roots share has the same name in each of them.
    """

    name: str
    schema_at: str
    """`module:class` of a frozen struct. Its fields are tables, and `preset` if the root has presets. Every key has a
    default. The default of a value that the user must give is None or empty, and a rule demands the value."""
    presets: str = ""
    """The folder of its presets in `config/presets`; empty for a root without presets."""
    default_preset: str = ""
    rules_at: str = ""
    """`module:function` of the rules that belong to this root alone: from a config to its contradictions."""

    @property
    def schema(self) -> type[S]:
        """The class of a config of this kind."""
        return cast("type[S]", _imported(self.schema_at))

    @property
    def rules(self) -> Callable[[S], Iterable[Contradiction]]:
        """The rules that belong to this root alone."""
        return cast("Callable[[S], Iterable[Contradiction]]", _imported(self.rules_at)) if self.rules_at else _no_rules

    @property
    def title(self) -> str:
        """The name in messages: `a train config`."""
        return f"{'an' if self.name[0] in 'aeiou' else 'a'} {self.name} config"


@cache
def _imported(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


def _no_rules(_: Any) -> Iterable[Contradiction]:
    return ()


TRAIN: Root[Config] = Root("train", "seedbed.config.schema:Config", presets="train", default_preset="nano")

ROOTS: dict[str, Root[Any]] = {
    "train": TRAIN,
}
"""Every kind of config by its name."""
