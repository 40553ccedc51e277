"""Greedy decoding of one stream: our decoder against transformers' generate, and against the matrix products alone.

The weights are the same (SmolLM2-135M-Instruct, fetched by tests/real/assets.py, or `--model DIR`), each case has a process of
its own, and the cases take turns, so that other work on the machine slows all of them. Reports tokens per second after the
first token (medians of the rounds), with one thread also per second of processor time, and the ratios. The products are those
of `F.linear`, as in transformers.

    python benchmarks/decode.py --threads 1,2 --tokens 48 --rounds 3
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
CASES = ("transformers", "ours", "products")
PROMPT = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"


def transformers_case(folder: Path, precision: str) -> Callable[[int], object]:
    """A function that generates N tokens with transformers."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=_dtype(precision))
    model.generation_config.eos_token_id = None
    ids = torch.tensor([AutoTokenizer.from_pretrained(folder)(PROMPT)["input_ids"]])
    mask = torch.ones_like(ids)
    return lambda tokens: model.generate(
        ids, attention_mask=mask, max_new_tokens=tokens, do_sample=False, pad_token_id=0
    )


def ours_case(folder: Path, precision: str) -> Callable[[int], object]:
    """A function that generates N tokens with our decoder."""
    from seedbed.model.generate import Sampling, generate
    from seedbed.model.load import load_folder
    from seedbed.tokenizer.tokenizer import Tokenizer

    model = load_folder(folder, dtype=_dtype(precision))
    ids = Tokenizer.of_model(folder).encode_with_control_tokens(PROMPT)
    return lambda tokens: list(generate(model, ids, Sampling(temperature=0.0, max_new_tokens=tokens), eot_id=-1))


def products_case(folder: Path, precision: str) -> Callable[[int], object]:
    """A function that does N times the matrix products of one token, with our decoder's matrices and nothing else."""
    import torch

    from seedbed.model.load import load_folder

    model = load_folder(folder, dtype=_dtype(precision))
    matrices = [each.weight for each in model.modules() if isinstance(each, torch.nn.Linear)]
    matrices += [model.embed.weight] if model.head is None else []
    inputs = {matrix: torch.randn(1, matrix.shape[1]).to(matrix.dtype) for matrix in matrices}

    @torch.inference_mode()
    def products(tokens: int) -> None:
        for _ in range(tokens):
            for matrix in matrices:
                torch.nn.functional.linear(inputs[matrix], matrix)

    return products


def measure(case: str, folder: Path, precision: str, threads: int, tokens: int) -> dict[str, float]:
    """Tokens per second, and per second of processor time, of a case in this process, after the first token."""
    import torch

    torch.set_num_threads(threads)
    cases = {"transformers": transformers_case, "ours": ours_case, "products": products_case}
    run = cases[case](folder, precision)
    run(4)
    times, busy = [], []
    for length in (1, tokens):
        begun, worked = time.perf_counter(), time.process_time()
        run(length)
        times.append(time.perf_counter() - begun)
        busy.append(time.process_time() - worked)
    return {
        "tokens_per_s": (tokens - 1) / (times[1] - times[0]),
        "tokens_per_cpu_s": (tokens - 1) / (busy[1] - busy[0]),
    }


def _dtype(precision: str) -> object:
    import torch

    return {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]


def _in_process(case: str, folder: Path, precision: str, threads: int, tokens: int) -> dict[str, float]:
    words = ["--case", case, "--model", str(folder), "--precisions", precision, "--threads", str(threads)]
    done = subprocess.run(
        [sys.executable, str(Path(__file__)), *words, "--tokens", str(tokens)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{case}: {done.stderr.strip().splitlines()[-1]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def compare(folder: Path, precision: str, threads: int, options: argparse.Namespace) -> dict[str, object]:
    """The rates of all cases in one precision with a number of threads, and ours in relation to the others."""
    rates: dict[str, list[dict[str, float]]] = {case: [] for case in CASES}
    for _ in range(options.rounds):
        for case in CASES:
            rates[case].append(_in_process(case, folder, precision, threads, options.tokens))
    # On a machine with other work, only the processor time of one thread is meaningful.
    for unit, name in (("tokens_per_s", "tokens/s"), ("tokens_per_cpu_s", "tokens per CPU second")):
        if unit == "tokens_per_cpu_s" and threads > 1:
            continue
        medians = {case: statistics.median(each[unit] for each in rates[case]) for case in CASES}
        print(
            f"{precision}, {threads} thread{'s' * (threads > 1)}: "
            + ", ".join(f"{case} {medians[case]:.1f}" for case in CASES)
            + f" {name}; ours / transformers {medians['ours'] / medians['transformers']:.2f}, "
            f"products / transformers {medians['products'] / medians['transformers']:.2f}",
            flush=True,
        )
    return {"precision": precision, "threads": threads, "rounds": rates}


def main() -> int:
    """Measure one case in this process, or all of them in processes of their own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a model folder (default: SmolLM2-135M-Instruct)")
    parser.add_argument("--precisions", default="", help="fp32, bf16 or both, separated by commas")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--case", choices=CASES, help="measure only this case, in this process")
    parser.add_argument("--out", type=Path, help="write the figures to this JSON file, too")
    options = parser.parse_args()
    if options.case:
        precision, threads = options.precisions, int(options.threads)
        print(json.dumps(measure(options.case, options.model, precision, threads, options.tokens)))
        return 0
    from seedbed.hardware import cpu

    if options.model is None:
        sys.path.insert(0, str(HERE.parent / "tests"))
        from real.assets import fetched

        options.model = fetched("smollm2-135m-instruct")
    # A CPU without instructions for bf16 emulates it, up to a hundred times more slowly.
    precisions = options.precisions or ("fp32,bf16" if cpu.probe().fast_bf16 else "fp32")
    found = [
        compare(options.model, precision, int(threads), options)
        for precision in precisions.split(",")
        for threads in options.threads.split(",")
    ]
    if options.out:
        options.out.write_text(json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
