"""An application that handles keys one at a time: a key waits until all effects of the previous key are done."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress

from textual import events
from textual.app import App
from textual.driver import Driver
from textual.message_pump import MessagePump

from seedbed.text import printable

_ROUNDS = 3
"""Rounds of messages to wait for after a key: a key may send a message, which opens a dialog, which sends messages."""
_TIMEOUT_S = 1.0


class SequentialKeys(App[None]):
    """An application in which a burst of keys has the same effect as the same keys pressed slowly.

    Textual sends a key to the widget that has the focus when the key arrives. The focus moves only once the widgets
    have handled the earlier keys, so all keys of a burst (a slow line, a paste, a macro) would go to one widget. No key
    is handled before `start_keys`.
    """

    def __init__(self, driver_class: type[Driver] | None = None) -> None:
        super().__init__(driver_class=driver_class)
        self._keys: deque[events.Key | events.Paste] = deque()
        self._is_handling_keys = True
        self._settling: asyncio.Task[None] | None = None

    def start_keys(self) -> None:
        """Begin to handle keys, first those that have been pressed already."""
        if not self.call_later(self._next_key):
            self._is_handling_keys = False

    async def on_event(self, event: events.Event) -> None:
        """Handle an event; a key waits until the previous key has been handled."""
        if not isinstance(event, events.Key | events.Paste) or event.is_forwarded:
            await super().on_event(event)
            return
        if isinstance(event, events.Paste):  # a paste is text: escape sequences in it must not reach the terminal
            lines = event.text.replace("\r\n", "\n").replace("\r", "\n")
            event.text = printable(lines, newlines=True)
        self._keys.append(event)
        if not self._is_handling_keys:
            await self._next_key()

    @property
    def is_handling_keys(self) -> bool:
        """Whether a key is being handled or waits to be handled."""
        return self._is_handling_keys

    async def _next_key(self) -> None:
        self._is_handling_keys = bool(self._keys)
        if self._is_handling_keys:
            await super().on_event(self._keys.popleft())
            self._settling = asyncio.create_task(self._settle())

    async def _settle(self) -> None:
        try:
            for _ in range(_ROUNDS):
                for each in (self.focused or self.screen).ancestors_with_self:
                    await _handled(each)
        finally:  # the next key is handled, whatever went wrong
            if not self.call_later(self._next_key):
                self._is_handling_keys = False


async def _handled(pump: MessagePump) -> None:
    """Wait until a widget has handled the messages that it has received so far."""
    done = asyncio.Event()
    if pump.call_later(done.set):
        with suppress(TimeoutError):
            await asyncio.wait_for(done.wait(), _TIMEOUT_S)
