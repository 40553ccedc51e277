"""Where every job begins: `python -m seedbed.jobs RUN_DIR`. Takes the run, does its kind of work, says how it ended."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from seedbed.config.directories import keep_compiled
from seedbed.errors import EXIT_FAILURE, EXIT_USAGE, SeedbedError
from seedbed.jobs.memory import advice, exhausted
from seedbed.runs.control import Resume, Turn
from seedbed.runs.kinds import KINDS, Kind, loaded, named
from seedbed.runs.lifecycle import Lifecycle, StopRequested
from seedbed.runs.printed import stamp_output
from seedbed.runs.queue import wait_for_turn
from seedbed.runs.session import Session
from seedbed.runs.store import RunDir

Job = Callable[[Path, Any], str]

CHILDREN: dict[str, str] = {
    "generate": "seedbed.jobs.generate:main",
    "score": "seedbed.jobs.score:main",
    "doctor": "seedbed.jobs.doctor:main",
}
"""Work that makes no run and answers on stdout: takes the remaining words, returns the exit status."""


def main(words: Sequence[str] | None = None, kinds: Mapping[str, Kind] = KINDS) -> int:
    """Do what the command line names; returns the exit status."""
    words = sys.argv[1:] if words is None else words
    keep_compiled()
    if words and words[0] in CHILDREN:
        child: Callable[[Sequence[str]], int] = loaded(CHILDREN[words[0]])
        try:
            return child(words[1:])
        except SeedbedError as error:
            return _answer_error(error)
        except (MemoryError, RuntimeError, OSError) as error:
            memory = exhausted(error)
            if memory is None:
                raise
            hint = "End what else uses it, or take another device (--device cpu), a smaller model or less text."
            return _answer_error(SeedbedError(f"The {memory} is full. {_in_a_line(error)}", hint))
    parser = argparse.ArgumentParser(prog="python -m seedbed.jobs", allow_abbrev=False)
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--more-steps", type=int)
    parser.add_argument("--more-epochs", type=float)
    parser.add_argument("--from", dest="from_checkpoint")
    parser.add_argument("--early-stop", type=int)
    parser.add_argument("--data")
    parser.add_argument("--data-path")
    parser.add_argument("--queue", action="store_true")
    parser.add_argument("--after", type=Path)
    asked = parser.parse_args(words)
    resume = Resume(
        asked.more_steps, asked.more_epochs, asked.from_checkpoint, asked.early_stop, asked.data, asked.data_path
    )
    stamp_output(RunDir(asked.run_dir).log)
    try:
        return run_job(asked.run_dir, resume, Turn(asked.queue, asked.after), kinds)
    except SeedbedError as error:
        sys.stderr.write(f"{error.message} {error.hint}\n")
        return error.exit_code


def run_job(run_dir: Path, resume: Resume, turn: Turn, kinds: Mapping[str, Kind] = KINDS) -> int:
    """Own the run for one session. Whatever goes wrong is told as the run's last event; details go to job.log."""
    name = RunDir(run_dir).meta()["kind"]
    owner = Session if name not in kinds or kinds[name].is_run else Lifecycle
    with owner(run_dir, resume, turn=turn) as session:
        try:
            if turn and not wait_for_turn(session):
                raise StopRequested(session.stop_requested)
            job: Job = loaded(named(name, kinds).job)
            status = job(run_dir, session)
        except StopRequested:
            session.end_as_asked()
            return 0
        except SeedbedError as error:
            _tell_log()
            session.fail(error.message, error.hint)
            return error.exit_code if error.exit_code == EXIT_USAGE else EXIT_FAILURE
        except (Exception, SystemExit) as error:
            _tell_log()
            memory = exhausted(error)
            if memory is not None:
                session.fail(f"The {memory} is full. {_in_a_line(error)}", advice(session.run))
            else:
                session.fail(_in_a_line(error), f"The traceback is in {session.run.log}.")
            return EXIT_FAILURE
        session.finish(status)
    return 0


def _answer_error(error: SeedbedError) -> int:
    """Say what went wrong to whoever started this child; returns the exit status."""
    sys.stdout.write(json.dumps({"error": error.message, "hint": error.hint, "exit": error.exit_code}) + "\n")
    return error.exit_code


def _tell_log() -> None:
    """The traceback for job.log, which may lie on a disk that takes no writes: how the run ended is told all the same."""
    with contextlib.suppress(OSError):
        traceback.print_exc()


def _in_a_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


if __name__ == "__main__":
    sys.exit(main())
