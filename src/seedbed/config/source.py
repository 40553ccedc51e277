"""What `data.source` may say: its forms, and what was probably meant by anything else. Refuses to open a source."""

from __future__ import annotations

import difflib
from pathlib import Path

from seedbed import text
from seedbed.errors import UsageError
from seedbed.files import expand_home

FORMS = {
    "stories": "stories",
    "text": "text:PATH",
    "wikitext-2": "wikitext-2",
    "wikitext-103": "wikitext-103",
    "hf": "hf:NAME[:CONFIG][@COLUMN]",
}
"""The word that a source begins with, and how the whole is written."""


def is_there(path: Path, asked: str) -> bool:
    """Whether there is a file or folder. Raises UsageError, naming what was `asked` for, where it cannot be looked at."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UsageError(
            f'Cannot look at "{text.shorten(text.printable(asked), 60)}": {why}.', "Check the path in data.source."
        ) from error
    return True


def is_prepared(asked: str, folder: Path) -> bool:
    """Whether `asked`, from `folder` on, is the path of a prepared dataset. Raises UsageError as `is_there` does."""
    return is_there(folder / asked / "manifest.json", asked)


def unknown_source(asked: str) -> UsageError:
    """Why `asked` is no source, naming what was probably meant."""
    forms = "Sources: " + ", ".join(FORMS.values()) + ", or the path of a prepared dataset."
    path = expand_home(asked)
    if is_there(path, asked):
        kind = "folder, but not a prepared dataset" if path.is_dir() else "file"
        return UsageError(f'"{asked}" is a {kind}.', f"To train on its text write text:{asked}. {forms}")
    near = difflib.get_close_matches(asked.partition(":")[0].lower(), FORMS, n=1, cutoff=0.5)
    meant = f"Did you mean {FORMS[near[0]]}? " if near else ""
    if "/" in asked and ":" not in asked:
        meant = f"There is no such path. For a dataset on the Hugging Face Hub write hf:{asked}. "
    return UsageError(f'Unknown data source "{asked}".', meant + forms)
