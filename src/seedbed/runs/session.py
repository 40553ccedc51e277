"""A session of a run: a job's life with it, with curves and samples of the hardware. Knows no kind of work."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from seedbed.errors import SeedbedError
from seedbed.events import NOT_RESUMED, Event, Run, Step
from seedbed.runs.curves.index_file import index_path
from seedbed.runs.curves.index_writer import IndexWriter
from seedbed.runs.lifecycle import Lifecycle, log_to_stderr
from seedbed.runs.statuses import WORKING

HARDWARE_S = 5.0


class Session(Lifecycle):
    """The owner's hold on a run. Takes what `Lifecycle` takes.

    A run that was whole before stays what it was where a resume ends before it has trained a step.
    """

    def __init__(self, path: Path, *arguments: Any, **options: Any) -> None:
        super().__init__(path, *arguments, **options)
        self._former = ""
        """How the run stood before this session."""
        self._begun = False
        """Whether this session has begun to train."""
        self._device: str | None = None
        self._index = IndexWriter(self.run)
        self._threads.append(threading.Thread(target=self._watch_hardware, name="hardware", daemon=True))

    def _enter(self) -> None:
        self._former = self._view.status

    def _leave(self) -> None:
        self._index.close()

    def emit(self, event: Event, t: float | None = None) -> None:
        """Append one event to the log, as `Lifecycle.emit` does."""
        super().emit(event, t)
        if isinstance(event, Step):
            self._begun = True
        elif isinstance(event, Run) and event.steps is not None:
            self._device, self._begun = event.device, True

    def fail(self, reason: str, hint: str | None = None) -> None:
        """Say that this session failed. A run that was whole before stays what it was where nothing has been trained."""
        if self._begun or self._former not in ("completed", "stopped"):
            self.finish("failed", reason=reason, hint=hint)
        else:
            self.finish(self._former, reason=f"The run was not resumed: {reason}", hint=hint, code=NOT_RESUMED)

    def end_as_asked(self) -> None:
        """Say that this session was stopped. A completed run stays completed where nothing has been trained."""
        if self._begun or self._former != "completed":
            self.finish("stopped")
        else:
            why = "The run was not resumed: it was stopped before it trained a step."
            self.finish("completed", reason=why, code=NOT_RESUMED)

    def _watch_hardware(self) -> None:
        """A thread of its own, since a probe may hang: what the machine does, every few seconds."""
        from seedbed.config.environment import env
        from seedbed.hardware.sampler import Sampler

        def sampler_for(device: str | None) -> Sampler:
            return Sampler(
                gpu_index(device),
                f"the run is on {device or 'no device yet'}",
                visible_devices=env("CUDA_VISIBLE_DEVICES"),
                device_order=env("CUDA_DEVICE_ORDER"),
            )

        watched = self._device
        sampler = sampler_for(watched)
        sampler.begin()
        while not self._over.wait(HARDWARE_S):
            if self.status not in WORKING:
                continue
            if watched != self._device:
                sampler.close()
                watched = self._device
                sampler = sampler_for(watched).continue_from(sampler)
            try:
                self.emit(sampler.sample())
            except SeedbedError as error:
                log_to_stderr(f"hardware: {error}")
        sampler.close()

    def _write_state(self) -> None:
        """The fold so far with the time of day, and the index of the curves."""
        self._index.advance()
        super()._write_state()

    def _own_files(self) -> set[str]:
        return {*super()._own_files(), self.run.checkpoints.name, index_path(self.run).name}


def gpu_index(device: str | None) -> int | None:
    """The GPU that a device's name such as `cuda:1` means; None where it means none."""
    kind, _, number = (device or "").partition(":")
    return int(number or 0) if kind == "cuda" and (number or "0").isdecimal() else None
