"""Generation for a window: a request on stdin, text as JSON lines on stdout. Makes no run directory."""

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
from seedbed.model.generate import Sampling, TextStream
from seedbed.model.load import load_folder
from seedbed.tokenizer.newlines import normalised
from seedbed.tokenizer.tokenizer import Tokenizer
from seedbed.train.seed import following


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a window asks for. `checkpoint` is a model folder; sample k of `num_samples` is seeded with `seed` + k."""

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
    """Answer the request on stdin; returns the exit status. Errors leave as a line of their own."""
    try:
        request = msgspec.json.decode(sys.stdin.buffer.read(), type=Request)
        for line in answer(request):
            _say(line)
    except SeedbedError as error:
        _say({"error": error.message, "hint": error.hint, "exit": error.exit_code})
        return error.exit_code
    except msgspec.DecodeError as error:
        _say({"error": f"The request is not understood: {error}.", "hint": "", "exit": EXIT_FAILURE})
        return EXIT_FAILURE
    except BrokenPipeError:
        sys.stdout = None  # nobody listens; leave without a second complaint at exit
        return EXIT_FAILURE
    return 0


def answer(request: Request) -> Iterator[dict[str, Any]]:
    """The lines that answer a request: what the model is, chunks of text by sample, and an end of each sample.

    `unknown` in the first line: what of the prompt the tokenizer has no token for, and the model does not see.
    """
    if request.num_samples < 1:
        raise UsageError(f"{request.num_samples} samples are none.", "Give --num-samples 1 or more.")
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
            seed=following(base, sample),
        )

    sampling(0)  # what makes no sense is refused before a model is loaded
    device = generation_device(request.device)
    folder = Path(request.checkpoint)
    # On a CPU the fp32 masters generate: they are what the loss was measured on, and bf16 gains little at one row.
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
        stream = TextStream(model, tokenizer, prompt, sampling(sample))
        for chunk in stream:
            yield {"sample": sample, "text": chunk}
        yield {
            "sample": sample,
            "done": True,
            "finish": stream.finish,
            "tokens": stream.num_tokens,
            "seed": following(base, sample),
            "elapsed_s": time.perf_counter() - begun,
        }


def generation_device(asked: str) -> torch.device:
    """The device that generates: `auto` takes a GPU where there is one."""
    if asked == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(asked)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"Device {asked} is not here.", "Use --device cpu or auto.") from error
    return device


def _say(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line, ensure_ascii=True) + "\n")
    sys.stdout.flush()
