"""A new kind of config is one new file and one line in the table of roots; every function of a config works for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from extended import differences, extended_source, run_python

ADDITION = Path(__file__).with_name("additions") / "probe_config.py"
LINE = '    "probe": Root("probe", "seedbed.config.probe:ProbeConfig", rules_at="seedbed.config.probe:contradictions"),'
FILE = """\
[data]
source = "text:novels"
field = "body"
[tokenizer]
path = "../tokens"
[probe]
documents = 3
width = 4
pooling = "last"
"""
SCRIPT = """
import json, sys
from argparse import Namespace
from pathlib import Path
from seedbed.cli.completers import settings
from seedbed.config.frozen import dump, load_frozen
from seedbed.config.keys import keys, value_of
from seedbed.config.resolving import resolve
from seedbed.config.roots import ROOTS
from seedbed.errors import UsageError

root, file = ROOTS["probe"], Path("configs/probe.toml")
config, origins = resolve(root, file=file, sets=["probe.width=5", "probe.pooling=mean", "probe.report=out.csv"],
                          flags={"probe.width": 6, "probe.characters": None})
kept = Path("config.toml")
kept.write_text(dump(config, origins))
dumped = kept.read_text()

def refused(text="", **wanted):
    if text:
        wanted["file"] = Path("wrong.toml")
        wanted["file"].write_text(text)
    try:
        resolve(root, **wanted)
    except UsageError as error:
        return str(error)

json.dump({
    "values": {path: value_of(config, path) for path in keys(root)},
    "origins": origins,
    "equal": load_frozen(kept, root) == config,
    "dumped": dumped,
    "like": resolve(root, base=config, sets=["probe.characters=10"]).config.probe.documents,
    "misspelt": refused(sets=["probe.wdith=1"]),
    "wrong table": refused("[data]\\nwidth = 1\\n"),
    "elsewhere": refused(sets=["tokenizer.vocabulary_size=9"]),
    "wrong type": refused("[probe]\\nwidth = 'wide'\\n"),
    "wrong choice": refused(sets=["probe.pooling=meen"]),
    "foreign key": refused(sets=["optimizer.lr=1"]),
    "foreign table": refused("[optimizer]\\nlr = 1\\n"),
    "foreign flag": refused(flags={"train.steps": 1}),
    "both": refused("[probe]\\ndocuments = 1\\ncharacters = 2\\n"),
    "shared rule": refused(sets=["data.encoding=klingon"]),
    "own rule": refused(sets=["probe.pooling=last", "probe.width=1"]),
    "preset": refused(preset="nano"),
    "preset in file": refused("preset = 'nano'\\n"),
    "completed": [settings(word, Namespace(kind="probe")) for word in ("pr", "probe.pooling=", "probe.width=", "train.")],
    "paths": settings("probe.report=confi", Namespace(kind="probe")),
}, sys.stdout)
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return extended_source(
        tmp_path_factory.mktemp("extended"),
        {"config/probe.py": ADDITION.read_text(encoding="utf-8")},
        {"config/roots.py": ('"train": TRAIN,', LINE)},
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work").resolve()
    (folder / "configs").mkdir()
    (folder / "configs" / "probe.toml").write_text(FILE)
    return folder


@pytest.fixture(scope="module")
def found(source: Path, folder: Path) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(run_python(source, "-c", SCRIPT, folder=folder).stdout)
    return answer


def test_a_new_kind_of_config_needs_one_new_file_and_one_line(source: Path) -> None:
    assert differences(source) == {"config/probe.py", "config/roots.py"}


def test_layers_replace_each_other_and_each_value_has_its_origin(found: dict[str, Any]) -> None:
    values, origins = found["values"], found["origins"]
    layered = {path: (values[path], origins[path]) for path in ("probe.width", "probe.pooling", "probe.documents")}
    file = "file configs/probe.toml"
    assert layered == {"probe.width": (6, "--width"), "probe.pooling": ("mean", "--set"), "probe.documents": (3, file)}
    assert (values["data.field"], origins["data.field"]) == ("body", file)
    assert (values["data.validation"], origins["data.validation"]) == (0.05, "default")
    assert origins.keys() == values.keys(), "no preset, and no key of another kind"
    assert {path.partition(".")[0] for path in values} == {"data", "tokenizer", "probe"}
    assert found["like"] is None, "a higher layer replaces what its key excludes"


def test_relative_paths_become_absolute_in_shared_and_own_tables(found: dict[str, Any], folder: Path) -> None:
    assert found["values"]["data.source"] == f"text:{folder}/configs/novels"
    assert found["values"]["tokenizer.path"] == f"{folder}/tokens"
    assert found["values"]["probe.report"] == f"{folder}/out.csv"


def test_the_frozen_config_is_read_back_equal(found: dict[str, Any]) -> None:
    assert found["equal"]
    assert found["dumped"].startswith("\n[data]")
    assert "width = 6" in found["dumped"]
    assert "# --width" in found["dumped"]


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("misspelt", 'Unknown key "probe.wdith" (--set). Did you mean probe.width?'),
        ("misspelt", "`seedbed config keys --kind probe` explains every key."),
        ("wrong table", "Did you mean probe.width?"),
        ("elsewhere", "Did you mean tokenizer.vocab_size?"),
        ("wrong type", 'probe.width (file wrong.toml) is "wide"; expected a whole number, at least 1.'),
        ("wrong choice", "Did you mean mean?"),
        ("foreign key", "optimizer.lr (--set) belongs to a train config, not to a probe config."),
        ("foreign table", "[optimizer] in file wrong.toml belongs to a train config, not to a probe config."),
        ("foreign flag", "train.steps (--steps) belongs to a train config, not to a probe config."),
        ("both", "probe.documents and probe.characters are both given (file wrong.toml)."),
        ("both", "Each sets how much to read: give only one of them."),
        ("shared rule", "data.encoding = klingon (--set)"),
        ("own rule", "The last token alone needs two numbers: probe.width = 1 (--set). Set probe.width=2."),
        ("preset", "a probe config has no presets"),
        ("preset in file", "a probe config has no presets"),
    ],
)
def test_invalid_configs_are_refused_with_a_specific_message(found: dict[str, Any], case: str, message: str) -> None:
    assert message in found[case]


def test_keys_and_values_can_be_completed(found: dict[str, Any]) -> None:
    starts, choices, default, foreign = found["completed"]
    assert starts == [f"probe.{name}=" for name in ("documents", "characters", "pooling", "width", "report")]
    assert (choices, default, foreign) == (["probe.pooling=mean", "probe.pooling=last"], ["probe.width=8"], [])
    assert "probe.report=configs/" in found["paths"]


def test_config_commands_show_check_and_explain_the_new_kind(source: Path, folder: Path) -> None:
    def seedbed(*words: str) -> str:
        return run_python(source, "-m", "seedbed", "config", *words, folder=folder).stdout

    shown = json.loads(seedbed("show", "--kind", "probe", "configs/probe.toml", "--set", "probe.width=9", "--json"))
    assert shown["config"]["probe"] | {"report": ""} == {
        "documents": 3,
        "characters": None,
        "pooling": "last",
        "width": 9,
        "report": "",
    }
    assert shown["origins"]["probe.width"] == "--set"
    assert seedbed("check", "--kind", "probe", "configs/probe.toml") == "Nothing is wrong with this config.\n"
    explained = seedbed("keys", "--kind", "probe")
    assert "probe.width = 8\n  Numbers in that vector. (A whole number, at least 1.)" in explained
    assert "probe.documents = not set" in explained
    assert "train.steps" not in explained
    assert "{train,probe,simulate,evaluate,prepare,merge,clip}" in seedbed("keys", "--help")
    foreign = "from seedbed.cli.main import main; assert main(['config', 'keys', 'optimizer', '--kind', 'probe']) == 2"
    assert '"optimizer" belongs to a train config.' in run_python(source, "-c", foreign, folder=folder).stderr
