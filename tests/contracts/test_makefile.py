"""What `make` does on a machine that is not the usual one: options reach pip and venv, and a torch that is there stays."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import patience

ROOT = Path(__file__).resolve().parents[2]

# Stands in for Python: notes how it was called, makes a virtual environment of itself, and says whether torch is there.
STAND_IN = """#!/bin/sh
echo "$*" >> "$CALLS"
case "$1 $2" in
  "-m venv") for last; do :; done; mkdir -p "$last/bin"; cp "$0" "$last/bin/python" ;;
  "-c "*) exit "$TORCH_MISSING" ;;
esac
"""


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "python").write_text(STAND_IN)
    (tmp_path / "python").chmod(0o755)
    return tmp_path


def calls(workplace: Path, *words: str, torch: bool) -> list[str]:
    """How Python was called by `make` with these words."""
    noted = workplace / "calls"
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")}
    subprocess.run(
        ["make", "--silent", "PYTHON=./python", "VENV=venv", *words],
        cwd=workplace,
        env={**environment, "CALLS": str(noted), "TORCH_MISSING": "0" if torch else "1"},
        check=True,
        capture_output=True,
        timeout=patience.HANG_S,
    )
    return noted.read_text().splitlines()


def test_a_torch_that_is_there_is_not_replaced(workplace: Path) -> None:
    install = calls(workplace, "venv/.core", torch=True)[-1]
    assert "pip install" in install
    assert install.endswith("--editable .")
    assert "--constraint" not in install


@pytest.mark.parametrize("target", ["venv/.core", "venv/.dev"])
def test_without_a_torch_the_one_that_is_tested_is_installed(workplace: Path, target: str) -> None:
    install = calls(workplace, target, torch=False)[-1]
    assert "--constraint constraints.txt --editable ." in install


def test_options_reach_pip_and_venv(workplace: Path) -> None:
    options = ("VENV_OPTIONS=--system-site-packages", "PIP_OPTIONS=--extra-index-url https://a.example/cpu")
    made, *installs = calls(workplace, "venv/.core", *options, torch=False)
    assert made == "-m venv --system-site-packages venv"
    pip = [each for each in installs if "pip install" in each]
    assert len(pip) == 2
    assert all("--extra-index-url https://a.example/cpu" in each for each in pip)
