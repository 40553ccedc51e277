"""Panel 5: a table of the models, the properties of each, which one is active, and actions on models."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import DataTable

from seedbed import text
from seedbed.presentation.model_facts import epochs_text, problem_text, step_text, trained_text, training_line
from seedbed.runs.models import CORRUPTED, TRAINING, Model
from seedbed.tui.safe_text import ERROR_STYLE, safe_text
from seedbed.tui.table import Column, RunTable, cell
from seedbed.tui.table_panel import TablePanel
from seedbed.tui.wrapped_text import WrappedText

_STYLES = {CORRUPTED: ERROR_STYLE, TRAINING: "green"}
COLUMNS: dict[Column, Callable[[Model], str]] = {
    Column("NAME", 0): lambda model: model.name,
    Column("STATUS", 9): lambda model: model.status,
    Column("VAL", 6, right=True): lambda model: text.loss(model.val_loss)[:6],
    Column("STEP", 7, right=True): step_text,
    Column("SIZE", 9, right=True): lambda model: text.size(model.size_bytes),
    Column("EPOCHS", 6, right=True): epochs_text,
    Column("TRAINED", 12): trained_text,
    Column("LOSS", 6, right=True): lambda model: text.loss(model.loss)[:6],
}
"""Column -> the text of a cell. In a narrow panel the last columns are omitted."""


class ModelsPanel(TablePanel):
    """The panel Models: every run that has a checkpoint, the one trained last first. The active model is marked."""

    NUMBER = 5
    NAME = "Models"
    COLUMNS = tuple(COLUMNS)
    LEAST = 3
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "activate", "Use", tooltip="Use this model to generate text, and to train it further"),
        Binding("i", "inspect", "Inspect", tooltip="Show the details of the model's run"),
        Binding(
            "c", "copy", "Copy path", tooltip="Copy the path of the checkpoint, a Hugging Face folder, to the clipboard"
        ),
        Binding("e", "rename", "Rename"),
        Binding("t", "tags", "Tags", show=False, tooltip="Change the run's tags"),
        Binding("n", "note", "Note", show=False, tooltip="Write a note about the run"),
        Binding("A", "archive", "Archive", key_display="A"),
        Binding("D", "delete", "Delete", key_display="D"),
        Binding("v", "archived", "Archived", show=False, tooltip="Show or hide archived models"),
    ]

    def compose(self) -> ComposeResult:
        """Yield the table, and details of the model under the cursor."""
        yield RunTable(id="models-table")
        yield WrappedText(id="model-about")

    def update(self, changed: set[str]) -> None:
        """Show the models of the runs with the ids `changed`."""
        if not self.columns:
            return
        if changed:
            self.fit_columns()
        models = {model.run.id: model for model in self.state.models()}
        active = self.state.model()
        self.table.show_rows(list(models), lambda run_id: self._row(models[run_id], active), changed, self.state.active)
        if not models:
            self.set_summary("no model yet")
        else:
            self.set_summary(f"{len(models)} · active: {active.name}" if active is not None else f"{len(models)}")
        self._about()

    def _row(self, model: Model, active: Model | None) -> list[Text]:
        is_active = active is not None and model.run.id == active.run.id
        shade = "dim italic " if model.archived else ""
        cells = [Text("▸" if is_active else " ", style="bold yellow")]
        for column, write in zip(self.columns, COLUMNS.values(), strict=False):
            value = write(model)
            style = "bold" if column.heading == "NAME" else _STYLES.get(value, "")
            cells.append(cell(value, column, f"{shade}{style}".strip()))
        return cells

    def _about(self) -> None:
        """Show the checkpoint path of the model under the cursor, or what is wrong with the model."""
        model = self._model()
        shown = Text("No model yet: press 3 to train one.", style="dim")
        if model is not None:
            problem = problem_text(model)
            shown = safe_text(training_line(model), "dim")
            shown.append("\n")
            shown.append_text(safe_text(problem, ERROR_STYLE) if problem else safe_text(model.checkpoint, "dim"))
        self.query_one("#model-about", WrappedText).set_text(shown)

    def _model(self) -> Model | None:
        listed = self.state.run(self.table.current)
        return listed.model if listed is not None else None

    @on(DataTable.RowHighlighted)
    def _on_highlight(self) -> None:
        self._about()

    @on(DataTable.RowSelected)
    def _on_select(self) -> None:
        self.action_inspect()

    def action_activate(self) -> None:
        """Make the model under the cursor the active one."""
        self.window.activate(self.table.current)

    def action_inspect(self) -> None:
        """Open the details of the run of the model under the cursor."""
        self.window.open_details(self.table.current)

    def action_copy(self) -> None:
        """Copy the path of the checkpoint under the cursor to the clipboard."""
        model = self._model()
        if model is not None:
            self.window.copy_to_clipboard(str(model.checkpoint))
            self.window.show_message(f"Copied: {model.checkpoint}")
