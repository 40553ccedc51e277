"""Event lines decoded no further than curves and tables of steps need, which is several times faster than events.decode."""

from __future__ import annotations

import msgspec


class CurveEvent(msgspec.Struct, gc=False):
    """The parts of any event's line that curves need."""

    kind: str
    t: float = 0.0
    step: int | None = None
    loss: float | None = None
    lr: float | None = None
    grad_norm: float | None = None
    tokens: int | None = None
    step_s: float | None = None
    processed: int | None = None
    status: str | None = None
    session: int | None = None
    steps: int | None = None
    best: bool = False
    full: bool = True
    simulated: bool | None = None
    metrics: msgspec.Raw = msgspec.Raw()
    """The open metrics as they are written, which events.open_metrics reads; empty where there are none."""


class _Any(msgspec.Struct, gc=False):
    """What a line that is no CurveEvent may still tell: that time went on."""

    kind: str
    t: float = 0.0


_EVENT = msgspec.json.Decoder(CurveEvent)
_ANY = msgspec.json.Decoder(_Any)


def decode_lines(block: bytes) -> tuple[list[CurveEvent | None], list[int]]:
    """The entries on whole lines, None for a torn or foreign one, and the length of each line with its end."""
    lines = block.split(b"\n")
    lines.pop()
    lengths = [len(line) + 1 for line in lines]
    try:
        found: list[CurveEvent | None] = [*_EVENT.decode_lines(block)]
    except (msgspec.DecodeError, UnicodeDecodeError):
        found = []
    # Fewer entries than lines: there were blank ones.
    return (found, lengths) if len(found) == len(lines) else ([_decoded(line) for line in lines], lengths)


def _decoded(line: bytes) -> CurveEvent | None:
    try:
        return _EVENT.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    try:
        other = _ANY.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return CurveEvent(kind=f"?{other.kind}", t=other.t)
