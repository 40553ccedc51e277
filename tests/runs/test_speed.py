"""The speed counts all tokens that the network processed, not only the trained ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from seedbed.events import Run, Step, encode
from seedbed.runs.curves.series import Series
from seedbed.runs.metrics import metrics
from seedbed.runs.status import read_view
from seedbed.runs.store import RunDir, Store


def logged(tmp_path: Path, processed: int | None) -> RunDir:
    """A run of twelve steps, each of one second and 100 trained tokens."""
    run = Store(tmp_path).create("train", "alpha", "", {})
    began = Run(status="running", session=1, step=0, steps=20, tokens_per_step=100)
    steps = [
        Step(step=n, loss=1.0, lr=0.1, grad_norm=1.0, tokens=100 * n, step_s=1.0, processed=processed)
        for n in range(1, 13)
    ]
    lines = [encode(event, n, 1000.0 + n) for n, event in enumerate((began, *steps))]
    run.events.write_bytes(b"".join(lines))
    return run


@pytest.mark.parametrize(("processed", "speed"), [(None, 100.0), (250, 250.0)])
def test_every_reader_gives_the_same_speed(tmp_path: Path, processed: int | None, speed: float) -> None:
    run = logged(tmp_path, processed)
    view = read_view(run)
    assert view.tokens_per_second() == pytest.approx(speed)
    assert view.tokens == 1200, "this figure counts the trained tokens"
    assert [row.tokens_per_s for row in metrics(run)] == pytest.approx([speed] * 12)
    series = Series(run)
    series.refresh()
    assert [point.mean for point in series.window(key="tokens_per_s")] == pytest.approx([speed] * 12)
