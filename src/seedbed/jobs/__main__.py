"""Entry point of every job: `python -m seedbed.jobs RUN_DIR` does the work of a run and records how it ended."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from seedbed.config.directories import keep_compiled
from seedbed.errors import EXIT_FAILURE, EXIT_USAGE, SeedbedError
from seedbed.jobs.memory import advice, exhausted
from seedbed.runs.control import ResumeOptions, StartCondition
from seedbed.runs.kinds import KINDS, Kind, load_object, named
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
    "choose": "seedbed.jobs.choose:main",
    "measure": "seedbed.jobs.measure:main",
    "look": "seedbed.jobs.look:main",
}
"""Commands that create no run, and their functions. Each function gets the remaining arguments, writes its answer to
stdout, and returns the exit status."""


def main(arguments: Sequence[str] | None = None, kinds: Mapping[str, Kind] = KINDS) -> int:
    """Run a job (`RUN_DIR` and its options) or one of the commands in CHILDREN; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    keep_compiled()
    if arguments and arguments[0] in CHILDREN:
        child: Callable[[Sequence[str]], int] = load_object(CHILDREN[arguments[0]])
        try:
            return child(arguments[1:])
        except SeedbedError as error:
            return _print_error(error)
        except (MemoryError, RuntimeError, OSError) as error:
            memory = exhausted(error)
            if memory is None:
                raise
            hint = (
                "Close other programs that use it, or try another device (--device cpu), a smaller model or less text."
            )
            return _print_error(SeedbedError(f"The {memory} is full. {_first_line(error)}", hint))
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
    options = parser.parse_args(arguments)
    resume = ResumeOptions(
        options.more_steps,
        options.more_epochs,
        options.from_checkpoint,
        options.early_stop,
        options.data,
        options.data_path,
    )
    stamp_output(RunDir(options.run_dir).log)
    try:
        return run_job(options.run_dir, resume, StartCondition(options.queue, options.after), kinds)
    except SeedbedError as error:
        sys.stderr.write(f"{error.message} {error.hint}\n")
        return error.exit_code


def run_job(run_dir: Path, resume: ResumeOptions, turn: StartCondition, kinds: Mapping[str, Kind] = KINDS) -> int:
    """Do the work of a run for one session. An error becomes the run's last event; its traceback goes to job.log."""
    name = RunDir(run_dir).meta()["kind"]
    owner = Session if name not in kinds or kinds[name].is_run else Lifecycle
    with owner(run_dir, resume, turn=turn) as session:
        try:
            if turn and not wait_for_turn(session):
                raise StopRequested(session.stop_requested)
            if turn:
                session.began_s, session.paused_s = time.monotonic(), 0.0
            job: Job = load_object(named(name, kinds).job)
            status = job(run_dir, session)
        except StopRequested:
            session.end_as_asked()
            return 0
        except SeedbedError as error:
            _log_traceback()
            session.fail(error.message, error.hint)
            return error.exit_code if error.exit_code == EXIT_USAGE else EXIT_FAILURE
        except (Exception, SystemExit) as error:
            _log_traceback()
            memory = exhausted(error)
            if memory is not None:
                session.fail(f"The {memory} is full. {_first_line(error)}", advice(session.run))
            else:
                session.fail(_first_line(error), f"The traceback is in {session.run.log}.")
            return EXIT_FAILURE
        session.finish(status)
    return 0


def _print_error(error: SeedbedError) -> int:
    """Write the error to stdout as JSON, for the process that started this one; returns the exit status."""
    sys.stdout.write(json.dumps({"error": error.message, "hint": error.hint, "exit": error.exit_code}) + "\n")
    return error.exit_code


def _log_traceback() -> None:
    """Print the traceback to job.log. A full disk is ignored, so that the run's last event is still logged."""
    with contextlib.suppress(OSError):
        traceback.print_exc()


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


if __name__ == "__main__":
    sys.exit(main())
