"""`make` passes options to pip and venv, and keeps an installed torch."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import patience

ROOT = Path(__file__).resolve().parents[2]

# Replaces Python: logs its arguments, copies itself into a virtual environment, and reports whether torch is installed.
FAKE_PYTHON = """#!/bin/sh
echo "$*" >> "$CALLS"
case "$1 $2" in
  "-m venv") for last; do :; done; mkdir -p "$last/bin"; cp "$0" "$last/bin/python" ;;
  "-c "*) exit "$TORCH_MISSING" ;;
esac
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "python").write_text(FAKE_PYTHON)
    (tmp_path / "python").chmod(0o755)
    return tmp_path


def calls(project: Path, *words: str, torch: bool) -> list[str]:
    """The arguments of each Python call that `make` makes with these words."""
    call_log = project / "calls"
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")}
    subprocess.run(
        ["make", "--silent", "PYTHON=./python", "VENV=venv", *words],
        cwd=project,
        env={**environment, "CALLS": str(call_log), "TORCH_MISSING": "0" if torch else "1"},
        check=True,
        capture_output=True,
        timeout=patience.HANG_S,
    )
    return call_log.read_text().splitlines()


def test_an_installed_torch_is_not_replaced(project: Path) -> None:
    install = calls(project, "venv/.core", torch=True)[-1]
    assert "pip install" in install
    assert install.endswith("--editable .")
    assert "--constraint" not in install


@pytest.mark.parametrize("target", ["venv/.core", "venv/.dev"])
def test_without_torch_the_tested_version_is_installed(project: Path, target: str) -> None:
    install = calls(project, target, torch=False)[-1]
    assert "--constraint constraints.txt --editable ." in install


def test_options_are_passed_to_pip_and_venv(project: Path) -> None:
    options = ("VENV_OPTIONS=--system-site-packages", "PIP_OPTIONS=--extra-index-url https://a.example/cpu")
    made, *installs = calls(project, "venv/.core", *options, torch=False)
    assert made == "-m venv --system-site-packages venv"
    pip = [each for each in installs if "pip install" in each]
    assert len(pip) == 2
    assert all("--extra-index-url https://a.example/cpu" in each for each in pip)
