"""Rows for fill in the middle from files, repositories and folders."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import sysconfig
from collections import Counter
from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fim_tokenizers import characters
from real.assets import llama3_tokenizer, qwen3_tokenizer
from seedbed.curation.drops import Drops
from seedbed.curation.fim import syntax
from seedbed.curation.fim.families import markers
from seedbed.curation.fim.neighbours import GROUP_FILES, Neighbours, imported_names
from seedbed.curation.fim.rendering import render_fim, render_text
from seedbed.curation.fim.samples import SampleOptions, Sampler
from seedbed.curation.fim.spans import Mix
from seedbed.curation.fim.units import FimOptions, FimUnit, fim_units
from seedbed.curation.record import Provenance, Record, content_id, decode, encode
from seedbed.curation.repositories.files import Source, open_tree
from seedbed.curation.repositories.languages import languages
from seedbed.curation.steps import units_of_rank
from seedbed.errors import SeedbedError, UsageError
from seedbed.tokenizer.tokenizer import Tokenizer

PYTHON = languages()["Python"]
FUNCTION = "def function_{0}(first, second):\n    total = first * {0} + second\n    return total\n\n\n"
CODE = "".join(FUNCTION.format(number) for number in range(30))


def rows(text: str, options: SampleOptions, path: str = "a.py", drops: Drops | None = None) -> list[Record]:
    sampler = Sampler(options, None, None, None)
    provenance = Provenance(source="git", repository="me/app", path=path)
    return list(sampler.records(Source(path, text, PYTHON), provenance, None, drops or Drops()))


def piece_of(record: Record) -> str:
    if record.kind == "text":
        return record.text or ""
    return f"{record.prefix}{record.middle}{record.suffix}"


def folder_of(path: Path, contents: dict[str, str]) -> Path:
    for name, content in contents.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content.encode())
    return path


def read(path: Path, options: FimOptions, drops: Drops | None = None) -> list[Record]:
    return [record for unit in fim_units(path, options) for record in unit.read(drops or Drops())]


@settings(max_examples=60, deadline=None)
@given(
    text=st.lists(
        st.sampled_from(["x = 1\r\n", "    y = '世界'\n", "\n", "def f():\n", "# 😀 é\r\n", "\ufeff", "return\r"]),
        max_size=400,
    ).map("".join),
    seed=st.integers(0, 100),
)
def test_joined_rows_are_the_file(text: str, seed: int) -> None:
    drops = Drops()
    found = rows(text, SampleOptions(max_tokens=200, fim_rate=0.8, seed=seed), drops=drops)
    if drops.total == 0:
        assert "".join(map(piece_of, found)) == text
    for record in found:
        assert piece_of(record) in text
        assert record.kind == "text" or (record.middle or "").strip()


def test_rows_of_the_standard_library_are_its_files() -> None:
    """The parts join to the file: CRLF, byte order marks and characters of several bytes included."""
    folder = Path(sysconfig.get_paths()["stdlib"]) / "json"
    if not folder.is_dir():
        pytest.skip("the standard library has no source files here")
    options = SampleOptions(max_tokens=400, fim_rate=1.0)
    for path in [*folder.glob("*.py"), *sorted(folder.parent.glob("test/test_[a-c]*.py"))[::8]]:
        try:
            text = path.read_bytes().decode()
        except UnicodeDecodeError:
            continue
        drops = Drops()
        for variant in (text, "\ufeff" + text.replace("\n", "\r\n")):
            found = rows(variant, options, path.name, drops)
            whole = "".join(map(piece_of, found))
            assert whole == variant or drops.total
            for record in found:
                for part in (record.prefix, record.middle, record.suffix):
                    assert part is None or not part.startswith("\n") or not variant.startswith("\ufeff")


def test_rows_have_at_most_their_tokens_with_markers_and_end() -> None:
    tokenizer = Tokenizer.of_model(qwen3_tokenizer())
    found = markers("qwen2.5-coder", tokenizer)
    for most in (128, 300):
        sampler = Sampler(SampleOptions(max_tokens=most, fim_rate=0.7), "qwen2.5-coder", tokenizer, found)
        text = Path(syntax.__file__).read_text(encoding="utf-8") + "# " + "ä😀 " * 60 + "\n"
        lengths = [
            len(
                render_fim(record, found, tokenizer.encode).ids
                if record.kind == "fim"
                else render_text(record.text or "", found, tokenizer.encode).ids
            )
            for record in sampler.records(Source("a.py", text, PYTHON), Provenance(source="git"), None, Drops())
        ]
        assert max(lengths) <= most
        assert max(lengths) > most / 2
        assert len(lengths) > 4


def test_half_of_the_rows_have_a_gap_and_half_of_these_each_order() -> None:
    found = [record for number in range(30) for record in rows(CODE, SampleOptions(max_tokens=150), f"{number}.py")]
    kinds = Counter(record.kind for record in found)
    orders = Counter(record.order for record in found if record.kind == "fim")
    assert 0.42 < kinds["fim"] / len(found) < 0.58
    assert 0.4 < orders["psm"] / kinds["fim"] < 0.6
    assert set(orders) == {"psm", "spm"}


def test_a_gap_may_begin_and_end_within_a_word() -> None:
    """A cursor stops within words; the ids of the markers and the trained end teach where the middle joins."""
    found = [record for number in range(40) for record in rows(CODE, SampleOptions(max_tokens=150), f"{number}.py")]
    inside = [
        record
        for record in found
        if record.kind == "fim" and record.prefix and (record.prefix[-1] + (record.middle or "")[0]).isalnum()
    ]
    assert 0.05 < len(inside) / len(found) < 0.6


def test_rows_depend_on_seed_and_path_and_not_on_the_order_of_files(tmp_path: Path) -> None:
    """With one generator for all files, another order of the files or another file gave other rows."""
    options = SampleOptions(max_tokens=150)
    alone = rows(CODE, options)
    sampler = Sampler(options, None, None, None)
    after = []
    for path in ("z.py", "a.py"):
        after += list(
            sampler.records(
                Source(path, CODE, PYTHON), Provenance(source="git", repository="me/app", path=path), None, Drops()
            )
        )
    assert [encode(each) for each in after if each.provenance.path == "a.py"] == [encode(each) for each in alone]
    assert [each.id for each in rows(CODE, SampleOptions(max_tokens=150, seed=1))] != [each.id for each in alone]
    assert [each.id for each in rows(CODE, options, "b.py")] != [each.id for each in alone]


def test_a_row_says_where_it_is_from_and_is_a_row_of_the_format(tmp_path: Path) -> None:
    app = folder_of(
        tmp_path / "app", {"src/a.py": CODE, "LICENSE-0BSD": "x", "b.py": f"# SPDX-License-Identifier: MIT\n{CODE}"}
    )
    for command in (
        ["init", "-q"],
        ["remote", "add", "origin", "https://user:secret@example.com/me/app.git"],
        ["add", "-A"],
    ):
        subprocess.run(["git", *command], cwd=app, check=True)
    identity = ["-c", "user.name=T", "-c", "user.email=t@example.com"]
    subprocess.run(["git", *identity, "commit", "-q", "-m", "first"], cwd=app, check=True)
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=app, check=True, capture_output=True, text=True
    ).stdout.strip()
    found = read(app, FimOptions(samples=SampleOptions(max_tokens=300)))
    record = next(each for each in found if each.provenance.path == "src/a.py")
    assert (record.provenance.source, record.provenance.repository, record.provenance.commit) == ("git", "me/app", head)
    assert record.links == ["path:me/app/src/a.py"]
    assert record.language == "Python"
    assert record.licence is not None
    assert record.licence.spdx == "unknown"
    assert {each.licence.spdx for each in found if each.licence and each.provenance.path == "b.py"} == {"MIT"}
    for each in found:
        assert each.id == content_id(each)
        assert decode(encode(each)) == each
        assert str(tmp_path) not in encode(each).decode()
        assert "secret" not in encode(each).decode()


def test_no_absolute_path_is_in_a_row_of_a_plain_folder(tmp_path: Path) -> None:
    plain = folder_of(tmp_path / "plain", {"src/a.py": CODE})
    for each in read(plain, FimOptions()):
        assert each.provenance.path == "src/a.py"
        assert each.provenance.source == "files"
        assert str(tmp_path) not in encode(each).decode()


def test_names_that_are_not_utf_8_give_rows_that_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / os.fsdecode(b"caf\xe9.py")).write_text(CODE)
    found = read(tmp_path / "plain", FimOptions())
    assert {each.provenance.path for each in found} == {"caf\\xe9.py"}
    assert all(decode(encode(each)).links == ["path:plain/caf\\xe9.py"] for each in found)


def test_licences_that_are_not_let_through_are_counted(tmp_path: Path) -> None:
    plain = folder_of(tmp_path / "plain", {"a.py": f"# SPDX-License-Identifier: MIT\n{CODE}", "b.py": CODE})
    drops = Drops()
    found = read(plain, FimOptions(licences="permissive"), drops)
    assert {each.provenance.path for each in found} == {"a.py"}
    assert drops.counts["licences", "licence not let through: unknown"] == 1
    assert drops.notes["licences", "files: MIT"] == 1
    assert {each.provenance.path for each in read(plain, FimOptions())} == {"a.py", "b.py"}


def test_any_number_of_processes_gives_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seedbed.curation.fim.units.UNIT_FILES", 3)
    plain = folder_of(tmp_path / "plain", {f"{number:02}.py": FUNCTION.format(number) * 5 for number in range(10)})
    units = fim_units(plain, FimOptions(samples=SampleOptions(max_tokens=100)))
    assert fim_units(plain, FimOptions(), name="me/app")[0].name == "me/app (1 of 4)"
    assert [unit.name for unit in units] == [f"plain ({number} of 4)" for number in (1, 2, 3, 4)]
    expected = [encode(record) for unit in units for record in unit.read(Drops())]
    for world in (2, 8):
        by_number = {
            number: [encode(record) for record in pickle.loads(pickle.dumps(unit)).read(Drops())]
            for rank in range(world)
            for number, unit in units_of_rank(units, rank, world)
        }
        assert [row for number in sorted(by_number) for row in by_number[number]] == expected


def test_the_fingerprint_of_a_unit_changes_with_files_and_options(tmp_path: Path) -> None:
    plain = folder_of(tmp_path / "plain", {"a.py": CODE})

    assert [unit.size_bytes for unit in fim_units(plain, FimOptions())] == [len(CODE)]

    def fingerprints(options: FimOptions) -> list[str]:
        return [unit.fingerprint() for unit in fim_units(plain, options)]

    before = fingerprints(FimOptions())
    assert fingerprints(FimOptions()) == before
    assert fingerprints(FimOptions(samples=SampleOptions(seed=1))) != before
    characters().save(tmp_path / "tokenizer")
    assert fingerprints(FimOptions(tokenizer=tmp_path / "tokenizer")) != before
    folder_of(plain, {"a.py": CODE + "\n"})
    assert fingerprints(FimOptions()) != before
    before = fingerprints(FimOptions())
    folder_of(plain, {"LICENSE": "MIT"})
    assert fingerprints(FimOptions()) != before


def test_an_unfit_tokenizer_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(SeedbedError, match=r"<\|fim_prefix\|>"):
        fim_units(tmp_path, FimOptions(family="qwen2.5-coder", tokenizer=llama3_tokenizer()))
    with pytest.raises(UsageError, match="no model family"):
        fim_units(tmp_path, FimOptions(family="gpt2"))
    with pytest.raises(UsageError, match="SPDX"):
        fim_units(tmp_path, FimOptions(licences="M;T"))


def test_a_tokenizer_without_markers_sizes_rows_when_no_family_is_named(tmp_path: Path) -> None:
    plain = folder_of(tmp_path / "plain", {"a.py": CODE})
    drops = Drops()
    found = read(plain, FimOptions(tokenizer=llama3_tokenizer(), samples=SampleOptions(max_tokens=200)), drops)
    tokenizer = Tokenizer.of_model(llama3_tokenizer())
    assert max(len(tokenizer.encode(piece_of(record))) for record in found) <= 200
    assert not drops.notes["fim", "files whose tokens are estimated (3.2 bytes each), without a tokenizer"]


def test_missing_grammars_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tree_sitter_python", None)
    with pytest.raises(SeedbedError, match="tree_sitter_python") as refused:
        fim_units(tmp_path, FimOptions())
    assert "seedbed[prepare]" in refused.value.hint


def test_short_files_and_long_lines_are_counted() -> None:
    drops = Drops()
    assert rows("x = 1\n", SampleOptions(), drops=drops) == []
    assert drops.counts["fim", "fewer than 40 characters"] == 1
    text = f"{CODE}x = '{'long ' * 150}'\n{CODE}"
    found = rows(text, SampleOptions(max_tokens=150), drops=drops)
    assert drops.counts["fim", "line longer than a row"] == 1
    assert "".join(map(piece_of, found)) == CODE + CODE


def test_pieces_of_a_very_long_file_have_syntax_nodes_and_their_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "# äöü 世界\n" + CODE.replace("total", "tötal")
    options = SampleOptions(max_tokens=200, fim_rate=1.0, mix=Mix(character=0, syntax=1))
    whole = rows(text, options)
    monkeypatch.setattr("seedbed.curation.fim.samples._PARSED_CHARACTERS", 100)
    apart = rows(text, options)
    for found in (whole, apart):
        assert "".join(map(piece_of, found)) == text
        assert {record.span for record in found} == {"syntax"}
        for record in found:
            assert (record.middle or "").strip() == record.middle


def test_families_without_an_order_get_the_other_one() -> None:
    sampler = Sampler(SampleOptions(max_tokens=150, fim_rate=1), "codestral", None, None)
    found = sampler.records(Source("a.py", CODE, PYTHON), Provenance(source="git"), None, Drops())
    assert {record.order for record in found} == {"spm"}


# ---------------------------------------------------------------------------------------------- other files

_PACKAGE = {
    "app/__init__.py": CODE,
    "app/store.py": CODE,
    "app/view.py": f"from app.store import function_1\nimport os\n\n{CODE}",
    "app/other.py": CODE,
    "lib/tool.py": f"from app import store\n\n{CODE}",
    **{f"many/m{number:02}.py": CODE for number in range(20)},
}


def test_names_of_imports_in_several_languages() -> None:
    assert imported_names("from a.b import c\nimport os.path as p\nx = 1\n") == ["a/b", "c", "os/path"]
    assert imported_names('#include "net/io.h"\n#include <stdio.h>\n') == ["net/io.h", "stdio.h"]
    assert imported_names("import {x} from './lib/x.js'\nconst y = require('../y')\n") == ["lib/x.js", "y"]
    assert imported_names("use crate::store::Row;\nmod view;\n") == ["store/row", "view"]
    assert imported_names('import (\n\t"fmt"\n\t"example.com/app/store"\n)\n') == ["fmt", "example.com/app/store"]


def test_groups_are_small_and_join_what_imports_each_other() -> None:
    found = Neighbours([Source(path, text, PYTHON) for path, text in sorted(_PACKAGE.items())], 1000)
    assert found.of("app/view.py")[0][0] == "app/store.py"
    assert all(len(found.of(path)) < GROUP_FILES for path in _PACKAGE)
    assert found.of("nowhere.py") == []


def test_rows_that_show_other_files_are_linked_to_them_and_fit(tmp_path: Path) -> None:
    plain = folder_of(tmp_path / "plain", _PACKAGE)
    tokenizer = characters("<fim_prefix>", "<fim_suffix>", "<fim_middle>", "<fim_pad>", "<repo_name>", "<file_sep>")
    tokenizer.save(tmp_path / "tokenizer")
    options = FimOptions(
        family="starcoder2",
        tokenizer=tmp_path / "tokenizer",
        samples=SampleOptions(max_tokens=1500, fim_rate=1.0),
        context="repository",
    )
    found = markers("starcoder2", tokenizer)
    shown = [record for record in read(plain, options) if record.context]
    assert len(shown) > 10
    components: dict[str, set[str]] = {}
    for record in shown:
        own = f"path:plain/{record.provenance.path}"
        others = [f"path:plain/{each.path}" for each in record.context or ()]
        assert record.links == [own, *others]
        assert own not in others
        assert all(_PACKAGE[each.path].startswith(each.text) for each in record.context or ())
        assert len(render_fim(record, found, tokenizer.encode).ids) <= 1500
        joined = set().union({own}, others, *(components.get(each, set()) for each in (own, *others)))
        components |= dict.fromkeys(joined, joined)
    assert max(map(len, components.values())) <= GROUP_FILES


def test_other_files_need_a_family_with_markers_for_them(tmp_path: Path) -> None:
    for family in (None, "codellama"):
        with pytest.raises(UsageError, match="Other files") as refused:
            fim_units(tmp_path, FimOptions(family=family, context="repository"))
        assert "qwen2.5-coder" in refused.value.hint


@pytest.mark.slow
def test_the_whole_standard_library_keeps_every_character() -> None:
    folder = Path(sysconfig.get_paths()["stdlib"])
    drops = Drops()
    options = FimOptions(samples=SampleOptions(max_tokens=1024))
    found = (record for unit in fim_units(folder, options) for record in unit.read(drops))
    for path, group in groupby(found, key=lambda record: record.provenance.path):
        text = (folder / (path or "")).read_bytes().decode()
        whole = "".join(map(piece_of, group))
        assert whole == text or whole in text or len(whole) > 0.5 * len(text)
    assert isinstance(fim_units(folder, options)[0], FimUnit)
    assert open_tree(folder)[0].repository is None
