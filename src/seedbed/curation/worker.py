"""A worker process of a preparation: `python -m seedbed.curation.worker CONFIG CACHE`.

It reads the numbers of units on stdin, one a line, and answers each on stdout with a JSON line once its part is made.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

from seedbed.config.frozen import load_frozen
from seedbed.config.roots import PREPARE
from seedbed.curation.preparing import Preparer
from seedbed.errors import SeedbedError, StorageError


def main(config: str, cache: str) -> None:
    """Make parts until stdin closes. Ctrl-C is ignored: the parent process handles it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    preparer = Preparer(load_frozen(Path(config), PREPARE), Path(cache), update=False)
    for line in sys.stdin:
        number, name = json.loads(line)
        try:
            unit = preparer.units[number]
            if unit.name != name:
                raise SeedbedError("The inputs have changed since the work began.", "Run the command again.")
            part = preparer.make(unit, _nothing)
            answer: dict[str, str | bool] = {"key": part.path.stem}
        except SeedbedError as error:
            answer = {"error": error.message, "hint": error.hint}
            if isinstance(error, StorageError):  # the parent waits, if it can
                answer |= {"reason": error.reason, "passing": error.passing, "kind": type(error).__name__}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _nothing() -> None:
    """The parent process ends this one when it is asked to stop."""


if __name__ == "__main__":
    main(*sys.argv[1:])
