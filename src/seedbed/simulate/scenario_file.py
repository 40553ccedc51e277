"""The scenario of a simulated run as a file in its directory: written when the run begins, read by every resume.

So what a config leaves open is decided once: other constants or facts in a later session change nothing.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from seedbed.errors import SeedbedError
from seedbed.files import explained, write_atomic
from seedbed.simulate.failures import published_components
from seedbed.simulate.scenario import Scenario
from seedbed.text import quoted

NAME = "scenario.json"
FORMAT = 1
"""Raised whenever the content gets another field: an earlier version then says that it must be updated."""


class ScenarioFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of the file."""

    format: int
    scenario: Scenario


class _Version(msgspec.Struct, frozen=True):
    format: int


def freeze(path: Path, scenario: Scenario) -> Scenario:
    """Write a scenario to the file `path`, with the measured failure rates; returns what a resume will read."""
    rates = scenario.reliability
    rates = msgspec.structs.replace(rates, measured=rates.measured or published_components())
    content = ScenarioFile(format=FORMAT, scenario=msgspec.structs.replace(scenario, reliability=rates))
    data = msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"
    write_atomic(path, data)
    return _decoded(data, path)


def read_frozen(path: Path) -> Scenario | None:
    """The scenario in the file `path`; None if there is no such file.

    Raises SeedbedError if it is broken or was written by a newer version.
    """
    with explained(path):
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
    return _decoded(data, path)


def _decoded(data: bytes, path: Path) -> Scenario:
    try:
        version = msgspec.json.decode(data, type=_Version).format
        if version > FORMAT:
            raise SeedbedError(
                f"{quoted(path)} was written by a newer version of Seedbed (format {version}; this version reads up to"
                f" {FORMAT}).",
                "Update Seedbed to continue this run.",
            )
        return msgspec.json.decode(data, type=ScenarioFile).scenario
    except msgspec.DecodeError as error:  # not JSON, or not these fields
        problem = str(error).replace("`", "'")
        raise SeedbedError(
            f"{quoted(path)} is not a valid scenario: {problem}.",
            "Restore the file from a copy, or remove it: then the scenario is made again from config.toml, and compared with"
            " the log.",
        ) from error
