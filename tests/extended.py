"""Copies the source and adds files and lines, so that contract tests can show that an extension changes no other file.

root = extended_source(tmp_path, files={"data/sources/mine.py": text}, lines={"data/source.py": (at, line)})
done = run_python(root, code)      # `import seedbed` finds the copy
assert differences(root) == {"data/sources/mine.py", "data/source.py"}
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import patience

SOURCE = Path(__file__).resolve().parents[1] / "src" / "seedbed"


def extended_source(tmp_path: Path, files: Mapping[str, str], lines: Mapping[str, tuple[str, str]]) -> Path:
    """Copy the package into `tmp_path/src` and add to it; returns that folder, for use in PYTHONPATH.

    Names are relative to the package, such as "data/source.py". `files`: name -> text of a file that does not exist yet.
    `lines`: name -> (a line of that file, the line to add below it), both without line end; the first is found with
    or without its indentation and must occur once. Raises AssertionError where it does not, or where a new file exists.
    """
    package = tmp_path / "src" / "seedbed"
    shutil.copytree(SOURCE, package)  # with what is compiled: most modules are the same
    for name, text in files.items():
        path = package / name
        assert not path.exists(), f"{name} exists already"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for name, (before, added) in lines.items():
        path = package / name
        existing = path.read_text(encoding="utf-8").splitlines()
        found = [index for index, line in enumerate(existing) if before in (line, line.strip())]
        assert len(found) == 1, f"{name} has the line {before!r} {len(found)} times"
        existing.insert(found[0] + 1, added)
        path.write_text("\n".join(existing) + "\n", encoding="utf-8")
    return package.parent


def differences(root: Path) -> set[str]:
    """The files, relative to the package, that differ between the source and its copy, or exist in only one of them."""
    ours, theirs = _contents(SOURCE), _contents(root / "seedbed")
    return {name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)}


def run_python(
    root: Path, *words: str, folder: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `python WORDS` with the copy as the package `seedbed`, in `folder`; raises AssertionError where it fails."""
    environment = {**os.environ, "PYTHONPATH": str(root), **(env or {})}
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder or root.parent,
        env=environment,
        capture_output=True,
        text=True,
        timeout=patience.HANG_S,
        check=False,
    )
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def _contents(package: Path) -> dict[str, bytes]:
    found = (path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(package).as_posix(): path.read_bytes() for path in found}
