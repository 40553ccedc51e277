"""All that is known of a run in words, none of them cut: for who wants to read a long warning to its end."""

from __future__ import annotations

import time
from typing import Any

from rich.text import Text

from seedbed import text
from seedbed.presentation.wording import collectives, nodes, open_metrics, simulated
from seedbed.runs.status import word
from seedbed.tui.safe_text import safe_text, status_style

_LABEL = 12


def about(found: dict[str, Any]) -> Text:
    """A run's status, why it is so, its warnings, note, tags and places, each as long as it is."""
    now = word(found)
    said = Text.assemble((f"{'status':<{_LABEL}}", "dim"), (now, f"bold {status_style(now)}".strip()), end="")
    for words in (found["reason"], found["hint"]):
        if words:
            said.append("\n")
            said.append_text(safe_text(words, "yellow", newlines=True))
    for number, warning in enumerate(found["warnings"], 1):
        said.append(f"\n\nwarning {number} of {len(found['warnings'])}\n", style="bold")
        said.append_text(safe_text(warning, "yellow", newlines=True))
    if found["note"]:
        said.append("\n\nnote\n", style="bold")
        said.append_text(safe_text(found["note"], newlines=True))
    said.append("\n")
    for label, value in rows(found):
        said.append(f"\n{label:<{_LABEL}}", style="dim")
        said.append_text(safe_text(value, newlines=True))
    return said


def rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    """What else is known, as label and value; what is unknown is left out."""
    device = [found["device"], found["device_name"], found["precision"], "compiled" if found["compile"] else None]
    known = [
        ("name", found["name"]),
        ("id", found["id"]),
        ("tags", " ".join(found["tags"]) + (" (archived)" if found["archived"] else "")),
        ("preset", found["preset"]),
        ("data", found["data"]),
        ("parameters", f"{found['parameters']:,}" if found["parameters"] else None),
        ("device", ", ".join(filter(None, device))),
        ("host", found["host"]),
        ("started", _date(found["started"])),
        ("last sign", _date(found["updated"])),
        ("elapsed", text.duration(found["elapsed_s"]) + simulated(found["simulated"])),
        ("metrics", open_metrics(found["metrics"])),
        ("nodes", nodes(found["nodes"])),
        ("collectives", collectives(found["comm"])),
        ("tokens", f"{found['tokens']:,}" if found["tokens"] else None),
        ("checkpoint", found["checkpoint"]),
        ("best", found["best_checkpoint"]),
        ("directory", found["path"]),
    ]
    return [(label, str(value)) for label, value in known if value]


def _date(t: float | None) -> str | None:
    return time.strftime("%d %b %Y %H:%M:%S", time.localtime(t)) if t is not None else None
