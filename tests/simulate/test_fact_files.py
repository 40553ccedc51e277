"""The user's files of facts: what they add and change, and what is said about mistakes in them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from seedbed.errors import UsageError
from seedbed.simulate import catalog
from seedbed.simulate.source import source_of

DOCS = Path(__file__).resolve().parents[2] / "docs" / "facts.md"
NEW_GPU = 'name = "My-GPU"\npeak_tflops = {bf16 = 100}\nmemory_gib = 10\nmemory_gbps = 500\n'
NEW_MODEL = (
    'name = "M"\nlayers = 2\nhidden = 64\nheads = 4\nkv_heads = 2\nhead_dim = 16\nffn = 128\nvocab = 256\n'
    "gated = true\ntied = true\n"
)


def write(folder: Path, name: str, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")


def test_the_examples_of_the_documentation_work(user_facts: Path) -> None:
    toml, with_json = re.findall(r"```(?:toml|json)\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    write(user_facts, "prices.toml", toml)
    write(user_facts, "lab.json", with_json)
    h100 = catalog.gpu("h100")
    assert (h100.usd_per_hour, h100.network_gbps, h100.memory_gib) == (2.10, 25, 80)
    price = source_of(h100.sources, "usd_per_hour")
    assert price is not None
    assert price.source == "our contract"
    mine = catalog.gpu("mine")
    assert (mine.name, mine.peak_tflops["bf16"], mine.usable_gib) == ("My-GPU", 120, pytest.approx(0.97 * 48))
    assert catalog.network("our cluster").node_gbps == 100
    assert catalog.network("lab").efficiency == 0.85
    # 32 layers of q, o (2560 x 2560), k, v (2560 x 512), SwiGLU and two norms; untied embedding; last norm.
    layer = 2 * 2560 * 2560 + 2 * 2560 * 512 + 3 * 2560 * 6912 + 2 * 2560
    assert catalog.model("our-3b").parameters == 32 * layer + 2 * 65536 * 2560 + 2560


def test_the_documentation_describes_every_field() -> None:
    text = DOCS.read_text(encoding="utf-8")
    for row in (catalog.gpus()[0], catalog.models()[0], catalog.networks()[0]):
        for field in row.__struct_fields__:
            assert f"`{field}`" in text, f"{type(row).__name__}.{field}"


def test_a_later_file_changes_what_an_earlier_one_added(user_facts: Path) -> None:
    write(user_facts, "a.toml", f"[[gpus]]\n{NEW_GPU}aliases = ['first']")
    write(user_facts, "b.json", json.dumps({"gpus": [{"name": "my gpu", "memory_gib": 20, "aliases": ["second"]}]}))
    found = catalog.gpu("first")
    assert found == catalog.gpu("second") == catalog.gpu("MY-GPU")
    assert (found.memory_gib, found.usable_gib, found.memory_gbps) == (20, pytest.approx(19.4), 500)


def test_other_files_are_ignored_and_the_default_folder_need_not_exist(
    user_facts: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("SEEDBED_FACTS")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    monkeypatch.setenv("HOME", str(tmp_path / "none"))
    assert catalog.gpu("h100").name == "H100-SXM-80GB"
    monkeypatch.setenv("SEEDBED_FACTS", str(user_facts))
    write(user_facts, "notes.md", "not facts")
    assert catalog.network("efa").links_per_node == 32


MISTAKES = [
    ("[[gpus]\n", ["mine.toml", "not valid TOML"]),
    ("[[gpu]]\nname = 'x'", ["unknown table 'gpu'", "Did you mean gpus?"]),
    ("[gpus]\nname = 'x'", ["gpus in", "is not a list of rows", "[[gpus]]"]),
    ("[[gpus]]\nmemory_gib = 10", ["gpus row 1", "has no name"]),
    (f"[[gpus]]\n{NEW_GPU}[[gpus]]\nname = 'B'\nmemory_gib = 10", ["row 2 (B)", "'peak_tflops'"]),
    (f"[[gpus]]\n{NEW_GPU}memry_gbps = 9", ["row 1 (My-GPU)", "'memry_gbps'", "Did you mean memory_gbps?"]),
    (f"[[gpus]]\n{NEW_GPU}power_w = 'many'", ["field power_w", "expected 'float', got 'str'"]),
    (f"[[gpus]]\n{NEW_GPU}link_domain = 0", ["field link_domain", ">= 1"]),
    (f"[[gpus]]\n{NEW_GPU}link_domain = 8", ["link_domain is above 1, but link_gbps is 0"]),
    (f"[[gpus]]\n{NEW_GPU}usable_gib = 11", ["usable_gib is above memory_gib"]),
    (f"[[gpus]]\n{NEW_GPU}matmul_tflops = {{bf16 = 101}}", ["matmul_tflops.bf16 is above peak_tflops.bf16"]),
    ("[[gpus]]\nname = 'H100'\nusd_per_hour = 2", ["row 1 (H100)", 'Write name = "H100-SXM-80GB" to change that row']),
    ("[[gpus]]\nname = 'T4-16GB'\npeak_tflops = {fp64 = 67, fp16 = 1}", ["no precision 'fp64'"]),
    (
        "[[gpus]]\nname = 'T4-16GB'\nsources = [{figures = ['all'], source = 'x', date = '1', trust = 'read'}]",
        ["sources[0].date"],
    ),
    ("[[networks]]\nname = 'n'\ngbps = 12.5\nefficiency = 90", ["field efficiency", "<= 1"]),
    (
        f"[[models]]\n{NEW_MODEL.replace('kv_heads = 2', 'kv_heads = 3')}",
        ["heads (4) must be a multiple of kv_heads (3)"],
    ),
    (f"[[models]]\n{NEW_MODEL.replace('layers = 2', 'layers = 0')}", ["field layers"]),
    (f"[[models]]\n{NEW_MODEL}experts = 4\ntop_k = 5\nmoe_ffn = 8", ["top_k from 1 to experts"]),
    (f"[[models]]\n{NEW_MODEL.replace('gated = true', 'gated = 1')}", ["field gated"]),
]


@pytest.mark.parametrize(("text", "said"), MISTAKES, ids=[said[-1] for _, said in MISTAKES])
def test_a_mistake_is_named_with_file_row_and_field(user_facts: Path, text: str, said: list[str]) -> None:
    write(user_facts, "mine.toml", text)
    with pytest.raises(UsageError) as caught:
        [catalog.gpus(), catalog.models(), catalog.networks()]
    assert "mine.toml" in caught.value.message
    for part in said:
        assert part in str(caught.value)


@pytest.mark.parametrize("text", ["{", "[]", "null", '{"gpus": {}}', '{"gpus": [1]}', '{"gpus": [{"name": ""}]}'])
def test_broken_json_is_an_error_that_names_the_file(user_facts: Path, text: str) -> None:
    write(user_facts, "mine.json", text)
    with pytest.raises(UsageError, match=r"mine\.json"):
        catalog.gpu("h100")


def test_bytes_that_are_not_text_are_an_error_that_names_the_file(user_facts: Path) -> None:
    (user_facts / "mine.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match=r"mine\.toml"):
        catalog.gpu("h100")
