"""Plays the show: keeps its time, writes to the terminal and the recording, and ends on signals."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NamedTuple

from seedbed.cli.console import colour, note
from seedbed.cli.show_recording import Recording
from seedbed.config.environment import env
from seedbed.interrupts import interrupts_wait
from seedbed.presentation.show.reminder import reminder
from seedbed.presentation.show.rows import ASCII, UNICODE, Glyphs, Row, ansi, fitted, row
from seedbed.text import duration

if TYPE_CHECKING:
    from seedbed.simulate.show.items import Beat
    from seedbed.simulate.show.playlist import Options, Take

_PIPE_SIZE = (80, 24)
_ENDING = (signal.SIGTERM, signal.SIGHUP)
_LAG_S = 2.0
"""If the show is late by more (the process was stopped), it goes on from there instead of catching up."""


class Settings(NamedTuple):
    """How to play."""

    seed: int = 0
    speed: float = 1.0
    exit_after_s: float | None = None
    full_screen: bool = False
    plain: bool = False
    record: Path | None = None
    plan_first: bool = False
    """Whether the first run is planned before anything is shown."""


class Clock:
    """The time of the show at a speed; it begins when it is made."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._start = self._begun = time.monotonic()

    def now_s(self) -> float:
        """Seconds of the show."""
        return (time.monotonic() - self._start) * self._speed

    def left_s(self, at_s: float) -> float:
        """Seconds until a time of the show; at most 0 if it has passed."""
        left = at_s / self._speed - (time.monotonic() - self._start)
        if left < -_LAG_S:
            self._start -= left
            return 0.0
        return left

    def is_over(self, end_s: float) -> bool:
        """Whether more time has passed than the show may take, because the machine cannot keep up with the speed.

        A small delay does not count, so that the same part of the show is seen.
        """
        allowed_s = end_s / self._speed
        return time.monotonic() - self._begun > allowed_s + max(_LAG_S, 0.1 * allowed_s)

    def until(self, at_s: float) -> None:
        """Wait until a time of the show."""
        left = self.left_s(at_s)
        if left > 0:
            time.sleep(left)


class Player:
    """Plays one show."""

    def __init__(self, options: Callable[[], Options], settings: Settings) -> None:
        """Make a player. `options` says what is shown; it is asked after the first row, as it imports much."""
        self._options, self._settings = options, settings
        self._end_s = settings.exit_after_s * settings.speed if settings.exit_after_s is not None else None
        """When the show ends, in seconds of the show."""
        self._is_terminal = sys.stdout.isatty()
        self._colour = colour(sys.stdout) and not settings.plain
        self._in_place = self._is_terminal and not settings.plain and env("TERM") != "dumb"
        self._recording: Recording | None = None
        self._bar: Row | None = None
        """The transient bar below the other rows, if there is one."""

    def play(self) -> int:
        """Play until the time is over; returns the exit status. KeyboardInterrupt passes through."""
        with ExitStack() as stack:
            stack.enter_context(_ending_on_signals())
            if self._settings.plan_first:
                next(self._beats())
            if self._settings.record is not None:
                width, height = self._size()
                title = f"SIMULATED: seedbed show --seed {self._settings.seed}"
                self._recording = stack.enter_context(Recording(self._settings.record, width, height, title))
            if self._settings.full_screen:
                self._play_full_screen()
                return 0
            stack.callback(self._end_line)
            try:
                self._play_scrolling()
            except KeyboardInterrupt:
                self._bar = row("") if self._is_terminal else None  # the terminal has shown ^C
                raise
        return 0

    def _beats(self) -> Iterator[tuple[Beat, Take]]:
        with interrupts_wait():
            from seedbed.simulate.show.stream import played  # the first row is shown before this is imported

            beats = played(self._options())
            first = next(beats)
        yield first
        yield from beats

    def _size(self) -> tuple[int, int]:
        if not self._is_terminal:
            return _PIPE_SIZE
        # Not shutil.get_terminal_size: after a change of the size, its variables COLUMNS and LINES are wrong.
        try:
            width, height = os.get_terminal_size(sys.stdout.fileno())
        except OSError:
            return _PIPE_SIZE
        return (width, height) if width and height else _PIPE_SIZE

    def _glyphs(self) -> Glyphs:
        encoding = (getattr(sys.stdout, "encoding", "") or "").lower().replace("-", "")
        return UNICODE if encoding == "utf8" else ASCII

    # The scrolling view ----------------------------------------------------------------------------------------------

    def _play_scrolling(self) -> None:
        width, height = self._size()
        self._show(reminder(self._settings.seed, width), 0.0)
        with interrupts_wait():
            from seedbed.presentation.show.scrolling import Scrolling

        scrolling = Scrolling(self._settings.seed, self._glyphs(), width, height)
        clock: Clock | None = None
        for beat, _ in self._beats():
            clock = clock or Clock(self._settings.speed)  # the time for the first plan does not count
            if self._end_s is not None and (beat.at_s > self._end_s or clock.is_over(self._end_s)):
                clock.until(self._end_s)
                self._say_end()
                return
            clock.until(beat.at_s)
            scrolling.width, scrolling.height = self._size()
            for each in scrolling.rows(beat.item):
                self._show(each, beat.at_s)

    def _show(self, given: Row, at_s: float) -> None:
        """Write a row. Where rows can be overwritten, a transient bar stays below the other rows."""
        if not self._in_place:
            if given.is_kept:
                self._write(ansi(given, colour=self._colour) + "\n", at_s)
            return
        text = "\r\x1b[K" if self._bar is not None else ""
        if given.is_bar:
            self._bar = given if given.is_transient else None
        if not given.is_transient:
            text += ansi(given, colour=self._colour) + "\n"
        if self._bar is not None:
            text += ansi(fitted(self._bar, max(self._size()[0] - 1, 1)), colour=self._colour)
        self._write(text, at_s)

    def _say_end(self) -> None:
        """Say on stderr that the show has ended after the given time: it is no part of the show."""
        self._end_line()
        ended = f"Ended after {duration(self._settings.exit_after_s or 0.0)}."
        longer = f"{ended[:-1]} (--exit-after)."
        note(longer if len(longer) < self._size()[0] else ended)

    def _end_line(self) -> None:
        """End the row that would be replaced, so that the shell's prompt begins on a new one."""
        if self._bar is not None:
            self._bar = None
            try:
                self._write("\n", None)
            except OSError:
                return  # the terminal is gone

    def _write(self, text: str, at_s: float | None) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()
        if self._recording is not None and at_s is not None:
            self._recording.write(at_s / self._settings.speed, text)

    # The full-screen view --------------------------------------------------------------------------------------------

    def _play_full_screen(self) -> None:
        with interrupts_wait():
            from seedbed.cli.show_screen import Screen
            from seedbed.presentation.show.screen import Dashboard

        dashboard = Dashboard(self._settings.seed, self._glyphs(), colour=self._colour)
        clock = Clock(self._settings.speed)
        with Screen(lambda text: self._write(text, clock.now_s())) as screen:
            screen.draw(dashboard.frame(0.0, *self._size()))
            beats = self._beats()
            coming = next(beats)
            while self._end_s is None or clock.now_s() < self._end_s:
                clock.left_s(coming[0].at_s)  # after a stop, the show goes on from there
                now_s = clock.now_s()
                while coming[0].at_s <= now_s:
                    dashboard.hear(*coming)
                    coming = next(beats)
                screen.draw(dashboard.frame(now_s, *self._size()))
                key = screen.wait_for_key()
                if key in ("q", "Q", "\x1b"):
                    return
                dashboard.press(key)


@contextmanager
def _ending_on_signals() -> Iterator[None]:
    """A context in which SIGTERM and SIGHUP end the program in order, with the status of the signal."""

    def end(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
