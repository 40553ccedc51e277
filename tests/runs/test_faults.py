"""What a rehearsal writes for its job is read as it was written, and a broken file means no fault."""

from __future__ import annotations

from pathlib import Path

from seedbed.runs.faults import Faults, lift_faults, path_of, read_faults, write_faults
from seedbed.runs.store import RunDir


def test_faults_are_read_as_written_until_they_are_lifted(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    lift_faults(run)
    assert read_faults(run) == Faults()
    write_faults(run, Faults(7, disk_full=True, write_delay_s=1.5))
    assert read_faults(run) == Faults(7, disk_full=True, write_delay_s=1.5)
    lift_faults(run)
    assert read_faults(run) == Faults()


def test_a_broken_file_means_no_fault(tmp_path: Path) -> None:
    path_of(RunDir(tmp_path)).write_text('{"pid": "x"')
    assert read_faults(RunDir(tmp_path)) == Faults()
    path_of(RunDir(tmp_path)).write_text('{"pid": "x"}')
    assert read_faults(RunDir(tmp_path)) == Faults()
