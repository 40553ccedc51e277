"""Commands that only show runs start fast: they import neither torch nor another heavy package."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import hand_made_models

HEAVY = ("torch", "numpy", "transformers", "safetensors", "tokenizers", "datasets", "textual", "starlette", "pyarrow")
LISTER = Path(__file__).with_name("list_modules.py")


def loaded(folder: Path, *words: str) -> set[str]:
    """Modules that a command line has loaded when it ends."""
    env = {**os.environ, "SEEDBED_RUNS": str(folder / "runs")}
    done = subprocess.run(
        [sys.executable, str(LISTER), *words], cwd=folder, env=env, capture_output=True, text=True, check=True
    )
    return set(done.stderr.splitlines()[-1].split())


def roots(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a finished run, made without training one."""
    from seedbed.events import Run, Step
    from seedbed.runs.session import Session
    from seedbed.runs.store import Store

    run = Store(tmp_path / "runs").create("train", "alpha", 'preset = "nano"\n', {})
    with Session(run.path) as session:
        session.emit(Run(status="running", session=1, steps=2))
        session.emit(Step(step=1, loss=2.0, lr=0.1, grad_norm=1.0, tokens=10, step_s=0.1))
        session.finish("completed")
    return tmp_path


def test_help_imports_few_modules(folder: Path) -> None:
    names = loaded(folder, "--help")
    assert not roots(names) & {*HEAVY, "rich", "msgspec", "psutil", "argcomplete", "asyncio", "subprocess"}
    assert not names & {"importlib.metadata", "seedbed.events", "seedbed.runs.store", "seedbed.config.layers"}
    assert len(names) < 120, f"{len(names)} modules for --help"


@pytest.mark.parametrize(
    "words",
    [("status",), ("status", "alpha", "--json"), ("runs",), ("runs", "--json"), ("runs", "--sort", "loss", "--csv")],
)
def test_status_and_runs_import_no_heavy_package(folder: Path, words: tuple[str, ...]) -> None:
    names = loaded(folder, *words)
    assert not roots(names) & {*HEAVY, "rich", "psutil", "argcomplete", "asyncio", "subprocess", "multiprocessing"}
    assert not names & {"importlib.metadata", "seedbed.actions", "seedbed.runs.session", "seedbed.config.check"}
    assert len(names) < 220, f"{len(names)} modules for {' '.join(words)}"


def test_status_imports_no_config_and_no_other_command(folder: Path) -> None:
    names = loaded(folder, "status")
    assert not names & {"tomllib", "seedbed.config.layers", "seedbed.config.schema", "difflib", "tempfile", "hashlib"}
    commands = {name for name in names if name.startswith("seedbed.cli.")}
    assert commands <= {
        f"seedbed.cli.{name}"
        for name in ("main", "commands", "parser", "status", "console", "store_option", "hints", "streams")
    }
    assert len(names) < 170, f"{len(names)} modules"


def test_listing_finished_runs_a_second_time_decodes_no_event(folder: Path) -> None:
    for number in range(8):
        shutil.copytree(next((folder / "runs").glob("*-alpha")), folder / "runs" / f"2026010{number}-000000-000-copy")
    for place in [folder / "runs", *(folder / "runs").rglob("*")]:
        os.utime(place, (1, 1))
    assert "msgspec" in loaded(folder, "runs")
    names = loaded(folder, "runs")
    assert not roots(names) & {"msgspec", "tomllib", "decimal"}
    assert len(names) < 130, f"{len(names)} modules"


@pytest.mark.parametrize(
    "words",
    [
        ("train", "--help"),
        ("presets",),
        ("config", "show"),
        ("config", "check"),
        ("curve",),
        ("resume", "--help"),
        ("queue",),
        ("du",),
        ("models",),
        ("tag", "alpha"),
        ("metrics", "--csv"),
        ("prune", "--caches", "--dry-run"),
    ],
)
def test_commands_that_do_not_train_import_no_heavy_package(folder: Path, words: tuple[str, ...]) -> None:
    assert not roots(loaded(folder, *words)) & set(HEAVY)


def test_a_report_on_a_model_imports_no_heavy_package_and_no_client_of_the_hub(folder: Path) -> None:
    hand_made_models.write(folder / "model", hand_made_models.files())
    names = loaded(folder, "models", "./model")
    assert not roots(names) & {*HEAVY, "rich", "argcomplete", "huggingface_hub", "httpx", "httpx2"}


def test_the_window_imports_no_heavy_package() -> None:
    code = "import sys, seedbed.tui.app; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names = set(done.stdout.split())
    assert not roots(names) & ({*HEAVY} - {"textual"}), "heavy modules"
    assert "psutil" not in names, "psutil must be imported after the first paint, for the first hardware sample"
    later = (
        "tui.train",
        "tui.generate",
        "tui.system",
        "tui.details",
        "tui.dialogs",
        "tui.all_options",
        "actions",
        "config.layers",
    )
    assert not names & {f"seedbed.{name}" for name in later}, (
        "modules that the first screen does not need must be imported after the first paint"
    )
    assert len(names) < 500, f"{len(names)} modules"


def test_importing_the_package_imports_no_other_module() -> None:
    code = "import sys; before = set(sys.modules); import seedbed; print(len(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == 1


def test_plan_imports_no_heavy_package(folder: Path) -> None:
    names = loaded(folder, "plan", "--model", "llama3-8b", "--gpu", "64xH100", "--tokens", "1T")
    assert not roots(names) & {*HEAVY, "rich", "psutil", "argcomplete", "asyncio", "subprocess", "multiprocessing"}
    assert len(names) < 240, f"{len(names)} modules for plan"


def test_the_show_imports_no_heavy_package(folder: Path) -> None:
    names = loaded(folder, "show", "--exit-after", "0.1", "--speed", "10")
    assert not roots(names) & {*HEAVY, "rich", "psutil", "argcomplete", "asyncio", "subprocess", "multiprocessing"}
    assert not names & {"socket", "ssl", "urllib.request", "http.client"}, "the show uses no network"
    probing = {"ctypes", *(name for name in names if name.startswith("seedbed.hardware"))}
    assert not names & probing, "the show looks for no GPU of this machine"
    assert len(names) < 260, f"{len(names)} modules for show"


def test_the_first_line_of_the_show_needs_few_modules() -> None:
    code = "import sys, seedbed.cli.show, seedbed.cli.show_player; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names = set(done.stdout.split())
    assert not names & {"msgspec", "seedbed.events", "seedbed.simulate", "decimal", "argcomplete"}


@pytest.mark.parametrize("layout", [(), ("--parallel", "tp=1,pp=1")], ids=["searched", "given"])
def test_a_plan_imports_nothing_that_it_does_not_need(
    folder: Path, layout: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SEEDBED_FACTS", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder))
    monkeypatch.setenv("HOME", str(folder))
    names = loaded(folder, "plan", "--model", "llama3-8b", "--gpu", "64xH100", *layout)
    assert not roots(names) & {*HEAVY, "rich", "psutil", "argcomplete", "asyncio", "subprocess"}
    assert not names & {"importlib.metadata", "importlib.resources", "seedbed.actions", "seedbed.config.schema"}
    if sys.platform == "linux":
        assert not names & {"platformdirs", "hashlib", "json", "shutil", "tempfile", "tomllib", "zipfile"}
    assert len(names) < 200, f"{len(names)} modules for a plan"
