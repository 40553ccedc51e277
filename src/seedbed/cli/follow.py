"""Following a job that we started: what it says, our Ctrl-C passed on as a request, and how it ended.

The job is a process of its own. Whatever happens to this one, the job saves or goes on.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, Protocol, Self

from seedbed import actions
from seedbed.actions import Launch
from seedbed.cli.console import complain, note, say_json
from seedbed.cli.place import refer
from seedbed.errors import EXIT_FAILURE, EXIT_INTERRUPTED, EXIT_USAGE, SeedbedError
from seedbed.events import Record
from seedbed.runs import control
from seedbed.runs.log import Reader
from seedbed.runs.series import Series
from seedbed.runs.status import status
from seedbed.runs.view import View

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
EXIT_PIPE = 141


class Display(Protocol):
    """Something that shows a run as it goes."""

    def record(self, record: Record, view: View) -> None:
        """Something happened."""

    def tick(self, view: View, series: Series) -> None:
        """Nothing happened for a moment: time to paint."""

    def remark(self, line: str) -> None:
        """A word of ours, not of the run."""

    def close(self) -> None:
        """Leave the terminal as it was."""


class Quiet:
    """A display for nobody: the terminal is gone."""

    def record(self, record: Record, view: View) -> None:
        """Show nothing."""

    def tick(self, view: View, series: Series) -> None:
        """Show nothing."""

    def remark(self, line: str) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Nothing to leave."""


class Signals:
    """Counts the signals that ask us to stop; the follower acts on them between two looks."""

    def __init__(self) -> None:
        self.count = 0
        self.hung_up = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in SIGNALS:
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        self.hung_up = self.hung_up or number == signal.SIGHUP


class Follower:
    """One launch, followed to its end."""

    def __init__(self, launch: Launch, signals: Signals, *, as_json: bool) -> None:
        self.launch = launch
        self.signals = signals
        self.as_json = as_json
        self.view, self.series = View(), Series(launch.run)
        for record in Reader(launch.run.events).new(launch.offset):
            self.view.add(record)
        self._earlier_session = self.view.session
        self._asked = 0
        self._display = make_display(launch, as_json=as_json)

    @property
    def begun(self) -> bool:
        """Whether the job has said its first word."""
        return self.view.session > self._earlier_session and self.view.run.get("pid") == self.launch.process.pid

    def run(self) -> int:
        """Show the run until its job ends: 0 completed, 1 failed, 130 stopped with what was done saved."""
        try:
            for record in actions.follow(self.launch):
                if self.signals.hung_up:
                    self._go_quiet()
                try:
                    self._look(record)
                except OSError:
                    if not self.signals.hung_up:
                        raise
                if self.signals.count > self._asked and self.begun and not self._ask_to_stop():
                    return EXIT_INTERRUPTED
        finally:
            self._display.close()
        return self._report()

    def _look(self, record: Record | None) -> None:
        if record is None:
            if self.begun:
                self._display.tick(self.view, self.series)
            return
        self.view.add(record)
        if self.begun:
            self._display.record(record, self.view)

    def _ask_to_stop(self) -> bool:
        """The first time ask the job and go on watching; the second time say that we leave it alone."""
        again, self._asked = self._asked > 0, self.signals.count
        run = self.launch.run
        if again:
            self._display.remark(f"Leaving it to itself. It saves and ends: seedbed status {refer(run)}")
            return False
        control.ask(run.control, control.STOP, self.view.session, "asked by the terminal that it was started from")
        self._display.remark("Stopping: it finishes this step and saves. Press Ctrl-C again to leave it to itself.")
        return True

    def _go_quiet(self) -> None:
        if isinstance(self._display, Quiet):
            return
        self._display = Quiet()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for descriptor in (1, 2):
            os.dup2(nowhere, descriptor)

    def _report(self) -> int:
        """How it ended, in words; returns the exit status."""
        run, view, code = self.launch.run, self.view, self.launch.process.returncode
        if not self.begun:
            raise actions.died_early(self.launch, code)
        if not run.path.exists():
            message = f"The folder of the run was removed or moved while it trained, so it ended at step {view.step}."
            raise SeedbedError(message, f"It was {run.path}.")
        if self.as_json:
            say_json(status(run))
        if view.status == "failed":
            hint = (view.hint or f"See {run.log}.").replace(f" {run.id}", f" {refer(run)}")
            complain(SeedbedError(view.reason or "The job failed.", hint))
            return EXIT_USAGE if code == EXIT_USAGE else EXIT_FAILURE
        if view.status not in ("completed", "stopped"):
            how = f"was killed (signal {-code})" if code < 0 else f"ended without a word (status {code})"
            said = "Was the memory full?" if code == -signal.SIGKILL else actions.log_tail(run, lines=1)
            hint = f"Nothing that was saved is lost: seedbed resume {refer(run)}"
            complain(SeedbedError(f"The job {how} at step {view.step}. {said}".rstrip(), hint))
            return EXIT_FAILURE
        if not self.as_json:
            from seedbed.cli.summary import summarise

            self.series.refresh()
            summarise(run, view, self.series)
        return 0 if view.status == "completed" else EXIT_INTERRUPTED


def follow(start: Callable[[], Launch], *, as_json: bool) -> int:
    """Start a job and follow it to its end; returns the exit status.

    Signals are minded from before the start, so that none slips in between. A reader of our output that leaves does not
    end the run.
    """
    with Signals() as signals:
        launch = start()
        try:
            return Follower(launch, signals, as_json=as_json).run()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            if launch.process.poll() is None:
                note(f"Nobody reads the output any more; the run goes on: seedbed status {refer(launch.run)}")
            return EXIT_PIPE


def make_display(launch: Launch, *, as_json: bool) -> Display:
    """A live picture on a terminal, plain lines elsewhere; with --json on stderr, since stdout is for the JSON."""
    stream = sys.stderr if as_json else sys.stdout
    from seedbed.config.load import env

    if stream.isatty() and env("TERM") != "dumb":
        from seedbed.cli.live import LiveDisplay

        return LiveDisplay(launch.run, stream)
    from seedbed.cli.plain import PlainDisplay

    return PlainDisplay(launch.run, stream)
