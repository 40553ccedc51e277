"""The rules of a simulated run's config: values that each are allowed but contradict each other."""

from __future__ import annotations

from collections.abc import Iterator

from seedbed.config.roots import Contradiction
from seedbed.config.simulation import Simulation


def contradictions(config: Simulation) -> Iterator[Contradiction]:
    """The rules of a simulated run."""
    for each in config.failures.components:
        name, _, rate = each.partition("=")
        try:
            fine = bool(name) and 0 <= float(rate) <= 1e5
        except ValueError:
            fine = False
        if not fine:
            yield Contradiction(
                f'"{each}" is not a component with its rate', "Write for example gpu=2.5.", ("failures.components",)
            )
