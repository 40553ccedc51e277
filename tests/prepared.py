"""Inputs of preparations for tests, and tasks that prepare and merge datasets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from git_repositories import GitRepository
from seedbed.config.frozen import dump
from seedbed.config.preparing import MergeConfig, Merging, Preparation, PrepareConfig
from seedbed.jobs import merge, prepare
from seedbed.runs.lifecycle import Lifecycle
from seedbed.runs.store import RunDir, Store
from seedbed.runs.tasks import create_task

KEY = "AK" + "IA" + "QYLPMN5HFIQR7XYA"
"""An id of an access key in the form of AWS; no one's."""
WORDS = (
    *("amber", "birch", "cedar", "delta", "ember", "flint", "grove", "heron", "inlet"),
    *("jetty", "knoll", "larch", "marsh", "north", "otter", "prism", "quill", "ridge"),
)


def source(number: int, functions: int = 12) -> str:
    """A Python file that no other number gives: functions with names and numbers of their own."""
    lines = [f'"""Module {number}: {WORDS[number % len(WORDS)]}."""', ""]
    for each in range(functions):
        first, second = WORDS[(number * 7 + each * 3) % len(WORDS)], WORDS[(number * 5 + each) % len(WORDS)]
        factor = number * 31 + each * 17
        lines += [
            f"def {first}_{second}_{number}_{each}(value: int, limit: int = {factor}) -> int:",
            f'    """Scale a value by {factor}, at most to {first} {second}."""',
            f"    total_{each} = value * {factor} + {number + each}",
            f"    for step in range({each + 2}, limit):",
            f"        total_{each} -= step % {number + 3}",
            f"    return min(total_{each}, {factor * 100 + number})",
            "",
        ]
    return "\n".join(lines)


def repository(path: Path, first: int, files: int = 6) -> GitRepository:
    """A repository with files, of which one has a secret, and commits that change one file each."""
    made = GitRepository(path)
    content: dict[str, str | bytes | None] = {
        f"src/part_{number}.py": source(first + number) for number in range(files)
    }
    content["src/settings.py"] = source(first + 90) + f'\nACCESS_KEY = "{KEY}"\n'
    content["LICENSE"] = "MIT License\n\nPermission is hereby granted, free of charge, to any person obtaining a copy\n"
    made.commit("Begin with all parts of the package", content)
    for number in range(files):
        changed = source(first + number).replace("return min(", "return max(", 1)
        made.commit(f"Fix the limit of part {number}, which was a minimum", {f"src/part_{number}.py": changed})
    return made


def write_messages(path: Path, count: int = 30) -> None:
    """Write rows of messages, as OpenAI has them; each is about another topic."""
    with path.open("w") as handle:
        for number in range(count):
            words = [WORDS[(number * (each + 3) + each * each) % len(WORDS)] for each in range(24)]
            turns = [
                {"role": "user", "content": f"Question {number}: how do {' '.join(words[:10])} work together?"},
                {"role": "assistant", "content": f"Answer {number}. " + " ".join(words) + f" and {number * 37}."},
            ]
            handle.write(json.dumps({"messages": turns}) + "\n")


def preparation(what: str, *inputs: Path, **settings: Any) -> Preparation:
    """A config that prepares inputs; `settings` are keys of the table `prepare`."""
    asked = PrepareConfig(what=what, inputs=tuple(map(str, inputs)), **{"workers": 1, **settings})  # type: ignore[arg-type]
    return Preparation(prepare=asked)


def prepared(store: Path, config: Preparation, output: Path) -> Path:
    """Prepare a dataset; returns its folder."""
    run_task(new_task(store, "prepare", config, output))
    return output


def merged(store: Path, output: Path, *inputs: Path, config: Merging | None = None, workers: int = 1) -> Path:
    """Merge datasets; returns the folder of the new one."""
    asked = replace(config or Merging(), merge=MergeConfig(inputs=tuple(map(str, inputs)), workers=workers))
    run_task(new_task(store, "merge", asked, output))
    return output


def new_task(store: Path, kind: str, config: Any, output: Path) -> RunDir:
    """Create a task that is not started."""
    return create_task(Store(store), kind, f"{kind}-{output.name}", dump(config), output)


def run_task(task: RunDir) -> None:
    """Do the work of a task in this process."""
    job = {"prepare": prepare.run, "merge": merge.run}[task.meta()["kind"]]
    with Lifecycle(task.path) as lifecycle:
        lifecycle.finish(job(task.path, lifecycle))


def rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]
