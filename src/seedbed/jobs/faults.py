"""Injects the faults that a rehearsal asks for in the file .faults into this process: a full disk, slow writes. Needs no torch.

A full disk is a limit of the operating system on the size of files, so real writes fail. A slow write sleeps when the folder
of a checkpoint is about to get its name, in the thread that writes it.
"""

from __future__ import annotations

import os
import resource
import sys
import threading
import time
from pathlib import Path
from typing import Any

from seedbed.checkpoint.marker import is_named
from seedbed.runs.faults import Faults, read_faults
from seedbed.runs.store import RunDir

_POLL_S = 0.01
_LEAST_LIMIT_BYTES = 16 << 10
"""Files below this size can always be written: state.json is small, and is replaced as a whole."""


class FaultInjector:
    """Applies to this process what the file .faults says, until `end`."""

    def __init__(self, run: RunDir) -> None:
        self._run = run
        self._folder = str(run.checkpoints.absolute())
        self._parent = os.getppid()
        self._limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        self._is_full = False
        self._delay_s = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="faults", daemon=True)

    def start(self) -> None:
        """Begin to read the file."""
        sys.addaudithook(self._on_event)
        self._thread.start()

    def end(self) -> None:
        """Stop reading the file, and lift all faults."""
        self._over.set()
        self._thread.join()
        self._apply(Faults())

    def _watch(self) -> None:
        while not self._over.wait(_POLL_S):
            faults = read_faults(self._run)
            # The rehearsal is the job's parent. If it is gone, nobody would lift its faults.
            self._apply(faults if faults.pid == self._parent == os.getppid() else Faults())

    def _apply(self, faults: Faults) -> None:
        self._delay_s = faults.write_delay_s
        if faults.disk_full != self._is_full:
            self._is_full = faults.disk_full
            soft, hard = self._limits
            if self._is_full:
                soft = max(self._run.events.stat().st_size, _LEAST_LIMIT_BYTES)
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    def _on_event(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Delay the event with which Python announces that a finished folder gets the name of a checkpoint."""
        if event != "os.rename" or not self._delay_s:
            return
        folder, name = os.path.split(os.fspath(arguments[1]))
        if folder == self._folder and is_named(Path(name)):
            end = time.monotonic() + self._delay_s
            while self._delay_s and time.monotonic() < end:
                time.sleep(_POLL_S)
