"""Panel 3: a form to start a run or to train a model further. Values are checked as they are typed."""

from __future__ import annotations

from functools import cached_property, partial
from typing import ClassVar

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Grid, Horizontal
from textual.widget import Widget
from textual.widgets import Button, Input, Label, Select

from seedbed import actions
from seedbed.config.base_model import OpenBase
from seedbed.config.frozen import load_frozen
from seedbed.config.resolving import Resolved
from seedbed.config.roots import TRAIN
from seedbed.config.schema import Config
from seedbed.errors import SeedbedError
from seedbed.presentation import launches
from seedbed.presentation.config_text import value_text
from seedbed.presentation.forms import CHOICE, ConfigForm, Field
from seedbed.presentation.train_form import (
    BUTTON_HELP,
    HORIZON,
    NEW,
    Continuable,
    NewRun,
    continuable,
    extension,
    extension_summary,
    start_question,
    train_fields,
)
from seedbed.runs.control import ResumeOptions, StartCondition
from seedbed.tui.all_options import AllOptions
from seedbed.tui.dialogs import Confirm
from seedbed.tui.fields import NumberField, PlainCheckbox
from seedbed.tui.panel import Panel
from seedbed.tui.safe_text import ERROR_STYLE, fitted_text, safe_text
from seedbed.tui.wrapped_text import WrappedText

_CHOICE_CELLS = 60
_NEW_RUN = ("a new run", NEW)
_EXTENSION_PLACEHOLDERS = {"epochs": "more epochs", "steps": "or steps"}


class TrainPanel(Panel):
    """The panel Train, a form for a run. An empty field stands for the preset's value, which the field shows."""

    NUMBER = 3
    NAME = "Train"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "start", "Start"),
        Binding("ctrl+o", "options", "All options"),
        Binding("ctrl+r", "reset", "Reset", show=False, tooltip="Use the preset's values again"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.fields = train_fields()
        self._kept = [name for name in self.fields if name != "origin" and name not in HORIZON]
        """The fields that can be set only for a new run: a run that is trained further keeps its config."""
        self._options: dict[str, str] = {}
        """The values by config key that were set in the dialog All options, for keys without a field."""
        self._continuable: list[Continuable] | None = None
        self._starting = False
        self._typed: dict[str, str] | None = None
        """What was typed for a new run while the fields show the config of a run to train further."""
        self._typed_horizon: dict[str, str] | None = None
        """The epochs and steps that were typed for a new run, while the fields ask how much further to train a run."""

    def compose(self) -> ComposeResult:
        """Yield the fields with labels, the buttons, a line for a summary or a problem, and a line of help."""
        with Grid(id="train-fields"):
            for field in self.fields.values():
                yield Label(field.label)
                yield _widget(field)
        with Horizontal(id="train-buttons"):
            yield Button("Start", id="start", variant="success", compact=True)
            yield Button("All options", id="all-options", compact=True)
            yield PlainCheckbox("queue", id="queue", compact=True)
        yield WrappedText(id="train-state")
        yield WrappedText(id="train-help")

    def on_mount(self) -> None:
        """Show the help of each field and button as its tooltip, and the preset's values in the empty fields."""
        super().on_mount()
        for name in (*self.fields, *BUTTON_HELP):
            self.query_one(f"#{name}").tooltip = Text(self._help(name))
        self._show_placeholders()

    def home(self) -> Widget:
        """The first field of the form, which gets the focus first."""
        return self.query_one("#origin")

    def _help(self, name: str) -> str:
        return self.fields[name].help if name in self.fields else BUTTON_HELP.get(name, "")

    # Values ----------------------------------------------------------------------------------------------------------

    @property
    def origin(self) -> str:
        """The id of the run to train further; NEW for a new run."""
        return self._value("origin")

    def _value(self, name: str) -> str:
        if self.fields[name].kind != CHOICE:
            return self.query_one(f"#{name}", Input).value.strip()
        value = self.query_one(f"#{name}", Select).value
        return value if isinstance(value, str) else ""

    def _set_values(self, values: dict[str, str]) -> None:
        for name, value in values.items():
            if self.fields[name].kind != CHOICE:
                self.query_one(f"#{name}", Input).value = value
                continue
            select = self.query_one(f"#{name}", Select)
            if value in [each for _, each in select._options]:
                select.value = value

    def new_run(self) -> NewRun:
        """The new run that the fields and the dialog All options describe."""
        values = {name: self._value(name) for name in self.fields}
        return NewRun(self.fields, values, self._options, self._open_base)

    @cached_property
    def _open_base(self) -> OpenBase:
        return actions.base_opener_for_forms(self.state.store)

    def resolved(self) -> Resolved[Config]:
        """The config that the form describes, with the origin of each value.

        Raises UsageError, which names the wrong field.
        """
        return self.new_run().resolved()

    def _extension(self) -> ResumeOptions:
        """How much further to train the chosen run, from the fields. Raises UsageError for a wrong value."""
        return extension(self.fields, {name: self._value(name) for name in HORIZON})

    # Showing ---------------------------------------------------------------------------------------------------------

    def update(self, changed: set[str]) -> None:
        """Update the list of models that can be trained further, without changing which one is chosen."""
        found = continuable(self.state.models(), self.state.watch.runs, self.state.model())
        if found != self._continuable:
            self._continuable = found
            choices = [(fitted_text(each.label, _CHOICE_CELLS).plain, each.run_id) for each in found]
            self._show_choices([_NEW_RUN, *choices])
            self._show_origin()
            self._check()
        elif self.origin in changed:
            self._check()

    def _show_choices(self, choices: list[tuple[str, str]]) -> None:
        select, kept = self.query_one("#origin", Select), self.origin
        is_gone = all(value != kept for _, value in choices)
        with self.prevent(Select.Changed):
            select.set_options([(Text(label), value) for label, value in choices])
            select.value = NEW if is_gone else kept
        if is_gone:
            self._switch_horizon()

    def choose_origin(self, run_id: str) -> None:
        """Choose this run as the one to train further, if it is in the list of those that can be."""
        if any(each.run_id == run_id for each in self._continuable or []):
            self.query_one("#origin", Select).value = run_id

    @on(Select.Changed, "#origin")
    def _on_origin(self) -> None:
        self._switch_horizon()
        self._show_origin()
        self._check()

    @on(Select.Changed, "#preset")
    def _on_preset(self) -> None:
        self._show_placeholders()
        self._check()

    @on(Select.Changed, "#precision")
    @on(Input.Changed)
    def _on_field(self) -> None:
        self._check()

    @on(events.DescendantFocus)
    def _show_help(self, event: events.DescendantFocus) -> None:
        help_text = Text(self._help(event.widget.id or ""), style="italic")
        self.query_one("#train-help", WrappedText).set_text(help_text)

    def _show_origin(self) -> None:
        """If a run to train further is chosen, show its config in the fields that it keeps, and disable them."""
        for name in (*self._kept, "all-options"):
            self.query_one(f"#{name}").disabled = self.origin != NEW
        self._show_config(self._config_of_origin())
        self._show_placeholders()

    def _switch_horizon(self) -> None:
        """Empty the fields epochs and steps if an existing run is to be trained further; restore their texts for a new run."""
        if self.origin != NEW:
            if self._typed_horizon is None:
                self._typed_horizon = {name: self._value(name) for name in HORIZON}
            shown = dict.fromkeys(HORIZON, "")
        elif self._typed_horizon is not None:
            shown, self._typed_horizon = self._typed_horizon, None
        else:
            return
        with self.prevent(Input.Changed):
            self._set_values(shown)

    def _config_of_origin(self) -> Config | None:
        listed = self.state.run(self.origin)
        try:
            return load_frozen(listed.run.config, TRAIN) if listed is not None else None
        except SeedbedError:
            return None  # the job reports what is wrong

    def _show_config(self, config: Config | None) -> None:
        """Show this config of a run to train further in place of what was typed for a new run.

        With None, show what was typed again.
        """
        if config is None and self._typed is None:
            return
        if self._typed is None:
            self._typed = {name: self._value(name) for name in self._kept}
        shown = self._typed
        if config is not None:
            shown = dict.fromkeys(self._kept, "") | {"preset": config.preset, "precision": config.train.precision}
        with self.prevent(Select.Changed, Input.Changed):
            self._set_values(shown)
        if config is None:
            self._typed = None

    def _show_placeholders(self) -> None:
        """Show in each empty field the value that will be used for it."""
        config = self._config_of_origin() or self.new_run().defaults().config
        for field in self.fields.values():
            if field.key and field.kind != CHOICE:
                shown = value_text(config, field.key)
                if self.origin != NEW:
                    shown = _EXTENSION_PLACEHOLDERS.get(field.name, shown)
                self.query_one(f"#{field.name}", Input).placeholder = shown

    def _check(self) -> str:
        """Show what is wrong with the values of the form, or a summary of the run. Returns what is wrong, or ""."""
        if not self.is_mounted or self._starting:
            return ""
        try:
            summary = self.new_run().summary() if self.origin == NEW else self._extension_summary()
        except SeedbedError as error:
            self._show_state(error.message, ERROR_STYLE)
            self.set_summary("a field has an error" if self.origin == NEW else error.message)
            return error.message
        self._show_state(summary, "dim")
        self.set_summary(summary)
        return ""

    def _extension_summary(self) -> str:
        listed = self.state.run(self.origin)
        if listed is None:
            raise SeedbedError("The chosen run has been deleted.")
        return extension_summary(listed, self._extension())

    def _show_state(self, message: str, style: str) -> None:
        self.query_one("#train-state", WrappedText).set_text(safe_text(message, style))

    # Starting --------------------------------------------------------------------------------------------------------

    def leave_editor(self) -> None:
        """Move the focus from a text field to the start button."""
        self.query_one("#start").focus()

    def action_reset(self) -> None:
        """Clear every field, except the choice of the model to train further and the preset."""
        self._options = {}
        self._typed_horizon = None if self._typed_horizon is None else dict.fromkeys(HORIZON, "")
        for widget in self.query(Input):
            widget.value = ""
        empty = {name: self.fields[name].default for name in self._kept if name != "preset"}
        if self._typed is None:
            self._set_values(empty)
        else:
            self._typed |= empty
        self._show_placeholders()
        self._check()

    @on(Button.Pressed, "#all-options")
    def action_options(self) -> None:
        """Open the dialog All options, with all config keys."""
        if self.origin != NEW:
            self.window.show_message("A run that is trained further keeps its config.", "warning")
            return
        new = self.new_run()

        def keep(values: dict[str, str] | None) -> None:
            if values is not None:
                changed = new.with_all_options(values)
                self._options = dict(changed.options)
                self._set_values({name: changed.values[name] for name in self.fields if self.fields[name].key})
                self._show_placeholders()
                self._check()

        form = ConfigForm(TRAIN, new.preset, new.all_options(), open_base=new.open_base)
        self.app.push_screen(AllOptions(form), keep)

    @on(Button.Pressed, "#start")
    def action_start(self) -> None:
        """Check the form, ask for confirmation, and start the job."""
        if self._starting:
            self.window.show_message("A run is already being started.", "warning")
            return
        problem = self._check()
        try:
            if not problem and self.origin == NEW:
                actions.refuse_unusable_data(self.resolved().config, self.state.store)
        except SeedbedError as error:
            problem = str(error)
        if problem:
            self._show_problem(problem)
            return
        title, body = self._question()
        self.app.push_screen(Confirm(title, body, yes="Start", careful=False), self._on_answer)

    def _show_problem(self, problem: str) -> None:
        """Show a problem below the fields, or as a message if another panel has the focus."""
        self._show_state(f"✗ {problem}", ERROR_STYLE)
        if self.has_focus_within:
            self.app.bell()
            self.query_one("#train-state").scroll_visible(animate=False)
        else:
            self.window.show_message(problem, "error")

    @property
    def _queue(self) -> bool:
        return self.query_one("#queue", PlainCheckbox).value

    def _question(self) -> tuple[str, Text]:
        """The title and the text of the question to ask before the job is started."""
        if self.origin != NEW:
            return "Train further?", safe_text(self._extension_summary())
        question = start_question(self.new_run(), self.state.store, self.state.live(), queue=self._queue)
        body = safe_text("\n".join(question.lines), newlines=True)
        for warning in question.warnings:
            body.append_text(safe_text(f"\n{warning}", "yellow", newlines=True))
        return question.title, body

    def _on_answer(self, agreed: bool | None) -> None:
        if not agreed:
            return
        turn = StartCondition(queue=self._queue)
        try:
            listed = self.state.run(self.origin)
            if self.origin == NEW:
                new = self.new_run()
                command = ["seedbed", "tui"]
                launch = partial(
                    launches.start, self.state.store, new.resolved(), new.name or None, turn, command=command
                )
            elif listed is not None:
                launch = partial(launches.resume, listed.run, self._extension(), turn)
            else:
                raise SeedbedError("The chosen run has been deleted.")
        except SeedbedError as error:
            self._show_outcome(launches.LaunchOutcome(None, str(error)))
            return
        self._starting = True
        self._show_state("starting …", "yellow")
        self.window.in_thread(launch, self._show_outcome)

    def _show_outcome(self, outcome: launches.LaunchOutcome) -> None:
        self._starting = False
        if outcome.run is not None and not outcome.problem and self.origin == outcome.run.id:
            # A run that is training cannot be trained further; one that has ended already is not chosen either.
            self.query_one("#origin", Select).value = NEW
        self._check()
        if outcome.problem:
            self._show_problem(outcome.problem)
        if outcome.run is not None:
            self.window.show_started(outcome.run, chosen=not outcome.problem)
            if not outcome.problem:
                self.window.show_message(f"{outcome.run.name()} has started: {outcome.run.id}")


def _widget(field: Field) -> Widget:
    if field.is_number:
        return NumberField(field)
    if field.name == "origin":
        return Select([_NEW_RUN], value=NEW, allow_blank=False, id=field.name, compact=True)
    if field.kind == CHOICE:
        choices = [(each, each) for each in field.choices]
        return Select(choices, value=field.default, allow_blank=False, id=field.name, compact=True)
    return Input(placeholder=field.placeholder, id=field.name, compact=True, max_length=64 if not field.key else 0)
