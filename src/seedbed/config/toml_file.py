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
        raise UsageError(
            f'"{path}" is not UTF-8 text ({error.reason} at byte {error.start}).', "Save it as UTF-8."
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(
            f'"{path}" is not valid TOML: {error}.', "Texts need quotes; tables look like [optimizer]."
        ) from error
