"""A job of a rehearsal meets a full or slow disk while the rehearsal lives and says so; other processes cannot make it so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from seedbed.runs.faults import Faults, lift_faults, write_faults
from seedbed.runs.store import RunDir

JOB = """
import os, sys, threading, time
from pathlib import Path
from seedbed.jobs.faults import FaultInjector
from seedbed.runs.store import RunDir

run = RunDir(Path(sys.argv[1]))
injector = FaultInjector(run)
injector.start()
for line in sys.stdin:
    if line == "write\\n":
        try:
            (run.path / "big").write_bytes(bytes(1 << 20))
            print("written", flush=True)
        except OSError as error:
            print(error.strerror, flush=True)
    elif line == "rename\\n":
        (run.checkpoints / ".step-00000007.x").mkdir(exist_ok=True)
        begun = time.monotonic()
        os.rename(run.checkpoints / ".step-00000007.x", run.checkpoints / "step-00000007")
        (run.checkpoints / "step-00000007").rmdir()
        print(time.monotonic() - begun, flush=True)
injector.end()
"""


class Job:
    """A process with the faults that the file of its run asks for, and tries to write on demand."""

    def __init__(self, folder: Path) -> None:
        (folder / "checkpoints").mkdir()
        (folder / "events.jsonl").write_text("{}\n")
        self.process = subprocess.Popen(
            [sys.executable, "-c", JOB, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, what: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def until(self, what: str, answer: str) -> None:
        """Ask until the answer comes: the job reads its file a hundred times a second."""
        while self.ask(what) != answer:
            assert self.process.poll() is None


def test_no_large_file_can_be_written_until_the_fault_is_lifted(tmp_path: Path) -> None:
    job = Job(tmp_path)
    assert job.ask("write") == "written"
    write_faults(RunDir(tmp_path), Faults(os.getpid(), disk_full=True))
    job.until("write", "File too large")
    lift_faults(RunDir(tmp_path))
    job.until("write", "written")
    job.process.communicate()


def test_a_checkpoint_gets_its_name_late(tmp_path: Path) -> None:
    job = Job(tmp_path)
    write_faults(RunDir(tmp_path), Faults(os.getpid(), write_delay_s=0.5))
    while float(job.ask("rename")) < 0.5:
        assert job.process.poll() is None
    assert job.ask("write") == "written"
    job.process.communicate()


def test_faults_of_a_process_that_is_not_the_parent_are_ignored(tmp_path: Path) -> None:
    write_faults(RunDir(tmp_path), Faults(1, disk_full=True, write_delay_s=60.0))
    job = Job(tmp_path)
    for _ in range(5):
        assert job.ask("write") == "written"
    job.process.communicate()
