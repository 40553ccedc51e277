"""SIGKILL at each file operation of a save in turn: no complete checkpoint is lost.

This file is also the program that is killed: it imports torch once and forks a child per operation.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

import patience
from seedbed import files
from seedbed.checkpoint import writing
from seedbed.checkpoint.marker import OPTIMIZER, TRAINER, WEIGHTS
from seedbed.checkpoint.reading import find, load
from seedbed.checkpoint.tensors import encoded, read_tensors
from seedbed.checkpoint.writer import Writer
from seedbed.checkpoint.writing import Snapshot, json_content, save

ANYWHERE = {"os.remove", "os.rmdir"}  # rmtree passes names relative to a folder
BELOW = {"os.rename", "os.mkdir", "os.chmod"}
NUMBERS = 12_000  # per tensor: several chunks, and more than a buffer, of bytes


class Scenario(NamedTuple):
    """The steps saved before, the step saved next, and the steps that may be the newest after a kill."""

    existing: tuple[int, ...]
    saved: int
    newest: tuple[int, ...]


SCENARIOS = {
    "a later step": Scenario((1, 2), 3, (2, 3)),
    "the same step again": Scenario((2,), 2, (2,)),
}
OLD, NEW, AFTER = 1.0, 2.0, 3.0


def snapshot(step: int, value: float, tokenizer: Path) -> Snapshot:
    return Snapshot(
        step,
        {
            WEIGHTS: encoded({"w": torch.full((NUMBERS,), value)}),
            OPTIMIZER: encoded({"w.momentum": torch.full((NUMBERS,), value)}),
            TRAINER: json_content({"value": value}),
            **{each.name: [each.read_bytes()] for each in tokenizer.iterdir()},
        },
    )


def kill_at(operation: int, folder: Path) -> None:
    """Kill this process when it is about to make its `operation`-th change below `folder`."""
    count = 0

    def tick() -> None:
        nonlocal count
        if count == operation:
            os.kill(os.getpid(), signal.SIGKILL)
        count += 1

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        below = event in BELOW or (event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR))
        if event in ANYWHERE or (below and str(folder) in str(arguments[0])):
            tick()

    real_hash = hashlib.sha256

    def fsync(fd: int) -> None:
        tick()

    class TickingHash:
        """Counts the writes: every chunk is hashed right before it is written."""

        def __init__(self) -> None:
            self._real = real_hash()

        def update(self, data: bytes) -> None:
            tick()
            self._real.update(data)

        def hexdigest(self) -> str:
            return self._real.hexdigest()

    writing._CHUNK_BYTES = 16_384
    files.os.fsync = fsync  # type: ignore[attr-defined]
    writing.hashlib.sha256 = TickingHash  # type: ignore[attr-defined,assignment,misc]
    sys.addaudithook(audit)


def killed_save(folder: Path, tokenizer: Path, scenario: Scenario, operation: int) -> bool:
    """Save in a child process that is killed at `operation`; returns whether it was."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            kill_at(operation, folder)
            writer = Writer(folder, keep_last=1)
            writer.submit(snapshot(scenario.saved, NEW, tokenizer))
            writer.close()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, f"the save itself failed ({status})"
    return os.WIFSIGNALED(status)


def examine(folder: Path, tokenizer: Path, scenario: Scenario, killed: bool) -> list[str]:
    """The problems with what the killed writer left, and with the next save."""
    problems = []
    good = find(folder).good
    loaded = [load(path) for path in good]
    if not loaded or loaded[-1].step not in scenario.newest:
        problems.append(f"found {[each.step for each in loaded]}")
    for each in loaded:
        tensors = {**read_tensors(each.weights), **read_tensors(each.optimizer)}
        values = {each.trainer["value"], *tensors["w"].tolist(), *tensors["w.momentum"].tolist()}
        if len(values) != 1 or not values <= {OLD, NEW}:
            problems.append(f"step {each.step} is a mixture: {values}")
        if each.step == scenario.saved and scenario.saved not in scenario.existing and values != {NEW}:
            problems.append(f"step {each.step} holds {values}")
    if not killed and (loaded[-1].step != scenario.saved or loaded[-1].trainer["value"] != NEW):
        problems.append("a save without a kill is not the newest checkpoint")
    if not loaded:
        return problems
    writer = Writer(folder, keep_last=2)
    step = loaded[-1].step + 1
    writer.submit(snapshot(step, AFTER, tokenizer))
    writer.close()
    if load(find(folder).good[-1]).trainer["value"] != AFTER:
        problems.append("the next save is not the newest checkpoint")
    if len(find(folder).good) < 2:
        problems.append("the next save deleted the checkpoint before it")
    leftovers = [path.name for path in folder.iterdir() if path not in find(folder).good or path.name.startswith(".")]
    if leftovers:
        problems.append(f"left over: {leftovers}")
    return problems


def main(workspace: Path, scenario: Scenario) -> None:
    """Kill at operation 0, 1, 2, ... until a save completes; print the problems as JSON."""
    files.os.fsync = lambda fd: None  # type: ignore[attr-defined]  # the page cache survives a killed process
    tokenizer, template = workspace / "tokenizer", workspace / "template"
    tokenizer.mkdir()
    (tokenizer / "tokenizer.json").write_text("{}")
    for step in scenario.existing:
        save(template, snapshot(step, OLD, tokenizer))
    problems, operation, killed = [], 0, True
    while killed:
        folder = workspace / f"run-{operation}"
        shutil.copytree(template, folder)
        killed = killed_save(folder, tokenizer, scenario, operation)
        problems += [f"operation {operation}: {each}" for each in examine(folder, tokenizer, scenario, killed)]
        shutil.rmtree(folder)
        operation += 1
    sys.stdout.write(json.dumps({"kills": operation - 1, "problems": problems}))


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_kill_at_any_operation_loses_no_checkpoint(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, __file__, str(tmp_path), name],
        capture_output=True,
        text=True,
        timeout=patience.HANG_S,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["problems"] == []
    assert result["kills"] > 40, "the save was killed at too few operations"


if __name__ == "__main__":
    main(Path(sys.argv[1]), SCENARIOS[sys.argv[2]])
