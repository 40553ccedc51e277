"""Runs a child process that reads one JSON request from stdin and answers with JSON lines on stdout."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Self

from seedbed.errors import SeedbedError, UsageError


class Child:
    """A child process, as a context manager; leaving the `with` block kills it.

    `command`: the program and its arguments. `name`: its name in messages. `request`: the JSON object written to its
    stdin. `good`: the exit statuses that mean success.
    """

    def __init__(
        self, command: Sequence[str], name: str, request: Mapping[str, Any] | None = None, good: Collection[int] = (0,)
    ) -> None:
        self._name = name
        self._good = good
        try:
            self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  # closed in __exit__
        except OSError as error:
            raise SeedbedError(
                "No folder for temporary files can be written.",
                "Set TMPDIR to a writable folder: export TMPDIR=/some/folder",
            ) from error
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            start_new_session=True,
        )
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError), self._process.stdin as stdin:
            stdin.write(json.dumps(request or {}).encode())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._stderr.close()

    def kill(self) -> None:
        """Kill the process. May be called from a different thread than the one that reads the answers."""
        self._process.kill()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the JSON objects that the process writes to stdout, as they arrive.

        Raises SeedbedError or UsageError if the process reports an error or fails.
        """
        assert self._process.stdout is not None
        answered = False
        for line in self._process.stdout:
            answer, answered = json.loads(line), True
            if "error" in answer:
                kind = UsageError if answer.get("exit") == UsageError.exit_code else SeedbedError
                raise kind(answer["error"], answer.get("hint") or "")
            yield answer
        if self._process.wait() == -signal.SIGBUS:
            raise SeedbedError(
                f"{self._name} was killed (signal {signal.SIGBUS:d}): a file that it was using became shorter.",
                "Was the model changed meanwhile? Run the command again.",
            )
        if self._process.returncode < 0:
            raise SeedbedError(
                f"{self._name} was killed (signal {-self._process.returncode}).",
                "It may have run out of memory."
                if self._process.returncode == -signal.SIGKILL
                else "A library that it uses has crashed, perhaps because of a damaged file of the model.",
            )
        if not answered or self._process.returncode not in self._good:
            raise self._broken()

    def _broken(self) -> SeedbedError:
        self._stderr.seek(0)
        lines = self._stderr.read().decode("utf-8", "replace").strip().splitlines()
        return SeedbedError(
            f"{self._name} exited with status {self._process.returncode}{': ' + lines[-1] if lines else '.'}",
            "Please report this, with the command that you typed.",
        )
