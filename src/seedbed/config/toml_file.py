"""Read a config file (TOML in UTF-8), with errors that say what to do."""

from __future__ import annotations

import shlex
import tomllib
from pathlib import Path
from typing import Any

from seedbed.config.keys import keys
from seedbed.config.preset import preset_names
from seedbed.config.roots import Root
from seedbed.errors import UsageError


def read_toml(path: Path, root: Root[Any]) -> dict[str, Any]:
    """Read the tables of a config file; keys are not checked. Raises UsageError if there is no file or it is not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        hint = (
            f"To use the preset, write --preset {path.name}." if path.name in preset_names(root) else "Check the path."
        )
        raise UsageError(f'There is no config file "{path}".', hint) from None
    except IsADirectoryError:
        hint = "Give the path of a TOML file in this folder."
        if "data.source" in keys(root):
            hint = f"To train on the text in this folder, use --data {shlex.quote(f'text:{path}')}. {hint}"
        raise UsageError(f'"{path}" is a folder, not a config file.', hint) from None
    except OSError as error:
        raise UsageError(f'Cannot read "{path}": {error.strerror}.', "Check its permissions.") from error
    except UnicodeDecodeError as error:
        problem = f'"{path}" is not UTF-8 text ({error.reason} at byte {error.start}).'
        raise UsageError(problem, f"Save it as UTF-8. {_training_text_hint(path, root)}".strip()) from error
    except tomllib.TOMLDecodeError as error:
        hint = f"Put texts in quotes, and write the names of tables as [optimizer]. {_training_text_hint(path, root)}"
        raise UsageError(f'"{path}" is not valid TOML: {error}.', hint.strip()) from error


def _training_text_hint(path: Path, root: Root[Any]) -> str:
    """The hint for a text file that was given as a config; "" if the file is probably meant as a config."""
    if path.suffix.lower() == ".toml" or "data.source" not in keys(root):
        return ""
    return f"To train on the text in this file, use --data {shlex.quote(f'text:{path}')}."
