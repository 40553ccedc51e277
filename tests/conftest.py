"""Fixtures for all tests."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import forked
import orphans

if "PYTEST_XDIST_WORKER" in os.environ:
    # Every core runs tests with jobs of their own: with more threads, most of the time would go into spin waits.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background job ignores Ctrl-C, and the processes that the tests start would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    # nohup's children would inherit that, too. A handler is not inherited, and these tests go on after a hang-up.
    signal.signal(signal.SIGHUP, lambda number, frame: None)


# A machine may be slow for a moment, and a rare example must fail when it is looked for, not by chance in another's change.
settings.register_profile("search", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("tests", settings.get_profile("search"), derandomize=True, database=None)
settings.load_profile("tests")

SURROUNDINGS = Path(tempfile.gettempdir(), f"seedbed-tests-{os.getpid()}-{time.time_ns()}")
"""A folder for what the tests would otherwise share with the user: settings, caches, and the folder where they begin."""
for _name in ("SEEDBED_TEST_DATA", "SEEDBED_TEST_CACHE"):
    if os.environ.get(_name):
        os.environ[_name] = os.path.abspath(os.environ[_name])
for _name in ("SEEDBED_RUNS", "SEEDBED_FACTS", "COLUMNS", "LINES", "NO_COLOR"):
    os.environ.pop(_name, None)
# git has a user's settings in files, and those of a hook in which the tests run, such as GIT_DIR, in variables.
for _name in [each for each in os.environ if each.startswith("GIT_")]:
    os.environ.pop(_name)
os.environ.update({"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull})
# Before the tests are collected: some modules of tests read the facts.
os.environ["SEEDBED_CACHE"] = str(SURROUNDINGS / "cache")
os.environ["XDG_CONFIG_HOME"] = str(SURROUNDINGS / "settings")


@pytest.fixture(scope="session", autouse=True)
def own_surroundings() -> Iterator[Path]:
    """Tests neither find nor change runs in the folder where they were started, nor the user's settings and caches.

    They begin in an empty folder, and so do the processes that they start in no other one.
    """
    (SURROUNDINGS / "begun-here").mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(SURROUNDINGS / "begun-here")
        yield SURROUNDINGS
    shutil.rmtree(SURROUNDINGS, ignore_errors=True)


HANDLED = (
    *(signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP),
    *(signal.SIGCONT, signal.SIGUSR1, signal.SIGCHLD, signal.SIGWINCH),
)


@pytest.fixture(scope="session", autouse=True)
def no_orphans(own_surroundings: Path) -> Iterator[None]:
    """No job that a test started outlives the tests, however they end."""
    with orphans.cleanup(), forked.installed():
        yield


@pytest.fixture(autouse=True)
def signal_handlers_come_back() -> Iterator[None]:
    """Handlers that a test leaves behind would change later tests in this process, and the processes that they start."""
    before = {number: signal.getsignal(number) for number in HANDLED}
    yield
    for number, handler in before.items():
        if handler is not None and signal.getsignal(number) != handler:
            signal.signal(number, handler)


@pytest.fixture
def new_interpreters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every process that the test starts is a new interpreter, as for users (see forked.py)."""
    monkeypatch.setattr(subprocess, "Popen", forked.StandardPopen)


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
        pytest.skip(f"cannot mount a small file system: {error}")
    if done.returncode:
        pytest.skip(f"cannot mount a small file system: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture
def fill() -> Callable[[Path], Path]:
    """A function that fills a file system and returns the file that takes the space."""

    def fill_disk(place: Path) -> Path:
        filler = place / "filler"
        with filler.open("ab", buffering=0) as handle:
            for size in (1 << 16, 1 << 12, 1):
                with contextlib.suppress(OSError):
                    while True:
                        handle.write(b"x" * size)
        assert shutil.disk_usage(place).free == 0
        return filler

    return fill_disk
