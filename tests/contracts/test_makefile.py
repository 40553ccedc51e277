"""`make` passes options to pip and venv, keeps an installed torch, and runs the checks and the tests."""

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


def made(project: Path, target: str, **programs: str) -> subprocess.CompletedProcess[str]:
    """`make TARGET` with programs that print their name; `programs` has what else some of them do, as shell commands."""
    place = project / "venv" / "bin"
    place.mkdir(parents=True)
    (project / "python").rename(place / "python")
    for name in ("ruff", "lint-imports", "mypy", "pytest"):
        (place / name).write_text(f'#!/bin/sh\necho "output of {name} $*"\n{programs.get(name, "")}\n')
        (place / name).chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")}
    return subprocess.run(
        ["make", "VENV=venv", target],
        cwd=project,
        env={**environment, "CALLS": str(project / "calls"), "TORCH_MISSING": "0"},
        capture_output=True,
        text=True,
        timeout=patience.HANG_S,
    )


@pytest.mark.parametrize("failing", ["", "ruff", "lint-imports", "mypy", "pytest"])
def test_make_test_fails_if_a_check_or_a_test_fails(project: Path, failing: str) -> None:
    done = made(project, "test", **{failing: "exit 1"})
    assert (done.returncode != 0) == bool(failing), done.stdout + done.stderr
    if failing not in ("ruff", "lint-imports"):
        assert "output of mypy" in done.stdout
        assert "output of pytest" in done.stdout
    assert done.stdout.count("output of pytest") == {"": 1, "mypy": 1, "pytest": 2}.get(failing, 0)


PASSES_ALONE = 'case "$*" in *--last-failed*) echo passed alone;; *) exit 1;; esac'


@pytest.mark.parametrize(("target", "marked"), [("test", "not slow"), ("test-slow", "slow")])
def test_tests_that_failed_run_once_more_alone(project: Path, target: str, marked: str) -> None:
    done = made(project, target, pytest=PASSES_ALONE)
    assert done.returncode == 0, done.stdout + done.stderr
    first, again = (each for each in done.stdout.splitlines() if "output of pytest" in each)
    assert f"-m {marked} --numprocesses 2" in first
    assert f"-m {marked} --last-failed" in again
    assert "--numprocesses" not in again
    assert done.stdout.index("Once more") < done.stdout.index("passed alone")


@pytest.mark.parametrize("target", ["test", "test-slow"])
def test_a_test_run_that_broke_off_is_not_tried_again(project: Path, target: str) -> None:
    done = made(project, target, pytest="exit 2")
    assert done.returncode != 0
    assert done.stdout.count("output of pytest") == 1


@pytest.mark.parametrize("target", ["test", "test-slow"])
def test_a_test_that_fails_twice_fails(project: Path, target: str) -> None:
    assert made(project, target, pytest="exit 1").returncode != 0


def test_bytecode_is_kept_whatever_the_environment_says(project: Path) -> None:
    (project / "python").write_text('#!/bin/sh\necho "[$PYTHONDONTWRITEBYTECODE]" >> "$CALLS"\n')
    subprocess.run(
        ["make", "--silent", "PYTHON=./python", "VENV=venv", "venv/bin/python"],
        cwd=project,
        env={**os.environ, "CALLS": str(project / "calls"), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        timeout=patience.HANG_S,
    )
    assert (project / "calls").read_text().splitlines()[0] == "[]"
