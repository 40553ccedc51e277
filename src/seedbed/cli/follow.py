"""Follows a job that this process has started: shows its events, sends a stop request on Ctrl-C, reports how it ended.

The job is a separate process. On Ctrl-C or SIGTERM, this process sends it a request to save and stop. If the terminal
is closed (SIGHUP) or this process is killed, the job continues.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, Protocol, Self

from seedbed import actions, text
from seedbed.actions import Launch
from seedbed.cli.console import note, print_error, say_json
from seedbed.cli.store_option import run_argument, with_run_argument
from seedbed.errors import EXIT_FAILURE, EXIT_INTERRUPTED, EXIT_USAGE, SeedbedError
from seedbed.events import EVALUATED, NOT_RESUMED, RESULT, Message, Record
from seedbed.presentation import wording
from seedbed.runs import requests
from seedbed.runs.curves.series import Series
from seedbed.runs.log import Reader
from seedbed.runs.printed import last_printed
from seedbed.runs.requests import SentRequest
from seedbed.runs.status import read_state, status
from seedbed.runs.store import RunDir
from seedbed.runs.tasks import output_of
from seedbed.runs.view import View

Report = Callable[[RunDir], None]
Discard = Callable[[RunDir], None]
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
EXIT_PIPE = 141
EXIT_HUNG_UP = 129
_PAUSE_CHECK_S = 2.0
"""Seconds between two checks whether the job is paused but could not write that to its log."""


class Display(Protocol):
    """Shows a run while it trains (a Protocol)."""

    def record(self, record: Record, view: View) -> None:
        """Show an event that the job has logged. `view` is the state of the run, built from its events."""

    def tick(self, view: View, series: Series) -> None:
        """Redraw what changes over time. Called when there is no new event."""

    def show_message(self, line: str) -> None:
        """Show a message from this command, not from the run."""

    def close(self) -> None:
        """Restore the terminal, at the end."""


class Signals:
    """Counts SIGINT and SIGTERM, and records SIGHUP. The Follower looks at these between two events.

    A SIGHUP that the process ignores (`nohup`) stays ignored.
    """

    def __init__(self) -> None:
        self.count = 0
        self.hung_up = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in SIGNALS:
            before = signal.signal(number, self._on_signal)
            self._before[number] = before
            if number == signal.SIGHUP and before == signal.SIG_IGN:
                signal.signal(number, before)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self.hung_up = True
        else:
            self.count += 1


class Follower:
    """Shows the events of one job until the job ends.

    `report` prints the result of a completed job on stdout, in place of the status (`as_json`) or the summary. `discard`
    removes a task that was refused (exit status 2): then there is no status to print, as of a command that starts nothing.
    """

    def __init__(
        self,
        launch: Launch,
        signals: Signals,
        *,
        as_json: bool,
        report: Report | None = None,
        discard: Discard | None = None,
    ) -> None:
        self.launch = launch
        self.signals = signals
        self.as_json = as_json
        self.report = report
        self.discard = discard
        self.view, self.series = View(), Series(launch.run)
        for record in Reader(launch.run.events).new(launch.offset):
            self.view.add(record)
        self._earlier_session = self.view.session
        self._handled_signals = 0
        self._request: SentRequest | None = None
        self._next_check_s = 0.0
        self._shown_pause = ""
        self._display = make_display(launch, as_json=as_json)

    @property
    def begun(self) -> bool:
        """Whether the job that was started has logged its first event."""
        return self.view.session > self._earlier_session and self.view.run.get("pid") == self.launch.process.pid

    def run(self) -> int:
        """Show the run until its job ends, and return the exit status.

        0: completed; 1 or 2: failed; 130: stopped, or still stopping after a second Ctrl-C; 129: the terminal was
        closed, and the job continues.
        """
        try:
            try:
                for record in actions.follow(self.launch):
                    if self.signals.hung_up:
                        break
                    self._show(record)
                    if self.signals.count > self._handled_signals and self.begun and not self._ask_to_stop():
                        return EXIT_INTERRUPTED
                    if self._request is not None:
                        self._request.repeat()
            finally:
                self._display.close()
        except OSError as error:
            if error.errno != errno.EIO and not self.signals.hung_up:
                raise
            self.signals.hung_up = True  # a closed terminal may refuse output before SIGHUP arrives
        if self.signals.hung_up:
            _discard_output()
            return EXIT_HUNG_UP
        return self._report()

    def _show(self, record: Record | None) -> None:
        if record is None:
            if self.begun:
                self._display.tick(self.view, self.series)
                self._show_pause()
            return
        self.view.add(record)
        event = record.event
        repeated = isinstance(event, Message) and event.code in (EVALUATED, RESULT)  # at the end, the table has them
        if self.begun and not repeated:
            self._display.record(record, self.view)

    def _ask_to_stop(self) -> bool:
        """Handle Ctrl-C: the first time, send the job a stop request and return True; the second time, return False.

        After False, the command ends, and the job continues to stop in the background.
        """
        again, self._handled_signals = self._handled_signals > 0, self.signals.count
        run = self.launch.run
        if again:
            if self._request is not None:
                self._request.repeat(at_once=True)
            saves = "" if self.view.simulated else "saves and "
            self._display.show_message(
                f"The run {saves}stops in the background. Watch it: seedbed status {run_argument(run)}"
            )
            return False
        try:
            self._request = requests.stop(run, "stopped from the terminal that started it")
        except SeedbedError:
            if actions.is_live(run):
                raise
            return True  # the job has just ended
        doing = wording.until_it_stops(self.view)
        self._display.show_message(
            f"Stopping: {doing}. Press Ctrl-C again to return while the run stops in the background."
        )
        return True

    def _show_pause(self) -> None:
        """Show that the job is paused if the job could not write that to its log (as when the disk is full)."""
        if time.monotonic() < self._next_check_s:
            return
        self._next_check_s = time.monotonic() + _PAUSE_CHECK_S
        state = read_state(self.launch.run)
        pause = state.heartbeat.pause if state is not None and state.heartbeat.session == self.view.session else None
        if pause is not None and pause.reason != self._shown_pause and self.view.status != "paused":
            self._display.show_message(wording.paused(self.view.step, pause.reason, pause.hint))
        self._shown_pause = pause.reason if pause is not None else ""

    def _report(self) -> int:
        """Print how the job ended, and return the exit status."""
        run, view, code = self.launch.run, self.view, self.launch.process.returncode
        if not self.begun:
            raise actions.early_exit_error(self.launch, code)
        if not run.path.exists():
            message = f"The job ended{wording.at_step(view.step)}, because the folder of its run was removed or moved."
            raise SeedbedError(message, f"The folder was {text.quoted(run.path)}.")
        if self.report is not None and view.status == "completed":
            self.report(run)
            return 0
        if view.status == "failed" and code == EXIT_USAGE and self.discard is not None:
            self.discard(run)
            print_error(SeedbedError(view.reason or "The job failed.", view.hint or ""))
            return EXIT_USAGE
        if self.as_json:
            say_json(status(run))
        not_resumed = view.code == NOT_RESUMED
        if view.status == "failed" or (not_resumed and code):
            hint = with_run_argument(view.hint or f"See {run.log}.", run.id, run_argument(run))
            print_error(SeedbedError(view.reason or "The job failed.", hint))
            return EXIT_USAGE if code == EXIT_USAGE else EXIT_FAILURE
        if view.status not in ("completed", "stopped"):
            how = f"was killed (signal {-code})" if code < 0 else f"ended unexpectedly (status {code})"
            cause = "The memory may have been full." if code == -signal.SIGKILL else last_printed(run.log, lines=1)
            kept = "What is done is kept" if output_of(run) is not None else "The saved checkpoints are intact"
            hint = f"{kept}. Continue: seedbed resume {run_argument(run)}"
            print_error(SeedbedError(f"The job {how}{wording.at_step(view.step)}. {cause}".rstrip(), hint))
            return EXIT_FAILURE
        if not_resumed:
            note(f"{view.reason} The run is still {view.status}.")
            return EXIT_INTERRUPTED
        if not self.as_json:
            from seedbed.cli.summary import summarise

            self.series.refresh()
            summarise(run, view, self.series)
        return 0 if view.status == "completed" else EXIT_INTERRUPTED


def follow(
    start: Callable[[], Launch], *, as_json: bool, report: Report | None = None, discard: Discard | None = None
) -> int:
    """Start a job and follow it to its end; returns the exit status. `report` and `discard`: see Follower.

    Signal handlers are installed before the start, so that no signal is missed. If the output is a pipe and its reader
    closes it, the run continues.
    """
    with Signals() as signals:
        launch = start()
        try:
            return Follower(launch, signals, as_json=as_json, report=report, discard=discard).run()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            if launch.process.poll() is None:
                note(f"The output was closed. The run continues: seedbed status {run_argument(launch.run)}")
            return EXIT_PIPE


def _discard_output() -> None:
    """Redirect stdout and stderr to /dev/null, because the terminal is closed."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(nowhere, descriptor)


def make_display(launch: Launch, *, as_json: bool) -> Display:
    """A display that redraws on a terminal, else one of plain lines. With --json it writes to stderr, not stdout."""
    stream = sys.stderr if as_json else sys.stdout
    from seedbed.config.environment import env

    if stream.isatty() and env("TERM") != "dumb":
        from seedbed.cli.live import LiveDisplay

        return LiveDisplay(launch.run, stream)
    from seedbed.cli.plain import PlainDisplay

    return PlainDisplay(launch.run, stream)
