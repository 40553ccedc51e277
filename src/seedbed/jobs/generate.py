"""Generates text in a child process: reads a request from stdin, writes JSON lines to stdout. Creates no run."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch

from seedbed.checkpoint.marker import verify_weights
from seedbed.errors import EXIT_FAILURE, SeedbedError, UsageError
from seedbed.model.generate import GeneratedText, Sampling
from seedbed.model.load import load_folder
from seedbed.tokenizer.newlines import normalised
from seedbed.tokenizer.tokenizer import Tokenizer
from seedbed.train.seed import offset_seed


class GenerateRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to generate. `checkpoint` is a model folder; sample k of `num_samples` uses the seed `seed` + k."""

    checkpoint: str
    prompt: str = ""
    max_new_tokens: int = 100
    temperature: float = 0.8
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int | None = None
    num_samples: int = 1
    device: str = "auto"


def main(arguments: Sequence[str]) -> int:
    """Answer the generation request on stdin; returns the exit status. An error is written as a JSON line."""
    try:
        request = msgspec.json.decode(sys.stdin.buffer.read(), type=GenerateRequest)
        for line in answer(request):
            _write_line(line)
    except SeedbedError as error:
        _write_line({"error": error.message, "hint": error.hint, "exit": error.exit_code})
        return error.exit_code
    except msgspec.DecodeError as error:
        _write_line({"error": f"The request is invalid: {error}.", "hint": "", "exit": EXIT_FAILURE})
        return EXIT_FAILURE
    except BrokenPipeError:
        sys.stdout = None  # the reader is gone: avoid a second error when Python flushes stdout at exit
        return EXIT_FAILURE
    return 0


def answer(request: GenerateRequest) -> Iterator[dict[str, Any]]:
    """Yield the lines of the answer: one about the model, then for each sample its chunks of text and a last line.

    `unknown` in the first line lists the parts of the prompt without a token, which the model does not see.
    Raises UsageError for an invalid request, SeedbedError for a model that cannot be loaded.
    """
    if request.num_samples < 1:
        raise UsageError(
            f"The number of samples must be at least 1, not {request.num_samples}.", "Use --num-samples 1 or more."
        )
    base = request.seed if request.seed is not None else time.time_ns() % 2**31

    def sampling(sample: int) -> Sampling:
        return Sampling(
            max_new_tokens=request.max_new_tokens,
            temperature=request.temperature,
            top_k=request.top_k,
            top_p=request.top_p,
            min_p=request.min_p,
            repetition_penalty=request.repetition_penalty,
            stop=tuple(map(normalised, request.stop)),
            seed=offset_seed(base, sample),
        )

    sampling(0)  # raises for invalid settings before a model is loaded
    device = generation_device(request.device)
    folder = Path(request.checkpoint)
    # On a CPU the fp32 weights are used: the loss was measured with them, and bf16 is hardly faster for one sequence.
    dtype = torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float32
    verify_weights(folder)
    model, tokenizer = load_folder(folder, device=device, dtype=dtype), Tokenizer.load(folder)
    prompt = normalised(request.prompt)
    yield {
        "ready": True,
        "seed": base,
        "device": str(device),
        "prompt_tokens": len(tokenizer.encode(prompt)),
        "unknown": tokenizer.unknown_in(prompt),
        "context": model.config.context,
    }
    for sample in range(request.num_samples):
        begun = time.perf_counter()
        stream = GeneratedText(model, tokenizer, prompt, sampling(sample))
        for chunk in stream:
            yield {"sample": sample, "text": chunk}
        yield {
            "sample": sample,
            "done": True,
            "finish": stream.finish,
            "tokens": stream.num_tokens,
            "seed": offset_seed(base, sample),
            "elapsed_s": time.perf_counter() - begun,
        }


def generation_device(name: str) -> torch.device:
    """The device for generation: `auto` is the GPU if there is one. Raises UsageError if the device is missing."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"This machine has no device {name}.", "Use --device cpu or --device auto.") from error
    return device


def _write_line(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line, ensure_ascii=True) + "\n")
    sys.stdout.flush()
