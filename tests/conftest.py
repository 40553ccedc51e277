"""Fixtures that every room's tests may use."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import orphans

if "PYTEST_XDIST_WORKER" in os.environ:
    # Tests on every core, each with its jobs: threads that wait for each other by spinning would take most of the time.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background job ignores Ctrl-C, and so would every process that the tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def no_orphans() -> Iterator[None]:
    """Whatever ends the tests, no job that one of them started goes on after that."""
    with orphans.ended_with_the_tests():
        yield


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real text that SEEDBED_TEST_DATA names, or a skip with the reason."""
    named = os.environ.get("SEEDBED_TEST_DATA", "")
    if not named:
        pytest.skip("SEEDBED_TEST_DATA is not set: it names a folder with tinyshakespeare.txt and wikitext-2/valid.txt")
    folder = Path(named).resolve()
    if not folder.is_dir():
        pytest.skip(f"SEEDBED_TEST_DATA names {folder}, which is not a folder")
    return folder


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f"no small file system can be made here: {error}")
    if done.returncode:
        pytest.skip(f"no small file system can be made here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture
def fill() -> Callable[[Path], Path]:
    """Takes all the space that is left on a file system; returns the file that holds it."""

    def taken(place: Path) -> Path:
        filler = place / "filler"
        with filler.open("ab", buffering=0) as handle:
            for size in (1 << 16, 1 << 12, 1):
                with contextlib.suppress(OSError):
                    while True:
                        handle.write(b"x" * size)
        assert shutil.disk_usage(place).free == 0
        return filler

    return taken
