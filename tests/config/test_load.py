"""Layers, strictness, horizons, paths and origins of a config."""

from __future__ import annotations

import os
import string
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.config.keys import keys, nearest_keys, tables
from seedbed.config.load import Flagged, cache_dir, dump, env, load_frozen, preset_about, preset_names, resolve
from seedbed.config.schema import Config
from seedbed.config.synonyms import OTHER_UNITS, SYNONYMS
from seedbed.errors import EXIT_USAGE, UsageError


def written(folder: Path, text: str) -> Path:
    path = folder / "my.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refused(**wanted: object) -> str:
    with pytest.raises(UsageError) as caught:
        resolve(**wanted)  # type: ignore[arg-type]
    assert caught.value.exit_code == EXIT_USAGE
    return str(caught.value)


def test_each_layer_beats_the_one_below_and_says_so(tmp_path: Path) -> None:
    file = written(tmp_path, "[train]\nseed = 1\nbatch_size = 8\nkeep_last = 5\n")
    config, origins = resolve(
        file=file, sets=["train.seed=2", "train.batch_size=4"], flags={"train.seed": Flagged(3, "--seed")}
    )
    assert (config.train.seed, config.train.batch_size, config.train.keep_last) == (3, 4, 5)
    assert origins["train.seed"] == "--seed"
    assert origins["train.batch_size"] == "--set"
    assert origins["train.keep_last"] == f"file {file}"
    assert origins["model.layers"] == "preset nano"
    assert origins["train.precision"] == "default"
    assert origins["preset"] == "default"


def test_every_leaf_has_an_origin() -> None:
    assert set(resolve(preset="small").origins) == {"preset", *keys()}


def test_flags_left_out_are_not_a_layer() -> None:
    config, origins = resolve(flags={"train.seed": None, "optimizer.lr": "1e-3"})
    assert config.train.seed == 1337
    assert config.optimizer.lr == 1e-3
    assert origins["optimizer.lr"] == "--lr"


def test_a_file_names_its_preset_and_a_flag_overrides_it(tmp_path: Path) -> None:
    file = written(tmp_path, 'preset = "tiny"\n')
    assert resolve(file=file).config.preset == "tiny"
    assert resolve(file=file).origins["preset"] == f"file {file}"
    assert resolve(file=file).config.model.hidden == 256
    assert resolve(file=file, preset="nano").config.model.hidden == 128
    assert resolve(sets=["preset=tiny"]).config.model.hidden == 256


@pytest.mark.parametrize(
    ("written_as", "meant"),
    [("2e-5", 2e-5), ("1e-5", 1e-5), (".5", 0.5), ("5", 5.0), ("0.1", 0.1), ("1_0.5", 10.5)],
)
def test_numbers_as_people_type_them(written_as: str, meant: float) -> None:
    value = resolve(sets=[f"optimizer.lr={written_as}"]).config.optimizer.lr
    assert isinstance(value, float)
    assert value == meant


@pytest.mark.parametrize(
    ("written_as", "meant"), [("1e6", 1_000_000), ("1_000_000", 1_000_000), ("7", 7), ("1e3", 1000)]
)
def test_whole_numbers_as_people_type_them(written_as: str, meant: int) -> None:
    value = resolve(sets=[f"train.steps={written_as}"]).config.train.steps
    assert type(value) is int
    assert value == meant


def test_a_file_may_write_whole_numbers_as_floats_and_floats_as_whole_numbers(tmp_path: Path) -> None:
    config = resolve(file=written(tmp_path, "[train]\nsteps = 1e3\n[optimizer]\nlr = 1\n")).config
    assert config.train.steps == 1000
    assert type(config.train.steps) is int
    assert type(config.optimizer.lr) is float


def test_lists_and_texts_on_the_command_line() -> None:
    sets = ['train.sample_prompts=["a, b", "c"]', "train.device=A30", 'data.field="te xt"', "train.keep_best=false"]
    config = resolve(sets=sets).config
    assert config.train.sample_prompts == ("a, b", "c")
    assert config.train.device == "A30"
    assert config.data.field == "te xt"
    assert config.train.keep_best is False
    assert resolve(sets=["train.sample_prompts=Once, twice"]).config.train.sample_prompts == ("Once, twice",)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[optimizer]\nlr = "2e-5"\n', "optimizer.lr"),
        ("[train]\nsteps = 1.5\n", "train.steps"),
        ("[train]\nsteps = true\n", "train.steps"),
        ("[train]\nsteps = 0\n", "train.steps"),
        ("[train]\nepochs = -1\n", "train.epochs"),
        ("[train]\nkeep_best = 1\n", "train.keep_best"),
        ("[optimizer]\nlr = nan\n", "optimizer.lr"),
        ("[optimizer]\nlr = inf\n", "optimizer.lr"),
        ("[optimizer]\nlr = -0.1\n", "optimizer.lr"),
        ("[model]\ncontext = 0\n", "model.context"),
        ("[model]\nlayers = 99999999999999999999\n", "model.layers"),
        ("[model]\nlayout = 'qwen'\n", "qwen3"),
        ("[tokenizer]\nvocab_size = 1\n", "tokenizer.vocab_size"),
        ("[train]\nsample_prompts = 'one'\n", "train.sample_prompts"),
        ("[train]\nsample_prompts = [1]\n", "train.sample_prompts"),
        ("[data]\nsource = 3\n", "data.source"),
        ("[data]\nvalidation = 1.0\n", "data.validation"),
        ("model = 3\n", "[model]"),
        ("preset = 3\n", "preset"),
        ("[model]\nheads = {a = 1}\n", "model.heads"),
        ("[about]\nx = 1\n", "[about]"),
        ("lr = 1\n", "optimizer.lr"),
        ("[train]\nlr = 1\n", "optimizer.lr"),
        ("[optimiser]\nlr = 1\n", "[optimizer]"),
        ("[model]\nheads = 4\nheads = 5\n", "TOML"),
        ("[model\n", "line 1"),
    ],
)
def test_a_wrong_file_is_refused_naming_the_key_and_the_file(tmp_path: Path, text: str, told: str) -> None:
    file = written(tmp_path, text)
    message = refused(file=file)
    assert told in message
    assert str(file) in message


@pytest.mark.parametrize(
    ("item", "told"),
    [
        ("optimizer.lr=fast", "a number, at least 0"),
        ("train.steps=many", "a whole number, at least 1"),
        ("train.keep_best=yes", "true or false"),
        ("train.precision=fp8", "one of auto, fp32, bf16, fp16"),
        ("optimizer.lr", "table.key=value"),
        ("model=3", "model.layout"),
        ("train.epoch=3", "train.epochs"),
    ],
)
def test_a_wrong_set_says_what_was_expected(item: str, told: str) -> None:
    message = refused(sets=[item])
    assert told in message
    assert "--set" in message


def test_a_missing_binary_or_foreign_file_is_refused(tmp_path: Path) -> None:
    assert "no config file" in refused(file=tmp_path / "none.toml")
    assert f"--data text:{tmp_path}" in refused(file=tmp_path)
    assert "folder" in refused(file=tmp_path)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00[model]")
    assert "UTF-8" in refused(file=tmp_path / "binary.toml")
    assert "--preset tiny" in refused(file=Path("tiny"))


def test_unknown_presets_name_the_known_ones() -> None:
    assert "Did you mean tiny?" in refused(preset="tny")
    message = refused(preset="custom")
    assert "override" in message
    assert "nano" in message
    assert "seedbed train FILE" in refused(preset="my.toml")
    assert "no preset" in refused(preset="../presets/nano")


# --- Typos: exhaustive over keys and positions ---------------------------------------------------------------------


def typos(word: str, letters: str = string.ascii_lowercase + string.digits + "_") -> set[str]:
    """Every word one deletion, swap, insertion or replacement away."""
    found = set()
    for i in range(len(word) + 1):
        found |= {word[:i] + letter + word[i:] for letter in letters}
        if i < len(word):
            found.add(word[:i] + word[i + 1 :])
            found |= {word[:i] + letter + word[i + 1 :] for letter in letters}
        if i + 1 < len(word):
            found.add(word[:i] + word[i + 1] + word[i] + word[i + 2 :])
    return found - {word, ""}


def test_no_typo_of_a_key_is_another_key_but_for_the_two_betas() -> None:
    pairs = {
        (key.path, f"{key.table}.{typo}")
        for key in keys().values()
        for typo in typos(key.name)
        if f"{key.table}.{typo}" in keys()
    }
    assert pairs == {("optimizer.beta1", "optimizer.beta2"), ("optimizer.beta2", "optimizer.beta1")}


@pytest.mark.parametrize("table", list(tables()))
def test_every_typo_of_a_key_is_refused_and_names_the_right_one(table: str) -> None:
    for key in (key for key in keys().values() if key.table == table):
        for typo in typos(key.name, "aepst_2"):
            path = f"{table}.{typo}"
            if path in keys():
                continue
            named = nearest_keys(path)
            assert key.path in named, f"{path}: {named}"
        some = next(typo for typo in sorted(typos(key.name)) if f"{table}.{typo}" not in keys())
        assert key.path in refused(sets=[f"{table}.{some}=1"])


@pytest.mark.parametrize("table", list(tables()))
def test_every_typo_of_a_table_is_refused_and_names_the_right_one(table: str, tmp_path: Path) -> None:
    for typo in sorted(typos(table) - set(tables()))[::7]:
        assert f"[{table}]" in refused(file=written(tmp_path, f"[{typo}]\nx = 1\n")), typo


# --- Horizons -------------------------------------------------------------------------------------------------------


def test_a_horizon_in_a_higher_layer_replaces_those_below(tmp_path: Path) -> None:
    file = written(tmp_path, "[train]\nepochs = 2\n")
    config, origins = resolve(file=file)
    assert (config.train.steps, config.train.epochs, config.train.tokens) == (None, 2.0, None)
    assert origins["train.steps"] == "default"
    config = resolve(file=file, sets=["train.tokens=1e6"]).config
    assert (config.train.steps, config.train.epochs, config.train.tokens) == (None, None, 1_000_000)
    config = resolve(file=file, sets=["train.tokens=1e6"], flags={"train.steps": 5}).config
    assert (config.train.steps, config.train.epochs, config.train.tokens) == (5, None, None)


def test_two_horizons_in_one_layer_are_refused(tmp_path: Path) -> None:
    assert "keep one of them" in refused(file=written(tmp_path, "[train]\nsteps = 3\nepochs = 1\n"))
    assert "keep one of them" in refused(sets=["train.steps=3", "train.tokens=10"])
    assert "--steps and --epochs" in refused(flags={"train.steps": 3, "train.epochs": 1})


# --- Paths ----------------------------------------------------------------------------------------------------------


def test_paths_in_a_file_start_at_the_file_and_others_at_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    file = written(tmp_path, '[data]\nsource = "text:novels"\npath = "../copy"\n[tokenizer]\npath = "~/tok"\n')
    config = resolve(file=Path("../my.toml")).config
    assert config.data.source == f"text:{tmp_path}/novels"
    assert config.data.path == str(tmp_path.parent / "copy")
    assert config.tokenizer.path == f"{tmp_path}/home/tok"
    config = resolve(file=file, sets=["data.source=text:novels"], flags={"data.path": "x"}).config
    assert config.data.source == f"text:{tmp_path}/elsewhere/novels"
    assert config.data.path == f"{tmp_path}/elsewhere/x"


def test_what_is_no_path_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stories").mkdir()
    for source in ("stories", "wikitext-2", "hf:HuggingFaceFW/fineweb-edu:sample-10BT@text", "text:/a/b.txt"):
        assert resolve(sets=[f"data.source={source}"]).config.data.source == source
    assert resolve(sets=["data.source=hf:./local:cfg@col"]).config.data.source == f"hf:{tmp_path}/local:cfg@col"
    assert resolve(sets=["data.source=out/prepared"]).config.data.source == f"{tmp_path}/out/prepared"
    (tmp_path / "prepared").mkdir()
    (tmp_path / "prepared" / "manifest.json").write_text("{}")
    assert resolve(sets=["data.source=prepared"]).config.data.source == f"{tmp_path}/prepared"
    assert resolve(sets=["data.path="]).config.data.path == ""


# --- Nonsense between keys ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sets", "told"),
    [
        (["model.heads=5"], "model.kv_heads = 2 (preset nano)"),
        (["model.heads=5"], "1, 5"),
        (["train.batch_size=16", "train.micro_batch=5"], "1, 2, 4, 8, 16"),
        (["model.layout=gpt2", "model.hidden=100"], "model.hidden=128"),
        (["model.layout=gpt2", "model.kv_heads=1"], "model.kv_heads=2"),
        (["model.head_dim=31"], "even"),
        (["schedule.warmup=0.6", "schedule.decay=0.6"], "schedule.decay = 0.6 (--set)"),
        (["train.early_stop=2", "train.eval_every=0"], "train.eval_every"),
        (["data.validation_path=x"], "data.source"),
        (["train.batch_size=1000000000000", "train.micro_batch=7"], "1, 2, 4, 5, 8"),
        (["model.heads=100000000007", "model.kv_heads=3"], "283286119"),
        (["train.tokens=9223372036854775807"], "more than 1,000,000,000,000 steps"),
    ],
)
def test_contradictions_are_refused_with_what_to_set(sets: list[str], told: str) -> None:
    assert told in refused(sets=sets)


@pytest.mark.parametrize(
    "value",
    [
        "train.steps=9223372036854775807",
        "train.epochs=1e300",
        "train.sample_tokens=1000000000000",
        "train.threads=1000000",
        "data.workers=1000000",
        "data.stories=1000000000000",
    ],
)
def test_what_no_machine_can_do_is_refused_with_the_largest_that_is_allowed(value: str) -> None:
    assert "at most" in refused(sets=[value])


def test_gpt2_may_have_an_odd_head() -> None:
    assert resolve(sets=["model.layout=gpt2", "model.head_dim=33", "model.hidden=66"]).config.model.head_dim == 33


# --- Frozen configs, --like and dumps -------------------------------------------------------------------------------


def test_an_earlier_run_stands_in_for_the_preset(tmp_path: Path) -> None:
    base = resolve(preset="tiny", sets=["optimizer.lr=0.5", "train.epochs=3"]).config
    config, origins = resolve(base=base, sets=["train.steps=7"])
    assert config.optimizer.lr == 0.5
    assert (config.train.steps, config.train.epochs) == (7, None)
    assert config.preset == "tiny"
    assert origins["optimizer.lr"] == "the earlier run"
    assert resolve(base=base).config == base
    assert "preset" in refused(base=base, preset="nano")
    assert "preset" in refused(base=base, file=written(tmp_path, 'preset = "nano"\n'))


@pytest.mark.parametrize("name", preset_names())
def test_a_dump_reads_back_equal_with_and_without_origins(name: str, tmp_path: Path) -> None:
    config, origins = resolve(preset=name, sets=['train.sample_prompts=["tab\\t quote\\" ü", "# no comment"]'])
    for text in (dump(config), dump(config, origins)):
        assert load_frozen(written(tmp_path, text)) == config
    assert "# --set" in dump(config, origins)
    assert f"# preset {name}" in dump(config, origins)


@given(st.text(st.characters(exclude_categories=["Cs"])))
@settings(max_examples=200, deadline=None)
def test_any_text_survives_a_dump(text: str) -> None:
    config, origins = resolve(flags={"train.sample_prompts": [text], "data.field": Flagged([text][0], "--field")})
    read = tomllib.loads(dump(config, origins))
    assert read["train"]["sample_prompts"] == [text]
    assert read["data"]["field"] == config.data.field


@given(st.floats(min_value=0, allow_nan=False, allow_infinity=False))
@settings(max_examples=200, deadline=None)
def test_any_number_survives_a_dump(number: float) -> None:
    config = resolve(flags={"optimizer.lr": number}).config
    assert tomllib.loads(dump(config))["optimizer"]["lr"] == number


def test_an_edited_frozen_config_is_refused(tmp_path: Path) -> None:
    text = dump(resolve().config)
    with pytest.raises(UsageError, match=r"model\.hidden"):
        load_frozen(written(tmp_path, text.replace("hidden = 128", "hidden = 'wide'")))
    with pytest.raises(UsageError, match=r"model\.heads"):
        load_frozen(written(tmp_path, text.replace("hidden = 128", "hiden = 128").replace("hiden", "haeds")))


def test_origins_cannot_steer_a_terminal_or_break_the_file(tmp_path: Path) -> None:
    config, origins = resolve()
    text = dump(config, dict.fromkeys(origins, "file a\nb\x1b[31m.toml"))
    assert "\x1b" not in text
    assert load_frozen(written(tmp_path, text)) == config


def test_a_config_is_frozen() -> None:
    config = resolve().config
    with pytest.raises(AttributeError):
        config.train.seed = 2  # type: ignore[misc]


# --- Presets and the environment ------------------------------------------------------------------------------------


def test_presets_come_smallest_first_and_tell_what_they_need() -> None:
    assert preset_names() == ["nano", "tiny", "small", "base"]
    for name in preset_names():
        about = preset_about(name)
        assert set(about) == {"description", "parameters", "hardware", "expected_time", "why_optimizer"}
        assert all(about.values())


def test_presets_need_no_network_up_to_tiny() -> None:
    assert [resolve(preset=name).config.data.source for name in ("nano", "tiny")] == ["stories", "stories"]


@pytest.mark.parametrize("name", [name for name in preset_names() if name != "nano"])
def test_widths_suit_k_quants(name: str) -> None:
    model = resolve(preset=name).config.model
    assert model.hidden % 256 == 0
    assert model.ffn % 256 == 0


def test_every_key_has_help_and_says_what_it_expects() -> None:
    for key in keys().values():
        assert key.help.endswith("."), key.path
        assert key.expected, key.path
    assert keys()["data.validation"].expected == "a number, above 0 and below 1"
    assert keys()["train.steps"].expected == "a whole number, at least 1 and at most 1,000,000,000,000"
    assert keys()["train.keep_best"].expected == "true or false"


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SEEDBED_CACHE", str(tmp_path))
    assert cache_dir() == tmp_path
    monkeypatch.delenv("SEEDBED_CACHE")
    assert cache_dir().name == "seedbed"
    assert cache_dir().is_absolute()
    monkeypatch.setenv("SEEDBED_X", "1")
    assert (env("SEEDBED_X"), env("SEEDBED_Y", "no")) == ("1", "no")


def test_the_schema_alone_is_a_valid_start() -> None:
    assert Config().train.steps is None


@pytest.mark.parametrize("name", ["cp1252", "UTF-16", "latin-1", "shift_jis", "utf-8"])
def test_an_encoding_that_python_knows_is_taken(name: str) -> None:
    assert resolve(sets=[f"data.encoding={name}"]).config.data.encoding == name


@pytest.mark.parametrize("name", ["klingon", "base64", "rot13", "idna", "a b\u00e9"])
def test_what_is_no_encoding_of_text_is_refused_at_once(name: str) -> None:
    assert "data.encoding" in refused(sets=[f"data.encoding={name}"])


@pytest.mark.parametrize(
    ("path", "right"),
    [
        ("optimizer.learning_rate", "optimizer.lr"),
        ("learning-rate", "optimizer.lr"),
        ("train.max_steps", "train.steps"),
        ("train.max_iters", "train.steps"),
        ("train.num_train_epochs", "train.epochs"),
        ("per_device_train_batch_size", "train.batch_size"),
        ("model.block_size", "model.context"),
        ("model.n_layer", "model.layers"),
        ("n_head", "model.heads"),
        ("n_embd", "model.hidden"),
        ("model.num_hidden_layers", "model.layers"),
        ("optimizer.max_grad_norm", "optimizer.grad_clip"),
        ("train.warmup_steps", "schedule.warmup"),
        ("train.save_steps", "train.checkpoint_every"),
        ("train.leraning_rate", "optimizer.lr"),
    ],
)
def test_a_name_from_another_program_leads_to_the_right_key(path: str, right: str) -> None:
    assert right in nearest_keys(path)
    assert right in refused(sets=[f"{path}=1"])


def test_every_name_from_elsewhere_leads_to_a_key_and_hides_none() -> None:
    assert set(SYNONYMS.values()) <= set(keys())
    assert not set(SYNONYMS) & {key.name for key in keys().values()}
    assert set(keys()) >= OTHER_UNITS


@pytest.mark.parametrize("source", ["text:.", "text:a.txt", "hf:.", "./prepared"])
def test_a_path_in_a_folder_that_is_not_utf_8_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    os.mkdir(folder)
    monkeypatch.chdir(folder)
    message = refused(sets=[f"data.source={source}"])
    assert "caf\\xe9" in message
    assert "link" in message


def test_a_file_name_that_is_not_utf_8_is_refused_by_name() -> None:
    assert "caf\\xe9.txt" in refused(sets=["data.source=text:" + os.fsdecode(b"caf\xe9.txt")])
