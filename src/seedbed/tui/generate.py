"""Panel 4: a prompt, the options of generation, and the text of the active model as it is generated."""

from __future__ import annotations

import time
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widget import Widget
from textual.widgets import Button, Input, Label, Static
from textual.worker import get_current_worker

from seedbed import actions
from seedbed.errors import SeedbedError
from seedbed.presentation.forms import first_problem
from seedbed.presentation.generation import FIELDS, generation_request, result_text
from seedbed.presentation.wording import unknown_to_tokenizer
from seedbed.tui.fields import NumberField, Prompt
from seedbed.tui.panel import Panel
from seedbed.tui.safe_text import ERROR_STYLE, safe_string, safe_text
from seedbed.tui.wrapped_text import FollowingScroll, WrappedText

if TYPE_CHECKING:
    from seedbed.runs.child import Child
    from seedbed.runs.models import Model
    from seedbed.runs.store import RunDir

_PAINT_S = 0.05
_MAX_SHOWN = 50_000
"""The maximum number of characters of output. Each addition wraps all of them again, which delays keys."""
_PAINTED_PER_S = 200_000
"""Characters that can be drawn per second. Longer output is drawn less often."""
_ROWS = (("max-tokens", "temperature", "top-k", "top-p", "seed"), ("min-p", "repetition", "samples", "stop"))
"""The names of the options in the two rows that show them."""


class GeneratePanel(Panel):
    """The panel Generate, which shows the text that a child process generates with the active model."""

    NUMBER = 4
    NAME = "Generate"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Cancel", tooltip="Cancel the generation"),
        Binding("ctrl+l", "clear", "Clear", tooltip="Clear the output"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._child: Child | None = None
        self._busy = False
        self._cancelled = False
        self._output = Text()
        self._default: tuple[str, str] | None = None
        """The id of the active run, and the prompt that its model gets if none is typed."""

    def compose(self) -> ComposeResult:
        """Yield the prompt, the options and the generated text."""
        yield Prompt(id="prompt")
        for row in _ROWS:
            with Horizontal(classes="generate-options"):
                for field in (FIELDS[name] for name in row):
                    yield Label(field.label)
                    if field.is_number:
                        yield NumberField(field)
                    else:
                        yield Input(id=field.name, compact=True, placeholder=field.placeholder)
                if row is _ROWS[-1]:
                    yield Button("Generate", id="generate", variant="success", compact=True)
        yield WrappedText(id="generate-state")
        with FollowingScroll(id="output-scroll"):
            yield Static("", id="output")

    def on_mount(self) -> None:
        """Begin with an empty line of state, which later says what is wrong or how the generation ended."""
        super().on_mount()
        self._show_state("")

    def home(self) -> Widget:
        """The text field of the prompt, which gets the focus first."""
        return self.query_one(Prompt)

    @property
    def busy(self) -> bool:
        """Whether text is being generated."""
        return self._busy

    def update(self, changed: set[str]) -> None:
        """Show in the title which model generates, and in the empty text field its default prompt."""
        model = self.state.model()
        parts = [
            f"from {model.name}, step {model.step}" if model is not None else "no model yet",
            *(f"{FIELDS[name].label} {self._value(name)}" for name in ("temperature", "top-k")),
            *(["generating …"] if self._busy else []),
        ]
        self.set_summary(" · ".join(parts))
        if model is not None and (self._default is None or self._default[0] != model.run.id):
            self._default = (model.run.id, "")
            self.query_one(Prompt).show_default("")
            self.window.in_thread(partial(_default_prompt, model.run), self._show_default)

    def _show_default(self, found: tuple[str, str]) -> None:
        """Show a model's default prompt, `found` (run id, prompt), unless another model has become the active one."""
        if self._default is not None and self._default[0] == found[0]:
            self._default = found
            self.query_one(Prompt).show_default(found[1])

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Whether an action of this panel is available.

        Escape cancels only while text is generated; otherwise it moves the focus out of the text field.
        """
        return self._busy if action == "cancel" else super().check_action(action, parameters)

    def leave_editor(self) -> None:
        """Move the focus from a text field to the generated text."""
        self.query_one("#output-scroll").focus()

    def action_cancel(self) -> None:
        """Cancel the generation immediately, by killing the child process."""
        self._cancelled = True
        if self._child is not None:
            self._child.kill()
        self._show_state("cancelled")

    def action_clear(self) -> None:
        """Clear the generated text, unless text is being generated."""
        if not self._busy:
            self._output = Text()
            self.query_one("#output", Static).update("")
            self._show_state("")

    @on(Prompt.Sent)
    @on(Button.Pressed, "#generate")
    @on(Input.Submitted)
    def _on_send(self) -> None:
        self.start()

    @on(Input.Changed)
    def _on_option(self) -> None:
        problem = self._problem()
        self._show_state(problem, ERROR_STYLE if problem else "dim")
        self.update(set())

    def _value(self, name: str) -> str:
        return self.query_one(f"#{name}", Input).value

    def _values(self) -> dict[str, str]:
        return {name: self._value(name) for name in FIELDS}

    def _problem(self) -> str:
        """What is wrong with the first option that has a wrong value; "" if all are right."""
        return first_problem(FIELDS.values(), self._values())

    def start(self) -> None:
        """Generate text with the active model, or show why that is impossible."""
        model = self.state.model()
        problem = self._problem()
        if self._busy:
            self._show_state("A text is still being generated: esc cancels.", "yellow")
        elif problem:
            self._show_state(problem, ERROR_STYLE)
        elif model is None:
            self._show_state("There is no model yet: press 3 to train one.", ERROR_STYLE)
        else:
            self._begin(model)

    def _begin(self, model: Model) -> None:
        prompt = self.query_one(Prompt).text or actions.default_prompt(model.run)
        request = generation_request(prompt, self._values())
        self._busy, self._cancelled = True, False
        if self._output:
            self._output.append("\n\n")
        self._output.append_text(safe_text(prompt, "bold", newlines=True))
        self._show_state(f"loading {safe_string(model.name)} …", "yellow")
        self._paint()
        self.update(set())
        self.refresh_bindings()
        self._generate(model, request)

    @work(thread=True, group="generate")
    def _generate(self, model: Model, request: dict[str, Any]) -> None:
        """Read the answers of the child process, and show the text at most 20 times a second. Runs in a thread."""
        chunk, painted, end, sample = "", 0.0, "The generation ended without a result.", 0
        style, ended, unknown = ERROR_STYLE, [], ""
        worker = get_current_worker()
        call = self.app.call_from_thread
        try:
            with closing(actions.ask_checkpoint("generate", model.run, None, request, self._set_child)) as answers:
                for answer in answers:
                    if worker.is_cancelled or self._cancelled:
                        break
                    if "ready" in answer:
                        unknown = unknown_to_tokenizer(answer.get("unknown") or [])
                        call(self._show_state, f"generating …  esc cancels  {unknown}".rstrip(), "yellow")
                    elif "text" in answer:
                        if answer["sample"] != sample:
                            sample = answer["sample"]
                            call(self._append, chunk)
                            chunk = ""
                            call(self._begin_sample, sample, request["prompt"])
                        chunk += answer["text"]
                        if time.monotonic() - painted >= _PAINT_S + len(self._output) / _PAINTED_PER_S:
                            call(self._append, chunk)
                            chunk, painted = "", time.monotonic()
                    elif answer.get("done"):
                        ended.append(answer)
                        end = f"{result_text(ended)}. {unknown}" if unknown else result_text(ended)
                        style = "yellow" if unknown else "dim"
        except SeedbedError as error:
            end = f"{error.message} {error.hint}".strip()
        except (OSError, ValueError) as error:  # the process could not be started, or its last answer is incomplete
            end = f"Generation failed: {error}"
        if self._cancelled:
            end, style = "cancelled", "yellow"
        if not worker.is_cancelled:
            call(self._done, chunk, end, style)

    def _set_child(self, child: Child) -> None:
        self._child = child
        if self._cancelled:
            child.kill()

    def _append(self, chunk: str) -> None:
        if not self._cancelled:
            self._output.append_text(safe_text(chunk, newlines=True))
            self._paint()

    def _begin_sample(self, sample: int, prompt: str) -> None:
        if not self._cancelled:
            self._output.append(f"\n\nsample {sample + 1}\n", style="dim")
            self._output.append_text(safe_text(prompt, "bold", newlines=True))

    def _done(self, chunk: str, end: str, style: str) -> None:
        self._append(chunk)
        self._busy, self._child = False, None
        self.refresh_bindings()
        self._show_state(end, style)
        self.update(set())

    def _paint(self) -> None:
        if len(self._output) > 1.1 * _MAX_SHOWN:
            self._output = self._output[-_MAX_SHOWN:]
        self.query_one("#output", Static).update(self._output)

    def _show_state(self, message: str, style: str = "dim") -> None:
        self.query_one("#generate-state", WrappedText).set_text(safe_text(message, style))

    def on_unmount(self) -> None:
        """Kill the child process, because the window closes."""
        self._cancelled = True
        if self._child is not None:
            self._child.kill()


def _default_prompt(run: RunDir) -> tuple[str, str]:
    """The id of a run, and the prompt that its model gets if none is typed."""
    return run.id, actions.default_prompt(run)
