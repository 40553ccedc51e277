"""Loading a model folder: seconds and peak memory of ours against transformers' from_pretrained.

Each case runs in a fresh process, after the imports and with the files in the page cache. The time ends when every number has
been read once (transformers maps files of the wanted dtype, so it reads them only then). Memory is the most that is
resident above what the imports occupy, divided by the size of the weights in the wanted dtype. Medians of the repeats.
Both programs map the weights that the files store in the wanted dtype.
On a machine with other work, compare the seconds of CPU time.

    python benchmarks/load.py FOLDER
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from throughput_peer import forget_peak, peak_bytes, resident_bytes

PROGRAMS, PRECISIONS = ("seedbed", "transformers"), ("fp32", "bf16")


def measure(program: str, precision: str, folder: Path) -> dict[str, float]:
    """Load the folder in this process, and read every number once."""
    import torch

    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    if program == "seedbed":
        from seedbed.model.load import load_folder

        load: Any = partial(load_folder, mapped=True)  # as `seedbed generate` does
    else:
        from transformers import AutoModelForCausalLM

        load = AutoModelForCausalLM.from_pretrained
    with tempfile.TemporaryDirectory() as small:  # for the imports that are made on first use
        load(random_model(Path(small), hidden=64, layers=1), dtype=dtype)
    imports = resident_bytes()
    forget_peak()
    begun, begun_cpu = time.perf_counter(), time.process_time()
    model = load(folder, dtype=dtype)
    loaded_s = time.perf_counter() - begun
    torch.set_num_threads(1)  # on a busy machine, threads that wait for each other would be measured
    total = sum(float(parameter.detach().flatten().max()) for parameter in model.parameters())
    touched_s, cpu_s = time.perf_counter() - begun, time.process_time() - begun_cpu
    size = sum(parameter.nbytes for parameter in model.parameters())
    return {
        "loaded_s": loaded_s,
        "touched_s": touched_s,
        "cpu_s": cpu_s,
        "extra": (peak_bytes() - imports) / size,
        "size_bytes": size,
        "total": total,
    }


def random_model(folder: Path, *, hidden: int = 576, layers: int = 30) -> Path:
    """A folder with random bf16 weights, by default of SmolLM2-135M's shape."""
    import torch
    from safetensors.torch import save_file

    from seedbed.config.families.config_json import hf_config
    from seedbed.config.schema import ModelConfig
    from seedbed.model.decoder import Decoder
    from seedbed.model.weights import export_state

    class Ids:
        eot_id = pad_id = 0

    shape = ModelConfig(
        layout="llama", layers=layers, hidden=hidden, heads=hidden // 64, kv_heads=1, head_dim=64, ffn=8 * hidden // 3
    )
    model = Decoder(shape, 49_152).to(torch.bfloat16)
    model.init_weights(torch.Generator().manual_seed(0))
    save_file(export_state(model), folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(hf_config(shape, 49_152, Ids(), "bfloat16")))
    return folder


def in_own_process(program: str, precision: str, folder: Path) -> dict[str, float]:
    """A case measured in a fresh process."""
    words = [sys.executable, __file__, str(folder), "--one", program, precision]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def main() -> None:
    """Measure one case here, or all in a process each; print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="a model folder; by default a random one is made")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--one", nargs=2, metavar=("PROGRAM", "PRECISION"), help="measure this case in this process")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(*options.one, options.folder)))
        return
    with tempfile.TemporaryDirectory() as made:
        folder = options.folder or random_model(Path(made))
        for file in folder.glob("*.safetensors"):
            file.read_bytes()  # into the page cache
        for precision in PRECISIONS:
            found: dict[str, list[dict[str, float]]] = {name: [] for name in PROGRAMS}
            for _ in range(options.repeat):  # alternating, so that a busy machine slows both
                for program in PROGRAMS:
                    found[program].append(in_own_process(program, precision, folder))
            seconds = {name: statistics.median(each["touched_s"] for each in found[name]) for name in PROGRAMS}
            for name, each in found.items():
                loaded_s = statistics.median(one["loaded_s"] for one in each)
                cpu_s = statistics.median(one["cpu_s"] for one in each)
                extra = statistics.median(one["extra"] for one in each)
                size = each[0]["size_bytes"]
                print(
                    f"{precision} {name:<12} {loaded_s:6.2f} s, first touch included {seconds[name]:6.2f} s, CPU {cpu_s:.2f} s, "
                    f"peak {extra:.2f} x {size / 2**20:,.0f} MiB"
                )
            ratio = seconds["transformers"] / seconds["seedbed"]
            goal = {"fp32": 2.0, "bf16": 1.0}[precision]
            print(f"{precision}: {ratio:.1f} times as fast as transformers (goal {goal:g})")


if __name__ == "__main__":
    main()
