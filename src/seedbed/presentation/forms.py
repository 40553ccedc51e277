"""Forms as data: fields with kind, bounds, choices and help, made from config keys, and the check of typed values.

A front end draws the fields without knowing the types or rules of the config.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from seedbed.config.base_model import KEY as BASE
from seedbed.config.base_model import OpenBase, open_folder
from seedbed.config.keys import Key, alternatives, keys
from seedbed.config.layers import Flagged
from seedbed.config.resolving import defaults, resolve
from seedbed.config.roots import Root
from seedbed.errors import SeedbedError
from seedbed.presentation.config_text import value_text

INTEGER, NUMBER, FLAG, CHOICE, TEXT, LIST = "integer", "number", "flag", "choice", "text", "list"
_KINDS = {int: INTEGER, float: NUMBER, bool: FLAG, str: TEXT, tuple: LIST}


class Field(NamedTuple):
    """One field of a form. `key` is the config key that it sets, or its name in a request to a process; else "".

    An empty value stands for the default, which `placeholder` shows. At most one field of a `group` may have a value.
    `low` and `high` are inclusive; with `is_low_exclusive`, `low` is exclusive. `step` is what an arrow key adds.
    """

    name: str
    label: str
    kind: str
    key: str = ""
    help: str = ""
    placeholder: str = ""
    low: float = -math.inf
    high: float = math.inf
    is_low_exclusive: bool = False
    step: float = 1.0
    choices: tuple[str, ...] = ()
    default: str = ""
    group: str = ""

    @property
    def is_number(self) -> bool:
        """Whether the values of this field are numbers."""
        return self.kind in (INTEGER, NUMBER)

    def number(self, value: str) -> float | None:
        """The value as a number; None if it is empty, not a number, or out of bounds."""
        return None if self.problem(value) else self._parsed(value)

    def problem(self, value: str) -> str:
        """What is wrong with a value, such as `-1 is not above 0`; "" if nothing is wrong.

        The values of other fields are not considered.
        """
        value = value.strip()
        if not value:
            return ""
        shown = value[:24]
        if self.choices and value not in self.choices:
            return f"{shown} is not one of {', '.join(self.choices)}"
        if not self.is_number:
            return ""
        number = self._parsed(value)
        if number is None:
            return f"{shown} is not a {'whole number' if self.kind == INTEGER else 'number'}"
        if self.low <= number <= self.high and not (self.is_low_exclusive and number == self.low):
            return ""
        if self.high < math.inf:
            return f"{shown} is not between {self.low:,g} and {_without_exponent(self.high)}"
        return f"{shown} is not {f'above {self.low:g}' if self.is_low_exclusive else f'{self.low:g} or more'}"

    def stepped(self, value: str, direction: int, placeholder: str = "") -> str:
        """The next multiple of `step` above or below a value, within the bounds.

        An empty value counts as the default.
        """
        start = self._parsed(value)
        if start is None:
            start = self._parsed(placeholder or self.placeholder) or 0.0
        steps = round(start / self.step, 6)
        steps = math.floor(steps) + 1 if direction > 0 else math.ceil(steps) - 1
        number = min(max(steps * self.step, self.low), self.high)
        return str(int(number)) if self.kind == INTEGER else f"{number:.6g}"

    def _parsed(self, value: str) -> float | None:
        try:
            number = float(value.strip())
        except ValueError:
            return None
        if not math.isfinite(number) or (self.kind == INTEGER and not number.is_integer()):
            return None
        return int(number) if self.kind == INTEGER else number


def key_field(key: Key, name: str = "", label: str = "", *, step: float = 1.0) -> Field:
    """Make the field that sets a config key. Without `name` or `label`, the path of the key is used."""
    bounds = dict(key.bounds)
    return Field(
        name=name or key.path,
        label=label or name or key.path,
        kind=CHOICE if key.choices else _KINDS[key.base],
        key=key.path,
        help=f"{key.help} Expected: {key.expected}.",
        low=bounds.get("ge", bounds.get("gt", -math.inf)),
        high=bounds.get("le", math.inf),
        is_low_exclusive="gt" in bounds,
        step=step,
        choices=key.choices,
        group=key.decides,
    )


def first_problem(fields: Iterable[Field], values: Mapping[str, str]) -> str:
    """The label of the first field with a wrong value, and what is wrong, such as `epochs: -1 is not above 0`.

    Returns "" if no value is wrong. `values` is by field name.
    """
    found = ((each.label, each.problem(values.get(each.name, ""))) for each in fields)
    return next((f"{label}: {problem}" for label, problem in found if problem), "")


class ConfigForm:
    """A form with a field for every config key. `values` has the typed values; other keys have the preset's values."""

    def __init__(
        self,
        root: Root[Any],
        preset: str,
        values: Mapping[str, str],
        origin: str = "All options",
        open_base: OpenBase = open_folder,
    ) -> None:
        """`values` is by path of the key; `origin` is the place where they were typed, which error messages name.

        `open_base` finds the model that `base.model` names.
        """
        self.fields = [key_field(key) for key in keys(root).values()]
        self.preset = preset
        self.values = dict(values)
        self._root = root
        self._origin = origin
        self._open_base = open_base
        self._defaults = defaults(root, preset)

    def default(self, path: str) -> str:
        """The preset's value of the key `path`, as a person would type it."""
        return value_text(self._defaults, path)

    def problem(self, path: str, value: str) -> str:
        """What is wrong with a value for a key, considering all other values, too; "" if nothing is wrong."""
        values = self._without(path)
        if value:
            values[path] = value
        try:
            flags = {name: Flagged(each, self._origin) for name, each in values.items()}
            preset = None if BASE in flags else self.preset or None  # a base replaces the preset
            resolve(self._root, preset=preset, flags=flags, open_base=self._open_base)
        except SeedbedError as error:
            return f"{error.message} {error.hint}"
        return ""

    def set(self, path: str, value: str) -> None:
        """Set a key; "" restores the preset's value. Keys that exclude this one lose their values (epochs, steps)."""
        if value:
            self.values = self._without(path) | {path: value}
        else:
            self.values.pop(path, None)

    def related(self, path: str) -> tuple[str, ...]:
        """The keys whose values a call of `set` for the key `path` may change: the key, and those that exclude it."""
        return alternatives(path, self._root) or (path,)

    def _without(self, path: str) -> dict[str, str]:
        return {name: each for name, each in self.values.items() if name not in self.related(path)}


def _without_exponent(bound: float) -> str:
    return f"{bound:,.0f}" if bound >= 1e6 else f"{bound:,g}"
