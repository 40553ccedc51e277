"""Keys one after the other: what a key leads to is done before the next one is heard."""

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
"""A key may send a message, that may move the focus or open a dialog, and that may tell others."""
_PATIENCE_S = 1.0


class KeyByKey(App[None]):
    """An application in which keys that come in one burst go where they would go if they were pressed slowly.

    Textual hands a key to the widget that has the focus when the key arrives. The focus moves only once the widgets have
    dealt with the keys before it, so of a burst (a slow line, a paste, a macro) all would go to one widget. No key is heard
    before `hear_keys`.
    """

    def __init__(self, driver_class: type[Driver] | None = None) -> None:
        super().__init__(driver_class=driver_class)
        self._keys: deque[events.Key | events.Paste] = deque()
        self._is_dealing = True
        self._settling: asyncio.Task[None] | None = None

    def hear_keys(self) -> None:
        """Deal with keys from now on, those first that were pressed before there was anything to hear them."""
        if not self.call_later(self._next_key):
            self._is_dealing = False

    async def on_event(self, event: events.Event) -> None:
        """Hold a key back while the one before it is being dealt with."""
        if not isinstance(event, events.Key | events.Paste) or event.is_forwarded:
            await super().on_event(event)
            return
        if isinstance(event, events.Paste):  # what is pasted is text: nothing in it steers the terminal
            lines = event.text.replace("\r\n", "\n").replace("\r", "\n")
            event.text = printable(lines, newlines=True)
        self._keys.append(event)
        if not self._is_dealing:
            await self._next_key()

    @property
    def is_dealing_with_keys(self) -> bool:
        """Whether a key is being dealt with, or waits for that."""
        return self._is_dealing

    async def _next_key(self) -> None:
        self._is_dealing = bool(self._keys)
        if self._is_dealing:
            await super().on_event(self._keys.popleft())
            self._settling = asyncio.create_task(self._settle())

    async def _settle(self) -> None:
        try:
            for _ in range(_ROUNDS):
                for each in (self.focused or self.screen).ancestors_with_self:
                    await _rest(each)
        finally:  # whatever went wrong, the next key is heard
            if not self.call_later(self._next_key):
                self._is_dealing = False


async def _rest(pump: MessagePump) -> None:
    """Until a part of the window has dealt with the messages that it has now."""
    done = asyncio.Event()
    if pump.call_later(done.set):
        with suppress(TimeoutError):
            await asyncio.wait_for(done.wait(), _PATIENCE_S)
