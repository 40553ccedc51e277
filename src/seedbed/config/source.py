"""What `data.source` may say: its forms, and what was probably meant by anything else. Refuses to open a source."""

from __future__ import annotations

import difflib
from pathlib import Path

from seedbed.errors import UsageError

FORMS = {
    "stories": "stories",
    "text": "text:PATH",
    "wikitext-2": "wikitext-2",
    "wikitext-103": "wikitext-103",
    "hf": "hf:NAME[:CONFIG][@COLUMN]",
}
"""The word that a source begins with, and how the whole is written."""


def unknown_source(asked: str) -> UsageError:
    """Why `asked` is no source, naming what was probably meant."""
    forms = "Sources: " + ", ".join(FORMS.values()) + ", or the path of a prepared dataset."
    path = Path(asked).expanduser()
    if path.exists():
        kind = "folder, but not a prepared dataset" if path.is_dir() else "file"
        return UsageError(f"{asked} is a {kind}.", f"To train on its text write text:{asked}. {forms}")
    near = difflib.get_close_matches(asked.partition(":")[0].lower(), FORMS, n=1, cutoff=0.5)
    meant = f"Did you mean {FORMS[near[0]]}? " if near else ""
    if "/" in asked and ":" not in asked:
        meant = f"There is no such path. For a dataset on the Hugging Face Hub write hf:{asked}. "
    return UsageError(f"Unknown data source {asked!r}.", meant + forms)
