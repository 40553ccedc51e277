"""Panel 5: the models that there are: which one generates, what it is, and what can be done with it."""

from __future__ import annotations

import time
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.widgets import DataTable, Static

from seedbed import text
from seedbed.runs.models import CORRUPTED, TRAINING, Model
from seedbed.tui.literal import fit, lit
from seedbed.tui.panel import Panel
from seedbed.tui.table import RunTable

_STYLES = {CORRUPTED: "red", TRAINING: "green"}
_WIDTHS = (("STATUS", 9, False), ("STEP", 8, True), ("EPOCHS", 6, True), ("VAL", 7, True), ("SIZE", 9, True))
_TRAINED = ("TRAINED", 12, False)


class ModelsPanel(Panel):
    """Every run that has a checkpoint, the one trained last first; the active one marked."""

    NUMBER = 5
    NAME = "Models"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "activate", "Use", tooltip="Generate from this model, and train it further"),
        Binding("i", "inspect", "Inspect", tooltip="Its run in full"),
        Binding(
            "c", "copy", "Copy path", tooltip="The checkpoint's folder, a Hugging Face directory, to the clipboard"
        ),
        Binding("e", "rename", "Rename"),
        Binding("A", "archive", "Archive", key_display="A"),
        Binding("D", "delete", "Delete", key_display="D"),
        Binding("v", "archived", "Archived", show=False, tooltip="Show archived models too, or hide them"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._name_width = 0
        self._has_date = False

    def compose(self) -> ComposeResult:
        """The table, and where the model under the cursor lies."""
        yield RunTable(id="models-table")
        yield Static("", id="model-about")

    @property
    def table(self) -> RunTable:
        """The models."""
        return self.query_one(RunTable)

    def home(self) -> Widget:
        """The table."""
        return self.table

    def on_resize(self) -> None:
        """The name gets what is left; the date goes first."""
        room = self.size.width - 4
        taken = sum(width + 1 for _, width, _ in _WIDTHS)
        has_date = room - taken - _TRAINED[1] - 1 >= 12
        name_width = min(max(room - taken - (_TRAINED[1] + 1) * has_date - 1, 8), 40)
        if (name_width, has_date) != (self._name_width, self._has_date):
            self._name_width, self._has_date = name_width, has_date
            columns = [("", 2, False), ("NAME", name_width, False), *_WIDTHS, *([_TRAINED] if has_date else [])]
            self.table.set_columns(columns)
            self.update(set())

    def update(self, changed: set[str]) -> None:
        """Show what became of these runs' models."""
        if not self._name_width:
            return
        models = {model.run.id: model for model in self.board.models()}
        active = self.board.model()
        self.table.show(list(models), lambda run_id: self._row(models[run_id], active), changed, self.board.active)
        if not models:
            self.sum_up("no model yet")
        else:
            self.sum_up(f"{len(models)} · active: {active.name}" if active is not None else f"{len(models)}")
        self._about()

    def _row(self, model: Model, active: Model | None) -> list[Text]:
        is_active = active is not None and model.run.id == active.run.id
        style = "dim" if model.archived else ""
        cells = [Text("▸" if is_active else " ", style="bold yellow")]
        cells.append(fit(model.name, self._name_width, f"bold {style}".strip()))
        said = (
            model.status,
            text.count(model.step) if model.step >= 100_000 else str(model.step),
            f"{model.epochs:.1f}" if model.epochs is not None else "-",
            text.loss(model.val_loss)[:7],
            text.size(model.size_bytes),
        )
        for (_, width, right), value in zip(_WIDTHS, said, strict=True):
            cell = fit(value, width, f"{_STYLES.get(value, '')} {style}".strip())
            if right:
                cell.pad_left(width - cell.cell_len)
            cells.append(cell)
        if self._has_date:
            cells.append(fit(time.strftime("%d %b %H:%M", time.localtime(model.trained)), _TRAINED[1], style))
        return cells

    def _about(self) -> None:
        """Where the model under the cursor lies, and what is wrong with it."""
        model = self._model()
        said = Text("No model yet: train one (3).", style="dim")
        if model is not None:
            said = lit(model.checkpoint, "dim")
            if model.reason:
                said = lit(f"corrupted: {model.reason}", "red")
        self.query_one("#model-about", Static).update(said)

    def _model(self) -> Model | None:
        listed = self.board.run(self.table.current)
        return listed.model if listed is not None else None

    @on(DataTable.RowHighlighted)
    def _on_highlight(self) -> None:
        self._about()

    @on(DataTable.RowSelected)
    def _on_select(self) -> None:
        self.action_inspect()

    def action_activate(self) -> None:
        """Make it the one that generates and is trained further."""
        self.window.activate(self.table.current)

    def action_inspect(self) -> None:
        """Its run in full."""
        self.window.open_details(self.table.current)

    def action_copy(self) -> None:
        """The checkpoint's folder to the clipboard."""
        model = self._model()
        if model is not None:
            self.window.copy_to_clipboard(str(model.checkpoint))
            self.window.tell(f"Copied: {model.checkpoint}")

    def action_rename(self) -> None:
        """Give it another name."""
        self.window.rename(self.table.current)

    def action_archive(self) -> None:
        """Put it out of sight, or back."""
        self.window.archive(self.table.current)

    def action_delete(self) -> None:
        """Delete the run with its checkpoints."""
        self.window.delete(self.table.current)

    def action_archived(self) -> None:
        """Show archived ones too, or hide them."""
        self.board.show_archived = not self.board.show_archived
        self.window.show_all()
