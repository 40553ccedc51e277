"""The frozen scenario of a simulated run that any version of format 1 wrote can still be read, with the same meaning."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import msgspec
import pytest

from seedbed.errors import SeedbedError
from seedbed.simulate.failures import Component, Reliability
from seedbed.simulate.scenario import Collective, Scenario
from seedbed.simulate.scenario_file import FORMAT, ScenarioFile, freeze, read_frozen

GOLDEN = Path(__file__).parent / "golden" / "scenario_v1.json"
TYPES = (ScenarioFile, Scenario, Reliability, Component, Collective)
FIELDS = {1: "f557387a55c6e6a2"}
"""Format -> SHA-256 of the names of all fields. A line that is here never changes."""


def test_a_new_field_raises_the_format() -> None:
    """Otherwise an earlier version calls the file broken and advises to remove it, where it must be updated."""
    names = "\n".join(f"{kind.__name__}.{field}" for kind in TYPES for field in sorted(kind.__struct_fields__))
    assert hashlib.sha256(names.encode()).hexdigest()[:16] == FIELDS[FORMAT], "raise FORMAT, and add a line to FIELDS"


def test_every_field_is_in_the_golden_file_and_is_read() -> None:
    assert FORMAT == 1
    written, found = json.loads(GOLDEN.read_text())["scenario"], read_frozen(GOLDEN)
    assert found is not None
    assert written == json.loads(msgspec.json.encode(found))
    types = ((written, Scenario), (written["reliability"], Reliability), (written["collectives"][0], Collective))
    for part, kind in (*types, (written["reliability"]["measured"][0], Component)):
        assert part.keys() == set(kind.__struct_fields__), "a new field needs a default, and a line in the golden file"


def test_the_golden_file_still_means_the_same() -> None:
    found = read_frozen(GOLDEN)
    assert found is not None
    assert (found.model, found.gpus, found.steps, found.tokens) == ("llama3-8b", 64, 2384, 2384 * 4_194_304)
    assert found.collectives[1] == Collective("reduce_scatter", 8_030_261_248, 0.0423)
    assert found.reliability.expected_failures(8, 1) == pytest.approx(8 * (2.5 + 4 * 0.8 / 2.1381) / 1000 + 0.12)
    assert [each.name for each in found.reliability.components()] == ["gpu", "software"]


def test_a_golden_file_without_the_newest_fields_is_read_with_their_defaults(tmp_path: Path) -> None:
    content = json.loads(GOLDEN.read_text())
    del content["scenario"]["log_points"]
    (tmp_path / "scenario.json").write_text(json.dumps(content))
    found = read_frozen(tmp_path / "scenario.json")
    assert found is not None
    assert found.log_points == 4000


def test_what_is_frozen_is_read_unchanged(tmp_path: Path) -> None:
    golden = read_frozen(GOLDEN)
    assert golden is not None
    path = tmp_path / "scenario.json"
    assert freeze(path, golden) == golden == read_frozen(path)
    assert path.read_bytes() == GOLDEN.read_bytes()
    assert read_frozen(tmp_path / "missing.json") is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not a valid scenario"),
        ('{"format": 1', "not a valid scenario"),
        ('{"format": 2, "unknown": {}}', "newer version of Seedbed"),
        ('{"format": 1, "more": 3, "scenario": {}}', "unknown field 'more'"),
        ('{"format": 1, "scenario": {"stps": 3}}', "unknown field 'stps'"),
        ('{"format": 1, "scenario": {"steps": 3}}', "missing required field"),
        ('{"format": 1, "scenario": {"steps": 1.5}}', r"Expected 'int', got 'float' - at '\$.scenario.steps'"),
    ],
)
def test_a_broken_or_newer_file_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "scenario.json"
    path.write_text(content)
    with pytest.raises(SeedbedError, match=message):
        read_frozen(path)
