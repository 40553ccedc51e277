"""Files that are not a config."""

from __future__ import annotations

from pathlib import Path

from configs import refused


def test_a_missing_file_a_folder_and_a_binary_file_are_refused(tmp_path: Path) -> None:
    assert "no config file" in refused(file=tmp_path / "none.toml")
    assert f"--data text:{tmp_path}" in refused(file=tmp_path)
    assert "folder" in refused(file=tmp_path)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00[model]")
    assert "UTF-8" in refused(file=tmp_path / "binary.toml")
    assert "--preset tiny" in refused(file=Path("tiny"))


def test_a_text_file_given_as_the_config_gets_the_hint_to_use_data(tmp_path: Path) -> None:
    for name, content in (("story.txt", b"Once upon a time."), ("story", b"Caf\xe9")):
        (tmp_path / name).write_bytes(content)
        assert f"--data text:{tmp_path / name}" in refused(file=tmp_path / name)
    (tmp_path / "mine.toml").write_text("lr 3")
    assert "--data" not in refused(file=tmp_path / "mine.toml")
