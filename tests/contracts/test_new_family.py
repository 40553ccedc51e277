"""A model family is one file and one line of a table: no other module names a family."""

from __future__ import annotations

import ast
import json
from pathlib import Path

from extended import SOURCE, differences, extended_source, run_python
from seedbed.config.families.table import FAMILIES

TABLE = "config/families/table.py"
ADDED = "config/families/added.py"
# Builds transformers' own model with random weights, opens its folder here, and saves it again.
CHILD = """
import json, sys
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file

from seedbed.cli.main import main
from seedbed.config import arithmetic
from seedbed.config.families.config_json import config_from_hf, hf_config
from seedbed.config.schema import ModelConfig
from seedbed.model.decoder import Decoder
from seedbed.model.load import load_folder
from seedbed.model.weights import export_state

folder = Path(sys.argv[1])
torch.manual_seed(1)
sizes = dict(vocab_size=131, hidden_size=32, intermediate_size=72, num_hidden_layers=2, num_attention_heads=4)
settings = transformers.Phi3Config(
    **sizes, num_key_value_heads=2, max_position_embeddings=24, pad_token_id=4, sliding_window=9,
    rope_parameters={"rope_type": "default", "rope_theta": 5e3},
)
theirs = transformers.Phi3ForCausalLM(settings).eval()
for parameter in theirs.parameters():  # gains of one and biases of zero would hide a mistake
    torch.nn.init.normal_(parameter, std=0.3)
theirs.save_pretrained(folder / "theirs")
ours = load_folder(folder / "theirs")
ids = torch.randint(0, 131, (3, 24))
with torch.no_grad():
    difference = float((ours(ids) - theirs(ids).logits).abs().max())

class Ids:
    eot_id, pad_id = 3, 4

written = hf_config(ours.config, 131, Ids())
(folder / "ours").mkdir()
(folder / "ours/config.json").write_text(json.dumps(written))
save_file(export_state(ours), folder / "ours/model.safetensors", metadata={"format": "pt"})
again, report = transformers.AutoModelForCausalLM.from_pretrained(folder / "ours", output_loading_info=True)
before, after = (load_file(folder / name / "model.safetensors") for name in ("theirs", "ours"))

fresh = Decoder(ours.config, 131)
fresh.init_weights(torch.Generator().manual_seed(0))
fresh.loss(ids[:, :-1], ids[:, 1:]).backward()
result = {
    "difference": difference,
    "layout": ours.config.layout,
    "shape": config_from_hf(written) == (ours.config, 131),
    "weights": before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before),
    "opened": type(again).__name__,
    "not_loaded": [str(key) for keys in report.values() for key in keys],
    "parameters": arithmetic.count_parameters(ours.config, 131),
    "theirs": sum(parameter.numel() for parameter in theirs.parameters()),
    "without_gradient": [name for name, each in fresh.named_parameters() if each.grad is None],
}
(folder / "result.json").write_text(json.dumps(result))
status = main(["config", "show", "--json", "--set", "model.layout=added"])
assert status == 0
"""


def test_a_new_family_needs_one_file_and_one_line(tmp_path: Path) -> None:
    text = (Path(__file__).parent / "additions" / "family.py").read_text(encoding="utf-8")
    root = extended_source(tmp_path, {ADDED: text}, {TABLE: ("FAMILIES = (", '    "added",')})
    assert differences(root) == {ADDED, TABLE}
    done = run_python(root, "-c", CHILD, str(tmp_path), env={"SEEDBED_RUNS": str(tmp_path / "runs")})
    assert json.loads(done.stdout)["config"]["model"]["layout"] == "added"
    result = json.loads((tmp_path / "result.json").read_text())
    assert result.pop("difference") < 1e-4
    assert result.pop("parameters") == result.pop("theirs")
    assert result == {
        "layout": "added",
        "shape": True,
        "weights": True,
        "opened": "Phi3ForCausalLM",
        "not_loaded": [],
        "without_gradient": [],
    }


def test_no_other_module_names_a_family() -> None:
    # A split of the byte-level BPE has the name of a family.
    also = {"config/schema.py": ("qwen2",), "tokenizer/patterns.py": ("qwen2",)}
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        module = path.relative_to(SOURCE).as_posix()
        if module.startswith("config/families/"):
            continue
        named = 0
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named += (
                isinstance(node, ast.Constant) and node.value in FAMILIES and node.value not in also.get(module, ())
            )
            if isinstance(node, ast.Compare | ast.Match) and any(
                isinstance(each, ast.Attribute) and each.attr == "layout" for each in ast.iter_child_nodes(node)
            ):
                found.append(f"{module}:{node.lineno} compares a layout")
        # The default of `model.layout` has to name a family.
        if named != (module == "config/schema.py"):
            found.append(f"{module} names a family {named} times")
    assert not found, f"{found}: check a feature of the family instead"
