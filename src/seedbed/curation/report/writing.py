"""Writes the report card of a dataset: its figures and its page."""

from __future__ import annotations

from pathlib import Path

import msgspec

from seedbed import files
from seedbed.curation import folder as layout
from seedbed.curation.folder import Description
from seedbed.curation.report.page import page
from seedbed.curation.report.summary import Summary, summary_of
from seedbed.curation.report.tally import Contents


def write_report(folder: Path, description: Description, contents: Contents) -> Summary:
    """Write report.json and report.html of a dataset, whose rows were counted as they were written, into its folder."""
    summary = summary_of(description, contents)
    store_report(folder, summary)
    return summary


def store_report(folder: Path, summary: Summary) -> None:
    """Write report.json and report.html of these figures. Raises SeedbedError if the folder cannot be written."""
    for name, write, content in (
        (layout.REPORT_JSON, files.write_json, msgspec.to_builtins(summary)),
        (layout.REPORT_HTML, files.write_atomic, page(summary)),
    ):
        path = folder / name
        mode = path.stat().st_mode & 0o777 if path.is_file() else layout.PRIVATE_FILE
        write(path, content, durable=False, mode=mode)
