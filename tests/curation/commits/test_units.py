"""From the history of a repository to examples: what is shown, what is answered, what is left out and why."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest

from git_repositories import GitRepository
from seedbed.curation.commits.edits import Form, apply_edits, read_edits
from seedbed.curation.commits.examples import ExampleOptions
from seedbed.curation.commits.units import CommitOptions, commit_units
from seedbed.curation.drops import Drops
from seedbed.curation.record import Licence, Record, is_trained
from seedbed.curation.repositories.git import Repository
from seedbed.curation.repositories.history import HistoryOptions
from seedbed.curation.repositories.licences import gate
from seedbed.errors import SeedbedError

BODY = "".join(f"def f{number}(x):\n    y = x + {number}\n    return y\n\n\n" for number in range(12))


def read(path: Path, options: CommitOptions | None = None) -> tuple[list[Record], Drops]:
    drops = Drops()
    units = commit_units(path, options or CommitOptions())
    return [record for unit in units for record in unit.read(drops)], drops


def reasons(drops: Drops) -> dict[str, int]:
    return {reason: count for (_, reason), count in drops.counts.items()}


def request(record: Record) -> str:
    assert record.messages is not None
    return record.messages[-2].content


def answer(record: Record) -> str:
    assert record.messages is not None
    return record.messages[-1].content


def test_an_example_has_the_message_the_file_before_and_the_edit(tmp_path: Path) -> None:
    repository = GitRepository(tmp_path / "app")
    first = repository.commit("Add the file f", {"f.py": "def f():\n    return 1\n"})
    second = repository.commit("fix: f returns two (#3)", {"f.py": "def f():\n    return 2\n"})
    (_, record), drops = read(repository.path)
    assert not drops.counts
    assert request(record) == "fix: f returns two\n\n`f.py`:\n```python\ndef f():\n    return 1\n```"
    assert answer(record) == (
        "### Edit f.py\n<<<<<<< SEARCH\ndef f():\n    return 1\n=======\ndef f():\n    return 2\n>>>>>>> REPLACE"
    )
    provenance = record.provenance
    assert (provenance.source, provenance.repository, provenance.path) == ("git", "app", "f.py")
    assert (provenance.commit, provenance.parent, provenance.time) == (second, first, "2026-01-02T00:02:00Z")
    assert (record.kind, record.language) == ("chat", "Python")
    assert record.links == [f"commit:{second}", "path:app/f.py"]
    assert record.messages is not None
    assert [(m.role, is_trained(m)) for m in record.messages] == [
        ("system", False),
        ("user", False),
        ("assistant", True),
    ]


def test_the_answer_is_in_a_turn_that_is_trained(tmp_path: Path) -> None:
    """The reproduced defect: answers in a field of their own were never trained."""
    repository = GitRepository(tmp_path / "app")
    repository.commit("Add the file f", {"f.py": "def f():\n    return 1\n"})
    (record,), _ = read(repository.path)
    assert record.messages is not None
    assert [m.role for m in record.messages if is_trained(m)] == ["assistant"]
    assert "return 1" in answer(record)


@pytest.mark.parametrize("form", ["blocks", "diff"])
def test_answers_hold_nothing_that_the_request_cannot_reveal(form: Form, tmp_path: Path) -> None:
    """The reproduced defect: answers had hashes of blobs and line numbers, and BEFORE was cut from the left."""
    repository = GitRepository(tmp_path / "app")
    long = "".join(f"def f{number}(x):\n    y = x + {number}\n    return y\n\n\n" for number in range(200))
    repository.commit("Add functions", {"f.py": long})
    repository.commit("Double the result of f177", {"f.py": long.replace("x + 177\n", "2 * x + 177\n")})
    records, _ = read(repository.path, CommitOptions(examples=ExampleOptions(form=form, context_characters=2000)))
    record = records[-1]
    assert not re.search(r"\b[0-9a-f]{7,40}\b|@@ -\d", answer(record))
    edit = read_edits(answer(record))[0]
    for block in edit.blocks:
        assert "\n".join(block.search) in request(record)


def test_a_large_file_is_shown_as_the_definitions_around_the_changes(tmp_path: Path) -> None:
    repository = GitRepository(tmp_path / "app")
    padding = "".join(f"def unrelated_{number}():\n    return {number}\n\n\n" for number in range(900))
    method = "class Shape:\n    sides = 4\n\n    def area(self):\n        width = 1\n"
    method += "        height = 2\n        return width * height\n"
    repository.commit("Add shapes", {"shapes.py": padding + method})
    changed = method.replace("height = 2", "height = 3")
    repository.commit("Make every shape a bit higher", {"shapes.py": padding + changed})
    records, drops = read(repository.path, CommitOptions(examples=ExampleOptions(max_lines=10_000)))
    assert reasons(drops) == {"more than 32,000 characters": 1}
    (record,) = records
    assert "`shapes.py` (lines 3599 to 3607 of 3607):\n```python\n\n\nclass Shape:" in request(record)
    assert "    def area(self):\n        width = 1" in request(record)
    assert "unrelated_0" not in request(record)
    assert apply_edits({"shapes.py": padding + method}, answer(record)) == {"shapes.py": padding + changed}


def test_a_commit_of_several_files_is_one_example(tmp_path: Path) -> None:
    repository = GitRepository(tmp_path / "app")
    before = {
        "a.py": BODY,
        "old.py": BODY + "# old\n",
        "gone.py": "x = 1\n",
        "crlf.txt": "one\r\ntwo\r\n",
        "end": "a\nb",
    }
    repository.commit("Add files", dict(before))
    repository.git("mv", "old.py", "new.py")
    after = {
        "a.py": BODY.replace("x + 3", "x + 33"),
        "new.py": BODY.replace("x + 5", "x + 55") + "# old\n",
        "gone.py": None,
        "crlf.txt": "one\r\n2\r\n",
        "end": "a\nb\n",
        "package/added.py": "y = 1\n",
        "package/__init__.py": "",
    }
    repository.commit("Reorganise the files", dict(after))
    records, _ = read(repository.path)
    record = records[-1]
    assert apply_edits(before, answer(record)) == {**after, "old.py": None}
    assert record.provenance.path is None
    assert record.links is not None
    assert set(record.links[1:]) == {f"path:app/{path}" for path in (*before, *after)}
    assert "`end` (no newline at its end):" in request(record)
    assert "added.py" not in request(record)


def test_lock_files_images_and_vendored_files_are_left_out_of_an_example(tmp_path: Path) -> None:
    repository = GitRepository(tmp_path / "app")
    files: dict[str, str | bytes | None] = {
        "a.py": "x = 1\n",
        "package-lock.json": "{}\n",
        "logo.png": b"\x89PNG\0",
        "node_modules/b/c.js": "x\n",
        "app.min.js": "var a=1;\n",
        "api_pb2.py": "# Generated by the protocol buffer compiler.  DO NOT EDIT!\n",
    }
    repository.commit("Add all at once", files)
    repository.commit("Lock newer packages", {"package-lock.json": '{"a": 1}\n'})
    (record,), drops = read(repository.path)
    assert record.links is not None
    assert record.links[1:] == ["path:app/a.py"]
    assert reasons(drops) == {"only lock files changed": 1}
    left = {what.partition(": ")[2]: count for (_, what), count in drops.notes.items() if "left out" in what}
    assert left == {
        "lock file": 1,
        "binary or large file": 1,
        "vendored file": 1,
        "minified file": 1,
        "generated file": 1,
    }


def test_each_commit_without_an_example_is_counted_by_its_reason(tmp_path: Path) -> None:
    repository = GitRepository(tmp_path / "app")
    repository.commit(
        "Add functions", {"f.py": BODY, "c.c": "int f() {\n  return 1;\n}\n", "v.py": "version = '1.2.3'\n"}
    )
    repository.commit("Indent in another way", {"c.c": "int f()\n{\n\treturn 1;\n}\n"})
    repository.commit("Wrap long lines of f", {"f.py": BODY.replace("def f3(x):", "def f3(\n    x,\n):")})
    repository.commit("Say which one it is", {"v.py": "version = '1.2.4'\n"})
    repository.commit("Nothing to see here")
    repository.commit("Name it in another way", {"latin.py": b"# caf\xe9\n"})
    repository.commit("Rewrite everything", {"f.py": "\n".join(f"x{number} = {number}" for number in range(500))})
    repository.commit("Add many files", {f"many/{number}.py": f"x = {number}\n" for number in range(30)})
    repository.commit("Remove the old function", {"c.c": None})
    repository.commit("wip")
    repository.git("mv", "v.py", "version.py")
    repository.commit("Move the version elsewhere")
    (repository.path / "version.py").chmod(0o755)
    repository.commit("Make the version executable")
    repository.git("checkout", "-q", "-b", "topic")
    repository.commit("Add a topic file", {"topic.py": "x = 1\n"})
    repository.git("checkout", "-q", "main")
    repository.git("merge", "-q", "--no-ff", "-m", "Bring the topic home", "topic")
    repository.git("revert", "--no-edit", "HEAD^2")
    repository.commit("Update odd file", {"odd`name\n.py": "x = 1\n"})
    records, drops = read(repository.path)
    assert [request(record).split("\n")[0] for record in records] == ["Add functions", "Add a topic file"]
    assert reasons(drops) == {
        "only formatting": 2,
        "version or dependency bump": 1,
        "no file changed": 1,
        "file: not UTF-8": 1,
        "more than 400 lines": 1,
        "more than 10 files": 1,
        "files only deleted": 1,
        "unfinished commit": 1,
        "files only moved": 1,
        "only modes changed": 1,
        "merge": 1,
        "revert": 1,
        "path with unusual characters": 1,
    }
    assert all(sample.where.startswith("app@") for sample in drops.samples)


def test_whitespace_in_strings_and_constants_are_no_formatting_and_no_versions(tmp_path: Path) -> None:
    repository = GitRepository(tmp_path / "app")
    repository.commit("Add the help", {"f.js": 'print("a  b");\nconst rate = 0.5;\n'})
    repository.commit("Show one space in the help", {"f.js": 'print("a b");\nconst rate = 0.5;\n'})
    repository.commit("Use a lower rate of learning", {"f.js": 'print("a b");\nconst rate = 0.1;\n'})
    records, drops = read(repository.path)
    assert len(records) == 3, drops.counts


def test_a_change_of_indentation_that_changes_python_is_no_formatting(tmp_path: Path) -> None:
    repository = GitRepository(tmp_path / "app")
    repository.commit("Add the loop", {"f.py": "for x in y:\n    a(x)\n    b(x)\n"})
    repository.commit("Call b once, after the loop", {"f.py": "for x in y:\n    a(x)\nb(x)\n"})
    records, drops = read(repository.path)
    assert len(records) == 2, drops.counts


def test_the_first_commit_of_a_shallow_clone_gives_no_example(tmp_path: Path) -> None:
    repository = GitRepository(tmp_path / "app")
    for number in range(4):
        repository.commit(f"Set x to number {number}", {"f.py": f"x = {number}\n", "g.py": "y = 1\n"})
    repository.git("clone", "-q", "--depth", "2", f"file://{repository.path}", str(tmp_path / "shallow"))
    records, drops = read(tmp_path / "shallow")
    assert [request(record).split("\n")[0] for record in records] == ["Set x to number 3"]
    assert reasons(drops) == {"first commit of a shallow clone": 1}


def test_bare_and_empty_repositories_and_what_is_none(tmp_path: Path) -> None:
    repository = GitRepository(tmp_path / "app")
    assert commit_units(repository.path, CommitOptions()) == []
    repository.commit("Add the file f", {"f.py": "x = 1\n"})
    repository.git("clone", "-q", "--bare", str(repository.path), str(tmp_path / "bare.git"))
    assert len(read(tmp_path / "bare.git")[0]) == 1
    with pytest.raises(SeedbedError):
        commit_units(tmp_path, CommitOptions())


def test_a_folder_of_a_repository_gives_its_own_commits_and_files(tmp_path: Path) -> None:
    repository = GitRepository(tmp_path / "app")
    repository.commit("Add both parts", {"one/f.py": "x = 1\n", "one-more/h.py": "z = 1\n", "two/g.py": "y = 1\n"})
    repository.commit("Change the second part", {"two/g.py": "y = 2\n"})
    repository.commit("Change both parts", {"one/f.py": "x = 2\n", "two/g.py": "y = 3\n"})
    records, drops = read(repository.path / "one")
    assert [request(record).split("\n")[0] for record in records] == ["Add both parts", "Change both parts"]
    assert {link for record in records for link in record.links or () if link.startswith("path:")} == {
        "path:app/one/f.py"
    }
    assert not drops.counts
    assert len(read(repository.path)[0]) == 3


def test_a_missing_blob_does_not_end_the_rest(tmp_path: Path) -> None:
    repository = GitRepository(tmp_path / "app")
    hashes = [repository.commit(f"Set x to number {number}", {"f.py": f"x = {number}\n"}) for number in range(6)]
    repository.remove_object(repository.git("rev-parse", f"{hashes[2]}:f.py"))
    repository.remove_object(hashes[0])
    records, drops = read(repository.path)
    assert [record.provenance.commit for record in records] == hashes[4:]
    assert reasons(drops) == {"unreadable objects": 3, "unreadable commit, with all before it": 1}


def test_ranges_stay_as_they_are_when_commits_are_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from seedbed.curation.repositories import history

    monkeypatch.setattr(history, "_MEAN_COMMITS", 4)
    repository = GitRepository(tmp_path / "app")
    for number in range(30):
        repository.commit(f"Set x to number {number}", {"f.py": f"x = {number}\n"})
    first = commit_units(repository.path, CommitOptions())
    repository.commit("Set x to another number", {"f.py": "x = 100\n"})
    second = commit_units(repository.path, CommitOptions())
    assert len(first) > 3
    prints = [unit.fingerprint() for unit in first]
    assert [unit.fingerprint() for unit in second][: len(prints) - 1] == prints[:-1]
    assert len({unit.name for unit in second}) == len(second)
    drops = Drops()
    whole = [record.id for unit in pickle.loads(pickle.dumps(second)) for record in unit.read(drops)]
    monkeypatch.setattr(history, "_MEAN_COMMITS", 1000)
    assert whole == [record.id for record in read(repository.path)[0]]


def mit(repository: Repository, commit: str, path: str) -> Licence:
    return Licence(spdx="MIT", found_in="LICENSE")


def test_a_licence_can_be_looked_up_for_each_commit(tmp_path: Path) -> None:
    repository = GitRepository(tmp_path / "app")
    repository.commit("Add the file f", {"f.py": "x = 1\n"})
    (unit,) = commit_units(repository.path, CommitOptions(), name="me/app", licence_of=mit)
    (record,) = unit.read(Drops())
    assert record.licence == Licence(spdx="MIT", found_in="LICENSE")
    assert record.provenance.repository == "me/app"


def of_folder(repository: Repository, commit: str, path: str) -> Licence | None:
    spdx = {"gpl": "GPL-3.0-only", "both": "MIT OR Apache-2.0", "none": None}.get(path.split("/")[0], "MIT")
    return Licence(spdx=spdx, found_in=f"{path.split('/')[0]}/LICENSE") if spdx else None


def test_an_example_of_several_files_has_the_licences_of_all(tmp_path: Path) -> None:
    """With that of the first alone, `--licences permissive` let files under another licence through."""
    repository = GitRepository(tmp_path / "r")
    folders = ("app", "both", "gpl", "none")
    repository.commit("Begin with all folders", {f"{each}/a.py": f"value = 1  # {each}\n" for each in folders})
    repository.commit("Fix the value of two", {f"{each}/a.py": f"value = 2  # {each}\n" for each in ("app", "both")})
    repository.commit("Fix the value again", {f"{each}/a.py": f"value = 3  # {each}\n" for each in folders})
    (unit,) = commit_units(repository.path, CommitOptions(), name="me/app", licence_of=of_folder)
    found = [record.licence for record in unit.read(Drops())][1:]
    assert [each.spdx for each in found if each is not None] == [
        "MIT AND (MIT OR Apache-2.0)",
        "GPL-3.0-only AND MIT AND (MIT OR Apache-2.0) AND unknown",
    ]
    permissive = gate("permissive")
    assert [permissive.lets_through(each) for each in found if each is not None] == [True, False]


def test_all_edits_of_a_real_history_apply_to_what_is_shown() -> None:
    """This project's own history, as far as it is here."""
    top = Path(__file__).resolve().parents[3]
    try:
        units = commit_units(top, CommitOptions(history=HistoryOptions(max_commits=300)))
    except SeedbedError:
        pytest.skip("the source is not in a git repository")
    drops = Drops()
    records = [record for unit in units for record in unit.read(drops)]
    if len(records) < 50:
        pytest.skip("the history here is short")
    assert not {"edits need lines that are not shown", "unreadable objects"} & reasons(drops).keys()
    whole = 0
    for record in records:
        shown = request(record)
        for edit in read_edits(answer(record)):
            for block in edit.blocks if edit.action != "new" else ():
                assert "\n".join(block.search) in shown
        if (files := files_in(shown)) is not None:
            apply_edits(files, answer(record))
            whole += 1
    assert whole > 5


def files_in(shown: str) -> dict[str, str] | None:
    """The files of a request, read from its text; None if it shows excerpts."""
    files = {}
    for found in re.finditer(r"(?ms)^`([^`\n]+)`(?: \(([^)\n]*)\))?:\n(`{3,})[^\n]*\n(.*?)^\3$", shown):
        facts = found[2] or ""
        if "line " in facts or "lines " in facts:
            return None
        files[found[1]] = found[4].removesuffix("\n") if "no newline" in facts else found[4]
    return None if "(not shown)" in shown else files
