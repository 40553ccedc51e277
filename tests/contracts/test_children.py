"""No Python process that Seedbed starts imports a module from the working directory."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from seedbed import actions
from seedbed.config.schema import TokenizerConfig
from seedbed.data import tokenise
from seedbed.data.tokenise import TextBlock, Tokeniser
from seedbed.tokenizer.train import train_tokenizer

SRC = Path(__file__).resolve().parents[2] / "src" / "seedbed"
NAMES = ("queue", "random", "json", "selectors", "numpy", "tokenizers", "torch", "msgspec", "seedbed", "platform")


@pytest.fixture
def import_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Fill the working directory with files named like modules; returns the file in which each one records its import."""
    place = tmp_path / "work"
    place.mkdir()
    record = tmp_path / "imported"
    for name in NAMES:
        (place / f"{name}.py").write_text(f"open({str(record)!r}, 'a').write('{name} ')\nraise SystemExit('{name}')\n")
    monkeypatch.chdir(place)
    return record


def test_a_tokenising_worker_imports_nothing_from_the_working_directory(
    import_record: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenise, "SINGLE_PROCESS_BYTES", 0)
    tokenizer = train_tokenizer(["some words and more words"], TokenizerConfig(vocab_size=300), lambda _: None)
    tokenizer.save(tmp_path / "tokenizer")
    dtype = np.dtype("<u2")
    with Tokeniser(tokenizer, tmp_path / "tokenizer", dtype, workers=2) as tokeniser:
        ((_, block),) = tokeniser.encode([TextBlock(["more words"], [True], 10)])
    assert np.frombuffer(block.ids, dtype).tolist() == [*tokenizer.encode("more words"), tokenizer.eot_id]
    assert not import_record.exists()


@pytest.mark.usefixtures("new_interpreters")
def test_a_job_imports_nothing_from_the_working_directory(import_record: Path, tmp_path: Path) -> None:
    request = json.dumps({"checkpoint": str(tmp_path / "none")})
    done = subprocess.run([*actions.JOBS, "generate"], input=request, capture_output=True, text=True, check=False)
    assert "error" in json.loads(done.stdout.splitlines()[-1]), done.stderr
    assert not import_record.exists()


@pytest.mark.usefixtures("new_interpreters")
def test_python_m_seedbed_imports_nothing_from_the_working_directory(import_record: Path, tmp_path: Path) -> None:
    place = Path.cwd()
    (place / "seedbed.py").unlink()  # -m searches the working directory before Seedbed's code runs
    words = [sys.executable, "-m", "seedbed", "runs", "--runs", str(tmp_path / "runs")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not import_record.exists()


@pytest.mark.usefixtures("new_interpreters")
def test_folders_in_pythonpath_are_still_searched(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'w')\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    subprocess.run([*actions.JOBS, "--help"], env=environment, capture_output=True, check=True)
    assert (tmp_path / "imported").exists()


def _python_commands(tree: ast.AST) -> list[tuple[ast.List | ast.Tuple, int]]:
    """Every list or tuple that begins with `sys.executable`, and its line."""
    return [
        (node, node.lineno)
        for node in ast.walk(tree)
        if isinstance(node, ast.List | ast.Tuple) and node.elts and ast.unparse(node.elts[0]) == "sys.executable"
    ]


def test_the_source_starts_every_python_process_with_the_safe_path_option() -> None:
    found = 0
    for path in SRC.rglob("*.py"):
        for node, line in _python_commands(ast.parse(path.read_text(encoding="utf-8"))):
            found += 1
            assert ast.unparse(node.elts[1]) == "'-P'", f"{path.relative_to(SRC)}:{line} starts a Python without -P"
    assert found >= 2
