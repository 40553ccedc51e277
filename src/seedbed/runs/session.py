"""The session of a job on a run: adds to the session of runs/lifecycle.py the index of the curves and hardware samples."""

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
    """A job's session on a run, that is, one execution of the job. Takes the arguments of `Lifecycle`.

    If a resume ends before it has trained a step, a completed or stopped run keeps its status.
    """

    def __init__(self, path: Path, *arguments: Any, **options: Any) -> None:
        super().__init__(path, *arguments, **options)
        self._former = ""
        """The status of the run before this session."""
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
        """Log that this session failed. If it trained nothing, a completed or stopped run keeps its status."""
        if self._begun or self._former not in ("completed", "stopped"):
            self.finish("failed", reason=reason, hint=hint)
        else:
            self.finish(self._former, reason=f"The run was not resumed: {reason}", hint=hint, code=NOT_RESUMED)

    def end_as_asked(self) -> None:
        """Log that this session was stopped. If it trained nothing, a completed run stays completed."""
        if self._begun or self._former != "completed":
            self.finish("stopped")
        else:
            why = "The run was not resumed: it was stopped before it trained a step."
            self.finish("completed", reason=why, code=NOT_RESUMED)

    def _watch_hardware(self) -> None:
        """Log a hardware sample every few seconds, in a separate thread, since reading a GPU driver may hang."""
        from seedbed.config.environment import env
        from seedbed.hardware.sampler import Sampler

        def sampler_for(device: str | None) -> Sampler:
            return Sampler(
                gpu_index(device),
                f"the run uses {device or 'no device yet'}",
                visible_devices=env("CUDA_VISIBLE_DEVICES"),
                device_order=env("CUDA_DEVICE_ORDER"),
            )

        watched = self._device
        sampler = sampler_for(watched)
        sampler.begin()
        while not self._over.wait(HARDWARE_S):
            if self.status not in WORKING or self.is_simulated:
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
        """Write the index of the curves, and state.json."""
        self._index.advance()
        super()._write_state()

    def _own_files(self) -> set[str]:
        return {*super()._own_files(), self.run.checkpoints.name, index_path(self.run).name}


def gpu_index(device: str | None) -> int | None:
    """The index of the GPU in a device name such as `cuda:1`; None for other devices."""
    kind, _, number = (device or "").partition(":")
    return int(number or 0) if kind == "cuda" and (number or "0").isdecimal() else None
