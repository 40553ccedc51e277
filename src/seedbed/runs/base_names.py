"""Short names of the models from which runs start. Imports nothing heavy: `seedbed runs` needs it."""

from __future__ import annotations

import re
from pathlib import Path

from seedbed.hub.names import PREFIX, is_hub_reference

_STAMP = re.compile(r"\d{8}-\d{6}-\d{3}-")
_SNAPSHOTS = "snapshots"
"""The folder in which the Hub's cache keeps a model: models--OWNER--NAME/snapshots/COMMIT."""


def short_name(reference: str) -> str:
    """A short name for the model that a config's `base.model` names, such as `SmolLM2-135M`; for a run, without its time."""
    if is_hub_reference(reference):
        return reference.removeprefix(PREFIX).partition("@")[0].rpartition("/")[2]
    path = Path(reference)
    if path.parent.name == _SNAPSHOTS:
        return path.parent.parent.name.rpartition("--")[2]
    run = next((each.name for each in (path, *path.parents) if _STAMP.match(each.name)), None)
    return _STAMP.sub("", run).partition("@")[0] if run is not None else path.name.partition("@")[0]
