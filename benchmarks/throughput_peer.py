"""The peer of throughput: a plain training loop over transformers' Qwen3ForCausalLM.

6 layers x 384, 6 heads of 64, feed-forward 1,024, context 256, batch 16, vocabulary 4,096, tied: fp32 or bf16 autocast,
eager or compiled. `all` leaves out bf16 where the CPU is not fast at it: there it is a hundred times slower than fp32.
AdamW is PyTorch's fused one. Reports the median tokens/s of the steps after the warm-up and
the peak of resident memory during them, above what the imports alone occupy.

    python benchmarks/throughput_peer.py --mode all --steps 40
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

MODES = ("fp32", "fp32-compile", "bf16", "bf16-compile")
LAYERS, HIDDEN, HEADS, HEAD_DIM, FFN = 6, 384, 6, 64, 1024
CONTEXT, BATCH, VOCAB = 256, 16, 4096


def sensible_modes() -> tuple[str, ...]:
    """The modes that somebody would train in on this CPU."""
    from seedbed.hardware import cpu

    return MODES if cpu.probe().fast_bf16 else tuple(mode for mode in MODES if mode.startswith("fp32"))


def measure(mode: str, options: argparse.Namespace) -> dict[str, Any]:
    """Train in this process and say how fast it went."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    if options.threads:
        torch.set_num_threads(options.threads)
    imports_bytes = resident_bytes()
    torch.manual_seed(options.seed)
    ids = read_ids(options.data)
    config = Qwen3Config(
        vocab_size=VOCAB,
        hidden_size=HIDDEN,
        intermediate_size=FFN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        head_dim=HEAD_DIM,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        use_cache=False,
    )
    model = Qwen3ForCausalLM(config).float().train()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    forward = torch.compile(model) if mode.endswith("-compile") else model
    step_s: list[float] = []
    losses: list[float] = []
    for step in range(options.warmup + options.steps):
        if step == options.warmup:
            forget_peak()
        begun = time.perf_counter()
        starts = torch.randint(len(ids) - CONTEXT, (BATCH,)).tolist()
        batch = torch.stack([ids[start : start + CONTEXT] for start in starts])
        with torch.autocast("cpu", torch.bfloat16) if mode.startswith("bf16") else contextlib.nullcontext():
            loss = forward(input_ids=batch, labels=batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
        step_s.append(time.perf_counter() - begun)
    measured = step_s[options.warmup :]
    return {
        "mode": mode,
        "tokens_per_s": BATCH * CONTEXT / statistics.median(measured),
        "step_s": statistics.median(measured),
        "first_step_s": step_s[0],
        "steps": options.steps,
        "peak_bytes": peak_bytes() - imports_bytes,
        "imports_bytes": imports_bytes,
        "parameters": parameters,
        "loss": losses[-1],
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def read_ids(data: Path | None) -> Any:
    """Token ids below VOCAB: pairs of bytes of a text, or, without one, noise."""
    import torch

    if data is None:
        return torch.randint(VOCAB, (1 << 20,))
    content = torch.frombuffer(bytearray(data.read_bytes()), dtype=torch.uint8).long()
    return (content[:-1:2] * 256 + content[1::2]) % VOCAB


def resident_bytes() -> int:
    """Memory of this process that is resident now."""
    import psutil

    return int(psutil.Process().memory_info().rss)


def peak_bytes() -> int:
    """The most that was resident since `forget_peak`; where the system cannot forget, since the process began."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def forget_peak() -> None:
    """Start counting the peak anew (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def in_own_process(mode: str, options: argparse.Namespace) -> dict[str, Any]:
    """A mode measured in a fresh process, so that none inherits another's memory or caches."""
    words = [sys.executable, __file__, "--mode", mode, "--json"]
    for name in ("steps", "warmup", "seed", "threads"):
        words += [f"--{name}", str(getattr(options, name))]
    if options.data is not None:
        words += ["--data", str(options.data)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def main() -> None:
    """Measure one mode here, or all in a process each; print a table or JSON lines."""
    named = os.environ.get("SEEDBED_TEST_DATA")
    corpus = Path(named, "wikitext-2", "valid.txt") if named else None
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mode", choices=(*MODES, "all"), default="all")
    parser.add_argument("--steps", type=int, default=40, help="measured steps")
    parser.add_argument("--warmup", type=int, default=10, help="steps before them that do not count (compiling is one)")
    parser.add_argument("--data", type=Path, default=corpus if corpus and corpus.is_file() else None, help="a text")
    parser.add_argument("--seed", type=int, default=1337)
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 leaves PyTorch's choice")
    parser.add_argument("--json", action="store_true", help="print a JSON object per mode")
    options = parser.parse_args()
    if options.steps < 1 or options.warmup < 0:
        parser.error("--steps must be at least 1 and --warmup at least 0")
    if options.data is not None and not options.data.is_file():
        parser.error(f"there is no text at {options.data}")
    if not options.json:
        print(f"{'mode':14}{'tokens/s':>10}{'step':>10}{'first step':>12}{'peak above imports':>20}")
    for mode in sensible_modes() if options.mode == "all" else (options.mode,):
        result = in_own_process(mode, options) if options.mode == "all" else measure(mode, options)
        if options.json:
            print(json.dumps(result), flush=True)
        else:
            print(
                f"{mode:14}{result['tokens_per_s']:>10,.0f}{result['step_s'] * 1e3:>7,.0f} ms"
                f"{result['first_step_s']:>10.1f} s{result['peak_bytes'] / 2**20:>16,.0f} MiB",
                flush=True,
            )


if __name__ == "__main__":
    main()
