"""Actions on a run, for all panels: ask for confirmation if needed, act in a thread, show the outcome."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING, TypeVar

from seedbed.errors import SeedbedError
from seedbed.presentation import run_actions
from seedbed.presentation.run_actions import DELETE, PAUSE, RESUME, SAVE, STOP
from seedbed.runs.store import RunDir
from seedbed.runs.watch import ListedRun
from seedbed.text import shorten
from seedbed.tui.keyboard import SequentialKeys
from seedbed.tui.safe_text import safe_string, safe_text
from seedbed.tui.wrapped_text import with_line_breaks

if TYPE_CHECKING:
    from seedbed.runs.requests import SentRequest
    from seedbed.tui.state import WindowState

T = TypeVar("T")
_MESSAGE_CELLS = 54
"""The width of a line of a message, in cells."""
_MESSAGE_CHARACTERS = 400


class RunActions(SequentialKeys):
    """An application with actions on runs, each given the id of a run. If there is no such run, a message is shown."""

    state: WindowState

    def show_message(self, message: str, severity: str = "information") -> None:
        """Show a message that disappears after some seconds; `severity` is information, warning or error."""
        level = severity if severity in ("warning", "error") else "information"
        shown = with_line_breaks(safe_text(shorten(safe_string(message), _MESSAGE_CHARACTERS)), _MESSAGE_CELLS).plain
        self.notify(shown, severity=level, markup=False, timeout=8 if level == "error" else 4)  # type: ignore[arg-type]

    def refresh_runs(self) -> None:
        """Read the runs again immediately, and show them."""
        raise NotImplementedError

    def train_further(self, run_id: str) -> None:
        """Open the panel Train with this run as the one to train further."""
        raise NotImplementedError

    def pause(self, run_id: str | None) -> None:
        """Ask the job of a running run to pause; resume a paused run."""
        listed = self._listed(run_id)
        if listed is not None and listed.status["status"] == "paused":
            self._continue(listed)
        elif listed is not None:
            self._request(PAUSE, listed)

    def save_now(self, run_id: str | None) -> None:
        """Ask the job of a run to save a checkpoint."""
        listed = self._listed(run_id)
        if listed is not None:
            self._request(SAVE, listed)

    def stop_run(self, run_id: str | None) -> None:
        """Ask the job of a run to save and stop, after a confirmation."""
        listed = self._listed(run_id)
        if listed is not None:
            self._request(STOP, listed)

    def resume(self, run_id: str | None) -> None:
        """Continue a paused or interrupted run; for a completed one with weights, open the panel Train to train it further."""
        listed = self._listed(run_id)
        if listed is None:
            return
        if listed.status["status"] == "completed" and not listed.status["simulated"]:
            self.train_further(listed.run.id)
        elif listed.lives:
            self._continue(listed)
        elif self._allows(RESUME, listed):
            self._confirm(RESUME, listed, lambda: self._do(_resume, listed, _done(RESUME, listed)))

    def rename(self, run_id: str | None) -> None:
        """Ask for a new name and rename the run."""
        from seedbed import actions
        from seedbed.presentation.run_labels import name_problem, renamed
        from seedbed.tui.dialogs import Rename

        listed = self._listed(run_id)
        if listed is None:
            return
        before, taken = listed.status["name"], self._other_names(listed)

        def rename(name: str | None) -> None:
            if name is not None:
                self._do(lambda run: actions.rename(run, name, self.state.store), listed, renamed(before, name))

        self.push_screen(Rename(before, lambda name: name_problem(name, taken)), rename)

    def tag(self, run_id: str | None) -> None:
        """Ask for the tags of a run and save them."""
        from seedbed import actions
        from seedbed.presentation.run_labels import parsed_tags, tagged, tags_problem
        from seedbed.tui.dialogs import Tags

        listed = self._listed(run_id)
        if listed is None:
            return
        before = set(listed.status["tags"])

        def tag(typed: str | None) -> None:
            if typed is not None:
                tags = parsed_tags(typed)
                done = tagged(listed.status["name"], tags)
                self._do(lambda run: actions.change_tags(run, tags - before, before - tags), listed, done)

        self.push_screen(Tags(" ".join(listed.status["tags"]), tags_problem), tag)

    def note(self, run_id: str | None) -> None:
        """Ask for the note on a run and save it."""
        from seedbed import actions
        from seedbed.presentation.run_labels import note_problem, noted
        from seedbed.tui.dialogs import Note

        listed = self._listed(run_id)
        if listed is None:
            return
        before = listed.status["note"] or ""

        def note(typed: str | None) -> None:
            if typed is not None and typed.strip() != before:
                self._do(lambda run: actions.set_note(run, typed), listed, noted(listed.status["name"], typed))

        self.push_screen(Note(before, note_problem), note)

    def archive(self, run_id: str | None) -> None:
        """Archive a run (hide it from the list), or undo that for an archived run."""
        from seedbed import actions
        from seedbed.presentation.run_labels import archived

        listed = self._listed(run_id)
        if listed is None:
            return
        is_archived = not listed.status["archived"]
        done = archived(listed.status["name"], is_archived=is_archived)
        if is_archived:
            done += " v shows archived runs."
        self._do(lambda run: actions.set_archived(run, is_archived), listed, done)

    def delete(self, run_id: str | None) -> None:
        """Delete a run with its checkpoints, after a confirmation. A live run is not deleted."""
        from seedbed import actions

        listed = self._listed(run_id)
        if listed is not None and self._allows(DELETE, listed):
            self._confirm(DELETE, listed, lambda: self._do(actions.delete, listed, _done(DELETE, listed)))

    # Helpers ---------------------------------------------------------------------------------------------------------

    def _listed(self, run_id: str | None) -> ListedRun | None:
        listed = self.state.run(run_id)
        if listed is None:
            self.show_message("No run is selected.", "warning")
        return listed

    def _other_names(self, listed: ListedRun) -> set[str]:
        others = [each for each in self.state.watch.runs.values() if each.run.id != listed.run.id]
        return {name.casefold() for each in others for name in (each.status["name"], each.run.id)}

    def _allows(self, action: str, listed: ListedRun) -> bool:
        """Whether the run's status allows an action. If not, a message shows the reason."""
        reason = run_actions.possible(listed.status)[action]
        if reason:
            self.show_message(reason, "warning")
        return not reason

    def _request(self, action: str, listed: ListedRun) -> None:
        """Send a request to the run's job, after a confirmation if the action needs one."""
        from seedbed import actions

        request = {PAUSE: actions.pause, SAVE: actions.save_now, STOP: actions.stop}[action]
        if self._allows(action, listed):
            self._confirm(action, listed, lambda: self._do(_delivered(request), listed, _done(action, listed)))

    def _continue(self, listed: ListedRun) -> None:
        """Continue a paused job, or cancel a pending pause."""
        from seedbed import actions

        if self._allows(RESUME, listed):
            self._do(_delivered(actions.unpause), listed, _done(RESUME, listed))

    def _confirm(self, action: str, listed: ListedRun, then: Callable[[], None]) -> None:
        """Ask for confirmation of an action, and call `then` if the answer is yes.

        If the action needs no confirmation, `then` is called immediately.
        """
        question = run_actions.confirmation(action, listed)
        if question is None:
            then()
            return
        from seedbed.tui.dialogs import Confirm

        body = safe_text(question.body, newlines=True)
        dialog = Confirm(question.title, body, yes=question.accept, careful=question.is_risky)
        self.push_screen(dialog, lambda agreed: then() if agreed else None)

    def _do(self, action: Callable[[RunDir], object], listed: ListedRun, done: str) -> None:
        """Perform an action on a run in a thread, then show the message `done`, or the error.

        A thread is used because a disk may be slow, and because a job takes a moment to start.
        """

        def work() -> tuple[str, str]:
            try:
                action(listed.run)
            except SeedbedError as error:
                return str(error), "error"
            except OSError as error:
                return f"{error.filename or listed.status['name']}: {error.strerror}", "error"
            return done, "information"

        def show(outcome: tuple[str, str]) -> None:
            self.show_message(*outcome)
            self.state.watch.forget(listed.run.id)
            self.refresh_runs()

        self.in_thread(work, show)

    def in_thread(self, work: Callable[[], T], then: Callable[[T], None]) -> None:
        """Call `work` in a daemon thread, so that the window can be closed meanwhile.

        Afterwards, `then` is called with the result of `work`, in the thread of the window, unless the window is closing.
        """

        def finish(outcome: T) -> None:
            if self.is_running:  # while the window closes, its widgets are gone already
                then(outcome)

        def run() -> None:
            outcome = work()
            with suppress(RuntimeError):  # the window has been closed
                self.call_from_thread(finish, outcome)

        Thread(target=run, name="window-work", daemon=True).start()


def _done(action: str, listed: ListedRun) -> str:
    return run_actions.done(action, listed.status)


def _delivered(request: Callable[[RunDir], SentRequest]) -> Callable[[RunDir], None]:
    """Make a function that sends a request to the job of a run and waits until the job has read the request.

    If the job does not read it in time, the request is sent as a signal.
    """
    return lambda run: request(run).deliver()


def _resume(run: RunDir) -> None:
    from seedbed import actions
    from seedbed.runs.control import ResumeOptions

    actions.wait_until_started(actions.resume(run, ResumeOptions()))
