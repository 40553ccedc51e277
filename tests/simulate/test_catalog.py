"""Looking up GPUs, models and networks by name."""

from __future__ import annotations

import subprocess
import sys

import pytest

from seedbed.config.arithmetic import count_parameters
from seedbed.config.preset import preset_about, preset_names
from seedbed.config.resolving import defaults
from seedbed.config.roots import TRAIN
from seedbed.errors import UsageError
from seedbed.simulate import catalog


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("H100", "H100-SXM-80GB"),
        ("h100_sxm 80gb", "H100-SXM-80GB"),
        ("NVIDIA H100 80GB HBM3", "H100-SXM-80GB"),
        ("a100", "A100-SXM-80GB"),
        ("Tesla T4", "T4-16GB"),
        ("NVIDIA GeForce RTX 4090", "RTX4090-24GB"),
        ("mi300x", "MI300X-192GB"),
        ("NVIDIA A100-SXM4-80GB", "A100-SXM-80GB"),
        ("NVIDIA A100-SXM4-40GB", "A100-SXM-40GB"),
        ("NVIDIA A100-PCIE-40GB", "A100-PCIe-40GB"),
        ("NVIDIA A100 80GB PCIe", "A100-PCIe-80GB"),
        ("H100-80GB-HBM3", "H100-SXM-80GB"),
        ("Tesla V100-SXM2-32GB", "V100-SXM2-32GB"),
        ("Tesla V100-PCIE-16GB", "V100-PCIe-16GB"),
        ("NVIDIA L40S", "L40S-48GB"),
        ("GeForce RTX 4090", "RTX4090-24GB"),
        ("NVIDIA RTX 3090 Ti", "RTX3090Ti-24GB"),
        ("NVIDIA GeForce RTX 3090 Ti", "RTX3090Ti-24GB"),
        ("RTX 3090 Ti", "RTX3090Ti-24GB"),
        ("B100", "B100-SXM-180GB"),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", "RTX4090-Laptop-16GB"),
        ("RTX 4090 Laptop", "RTX4090-Laptop-16GB"),
        ("RTX 4080 Laptop", "RTX4080-Laptop-12GB"),
        ("NVIDIA GeForce RTX 3080 Laptop GPU", "RTX3080-Laptop-16GB"),
        ("rtx 4070 laptop gpu", "RTX4070-Laptop-8GB"),
        ("Radeon RX 7900 XTX", "RX7900XTX-24GB"),
    ],
)
def test_gpus_are_found_as_people_and_drivers_write_them(typed: str, name: str) -> None:
    assert catalog.gpu(typed).name == name


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("gpt2", "GPT-2-124M"),
        ("GPT3", "GPT-3-175B"),
        ("llama3-8b", "Llama-3-8B"),
        ("Llama 3.1 8B", "Llama-3.1-8B"),
        ("llama3-405b", "Llama-3.1-405B"),
        ("meta-llama/Llama-2-7b-hf", "Llama-2-7B"),
        ("qwen3-8b", "Qwen3-8B"),
        ("Qwen2.5-Coder-7B", "Qwen2.5-7B"),
        ("starcoder", "StarCoder-15.5B"),
        ("mixtral-8x7b", "Mixtral-8x7B"),
        ("deepseek-v3", "DeepSeek-V3-671B"),
    ],
)
def test_models_are_found_as_people_write_them(typed: str, name: str) -> None:
    assert catalog.model(typed).name == name


@pytest.mark.parametrize(
    ("typed", "node_gbps"), [("dgx-h100", 400), ("efa-3200", 400), ("roce 1600", 200), ("tcp", 1.25)]
)
def test_networks_are_found_with_the_bandwidth_of_a_server(typed: str, node_gbps: float) -> None:
    assert catalog.network(typed).node_gbps == node_gbps


def test_unknown_names_are_answered_with_the_nearest_ones() -> None:
    with pytest.raises(UsageError) as caught:
        catalog.gpu("H1000")
    assert caught.value.message == 'There is no GPU "H1000".'
    assert caught.value.hint.startswith("Did you mean H100-SXM-80GB? `seedbed plan --list gpus` lists all;")
    assert "docs/facts.md" in caught.value.hint
    with pytest.raises(
        UsageError, match=r"Did you mean Llama-3-8B or Llama-3-70B|Did you mean Llama-3-8B, Llama-3-70B or"
    ):
        catalog.model("llama3")
    with pytest.raises(UsageError, match=r"Did you mean nano\?"):
        catalog.model("nanoo")
    with pytest.raises(UsageError, match=r"^There is no network \"carrier pigeon\"\. `seedbed plan --list networks`"):
        catalog.network("carrier pigeon")


@pytest.mark.parametrize("name", preset_names(TRAIN))
def test_training_presets_are_models(name: str) -> None:
    config = defaults(TRAIN, name)
    shape = catalog.model(name)
    assert (shape.layers, shape.hidden, shape.context) == (
        config.model.layers,
        config.model.hidden,
        config.model.context,
    )
    assert shape.published_parameters == count_parameters(config.model, config.tokenizer.vocab_size)
    assert shape.published_parameters == preset_about(name, TRAIN)["parameters"]
    qk_norms = 2 * shape.head_dim * shape.layers  # the presets are qwen3 models
    assert shape.parameters == shape.published_parameters - qk_norms


@pytest.mark.parametrize(
    ("text", "num_gpus", "name"),
    [
        ("64xH100", 64, "H100-SXM-80GB"),
        ("H100x64", 64, "H100-SXM-80GB"),
        ("H100:64", 64, "H100-SXM-80GB"),
        ("64", 64, "H100-SXM-80GB"),
        ("8x H100-SXM-80GB", 8, "H100-SXM-80GB"),
        ("2 a100", 2, "A100-SXM-80GB"),
        ("16,384xh100", 16384, "H100-SXM-80GB"),
        ("1_000_000 x L4", 1_000_000, "L4-24GB"),
        ("4090x8", 8, "RTX4090-24GB"),
        ("8x4090", 8, "RTX4090-24GB"),
        ("MI300Xx8", 8, "MI300X-192GB"),
        ("8×MI300X", 8, "MI300X-192GB"),
        ("L40S", 1, "L40S-48GB"),
        ("8xNVIDIA A100-SXM4-80GB", 8, "A100-SXM-80GB"),
    ],
)
def test_numbers_of_gpus_are_read_in_every_usual_form(text: str, num_gpus: int, name: str) -> None:
    found = catalog.parse_gpus(text)
    assert (found.num_gpus, found.gpu.name) == (num_gpus, name)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("qwen-8", "Qwen3-8B"), ("lama", "Llama-3-8B"), ("deepsek", "DeepSeek-LLM-7B"), ("falcon180", "Falcon-180B")],
)
def test_an_unknown_name_of_a_known_family_is_answered_with_names_of_the_family(typed: str, meant: str) -> None:
    with pytest.raises(UsageError, match=f"Did you mean .*{meant}"):
        catalog.model(typed)


def test_a_number_alone_means_the_gpus_that_the_caller_names() -> None:
    assert catalog.parse_gpus("4", default="a100").gpu.name == "A100-SXM-80GB"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "No GPUs are given"),
        ("0xH100", "must be from 1 to 1,000,000, not 0"),
        ("-3xH100", "must be from 1 to 1,000,000, not -3"),
        ("-3", "must be from 1 to 1,000,000, not -3"),
        ("1000001xH100", "must be from 1 to 1,000,000, not 1000001"),
        ("9" * 40, "must be from 1 to 1,000,000"),
        ("1.5xH100", "1.5 is not a whole number of GPUs"),
        ("1,5xH100", "1,5 is not a whole number of GPUs"),
        ("64xH1000", 'There is no GPU "H1000". Did you mean H100-SXM-80GB?'),
        ("64x", 'There is no GPU "64x"'),
        ("x64", 'There is no GPU "x64"'),
        ("many", 'There is no GPU "many"'),
    ],
)
def test_impossible_numbers_of_gpus_are_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        catalog.parse_gpus(text)
    assert said in str(caught.value)


def test_a_lookup_reads_its_own_table_once_and_loads_nothing_else() -> None:
    code = (
        "import sys\nfrom seedbed.simulate import catalog, fact_files\n"
        "read, tables = catalog.shipped_rows, []\n"
        "catalog.shipped_rows = lambda table: [tables.append(table), read(table)][1]\n"
        "catalog.gpu('h100'), catalog.gpu('a100'), catalog.parse_gpus('64xL4'), catalog.model('gpt2')\n"
        "heavy = {'torch', 'numpy', 'seedbed.config.schema', 'importlib.metadata'} & set(sys.modules)\n"
        "print(tables, sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['gpus', 'models'] []\n"
