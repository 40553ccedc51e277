"""The form that starts a run or trains a model further: fields, the config that they describe, and the confirmation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from seedbed import actions, text
from seedbed.config.base_model import KEY as BASE
from seedbed.config.base_model import OpenBase, open_folder
from seedbed.config.check import check
from seedbed.config.keys import alternatives, keys
from seedbed.config.layers import Flagged
from seedbed.config.preset import preset_names
from seedbed.config.resolving import Resolved, resolve
from seedbed.config.roots import TRAIN
from seedbed.config.schema import Config
from seedbed.errors import SeedbedError, UsageError
from seedbed.presentation import forms, run_actions
from seedbed.presentation.config_text import plan_lines, summary
from seedbed.presentation.forms import CHOICE, TEXT, Field, key_field
from seedbed.runs.base_names import short_name
from seedbed.runs.control import ResumeOptions
from seedbed.runs.models import CORRUPTED, Model
from seedbed.runs.statuses import WORKING
from seedbed.runs.store import Store, checked_name
from seedbed.runs.watch import ListedRun

NEW = ""
"""The value of the field `origin` for a new run; every other value is a run's id."""
ALL_OPTIONS = "from all options"
"""The origin (place where a value was set) of config values that were set in the dialog All options."""
HORIZON = ("epochs", "steps")
"""The fields that say how long to train: the only ones that can be set for a run that is trained further."""
MAX_EPOCHS = 10_000
MAX_CHOICES = 200
"""The maximum number of models in the list of models to train further: those that were trained last."""
_CONFIG_FIELDS = (
    ("data", "data", "data.source", 1.0),
    ("epochs", "epochs", "train.epochs", 1.0),
    ("steps", "steps", "train.steps", 100.0),
    ("batch", "batch", "train.batch_size", 1.0),
    ("context", "context", "model.context", 64.0),
    ("micro", "micro batch", "train.micro_batch", 1.0),
    ("lr", "peak lr", "optimizer.lr", 0.001),
    ("workers", "workers", "data.workers", 1.0),
    ("seed", "seed", "train.seed", 1.0),
    ("device", "device", "train.device", 1.0),
    ("precision", "precision", "train.precision", 1.0),
)
"""Name and label of each field, the config key that the field sets, and what an arrow key adds to its value."""
_SMALLER_MICRO_BATCH = "A smaller micro batch needs less memory: gradients are accumulated over the batch."
BUTTON_HELP = {
    "queue": "Wait until no other run of this store uses the device, then start.",
    "start": "Check the values, ask for confirmation, and train in the background: the run continues when the window closes.",
    "all-options": "Show every key of the config, with its help and the origin of its value.",
}


def train_fields() -> dict[str, Field]:
    """The fields of the form by name, in the order in which they are shown."""
    known = keys(TRAIN)
    fields = [
        Field(
            "origin",
            "start from",
            CHOICE,
            help="A new run, or a model to train further. A run that is trained further keeps its config.",
        ),
        Field(
            "run-name",
            "name",
            TEXT,
            help="Up to 64 letters, digits, spaces, _ . or -. Empty: a name from preset and data.",
            placeholder="from preset and data",
        ),
        Field(
            "preset",
            "preset",
            CHOICE,
            help="Sets every value that is not given here. nano and tiny are for CPUs, small and base for GPUs.",
            choices=tuple(preset_names(TRAIN)),
            default=TRAIN.default_preset,
        ),
    ]
    fields += [key_field(known[path], name, label, step=step) for name, label, path, step in _CONFIG_FIELDS]
    found = {field.name: field for field in fields}
    found["epochs"] = found["epochs"]._replace(low=0.001, high=MAX_EPOCHS, is_low_exclusive=False)
    found["micro"] = found["micro"]._replace(help=f"{known['train.micro_batch'].help} {_SMALLER_MICRO_BATCH}")
    for name in ("data", "device", "precision"):
        found[name] = found[name]._replace(help=known[found[name].key].help)
    found["precision"] = found["precision"]._replace(default="auto")
    return found


def _horizon_keys() -> tuple[str, ...]:
    """The config keys that say how long to train (epochs, steps or tokens); a config sets one of these."""
    return alternatives("train.steps", TRAIN)


# A new run -----------------------------------------------------------------------------------------------------------


class NewRun(NamedTuple):
    """What was typed for a new run: `values` by field name, `options` by config key for keys without a field."""

    fields: Mapping[str, Field]
    values: Mapping[str, str]
    options: Mapping[str, str]
    open_base: OpenBase = open_folder

    @property
    def preset(self) -> str:
        """The name of the chosen preset."""
        return self.values.get("preset") or TRAIN.default_preset

    @property
    def name(self) -> str:
        """The name that was typed for the run, or ""."""
        return self.values.get("run-name", "")

    def resolved(self) -> Resolved[Config]:
        """The config of the run, with the origin of each value. Raises UsageError, which names the wrong field."""
        if problem := forms.first_problem(self.fields.values(), self.values):
            raise UsageError(f"{problem}.")
        has_horizon = any(self.values.get(name) for name in HORIZON)
        flags = {
            path: Flagged(value, ALL_OPTIONS)
            for path, value in self.options.items()
            if value and not (has_horizon and path in _horizon_keys())
        }
        for field in self.fields.values():
            value = self.values.get(field.name, "")
            if field.key and value and value != field.default:
                flags[field.key] = Flagged(value, f"the field {field.label}")
        return self._resolved(flags)

    def _resolved(self, flags: Mapping[str, Flagged]) -> Resolved[Config]:
        """The config with these values by key. A base (base.model) replaces the preset."""
        preset = None if BASE in flags else self.preset
        return resolve(TRAIN, preset=preset, flags=flags, open_base=self.open_base)

    def defaults(self) -> Resolved[Config]:
        """The config that results if every field is left empty; its values are the placeholders of the fields."""
        flags = {path: Flagged(each, "") for path, each in self.options.items() if each}
        if BASE not in flags:
            return self._resolved(flags)
        data = self.values.get("data", "")
        flags |= {"data.source": Flagged(data, "")} if data else {}
        try:
            return self._resolved(flags)
        except SeedbedError:  # reported below the fields
            return resolve(TRAIN, preset=self.preset)

    def summary(self) -> str:
        """The config of the run in one line. Raises UsageError if training with it cannot work."""
        if self.name:
            checked_name(self.name, "name ")
        config = self.resolved().config
        errors = [finding for finding in check(config) if finding.level == "error"]
        if errors:
            raise UsageError(errors[0].text)
        return summary(config)

    def all_options(self) -> dict[str, str]:
        """The values to show in the dialog All options, by config key: those typed in fields, and the options.

        Wrong values are omitted; they stay in their fields.
        """
        carried = {name: self.values[name] for name in self._carried()}
        has_horizon = any(name in HORIZON for name in carried)
        options = {
            path: value for path, value in self.options.items() if not has_horizon or path not in _horizon_keys()
        }
        return options | {self.fields[name].key: value for name, value in carried.items()}

    def with_all_options(self, changed: Mapping[str, str]) -> NewRun:
        """A copy of this run with the values `changed` in the dialog All options.

        The value of a key that has a field is put into that field.
        """
        options, values, carried = dict(changed), dict(self.values), self._carried()
        for field in self.fields.values():
            if field.key and (field.key in options or field.name in carried):
                values[field.name] = options.pop(field.key, field.default)
        return self._replace(values=values, options=options)

    def _carried(self) -> list[str]:
        """The fields whose values the dialog All options can show: those with a valid value.

        If both epochs and steps are given, which exclude each other, both are omitted.
        """
        given = [
            field.name
            for field in self.fields.values()
            if field.key
            and (value := self.values.get(field.name, ""))
            and value != field.default
            and not field.problem(value)
        ]
        horizon = [name for name in given if name in HORIZON]
        return [name for name in given if name not in horizon] if len(horizon) > 1 else given


class Question(NamedTuple):
    """What a front end asks before it starts a run: a title, the plan of the run line by line, then warnings."""

    title: str
    lines: list[str]
    warnings: list[str]


def start_question(new: NewRun, store: Store, live: Iterable[ListedRun], *, queue: bool) -> Question:
    """The question to ask before a new run starts. `live` has the runs that a process works on or that wait.

    Raises SeedbedError for a config that is wrong.
    """
    resolved = new.resolved()
    config = resolved.config
    name = new.name or actions.default_name(
        short_name(config.base.model) if config.base.model else config.preset, config.data.source
    )
    lines, warnings = plan_lines(resolved, name, store, ALL_OPTIONS), []
    working = [each for each in live if each.status["status"] in WORKING | {"stalled"}]
    if queue:
        lines.append("queue      wait until no other run of this store uses the device")
    elif working:
        warnings.append(
            f"{working[0].status['name']} is running: on the same device, both runs are slower. Tick queue to wait for it."
        )
    warnings += [
        " ".join(filter(None, (finding.text, finding.why, finding.hint))) for finding in actions.examine(config, store)
    ]
    return Question("Start this run?", lines, warnings)


# A run that is trained further ---------------------------------------------------------------------------------------


class Continuable(NamedTuple):
    """A model that can be trained further, and its label in a list."""

    run_id: str
    label: str


def continuable(models: Sequence[Model], runs: Mapping[str, ListedRun], active: Model | None) -> list[Continuable]:
    """The models that can be trained further, the one trained last first; the label of the active model is marked.

    `runs` has all runs by id.
    """
    found = []
    for model in models[:MAX_CHOICES]:
        listed = runs.get(model.run.id)
        if listed is None or model.status == CORRUPTED or run_actions.possible(listed.status)[run_actions.EXTEND]:
            continue
        mark = "▸ " if active is not None and active.run.id == model.run.id else ""
        label = f"{mark}{model.name} · {model.step} · {listed.status['status']}"
        found.append(Continuable(model.run.id, label))
    return found


def extension(fields: Mapping[str, Field], values: Mapping[str, str]) -> ResumeOptions:
    """How much further to train a run, from the fields epochs and steps. Raises UsageError for a wrong value."""
    if problem := forms.first_problem((fields[name] for name in HORIZON), values):
        raise UsageError(f"{problem}.")
    epochs, steps = (fields[name].number(values.get(name, "")) for name in HORIZON)
    if epochs is not None and steps is not None:
        raise UsageError("Both epochs and steps are given: clear one of the two.")
    return ResumeOptions(int(steps) if steps is not None else None, epochs)


def extension_summary(listed: ListedRun, request: ResumeOptions) -> str:
    """How much further a run would be trained, such as `quickstart: 2 more epochs`.

    Raises UsageError if that is not possible.
    """
    name, step, steps = (listed.status[key] for key in ("name", "step", "steps"))
    rest = steps - step if steps is not None and listed.status["status"] != "completed" else 0
    instead = f" instead of the planned {text.plural(rest, 'step')} that are left" if rest > 0 else ""
    if request.more_epochs is not None:
        return f"{name}: {text.plural(request.more_epochs, 'more epoch')}{instead}"
    if request.more_steps is not None:
        return f"{name}: {text.plural(request.more_steps, 'more step')}{instead}"
    if problem := run_actions.possible(listed.status)[run_actions.RESUME]:
        raise UsageError(problem)
    return f"{name}: continue to the planned end"
