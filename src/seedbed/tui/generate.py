"""Panel 4: a prompt, how to go on from it, and what the active model writes, as it writes it."""

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
from seedbed.presentation.wording import unknown_to_tokenizer
from seedbed.text import plural
from seedbed.tokenizer.newlines import unescaped
from seedbed.tui.fields import NumberField, Prompt
from seedbed.tui.panel import Panel
from seedbed.tui.safe_text import ERROR_STYLE, safe_string, safe_text
from seedbed.tui.wrapped_text import FollowingScroll, WrappedText

if TYPE_CHECKING:
    from seedbed.runs.child import Child
    from seedbed.runs.models import Model
    from seedbed.runs.store import RunDir

_PAINT_S = 0.05
_MOST_SHOWN = 50_000
"""Characters of output that are kept: all of them are wrapped anew for each piece, and keys wait meanwhile."""
_PAINTED_PER_S = 200_000
"""Characters to paint in a second; the more there are, the rarer."""

LABELS = {"max-tokens": "tokens", "temperature": "temp", "repetition": "repeat"}
"""Of the fields that bear other words than their names."""


class GeneratePanel(Panel):
    """Generation in a process of its own; this window only shows what it says."""

    NUMBER = 4
    NAME = "Generate"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Cancel", tooltip="End the generation"),
        Binding("ctrl+l", "clear", "Clear", tooltip="Clear the output"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._child: Child | None = None
        self._busy = False
        self._cancelled = False
        self._written = Text()
        self._default: tuple[str, str] | None = None
        """A model's run by id, and the prompt that is taken where none is typed for it."""

    def compose(self) -> ComposeResult:
        """Prompt, options, output."""
        yield Prompt(id="prompt")
        with Horizontal(classes="generate-options"):
            yield Label(LABELS["max-tokens"])
            yield NumberField(id="max-tokens", low=1, high=100_000, step=10, value="100")
            yield Label(LABELS["temperature"])
            yield NumberField(id="temperature", low=0, high=100, whole=False, step=0.1, value="0.8")
            yield Label("top-k")
            yield NumberField(id="top-k", low=0, high=1_000_000, step=10, value="0")
            yield Label("top-p")
            yield NumberField(id="top-p", low=0, high=1, whole=False, step=0.05, value="1")
            yield Label("seed")
            yield NumberField(id="seed", low=0, high=2**62, placeholder="any")
        with Horizontal(classes="generate-options"):
            yield Label("min-p")
            yield NumberField(id="min-p", low=0, high=1, whole=False, step=0.05, value="0")
            yield Label(LABELS["repetition"])
            yield NumberField(id="repetition", low=0.01, high=100, whole=False, step=0.1, value="1")
            yield Label("samples")
            yield NumberField(id="samples", low=1, high=100, value="1")
            yield Label("stop")
            yield Input(id="stop", compact=True, placeholder="text|text")
            yield Button("Generate", id="generate", variant="success", compact=True)
        yield WrappedText(id="generate-state")
        with FollowingScroll(id="output-scroll"):
            yield Static("", id="output")

    def on_mount(self) -> None:
        """Ready for the first prompt."""
        super().on_mount()
        self._state("")

    def home(self) -> Widget:
        """The prompt."""
        return self.query_one(Prompt)

    @property
    def busy(self) -> bool:
        """Whether a model is writing."""
        return self._busy

    def update(self, changed: set[str]) -> None:
        """Name the model that would write."""
        model = self.state.model()
        told = f"from {model.name}, step {model.step}" if model is not None else "no model yet"
        numbers = {field.id: field.value for field in self.query(NumberField)}
        told += f" · temp {numbers.get('temperature', '')} · top-k {numbers.get('top-k', '')}"
        self.sum_up(told + (" · writing …" if self._busy else ""))
        if model is not None and (self._default is None or self._default[0] != model.run.id):
            self._default = (model.run.id, "")
            self.query_one(Prompt).offer("")
            self.window.aside(partial(_default_prompt, model.run), self._offer)

    def _offer(self, found: tuple[str, str]) -> None:
        """Show which prompt is taken where none is typed, unless another model has become the active one."""
        if self._default is not None and self._default[0] == found[0]:
            self._default = found
            self.query_one(Prompt).offer(found[1])

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Escape cancels only what goes on; else it leaves the field, as everywhere."""
        return self._busy if action == "cancel" else super().check_action(action, parameters)

    def leave_editor(self) -> None:
        """From a field to what was written."""
        self.query_one("#output-scroll").focus()

    def action_cancel(self) -> None:
        """End the generation at once."""
        self._cancelled = True
        if self._child is not None:
            self._child.kill()
        self._state("cancelled")

    def action_clear(self) -> None:
        """Clear the output."""
        if not self._busy:
            self._written = Text()
            self.query_one("#output", Static).update("")
            self._state("")

    @on(Prompt.Sent)
    @on(Button.Pressed, "#generate")
    @on(Input.Submitted)
    def _on_send(self) -> None:
        self.start()

    @on(Input.Changed)
    def _on_option(self) -> None:
        problem = self._problem()
        self._state(problem, ERROR_STYLE if problem else "dim")
        self.update(set())

    def _problem(self) -> str:
        """What is wrong with the first number that is wrong, by the label of its field; "" where none is."""
        wrong = ((LABELS.get(field.id or "", field.id), field.problem()) for field in self.query(NumberField))
        return next((f"{label}: {problem}" for label, problem in wrong if problem), "")

    def _stop(self) -> list[str]:
        """The texts at which the model stops: a bar stands between two, and in each \\n, \\t, \\r and \\\\ are escapes."""
        return [unescaped(each) for each in self.query_one("#stop", Input).value.split("|") if each]

    def start(self) -> None:
        """Let the active model write."""
        model = self.state.model()
        problem = self._problem()
        if self._busy:
            self._state("It is still writing: esc cancels.", "yellow")
        elif problem:
            self._state(problem, ERROR_STYLE)
        elif model is None:
            self._state("There is no checkpoint to generate from yet: train a model first (3).", ERROR_STYLE)
        else:
            self._begin(model)

    def _begin(self, model: Model) -> None:
        prompt = self.query_one(Prompt).text or actions.default_prompt(model.run)
        request: dict[str, Any] = {"prompt": prompt}
        for name, key in (
            ("max-tokens", "max_new_tokens"),
            ("temperature", "temperature"),
            ("top-k", "top_k"),
            ("top-p", "top_p"),
            ("min-p", "min_p"),
            ("repetition", "repetition_penalty"),
            ("samples", "num_samples"),
            ("seed", "seed"),
        ):
            value = self.query_one(f"#{name}", NumberField).number()
            if value is not None:
                request[key] = value
        if stop := self._stop():
            request["stop"] = stop
        self._busy, self._cancelled = True, False
        if self._written:
            self._written.append("\n\n")
        self._written.append_text(safe_text(prompt, "bold", newlines=True))
        self._state(f"loading {safe_string(model.name)} …", "yellow")
        self._paint()
        self.update(set())
        self.refresh_bindings()
        self._write(model, request)

    @work(thread=True, group="generate")
    def _write(self, model: Model, request: dict[str, Any]) -> None:
        """In a thread: what the child says, passed on a few times a second."""
        chunk, painted, end, sample = "", 0.0, "The model ended without a word.", 0
        style, ended, unknown = ERROR_STYLE, [], ""
        worker = get_current_worker()
        call = self.app.call_from_thread
        try:
            with closing(actions.ask_checkpoint("generate", model.run, None, request, self._born)) as answers:
                for answer in answers:
                    if worker.is_cancelled or self._cancelled:
                        break
                    if "ready" in answer:
                        unknown = unknown_to_tokenizer(answer.get("unknown") or [])
                        call(self._state, f"writing …  esc cancels  {unknown}".rstrip(), "yellow")
                    elif "text" in answer:
                        if answer["sample"] != sample:
                            sample = answer["sample"]
                            call(self._append, chunk)
                            chunk = ""
                            call(self._begin_sample, sample, request["prompt"])
                        chunk += answer["text"]
                        if time.monotonic() - painted >= _PAINT_S + len(self._written) / _PAINTED_PER_S:
                            call(self._append, chunk)
                            chunk, painted = "", time.monotonic()
                    elif answer.get("done"):
                        ended.append(answer)
                        end = f"{_figures(ended)}. {unknown}" if unknown else _figures(ended)
                        style = "yellow" if unknown else "dim"
        except SeedbedError as error:
            end = f"{error.message} {error.hint}".strip()
        except (OSError, ValueError) as error:  # no process could be started, or its last word was cut
            end = f"Generation failed: {error}"
        if self._cancelled:
            end, style = "cancelled", "yellow"
        if not worker.is_cancelled:
            call(self._done, chunk, end, style)

    def _born(self, child: Child) -> None:
        self._child = child
        if self._cancelled:
            child.kill()

    def _append(self, chunk: str) -> None:
        if not self._cancelled:
            self._written.append_text(safe_text(chunk, newlines=True))
            self._paint()

    def _begin_sample(self, sample: int, prompt: str) -> None:
        if not self._cancelled:
            self._written.append(f"\n\nsample {sample + 1}\n", style="dim")
            self._written.append_text(safe_text(prompt, "bold", newlines=True))

    def _done(self, chunk: str, end: str, style: str) -> None:
        self._append(chunk)
        self._busy, self._child = False, None
        self.refresh_bindings()
        self._state(end, style)
        self.update(set())

    def _paint(self) -> None:
        if len(self._written) > 1.1 * _MOST_SHOWN:
            self._written = self._written[-_MOST_SHOWN:]
        self.query_one("#output", Static).update(self._written)

    def _state(self, words: str, style: str = "dim") -> None:
        self.query_one("#generate-state", WrappedText).set_text(safe_text(words, style))

    def on_unmount(self) -> None:
        """The child ends with the window."""
        self._cancelled = True
        if self._child is not None:
            self._child.kill()


def _default_prompt(run: RunDir) -> tuple[str, str]:
    """The run's id, and the prompt that is taken where none is typed."""
    return run.id, actions.default_prompt(run)


def _figures(ended: list[dict[str, Any]]) -> str:
    """What the samples that have ended came to."""
    tokens, seconds = sum(end["tokens"] for end in ended), sum(end["elapsed_s"] for end in ended)
    said = plural(tokens, "token") + (f", {tokens / seconds:.0f} tokens/s" if seconds else "")
    if len(ended) > 1:
        return f"{len(ended)} samples, {said}, seeds {ended[0]['seed']} to {ended[-1]['seed']}"
    why = "ended by itself" if ended[0].get("finish") == "stop" else "length reached"
    return f"{said}, {why}, seed {ended[0].get('seed')}"
