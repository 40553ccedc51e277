"""Panel 3: start a new run, or train a model further: options with their defaults, checked as they are typed."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar, NamedTuple

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Grid, Horizontal
from textual.widget import Widget
from textual.widgets import Button, Input, Label, Select

from seedbed import actions, text
from seedbed.config.check import check
from seedbed.config.frozen import load_frozen
from seedbed.config.keys import alternatives, keys
from seedbed.config.layers import Flagged
from seedbed.config.preset import preset_names
from seedbed.config.resolving import Resolved, resolve
from seedbed.config.roots import TRAIN
from seedbed.config.schema import Config
from seedbed.errors import SeedbedError, UsageError
from seedbed.presentation import launches
from seedbed.presentation.config_text import FROM_ALL_OPTIONS, horizon, parameters, typed, wanted_lines
from seedbed.runs.control import Resume, Turn
from seedbed.runs.models import CORRUPTED
from seedbed.runs.statuses import WORKING
from seedbed.runs.store import checked_name
from seedbed.tui.dialogs import Confirm
from seedbed.tui.fields import NumberField, PlainCheckbox
from seedbed.tui.panel import Panel
from seedbed.tui.safe_text import ERROR_STYLE, fitted_text, safe_text
from seedbed.tui.settings import Settings
from seedbed.tui.wrapped_text import WrappedText

MOST_EPOCHS = 10_000
MOST_CHOICES = 200
"""Models that are offered to be trained further: those trained last."""
NEW = ""
"""The choice that stands for a new run; every other one is a run's id."""


class Option(NamedTuple):
    """A field of the panel and the key of the config that it sets."""

    id: str
    label: str
    path: str


OPTIONS = (
    Option("epochs", "epochs", "train.epochs"),
    Option("steps", "steps", "train.steps"),
    Option("batch", "batch", "train.batch_size"),
    Option("context", "seq len", "model.context"),
    Option("micro", "micro batch", "train.micro_batch"),
    Option("lr", "learn rate", "optimizer.lr"),
    Option("workers", "workers", "data.workers"),
    Option("seed", "seed", "train.seed"),
)
FIELDS = {"data": "data.source", "device": "train.device", **{option.id: option.path for option in OPTIONS}}
"""The fields that are typed into, and the key of the config that each sets."""
HELP = {
    "origin": "A new run, or a model to train further. A run that is trained further keeps its config.",
    "run-name": "Letters, digits, space, _ . -; up to 64. Empty: named after preset and data.",
    "preset": "Where the values come from that are not given here: nano and tiny for a CPU, small and base for a GPU.",
    **{
        option.id: f"{keys(TRAIN)[option.path].help} Expected: {keys(TRAIN)[option.path].expected}."
        for option in OPTIONS
    },
    "micro": f"{keys(TRAIN)['train.micro_batch'].help} The smaller, the less memory: gradients are gathered over the batch.",
    "data": keys(TRAIN)["data.source"].help,
    "device": keys(TRAIN)["train.device"].help,
    "precision": keys(TRAIN)["train.precision"].help,
    "queue": "Wait until no other run of this store is on the device, then begin.",
    "start": "Check, ask once more, and start in the background: closing this window does not end it.",
    "all-options": "Every key of the config, with its help and where its value comes from.",
}
"""What each field is for."""
_KEPT_INPUTS = ("run-name", "data", "batch", "context", "micro", "lr", "workers", "seed", "device")
_KEPT_SELECTS = ("preset", "precision")
_HORIZON = ("epochs", "steps")
_HORIZON_KEYS = alternatives("train.steps", TRAIN)
_KEPT = (*_KEPT_INPUTS, *_KEPT_SELECTS)
"""What a run that is trained further keeps."""
_BOUNDS = {"epochs": (0.001, MOST_EPOCHS), "steps": (1, 10**12)}


class TrainPanel(Panel):
    """What is wanted of a run. Empty fields mean the preset's value, which they show."""

    NUMBER = 3
    NAME = "Train"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "start", "Start"),
        Binding("ctrl+o", "settings", "All options"),
        Binding("ctrl+r", "reset", "Reset", show=False, tooltip="Back to the preset's values"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._sets: dict[str, str] = {}
        self._further: list[tuple[bool, str, str, int, str]] | None = None
        self._starting = False
        self._typed: dict[str, str] | None = None
        """What was typed for a new run, while the choices of one that is trained further stand in its place."""
        self._horizon: dict[str, str] | None = None
        """The epochs and steps that were typed for a new run, while those of one that is trained further are asked."""

    def compose(self) -> ComposeResult:
        """Pairs of a label and a field, then the buttons and a line for what is wrong."""
        presets = [(name, name) for name in preset_names(TRAIN)]
        precisions = [(name, name) for name in keys(TRAIN)["train.precision"].choices]
        with Grid(id="train-fields"):
            yield Label("start from")
            yield Select([("a new run", NEW)], value=NEW, allow_blank=False, id="origin", compact=True)
            yield Label("name")
            yield Input(placeholder="by preset and data", id="run-name", compact=True, max_length=64)
            yield Label("preset")
            yield Select(presets, value=TRAIN.default_preset, allow_blank=False, id="preset", compact=True)
            yield Label("data")
            yield Input(placeholder="stories", id="data", compact=True)
            for option in OPTIONS:
                yield Label(option.label)
                yield self._number(option)
            yield Label("device")
            yield Input(placeholder="auto", id="device", compact=True)
            yield Label("precision")
            yield Select(precisions, value="auto", allow_blank=False, id="precision", compact=True)
        with Horizontal(id="train-buttons"):
            yield Button("Start", id="start", variant="success", compact=True)
            yield Button("All options", id="all-options", compact=True)
            yield PlainCheckbox("queue", id="queue", compact=True)
        yield WrappedText(id="train-state")
        yield WrappedText(id="train-help")

    @staticmethod
    def _number(option: Option) -> NumberField:
        key = keys(TRAIN)[option.path]
        bounds = dict(key.bounds)
        low, high = _BOUNDS.get(option.id, (bounds.get("ge", bounds.get("gt", 0.0)), bounds.get("le", 1e15)))
        whole = key.base is int
        step = {"steps": 100.0, "context": 64.0, "lr": 0.001}.get(option.id, 1.0)
        return NumberField(id=option.id, low=low, high=high, whole=whole, step=step)

    def on_mount(self) -> None:
        """The preset's values stand in the fields."""
        super().on_mount()
        for name, words in HELP.items():
            self.query_one(f"#{name}").tooltip = Text(words)
        self._defaults()

    def home(self) -> Widget:
        """The first field."""
        return self.query_one("#origin")

    # What is asked for -----------------------------------------------------------------------------------------------

    @property
    def origin(self) -> str:
        """The id of the run to train further; NEW for a new run."""
        value = self.query_one("#origin", Select).value
        return value if isinstance(value, str) else NEW

    def _value(self, name: str) -> str:
        return self.query_one(f"#{name}", Input).value.strip()

    def _preset(self) -> str:
        return str(self.query_one("#preset", Select).value)

    def resolved(self) -> Resolved[Config]:
        """The config that the fields ask for. Raises UsageError, naming the field."""
        for option in OPTIONS:
            if problem := self.query_one(f"#{option.id}", NumberField).problem():
                raise UsageError(f"{option.label}: {problem}.")
        flags: dict[str, Any] = {path: Flagged(value, FROM_ALL_OPTIONS) for path, value in self._sets.items() if value}
        if self._value("epochs") or self._value("steps"):
            flags = {path: value for path, value in flags.items() if path not in _HORIZON_KEYS}
        labels = {option.id: option.label for option in OPTIONS}
        for name, path in FIELDS.items():
            if value := self._value(name):
                flags[path] = Flagged(value, f"the field {labels.get(name, name)}")
        precision = str(self.query_one("#precision", Select).value)
        if precision != "auto":
            flags["train.precision"] = Flagged(precision, "the field precision")
        return resolve(TRAIN, preset=self._preset(), flags=flags)

    def request(self) -> Resume:
        """How far the chosen run is to be trained further. Raises UsageError."""
        for name in ("epochs", "steps"):
            if problem := self.query_one(f"#{name}", NumberField).problem():
                raise UsageError(f"{name}: {problem}.")
        epochs = self.query_one("#epochs", NumberField).number()
        steps = self.query_one("#steps", NumberField).number()
        if epochs is not None and steps is not None:
            raise UsageError("Both epochs and steps are given: keep one of them.")
        return Resume(int(steps) if steps is not None else None, epochs)

    # Showing ---------------------------------------------------------------------------------------------------------

    def update(self, changed: set[str]) -> None:
        """Keep the list of what can be trained further; the choice stays."""
        active = self.state.model()
        further = []
        for model in self.state.models()[:MOST_CHOICES]:
            listed = self.state.run(model.run.id)
            if listed is not None and not listed.lives and model.status != CORRUPTED:
                is_active = active is not None and active.run.id == model.run.id
                further.append((is_active, model.name, listed.status["status"], model.step, model.run.id))
        if further != self._further:
            self._further = further
            self._offer([("a new run", NEW), *(_choice(*each) for each in further)])
            self._dress()
            self._judge()
        elif self.origin in changed:
            self._judge()

    def _offer(self, choices: list[tuple[str, str]]) -> None:
        select, kept = self.query_one("#origin", Select), self.origin
        is_gone = all(value != kept for _, value in choices)
        with self.prevent(Select.Changed):
            select.set_options([(Text(label), value) for label, value in choices])
            select.value = NEW if is_gone else kept
        if is_gone:
            self._ask_horizon()

    def take_up(self, run_id: str) -> None:
        """Choose this run as the one to train further, if it can be."""
        if any(each[-1] == run_id for each in self._further or []):
            self.query_one("#origin", Select).value = run_id

    @on(Select.Changed, "#origin")
    def _on_origin(self) -> None:
        self._ask_horizon()
        self._dress()
        self._judge()

    @on(Select.Changed, "#preset")
    def _on_preset(self) -> None:
        self._defaults()
        self._judge()

    @on(Select.Changed, "#precision")
    @on(Input.Changed)
    def _on_field(self) -> None:
        self._judge()

    @on(events.DescendantFocus)
    def _guide(self, event: events.DescendantFocus) -> None:
        """Guidance for the field with the focus."""
        self.query_one("#train-help", WrappedText).set_text(Text(HELP.get(event.widget.id or "", ""), style="italic"))

    def _dress(self) -> None:
        """A run that is trained further keeps its config: only how far it goes is asked."""
        further = self.origin != NEW
        for name in (*_KEPT, "all-options"):
            self.query_one(f"#{name}").disabled = further
        self._show_choices(self._config_of_origin() if further else None)
        self._defaults()

    def _ask_horizon(self) -> None:
        """How far a run goes is asked of each anew; of a new one what was typed for it stands there again."""
        fields = {name: self.query_one(f"#{name}", NumberField) for name in _HORIZON}
        if self.origin != NEW:
            if self._horizon is None:
                self._horizon = {name: field.value for name, field in fields.items()}
            shown = dict.fromkeys(_HORIZON, "")
        else:
            shown, self._horizon = self._horizon or {name: field.value for name, field in fields.items()}, None
        with self.prevent(Input.Changed):
            for name, field in fields.items():
                field.value = shown[name]

    def _config_of_origin(self) -> Config | None:
        listed = self.state.run(self.origin)
        try:
            return load_frozen(listed.run.config, TRAIN) if listed is not None else None
        except SeedbedError:
            return None  # its job will say what is wrong with it

    def _show_choices(self, config: Config | None) -> None:
        """Show the choices of a run that is trained further in place of what was typed; without one, that again."""
        if config is not None and self._typed is None:
            self._typed = {name: self._value(name) for name in _KEPT_INPUTS}
            self._typed |= {name: str(self.query_one(f"#{name}", Select).value) for name in _KEPT_SELECTS}
        if self._typed is None:
            return
        shown = (
            dict.fromkeys(_KEPT_INPUTS, "") | {"preset": config.preset, "precision": config.train.precision}
            if config
            else self._typed
        )
        with self.prevent(Select.Changed, Input.Changed):
            for name in _KEPT_INPUTS:
                self.query_one(f"#{name}", Input).value = shown[name]
            for name in _KEPT_SELECTS:
                select = self.query_one(f"#{name}", Select)
                if shown[name] in [value for _, value in select._options]:
                    select.value = shown[name]
        if config is None:
            self._typed = None

    def _defaults(self) -> None:
        """The values that hold where a field is empty, in the fields themselves."""
        flags = {path: Flagged(value, "") for path, value in self._sets.items() if value}
        further = self._config_of_origin() if self.origin != NEW else None
        config = further or resolve(TRAIN, preset=self._preset(), flags=flags).config
        for option in OPTIONS:
            value = typed(config, option.path)
            if self.origin != NEW and option.id in ("epochs", "steps"):
                value = "to go on" if option.id == "epochs" else "or steps"
            self.query_one(f"#{option.id}", NumberField).placeholder = value
        self.query_one("#data", Input).placeholder = typed(config, "data.source")
        self.query_one("#device", Input).placeholder = typed(config, "train.device")

    def _judge(self) -> str:
        """Say what is wrong, or what would be done; returns what is wrong."""
        if not self.is_mounted or self._starting:
            return ""
        try:
            if self.origin != NEW:
                self.request()
                told = self._told_further()
            else:
                told = self._told_new()
        except SeedbedError as error:
            self._state(error.message, ERROR_STYLE)
            self.sum_up("see the field that is wrong" if self.origin == NEW else error.message)
            return error.message
        self._state(told, "dim")
        self.sum_up(told)
        return ""

    def _told_new(self) -> str:
        name = self._value("run-name")
        if name:
            checked_name(name, "name ")
        config = self.resolved().config
        errors = [finding for finding in check(config) if finding.level == "error"]
        if errors:
            raise UsageError(errors[0].text)
        return f"{config.preset}, {text.count(parameters(config))} parameters, {horizon(config)}, {config.train.device}"

    def _told_further(self) -> str:
        asked = self.request()
        listed = self.state.run(self.origin)
        name = listed.status["name"] if listed is not None else self.origin
        if asked.more_epochs is not None:
            return f"{name}: {text.plural(asked.more_epochs, 'epoch')} more"
        if asked.more_steps is not None:
            return f"{name}: {text.plural(asked.more_steps, 'step')} more"
        if listed is not None and listed.status["status"] == "completed":
            raise UsageError("It is finished: say how many epochs or steps more.")
        return f"{name}: go on to its end"

    def _state(self, words: str, style: str) -> None:
        self.query_one("#train-state", WrappedText).set_text(safe_text(words, style))

    # Starting --------------------------------------------------------------------------------------------------------

    def leave_editor(self) -> None:
        """From a field to the start button."""
        self.query_one("#start").focus()

    def action_reset(self) -> None:
        """Empty every field."""
        self._sets.clear()
        self._horizon = None if self._horizon is None else dict.fromkeys(_HORIZON, "")
        for field in self.query(Input):
            field.value = ""
        if self._typed is None:
            self.query_one("#precision", Select).value = "auto"
        else:
            self._typed |= dict.fromkeys(_KEPT_INPUTS, "") | {"precision": "auto"}
        self._defaults()
        self._judge()

    @on(Button.Pressed, "#all-options")
    def action_settings(self) -> None:
        """Every key of the config, with its help."""
        if self.origin != NEW:
            self.window.tell("A run that is trained further keeps its config.", "warning")
            return

        def keep(sets: dict[str, str] | None) -> None:
            if sets is None:
                return
            for name, path in FIELDS.items():
                if path in sets or name in carried:
                    self.query_one(f"#{name}", Input).value = sets.pop(path, "")
            self.query_one("#precision", Select).value = sets.pop("train.precision", "auto")
            self._sets = sets
            self._defaults()
            self._judge()

        carried = {name for name in FIELDS if self._value(name) and not self._wrong(name)}
        horizons = {name for name in carried if FIELDS[name] in _HORIZON_KEYS}
        if len(horizons) > 1:
            carried -= horizons
        sets = {path: value for path, value in self._sets.items() if not horizons or path not in _HORIZON_KEYS}
        sets |= {FIELDS[name]: self._value(name) for name in carried}
        precision = str(self.query_one("#precision", Select).value)
        if precision != "auto":
            sets["train.precision"] = precision
        self.app.push_screen(Settings(self._preset(), sets), keep)

    def _wrong(self, name: str) -> bool:
        field = self.query_one(f"#{name}", Input)
        return isinstance(field, NumberField) and field.problem() != ""

    @on(Button.Pressed, "#start")
    def action_start(self) -> None:
        """Ask once more, then start."""
        if self._starting:
            self.window.tell("One is being started already.", "warning")
            return
        problem = self._judge()
        try:
            if not problem and self.origin == NEW:
                actions.refuse_unusable_data(self.resolved().config, self.state.store)
        except SeedbedError as error:
            problem = str(error)
        if problem:
            self._complain(problem)
            return
        title = "Train further?" if self.origin != NEW else "Start this run?"
        self.app.push_screen(Confirm(title, self._question(), yes="Start", careful=False), self._on_answer)

    def _complain(self, problem: str) -> None:
        """See to it that what is wrong is seen: below the fields, or over the panel at which the person looks now."""
        self._state(f"✗ {problem}", ERROR_STYLE)
        if self.has_focus_within:
            self.app.bell()
            self.query_one("#train-state").scroll_visible(animate=False)
        else:
            self.window.tell(problem, "error")

    def _question(self) -> Text:
        """What will be done, line by line, with what speaks against it."""
        if self.origin != NEW:
            return safe_text(self._told_further())
        wanted = self.resolved()
        config = wanted.config
        name = self._value("run-name") or actions.default_name(config.preset, config.data.source)
        said = wanted_lines(wanted, name, self.state.store)
        at_work = [each for each in self.state.living() if each.status["status"] in WORKING | {"stalled"}]
        if self.query_one("#queue", PlainCheckbox).value:
            said.append("queued     until no other run here is on the device")
        question = safe_text("\n".join(said), newlines=True)
        if at_work and not self.query_one("#queue", PlainCheckbox).value:
            busy = f"{at_work[0].status['name']} is at work here; on one device both get slower. Tick queue to wait for it."
            question.append_text(safe_text(f"\n{busy}", "yellow", newlines=True))
        for finding in actions.examine(config, self.state.store):
            question.append_text(safe_text(f"\n{finding.text} {finding.why} {finding.hint}", "yellow", newlines=True))
        return question

    def _on_answer(self, agreed: bool | None) -> None:
        if not agreed:
            return
        turn = Turn(queue=self.query_one("#queue", PlainCheckbox).value)
        try:
            if self.origin != NEW:
                listed = self.state.run(self.origin)
                if listed is None:
                    raise SeedbedError("That run is gone.")
                launch = partial(launches.resume, listed.run, self.request(), turn)
            else:
                launch = partial(
                    launches.start, self.state.store, self.resolved(), self._value("run-name") or None, turn
                )
        except SeedbedError as error:
            self._started((None, str(error)))
            return
        self._starting = True
        self._state("starting …", "yellow")
        self.window.aside(launch, self._started)

    def _started(self, outcome: launches.Outcome) -> None:
        run, problem = outcome
        self._starting = False
        self._judge()
        if problem:
            self._complain(problem)
        if run is not None:
            self.window.show_started(run, chosen=not problem)
            if not problem:
                self.window.tell(f"{run.name()} has begun: {run.id}")


def _choice(is_active: bool, name: str, status: str, step: int, run_id: str) -> tuple[str, str]:
    """A model in the list of what can be trained further, and the id that stands for it."""
    return fitted_text(f"{'▸ ' if is_active else ''}{name} · {step} · {status}", 60).plain, run_id
