"""The stream of the show and its views: what they use of the system, and the one interface between them."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from pathlib import Path

import msgspec

from seedbed.presentation.show.lines import rows_of
from seedbed.presentation.show.rows import ASCII, UNICODE, Row
from seedbed.presentation.show.screen import Dashboard
from seedbed.presentation.show.scrolling import Scrolling
from seedbed.simulate.show import items
from seedbed.simulate.show.playlist import Options
from seedbed.simulate.show.stream import played

USES = """
import sys
from seedbed.presentation.show.rows import UNICODE
from seedbed.presentation.show.screen import Dashboard
from seedbed.presentation.show.scrolling import Scrolling
from seedbed.simulate.show.items import RunEnds
from seedbed.simulate.show.playlist import Options
from seedbed.simulate.show.stream import played

calls, ends = [], 0
scrolling, screen = Scrolling(3, UNICODE), Dashboard(3, UNICODE, colour=True)
for beat, take in played(Options(seed=3)):
    for row in scrolling.rows(beat.item):
        row.text
    screen.hear(beat, take)
    screen.frame(beat.at_s, 80, 24)
    ends += isinstance(beat.item, RunEnds)
    if ends == 1 and not calls:
        calls.append("begun")  # the first run has read the tables of facts
        sys.addaudithook(lambda name, _: calls.append(name))
    if ends == 2:
        break
print(*sorted(set(calls)))
"""
SYSTEM = re.compile(r"open|os\.|socket\.|subprocess\.|ctypes\.|shutil\.|fcntl\.|signal\.")
"""The names of audit events of files, processes, the network and libraries of the system (docs.python.org, audit events)."""


def test_the_stream_and_both_views_need_nothing_of_the_system(tmp_path: Path) -> None:
    """TECH-01: they could run in a browser: no file, no socket, no process, no clock is needed but the caller's."""
    done = subprocess.run([sys.executable, "-c", USES], cwd=tmp_path, capture_output=True, text=True, check=True)
    called = done.stdout.split()
    assert "begun" in called
    assert not [name for name in called if SYSTEM.match(name)]


def test_every_scene_has_one_interface_and_every_view_takes_it() -> None:
    """TECH-02: a scene yields frozen items with their times, and a view gets nothing else."""
    options = Options(seed=3)
    some = [(beat, take) for beat, take in itertools.islice(played(options), 1500)]
    kinds = {type(beat.item) for beat, _ in some}
    assert {items.RunBegins, items.Training, items.RunEnds, items.Next} <= kinds
    for kind in kinds:
        assert issubclass(kind, msgspec.Struct)
        assert kind.__struct_config__.frozen, kind.__name__
    assert all(earlier[0].at_s <= later[0].at_s for earlier, later in itertools.pairwise(some))
    # The stream is a pure function of its options, and a view of the stream: another time, the same rows.
    again = [beat for beat, _ in itertools.islice(played(options), 1500)]
    assert again == [beat for beat, _ in some]
    for glyphs in (UNICODE, ASCII):
        views = [Scrolling(3, glyphs), Scrolling(3, glyphs)]
        for beat, _ in some:
            first, second = (list(view.rows(beat.item)) for view in views)
            assert first == second
            assert all(isinstance(each, Row) for each in first)
    screens = [Dashboard(3, UNICODE, colour=False) for _ in range(2)]
    for beat, take in some:
        for screen in screens:
            screen.hear(beat, take)
    assert screens[0].frame(some[-1][0].at_s, 80, 24) == screens[1].frame(some[-1][0].at_s, 80, 24)
    assert all(isinstance(rows_of(beat.item, 80, UNICODE), list) for beat, _ in some)
