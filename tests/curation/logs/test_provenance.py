"""Names and times of provenance: nothing absolute, nothing of the user."""

from __future__ import annotations

import pytest

from seedbed.curation.logs.provenance import links_of, path_within, repository_of, utc


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("/home/ana/src/app", "app"), ("/home/ana/src/app/", "app"), ("C:\\Users\\ana\\app", "app"), ("/srv/app", "app"),
        ("/home/ana", None), ("/Users/ana", None), ("C:\\Users\\ana", None), ("C:\\", None), ("/root", None), ("/", None),
        ("", None), (None, None),
    ],
)  # fmt: skip
def test_a_repository_is_named_by_its_folder_but_not_by_a_home(folder: str | None, name: str | None) -> None:
    assert repository_of(folder) == name


@pytest.mark.parametrize(
    ("path", "folder", "within"),
    [
        ("/home/ana/app/src/a.py", "/home/ana/app", "src/a.py"), ("src/a.py", "/home/ana/app", "src/a.py"),
        ("C:\\Users\\ana\\app\\a.py", "C:\\Users\\ana\\app", "a.py"), ("/home/ana/application/a.py", "/home/ana/app", None),
        ("/etc/hosts", "/home/ana/app", None), ("../other/a.py", "/home/ana/app", None), ("/home/ana/app", "/home/ana/app", None),
        ("~/a.py", "/home/ana/app", None), ("/a.py", None, None), ("/home/ana/app/../b/a.py", "/home/ana/app", None),
    ],
)  # fmt: skip
def test_files_are_named_within_the_repository_or_not_at_all(path: str, folder: str | None, within: str | None) -> None:
    assert path_within(path, folder) == within


@pytest.mark.parametrize(
    ("time", "shown"),
    [
        ("2026-01-02T03:04:05.678Z", "2026-01-02T03:04:05Z"), ("2026-01-02T03:04:05+02:00", "2026-01-02T01:04:05Z"),
        ("2026-01-02 03:04:05", "2026-01-02T03:04:05Z"), (1767322800, "2026-01-02T03:00:00Z"),
        (1767322800000, "2026-01-02T03:00:00Z"), ("", None), ("never", None), ("nan", None), ("1e999", None), (None, None),
    ],
)  # fmt: skip
def test_times_are_in_utc_whatever_their_form(time: str | float | None, shown: str | None) -> None:
    assert utc(time) == shown


def test_links_are_sorted_and_distinct() -> None:
    assert links_of(["s2", "s1", "s2"], ["b", "a"], "app") == ["session:s1", "session:s2", "file:app/a", "file:app/b"]
    assert links_of(["s"], ["a"], None) == ["session:s"]
