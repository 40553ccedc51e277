"""The Hub's cache is read without the Hub: only complete models are found, at the commits that it last saw."""

from __future__ import annotations

from pathlib import Path

import hand_made_models as made
from model_hub import COMMIT, OTHER_COMMIT
from seedbed.checkpoint.headers import INDEX
from seedbed.hub.cache import snapshot_of, snapshots
from seedbed.hub.names import HubName


def cached(cache: Path, name: str, commit: str, content: dict[str, bytes], *revisions: str) -> Path:
    repository = cache / f"models--{name.replace('/', '--')}"
    for revision in revisions:
        made.write(repository / "refs", {revision: commit.encode()})
    return made.write(repository / "snapshots" / commit, content)


def test_complete_models_are_listed_with_their_revisions(tmp_path: Path) -> None:
    whole = made.files()
    folder = cached(tmp_path, "me/b", COMMIT, whole, "main", "refs/pr/1")
    cached(tmp_path, "me/a", COMMIT, made.sharded(whole))
    no_weights = {name: data for name, data in whole.items() if name != "model.safetensors"}
    cached(tmp_path, "me/started", COMMIT, no_weights, "main")
    halved = {name: data for name, data in made.sharded(whole).items() if "00002-of" not in name}
    cached(tmp_path, "me/halved", COMMIT, halved, "main")
    made.write(tmp_path / "datasets--me--d" / "snapshots" / COMMIT, whole)
    made.write(tmp_path, {"version.txt": b"1"})

    found = snapshots(tmp_path)
    assert [(each.name, each.revisions) for each in found] == [("me/a", ()), ("me/b", ("main", "refs/pr/1"))]
    assert found[1].folder == folder
    assert snapshot_of(tmp_path, HubName("me/b")) is not None
    assert snapshot_of(tmp_path, HubName("me/a")) is None, "no branch of it was ever seen"
    assert snapshot_of(tmp_path, HubName("me/a", COMMIT)) is not None
    for name in ("me/started", "me/halved", "me/none"):
        assert snapshot_of(tmp_path, HubName(name)) is None


def test_a_revision_is_at_the_commit_that_was_last_seen(tmp_path: Path) -> None:
    cached(tmp_path, "me/a", OTHER_COMMIT, made.files())
    new = cached(tmp_path, "me/a", COMMIT, made.files(), "main")
    found = snapshot_of(tmp_path, HubName("me/a"))
    assert found is not None
    assert found.folder == new
    made.write(tmp_path / "models--me--a" / "refs", {"broken": b"\xff", "short": b"abc"})
    assert snapshot_of(tmp_path, HubName("me/a", "broken")) is None
    assert snapshot_of(tmp_path, HubName("me/a", "short")) is None


def test_a_cache_that_is_missing_has_no_models(tmp_path: Path) -> None:
    assert snapshots(tmp_path / "nowhere") == []


def test_a_model_whose_index_is_wrong_is_not_complete(tmp_path: Path) -> None:
    content = made.sharded(made.files())
    for number, index in enumerate((b"{", b"[]", b'{"weight_map": {}}', b'{"weight_map": {"a": ".."}}')):
        cached(tmp_path, f"me/m{number}", COMMIT, {**content, INDEX: index}, "main")
    cached(tmp_path, "me/good", COMMIT, content, "main")
    assert [each.reference for each in snapshots(tmp_path)] == [f"hub:me/good@{COMMIT}"]
