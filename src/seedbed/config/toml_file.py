"""Reading a config file: TOML in UTF-8, and an error that says what to do where it is not."""

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
    """The tables of a config file, unchecked. Raises UsageError where there is no such file or it is no TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        hint = f"For the preset: --preset {path.name}." if path.name in preset_names(root) else "Check the path."
        raise UsageError(f'There is no config file "{path}".', hint) from None
    except IsADirectoryError:
        hint = "Name the TOML file in it."
        if "data.source" in keys(root):
            hint = (
                f"To use the text in it: --data {shlex.quote(f'text:{path}')}. For a config, name the TOML file in it."
            )
        raise UsageError(f'"{path}" is a folder, not a config file.', hint) from None
    except OSError as error:
        raise UsageError(f'Cannot read "{path}": {error.strerror}.', "Check its permissions.") from error
    except UnicodeDecodeError as error:
        problem = f'"{path}" is not UTF-8 text ({error.reason} at byte {error.start}).'
        raise UsageError(problem, _training_text_hint(path, root) or "Save it as UTF-8.") from error
    except tomllib.TOMLDecodeError as error:
        hint = _training_text_hint(path, root) or "Texts need quotes; tables look like [optimizer]."
        raise UsageError(f'"{path}" is not valid TOML: {error}.', hint) from error


def _training_text_hint(path: Path, root: Root[Any]) -> str:
    """How to train on a file that was named as a config; "" if the file is probably meant as one."""
    if path.suffix == ".toml" or "data.source" not in keys(root):
        return ""
    return f"To train on the text in this file: --data {shlex.quote(f'text:{path}')}. A config is a TOML file."
