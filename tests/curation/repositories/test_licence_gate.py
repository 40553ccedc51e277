"""Licences of files in commits, and the step that leaves out records by their licences."""

from __future__ import annotations

import subprocess
from pathlib import Path

from seedbed.curation.drops import Drops
from seedbed.curation.record import Licence, Provenance, Record
from seedbed.curation.repositories import git
from seedbed.curation.repositories.licence_gate import LicenceGate, licence_at_head


def test_the_licence_of_head_counts_for_every_commit(tmp_path: Path) -> None:
    for command in (["init", "-q", "-b", "main"], ["add", "-A"]):
        (tmp_path / "Cargo.toml").write_text('[package]\nlicense = "MIT OR Apache-2.0"\n')
        (tmp_path / "own").mkdir(exist_ok=True)
        (tmp_path / "own" / "LICENSE").write_text("All rights reserved.\n")
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    repository = git.open_repository(tmp_path)
    assert licence_at_head(git.Repository(git_dir=tmp_path / ".git", top=None), "0" * 40, "a.rs").spdx == "unknown"
    identity = ["-c", "user.name=T", "-c", "user.email=t@example.com"]
    subprocess.run(["git", *identity, "commit", "-q", "-m", "first"], cwd=tmp_path, check=True)
    assert licence_at_head(repository, "0" * 40, "a.rs") == Licence(spdx="MIT OR Apache-2.0", found_in="Cargo.toml")
    assert licence_at_head(repository, "0" * 40, "own/a.rs") == Licence(spdx="unknown", found_in="own/LICENSE")


def test_records_that_are_not_let_through_are_counted() -> None:
    records = [
        Record(
            kind="text", text=name, licence=licence, provenance=Provenance(source="git", repository="app", path=name)
        )
        for name, licence in (
            ("a", Licence(spdx="MIT", found_in="LICENSE")),
            ("b", Licence(spdx="GPL-3.0-only", found_in="COPYING")),
            ("c", None),
        )
    ]
    drops = Drops()
    assert [each.text for each in LicenceGate("permissive")(iter(records), drops)] == ["a"]
    assert drops.counts == {
        ("licences", "licence not let through: GPL-3.0-only"): 1,
        ("licences", "licence not let through: unknown"): 1,
    }
    assert len(list(LicenceGate("any")(iter(records), Drops()))) == 3
