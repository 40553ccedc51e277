"""What one does to a run from any panel: ask where that is due, let the verbs do it in a thread, tell how it went."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING, TypeVar

from seedbed.errors import SeedbedError
from seedbed.runs.status import word
from seedbed.runs.store import RunDir, checked_name
from seedbed.runs.watch import Listed
from seedbed.text import plural, shorten
from seedbed.tui.keyboard import SequentialKeys
from seedbed.tui.safe_text import safe_string, safe_text
from seedbed.tui.wrapped_text import with_line_breaks

if TYPE_CHECKING:
    from seedbed.runs.asking import Request
    from seedbed.tui.state import WindowState

T = TypeVar("T")
_REMARK_CELLS = 54
"""Cells of a line of a remark."""


class RunActions(SequentialKeys):
    """The verbs on the run with an id; an id that names none says so."""

    state: WindowState

    def tell(self, words: str, severity: str = "information") -> None:
        """A remark that goes away by itself."""
        level = severity if severity in ("warning", "error") else "information"
        said = with_line_breaks(safe_text(shorten(safe_string(words), 400)), _REMARK_CELLS).plain
        self.notify(said, severity=level, markup=False, timeout=8 if level == "error" else 4)  # type: ignore[arg-type]

    def refresh_runs(self) -> None:
        """Look at the runs again at once."""
        raise NotImplementedError

    def pause(self, run_id: str | None) -> None:
        """Pause a run at work; a paused one goes on."""
        from seedbed import actions

        listed = self._listed(run_id)
        if listed is None:
            return
        if listed.status["status"] == "paused":
            self._do(_asked(actions.go_on), listed, "goes on")
        else:
            self._do(_asked(actions.pause), listed, "saves, then pauses")

    def save_now(self, run_id: str | None) -> None:
        """Ask for a checkpoint."""
        from seedbed import actions

        listed = self._listed(run_id)
        if listed is not None:
            self._do(_asked(actions.save_now), listed, "saves after the step at hand")

    def stop_run(self, run_id: str | None) -> None:
        """Ask a run to save and stop, once that is confirmed."""
        from seedbed import actions

        listed = self._listed(run_id)
        if listed is None:
            return
        if not listed.lives:
            self.tell(f"{listed.status['name']} is not running ({listed.status['status']}).", "warning")
            return
        body = f"{listed.status['name']} saves a checkpoint and stops. It can be resumed."
        self._ask("Stop this run?", body, "Stop", lambda: self._do(_asked(actions.stop), listed, "saves, then stops"))

    def resume(self, run_id: str | None) -> None:
        """Go on with a run that was interrupted; for more than that there is the panel Train."""
        from seedbed import actions

        listed = self._listed(run_id)
        if listed is None:
            return
        now = word(listed.status)
        if now in ("paused", "pausing"):
            self._do(_asked(actions.go_on), listed, "goes on")
        elif listed.lives:
            self.tell(f"{listed.status['name']} is {now} already.", "warning")
        elif now == "completed":
            self.train_further(listed.run.id)
        else:
            body = f"{listed.status['name']} ({now}) goes on from step {listed.status['checkpoint_step'] or 0}."
            self._ask("Resume this run?", body, "Resume", lambda: self._do(_resumed, listed, "goes on"), careful=False)

    def train_further(self, run_id: str) -> None:
        """Open the panel Train for this run."""
        raise NotImplementedError

    def rename(self, run_id: str | None) -> None:
        """Ask for another name and give it."""
        from seedbed import actions
        from seedbed.tui.dialogs import Rename

        listed = self._listed(run_id)
        if listed is None:
            return
        now, taken = listed.status["name"], self._names(listed)

        def refuse(name: str) -> str:
            try:
                checked_name(name, "")
            except SeedbedError as error:
                return str(error)
            return f"Another run is called {name} already." if name.casefold() in taken else ""

        def done(name: str | None) -> None:
            if name is not None:
                self._do(lambda run: actions.rename(run, name), listed, f"is called {name} now")

        self.push_screen(Rename(now, refuse), done)

    def tag(self, run_id: str | None) -> None:
        """Ask for the tags of a run and give it these."""
        from seedbed import actions
        from seedbed.runs.labels import MOST_TAGS, checked_tag
        from seedbed.tui.dialogs import Tags

        listed = self._listed(run_id)
        if listed is None:
            return
        had = set(listed.status["tags"])

        def wanted(words: str) -> set[str]:
            return {checked_tag(word) for word in words.replace(",", " ").split()}

        def refuse(words: str) -> str:
            try:
                many = len(wanted(words))
            except SeedbedError as error:
                return str(error)
            return f"These are {many} tags; {MOST_TAGS} is the most." if many > MOST_TAGS else ""

        def done(words: str | None) -> None:
            if words is None:
                return
            tags = wanted(words)
            told = f"has the tags {' '.join(sorted(tags))}" if tags else "has no tags"
            self._do(lambda run: actions.change_tags(run, tags - had, had - tags), listed, told)

        self.push_screen(Tags(" ".join(listed.status["tags"]), refuse), done)

    def note(self, run_id: str | None) -> None:
        """Ask for a note on a run and keep it."""
        from seedbed import actions
        from seedbed.runs.labels import checked_note
        from seedbed.tui.dialogs import Note

        listed = self._listed(run_id)
        if listed is None:
            return
        before = listed.status["note"] or ""

        def refuse(words: str) -> str:
            try:
                checked_note(words)
            except SeedbedError as error:
                return str(error)
            return ""

        def done(words: str | None) -> None:
            if words is not None and words.strip() != before:
                told = "has a note" if words.strip() else "has no note"
                self._do(lambda run: actions.set_note(run, words), listed, told)

        self.push_screen(Note(before, refuse), done)

    def archive(self, run_id: str | None) -> None:
        """Put a run out of sight, or back."""
        from seedbed import actions

        listed = self._listed(run_id)
        if listed is None:
            return
        archived = not listed.status["archived"]
        told = "is archived: v shows archived ones" if archived else "is back"
        self._do(lambda run: actions.set_archived(run, archived), listed, told)

    def delete(self, run_id: str | None) -> None:
        """Delete a run and all that it saved, once that is confirmed; not while it lives."""
        from seedbed import actions

        listed = self._listed(run_id)
        if listed is None:
            return
        if listed.lives:
            self.tell(
                f"{listed.status['name']} is {listed.status['status']}: stop it (s) before it is deleted.", "error"
            )
            return
        steps = f", {plural(len(listed.model.steps), 'checkpoint')}" if listed.model is not None else ""
        body = (
            f"{listed.status['name']}\n{listed.run.id}\nstep {listed.status['step']}{steps}\n\nThis cannot be undone."
        )
        self._ask("Delete this run?", body, "Delete", lambda: self._do(actions.delete, listed, "is deleted"))

    # How -------------------------------------------------------------------------------------------------------------

    def _listed(self, run_id: str | None) -> Listed | None:
        listed = self.state.run(run_id)
        if listed is None:
            self.tell("No run is chosen.", "warning")
        return listed

    def _names(self, but: Listed) -> set[str]:
        others = [each for each in self.state.watch.runs.values() if each.run.id != but.run.id]
        return {name.casefold() for each in others for name in (each.status["name"], each.run.id)}

    def _ask(self, title: str, body: str, yes: str, deed: Callable[[], None], *, careful: bool = True) -> None:
        from seedbed.tui.dialogs import Confirm

        self.push_screen(
            Confirm(title, safe_text(body, newlines=True), yes=yes, careful=careful),
            lambda agreed: deed() if agreed else None,
        )

    def _do(self, verb: Callable[[RunDir], object], listed: Listed, told: str) -> None:
        """In a thread, since a disk may be slow and a job takes a moment to begin."""
        name = listed.status["name"]

        def work() -> tuple[str, str]:
            try:
                verb(listed.run)
                said, severity = f"{name} {told}.", "information"
            except SeedbedError as error:
                said, severity = str(error), "error"
            except OSError as error:
                said, severity = f"{error.filename or name}: {error.strerror}", "error"
            return said, severity

        def done(told: tuple[str, str]) -> None:
            self.tell(*told)
            self.state.watch.forget(listed.run.id)
            self.refresh_runs()

        self.aside(work, done)

    def aside(self, work: Callable[[], T], then: Callable[[T], None]) -> None:
        """Work in a thread that keeps nobody from leaving; `then` is given its outcome, here, while the window is open."""

        def run() -> None:
            outcome = work()
            with suppress(RuntimeError):  # the window was closed meanwhile
                self.call_from_thread(then, outcome)

        Thread(target=run, name="aside", daemon=True).start()


def _asked(verb: Callable[[RunDir], Request]) -> Callable[[RunDir], None]:
    """A request that is heard, by a signal if need be, before anything is told."""
    return lambda run: verb(run).see_to_it()


def _resumed(run: RunDir) -> None:
    from seedbed import actions
    from seedbed.runs.control import Resume

    actions.wait_until_begun(actions.resume(run, Resume()))
