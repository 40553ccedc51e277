"""Training on from bases of every family, as transformers saves them: what changes, what stays, and that it opens there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import trained_bases
from random_models import CASES, random_model
from seedbed import actions
from seedbed.checkpoint.headers import tensor_headers
from seedbed.config.resolving import resolve
from seedbed.config.roots import TRAIN
from seedbed.jobs.__main__ import run_job
from seedbed.model.load import load_folder
from seedbed.runs.control import ResumeOptions, StartCondition
from seedbed.runs.kinds import KINDS
from seedbed.runs.status import status
from seedbed.runs.store import RunDir, Store
from seedbed.tokenizer.tokenizer import Tokenizer

CONTEXT, STEPS = 24, 3
SETTINGS = (
    f"model.context={CONTEXT}",
    f"train.steps={STEPS}",
    "train.batch_size=2",
    "train.micro_batch=2",
    "train.precision=fp32",
    "train.compile=off",
    "train.device=cpu",
    "train.threads=1",
    "train.eval_every=0",
    "train.eval_tokens=100",
    "train.checkpoint_every=1",
    "train.keep_last=5",
    "train.sample_prompts=[]",
    "data.validation=0.02",
    "data.workers=1",
)
LENGTH = 100
"""Tokens of which the logits are compared: more than the training window and the sliding windows."""

Train = Callable[..., RunDir]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a text, the tokenizer of all bases, and the bases that tests save in it."""
    folder = tmp_path_factory.mktemp("bases")
    (folder / "notes.txt").write_text(trained_bases.text(1200))
    (folder / "tokenizer").mkdir()
    trained_bases.save_tokenizer(folder / "tokenizer")
    return folder


@pytest.fixture
def train(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Train]:
    """A function that trains on from a base with some settings; returns the run."""
    monkeypatch.setenv("SEEDBED_CACHE", str(place / "cache"))
    store, threads = Store(tmp_path / "runs"), torch.get_num_threads()

    def trained(base: Path, *sets: str) -> RunDir:
        resolved = resolve(
            TRAIN,
            sets=(*SETTINGS, *sets),
            flags={"base.model": str(base), "data.source": f"text:{place / 'notes.txt'}"},
            open_base=actions.base_opener(store),
        )
        run = actions.new_run(store, KINDS["train"], resolved)
        work(run)
        return run

    yield trained
    torch.set_num_threads(threads)


def work(run: RunDir, resume: ResumeOptions | None = None) -> None:
    assert run_job(run.path, resume or ResumeOptions(), StartCondition()) == 0, status(run)["reason"]


def saved_base(place: Path, folder: Path, case: str, dtype: torch.dtype = torch.float32, **options: Any) -> Path:
    """Save the random model of a case as transformers does, with the tokenizer."""
    random_model(case, trained_bases.ROWS).to(dtype).save_pretrained(folder, **options)
    shutil.copytree(place / "tokenizer", folder, dirs_exist_ok=True)
    return folder


def last_checkpoint(run: RunDir) -> Path:
    return max(run.checkpoints.glob("step-*"))


def tensors(folder: Path) -> dict[str, tuple[tuple[int, ...], str]]:
    """The shape and the dtype of each tensor in the files of a folder."""
    return {name: (info.shape, info.dtype) for name, info in tensor_headers(folder).items()}


def config_json(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "config.json").read_bytes())
    return found


@torch.no_grad()
def check_logits(folder: Path) -> None:
    """Assert that transformers opens the folder in fp32 with all tensors, and computes the same logits."""
    import transformers

    theirs, report = transformers.AutoModelForCausalLM.from_pretrained(
        folder, attn_implementation="eager", output_loading_info=True
    )
    assert not any(report.values()), report
    assert theirs.dtype == torch.float32
    ids = torch.randint(0, trained_bases.ROWS, (2, LENGTH), generator=torch.Generator().manual_seed(0))
    wanted, found = theirs.eval()(ids).logits, load_folder(folder)(ids)
    assert float((found - wanted).abs().max()) < 1e-5 * float(wanted.abs().max())


@pytest.mark.parametrize("case", CASES)
def test_a_checkpoint_opens_in_transformers_and_is_the_base_with_other_numbers(
    case: str, place: Path, tmp_path: Path, train: Train
) -> None:
    base = saved_base(place, tmp_path / case, case)
    checkpoint = last_checkpoint(train(base))
    check_logits(checkpoint)
    assert tensors(checkpoint) == tensors(base)
    assert config_json(checkpoint) == config_json(base)
    before, after = (load_file(folder / "model.safetensors") for folder in (base, checkpoint))
    assert not [name for name in before if torch.equal(before[name], after[name])]


@pytest.mark.parametrize(("precision", "named"), [("fp32", True), ("bf16", True), ("fp32", False)])
def test_shards_in_bf16_become_one_file_in_fp32(
    precision: str, named: bool, place: Path, tmp_path: Path, train: Train
) -> None:
    base = saved_base(place, tmp_path / "base", "qwen3", torch.bfloat16, max_shard_size="40KB")
    if not named:  # transformers then takes the dtype of the weights
        config = {key: value for key, value in config_json(base).items() if key != "dtype"}
        (base / "config.json").write_text(json.dumps(config))
    assert len(list(base.glob("*.safetensors"))) > 1
    assert {dtype for _, dtype in tensors(base).values()} == {"BF16"}
    checkpoint = last_checkpoint(train(base, f"train.precision={precision}"))
    check_logits(checkpoint)
    assert tensors(checkpoint) == {name: (shape, "F32") for name, (shape, _) in tensors(base).items()}
    assert config_json(checkpoint) == config_json(base) | ({"dtype": "float32"} if named else {})
    assert not list(checkpoint.glob("*.index.json"))


def test_rows_that_no_text_reaches_stay_bit_equal(place: Path, tmp_path: Path, train: Train) -> None:
    base = saved_base(place, tmp_path / "base", "gpt2-exact-gelu")
    checkpoint = last_checkpoint(train(base))
    before, after = (load_file(folder / "model.safetensors") for folder in (base, checkpoint))
    reached = {"transformer.wpe.weight": CONTEXT, "transformer.wte.weight": Tokenizer.of_model(base).vocab_size}
    for name, rows in reached.items():
        assert rows < len(before[name])
        assert torch.equal(before[name][rows:], after[name][rows:]), name
        assert not torch.equal(before[name][:rows], after[name][:rows]), name


def _rewrite(folder: Path, weights: dict[str, Tensor]) -> None:
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def test_a_base_with_the_names_masks_and_config_of_an_older_library_is_written_with_those_of_now(
    place: Path, tmp_path: Path, train: Train
) -> None:
    base = saved_base(place, tmp_path / "base", "gpt2")
    expected = tensors(base)
    weights = load_file(base / "model.safetensors")
    masks = {f"h.{layer}.attn.bias": torch.ones(256, 256).tril()[None, None] for layer in range(2)}
    _rewrite(base, {name.removeprefix("transformer."): tensor for name, tensor in weights.items()} | masks)
    config = config_json(base)
    del config["dtype"]
    (base / "config.json").write_text(json.dumps(config | {"torch_dtype": "float32", "n_ctx": 256}))
    checkpoint = last_checkpoint(train(base))
    check_logits(checkpoint)
    assert tensors(checkpoint) == expected
    assert config_json(checkpoint) == config_json(base)


def test_a_tied_head_that_is_stored_nevertheless_is_left_out(place: Path, tmp_path: Path, train: Train) -> None:
    base = saved_base(place, tmp_path / "base", "qwen2")
    expected, weights = tensors(base), load_file(base / "model.safetensors")
    _rewrite(base, weights | {"lm_head.weight": weights["model.embed_tokens.weight"].clone()})
    checkpoint = last_checkpoint(train(base))
    check_logits(checkpoint)
    assert tensors(checkpoint) == expected


@pytest.mark.parametrize("case", ["gpt_bigcode-by-head", "gpt2", "starcoder2", "mistral-window"])
def test_a_resume_without_the_base_repeats_the_steps_bit_exactly(
    case: str, place: Path, tmp_path: Path, train: Train
) -> None:
    base = saved_base(place, tmp_path / case, case)
    run = train(base)
    whole = (last_checkpoint(run) / "model.safetensors").read_bytes()
    files = {path.name for path in last_checkpoint(run).iterdir()}
    shutil.rmtree(base)
    work(run, ResumeOptions(from_checkpoint="1"))
    assert status(run)["step"] == STEPS
    assert (last_checkpoint(run) / "model.safetensors").read_bytes() == whole
    assert {path.name for path in last_checkpoint(run).iterdir()} == files


def test_a_chat_template_that_cannot_be_read_only_prevents_samples(place: Path, tmp_path: Path, train: Train) -> None:
    base = saved_base(place, tmp_path / "llama", next(iter(CASES)))
    (base / "chat_template.jinja").write_bytes(b"\xff\xfe")
    run = train(base, 'train.sample_prompts=["Once"]')
    assert (last_checkpoint(run) / "chat_template.jinja").read_bytes() == b"\xff\xfe"
    assert "is not UTF-8 text" in run.events.read_text()
