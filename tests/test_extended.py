"""extended.py: the copy of the source is imported, contains the additions, and differs nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from extended import differences, extended_source, run_python


def test_the_copy_is_imported_and_differs_only_where_something_was_added(tmp_path: Path) -> None:
    root = extended_source(
        tmp_path,
        {"added.py": '"""A module."""\nANSWER = 42\n'},
        {"config/presets/train/nano.toml": ("[train]", "# a remark")},
    )
    code = "import seedbed, seedbed.added; print(seedbed.__file__, seedbed.added.ANSWER)"
    assert run_python(root, "-c", code).stdout.split() == [str(root / "seedbed" / "__init__.py"), "42"]
    assert "[train]\n# a remark\n" in (root / "seedbed/config/presets/train/nano.toml").read_text()
    assert differences(root) == {"added.py", "config/presets/train/nano.toml"}
    (root / "seedbed" / "text.py").unlink()
    assert "text.py" in differences(root)


def test_an_existing_file_cannot_be_replaced(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"errors\.py exists already"):
        extended_source(tmp_path, {"errors.py": ""}, {})


def test_a_line_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="0 times"):
        extended_source(tmp_path, {}, {"errors.py": ("no such line", "added")})
