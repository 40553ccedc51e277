"""The job that prepares a dataset from logs, repositories or commits: one part for each unit of input, then the folder."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue

from seedbed.config.directories import cache_dir
from seedbed.config.preparing import Preparation
from seedbed.curation import assembling
from seedbed.curation.drops import Drops
from seedbed.curation.parts import Part, find_part, finished_keys, parts_in_use
from seedbed.curation.preparing import Preparer
from seedbed.curation.repositories.completeness import Missing
from seedbed.curation.result import sentences
from seedbed.errors import DiskFullError, FileLimitError, SeedbedError, StorageError, file_limit_hint
from seedbed.events import RESULT, Data, Message
from seedbed.hardware.cpu import usable_cores
from seedbed.jobs.waiting import until_written
from seedbed.runs.kinds import frozen_config
from seedbed.runs.lifecycle import Lifecycle
from seedbed.runs.tasks import output_of
from seedbed.text import plural
from seedbed.train.hooks import phase

_POLL_S = 0.1
_EXECUTOR_END_S = 10.0
_EXECUTOR_POLL_S = 1.0
_WARNINGS = 5
"""Shallow and partial clones that are named."""
_SMALL_BYTES = 4 << 20
"""Inputs of fewer bytes are read in this process: starting others takes longer."""


def run(task_dir: Path, lifecycle: Lifecycle) -> str:
    """Prepare what is not prepared yet, and put the dataset in the place of the task's output; returns the final status."""
    config: Preparation = frozen_config(lifecycle.run)
    output = output_of(lifecycle.run)
    assert output is not None
    preparer = Preparer(config, cache_dir(), check=lifecycle.check_requests)
    with parts_in_use():
        return _prepare(preparer, output, lifecycle, task_dir)


def _prepare(preparer: Preparer, output: Path, lifecycle: Lifecycle, task_dir: Path) -> str:
    with phase(lifecycle.emit, "prepare"):
        units = preparer.units
    total = sum(unit.size_bytes for unit in units)
    lifecycle.emit(Message(level="info", code="units", text=f"Reading {plural(len(units), 'part')} of the input."))
    _warn_of_no_commits(preparer, lifecycle)
    shallow = preparer.missing(Drops())
    _warn(shallow, lifecycle)
    with phase(lifecycle.emit, "prepare"):
        parts = until_written(lifecycle, preparer.cache, lambda: _parts(preparer, lifecycle, total), "the preparation")
    drops = Drops()
    for part in parts:
        drops.add(part.drops)
    _warn([each for each in preparer.missing(drops) if each not in shallow], lifecycle)
    with phase(lifecycle.emit, "prepare"):
        description = until_written(
            lifecycle,
            output.parent,
            lambda: assembling.assemble(
                preparer, parts, output, lifecycle.run.meta(), lifecycle.check_requests, task_dir
            ),
            "the preparation",
        )
    for line in sentences(description):
        lifecycle.emit(Message(level="info", code=RESULT, text=line))
    return "completed"


def _warn_of_no_commits(preparer: Preparer, lifecycle: Lifecycle) -> None:
    """Say how many repositories have no commit that the options select, so that only their files are read."""
    without, whole = preparer.without_commits()
    if not without:
        return
    since = preparer.config.commits.since
    which = "The repository has" if whole == 1 else f"{without:,} of {whole:,} repositories have"
    text = f"{which} no commit{f' since {since}' if since else ''}: only source files are read there."
    hint = "Use an earlier --since, or leave it out." if since else ""
    lifecycle.emit(Message(level="warning", code="commits", text=text, hint=hint))


def _warn(clones: Sequence[Missing], lifecycle: Lifecycle) -> None:
    """Name clones that have only a part of the history or of the files."""
    for missing in clones[:_WARNINGS]:
        lifecycle.emit(Message(level="warning", code="clone", text=missing.text, hint=missing.hint))
    if len(clones) > _WARNINGS:
        others = plural(len(clones) - _WARNINGS, "other clone")
        lifecycle.emit(Message(level="warning", code="clone", text=f"{others}: {clones[-1].kind}, too."))


def _parts(preparer: Preparer, lifecycle: Lifecycle, total: int) -> list[Part]:
    """The parts of all units, in order; those that the cache does not have are made."""
    units = preparer.units
    parts: dict[int, Part] = {}
    done = 0

    def report() -> None:
        lifecycle.emit(Data(stage="reading", done=done, total=total, unit="bytes", whole=True))

    def finished(number: int, part: Part) -> None:
        nonlocal done
        parts[number] = part
        done += units[number].size_bytes
        report()

    missing: list[int] = []
    for number, unit in enumerate(units):
        lifecycle.check_requests()
        part = preparer.find(unit)
        if part is not None:
            parts[number] = part
            done += unit.size_bytes
        else:
            missing.append(number)
    report()  # what the cache had is no work of this session: its speed is measured from here
    if not missing:
        return [parts[number] for number in range(len(units))]
    if preparer.config.prepare.executor != "processes":
        for number, part in _in_executor(preparer, missing, lifecycle):
            finished(number, part)
        return [parts[number] for number in range(len(units))]
    workers = min(preparer.config.prepare.workers or usable_cores(), len(missing))
    if workers == 1 or sum(units[number].size_bytes for number in missing) < _SMALL_BYTES:
        for number in missing:
            finished(number, preparer.make(units[number], lifecycle.check_requests))
    else:
        for number, part in _in_processes(preparer, missing, workers, lifecycle):
            finished(number, part)
    return [parts[number] for number in range(len(units))]


def _in_processes(
    preparer: Preparer, numbers: Sequence[int], workers: int, lifecycle: Lifecycle
) -> Iterator[tuple[int, Part]]:
    """Yield the parts that worker processes make, in the order in which they are finished. Large units begin first."""
    waiting = sorted(numbers, key=lambda number: -preparer.units[number].size_bytes)
    command = [sys.executable, "-P", "-m", "seedbed.curation.worker", str(lifecycle.run.config), str(preparer.cache)]
    answers: SimpleQueue[tuple[_Worker, int, str]] = SimpleQueue()
    running = [_Worker(command, answers) for _ in range(workers)]
    try:
        busy = 0
        for worker in running:
            worker.begin(waiting.pop(0), preparer)
            busy += 1
        while busy:
            lifecycle.check_requests()
            try:
                worker, number, line = answers.get(timeout=_POLL_S)
            except Empty:
                continue
            busy -= 1
            yield number, _part_of(line, preparer, worker)
            if waiting:
                worker.begin(waiting.pop(0), preparer)
                busy += 1
    finally:
        for worker in running:
            worker.end()


def _in_executor(preparer: Preparer, numbers: Sequence[int], lifecycle: Lifecycle) -> Iterator[tuple[int, Part]]:
    """Yield the parts that the ranks of an executor of datatrove make, in the order in which they are finished.

    While it works, only the names in the cache are looked at: the inputs may be many, and far away.
    """
    keys = {number: preparer.key(preparer.units[number]) for number in numbers}
    logs = lifecycle.run.path / "executor"
    words = [str(lifecycle.run.config), str(preparer.cache), preparer.config.prepare.executor, str(logs)]
    process = subprocess.Popen([sys.executable, "-P", "-m", "seedbed.curation.cluster", *words])
    missing, seen = list(numbers), set[str]()
    try:
        while missing:
            lifecycle.check_requests()
            ended = process.poll()
            there = finished_keys(preparer.cache) - seen if ended is None else set()
            seen |= there
            for number in list(missing):
                if ended is not None:
                    part = preparer.made(preparer.units[number])
                else:
                    part = preparer.finished(keys[number]) if keys[number] in there else None
                if part is not None:
                    missing.remove(number)
                    yield number, part
            if ended is not None and missing:
                raise SeedbedError(
                    f"The executor has ended (exit status {ended}), and {plural(len(missing), 'part')} of the input "
                    + ("is" if len(missing) == 1 else "are")
                    + " not finished.",
                    f"Its messages are in {lifecycle.run.log}.",
                )
            time.sleep(_EXECUTOR_POLL_S if missing else 0)
        process.wait()
    finally:
        process.terminate()  # it cancels what runs on a cluster
        try:
            process.wait(_EXECUTOR_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _part_of(line: str, preparer: Preparer, worker: _Worker) -> Part:
    if not line:
        raise SeedbedError(
            f"A process that reads the input has ended unexpectedly (exit status {worker.status()}).",
            "It may have run out of memory. Run the command again with fewer --workers; what is finished is kept.",
        )
    answer = json.loads(line)
    if "passing" in answer:
        kind = {each.__name__: each for each in (DiskFullError, FileLimitError)}.get(answer["kind"], StorageError)
        # The limit of this process is that of the processes that it starts next.
        hint = file_limit_hint() if kind is FileLimitError else answer["hint"]
        raise kind(answer["error"], hint, answer["reason"], passing=answer["passing"])
    if "error" in answer:
        raise SeedbedError(answer["error"], answer["hint"])
    part = find_part(preparer.cache, answer["key"])
    if part is None:
        raise SeedbedError("A part in the cache has disappeared.", "Run the command again.")
    return part


class _Worker:
    """A worker process, and the thread that waits for its answers."""

    def __init__(self, command: list[str], answers: SimpleQueue[tuple[_Worker, int, str]]) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answers = answers

    def begin(self, number: int, preparer: Preparer) -> None:
        """Let the process make the part of a unit; its answer comes through the queue, "" if it ends without one."""
        threading.Thread(target=self._ask, args=(number, preparer.units[number].name), daemon=True).start()

    def _ask(self, number: int, name: str) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps([number, name]) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except (OSError, ValueError):
            line = ""
        self._answers.put((self, number, line))

    def status(self) -> int:
        """The exit status of the process, which has ended."""
        return self._process.wait()

    def end(self) -> None:
        """End the process at once. A part that it had begun leaves no file behind but a temporary one."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    continue
