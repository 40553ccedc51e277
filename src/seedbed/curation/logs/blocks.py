"""The blocks of Anthropic's messages, which several assistants store in their logs."""

from __future__ import annotations

import msgspec


class Inner(msgspec.Struct, gc=False):
    """A block within the result of a tool."""

    type: str = ""
    text: str | None = None


class AnyBlock(msgspec.Struct, gc=False):
    """What a block of content has in all formats; `type` says which of it."""

    type: str = ""
    text: str | None = None
    thinking: str | None = None
    id: str | None = None
    name: str | None = None
    tool_use_id: str | None = None
    is_error: bool | None = None


class Block(AnyBlock, gc=False):
    """A block of content, with the arguments of a call as they are written."""

    input: msgspec.Raw = msgspec.Raw(b"{}")
    content: str | list[Inner | str] | None = None
