"""Generates text in a child process: reads a request from stdin, writes JSON lines to stdout. Creates no run."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
import torch

from seedbed.checkpoint.marker import CONFIG, verify_weights
from seedbed.errors import UsageError
from seedbed.files import read_json
from seedbed.hardware import cpu
from seedbed.jobs.answering import answer_request
from seedbed.jobs.generation_settings import DEFAULTS, chosen_settings
from seedbed.model.generate import GeneratedText, Sampling, tokens_over
from seedbed.model.load import load_folder
from seedbed.model.mapping import check_unchanged, stamps
from seedbed.tokenizer.chat_template import ChatTemplate, missing_template
from seedbed.tokenizer.newlines import normalised
from seedbed.tokenizer.tokenizer import Tokenizer
from seedbed.train.seed import offset_seed


class GenerateRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to generate. `checkpoint` is a model folder; sample k of `num_samples` uses the seed `seed` + k.

    The model continues the text `prompt`, or answers the chat `messages`, with the chat template named `template` (None: the
    folder's default) and the JSON schemas of `tools`. Settings that are None are those that the folder
    recommends, else defaults (jobs/generation_settings.py). `precision`: see `generation_dtype`.
    """

    checkpoint: str
    prompt: str = ""
    messages: tuple[dict[str, str], ...] = ()
    template: str | None = None
    tools: tuple[dict[str, Any], ...] | None = None
    max_new_tokens: int = 100
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    num_samples: int = 1
    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"


def main(arguments: Sequence[str]) -> int:
    """Answer the generation request on stdin; returns the exit status."""
    return answer_request(GenerateRequest, answer)


def answer(request: GenerateRequest) -> Iterator[dict[str, Any]]:
    """Yield the lines of the answer: one about the model, then for each sample its chunks of text and a last line.

    In the first line, `unknown` lists the parts of the prompt without a token, which the model does not see, `settings` the
    settings used, and `recommended` those of them that the model's folder recommends; `ignored` has the impossible values
    in its generation_config.json, if any. Of a chat, `template` is the name of
    the template, and `ignores_tools` whether it writes nothing about the tools. `emulated`: the CPU computes bf16 slowly.
    Raises UsageError for an invalid request, SeedbedError for a model that cannot be loaded.
    """
    if request.num_samples < 1:
        raise UsageError(
            f"The number of samples must be at least 1, not {request.num_samples}.", "Use --num-samples 1 or more."
        )
    base = request.seed if request.seed is not None else time.time_ns() % 2**31
    folder = Path(request.checkpoint)
    settings = chosen_settings({name: getattr(request, name) for name in DEFAULTS}, folder)

    def sampling(sample: int) -> Sampling:
        return Sampling(
            max_new_tokens=request.max_new_tokens,
            stop=tuple(map(normalised, request.stop)),
            seed=offset_seed(base, sample),
            **settings.values,  # type: ignore[arg-type]
        )

    sampling(0)  # raises for invalid settings before a model is loaded
    device = generation_device(request.device)
    dtype = generation_dtype(device, folder, request.precision)
    verify_weights(folder)
    tokenizer = Tokenizer.of_model(folder)
    prompt = read_prompt(request, tokenizer)
    before = stamps(folder)
    model = load_folder(folder, device=device, dtype=dtype, mapped=True)
    context = model.config.longest_context
    if request.messages and len(prompt.ids) >= context:
        raise UsageError(
            f"The chat has {len(prompt.ids)} tokens, but the model's context has only {context}.",
            "Shorten the messages.",
        )
    yield {
        "ready": True,
        "seed": base,
        "device": str(device),
        "precision": "bf16" if dtype == torch.bfloat16 else "fp32",
        "prompt_tokens": len(prompt.ids),
        "dropped_tokens": 0 if request.messages else tokens_over(len(prompt.ids), request.max_new_tokens, context),
        "unknown": tokenizer.unknown_in(prompt.text),
        "context": context,
        "settings": settings.values,
        "recommended": settings.recommended,
        **({"ignored": settings.ignored} if settings.ignored else {}),
        **({"template": prompt.template} if prompt.template else {}),
        **({"ignores_tools": True} if prompt.ignores_tools else {}),
        **(
            {"emulated": True} if dtype == torch.bfloat16 and device.type == "cpu" and cpu.probe().emulates_bf16 else {}
        ),
    }
    for sample in range(request.num_samples):
        begun = time.perf_counter()
        stream = GeneratedText(model, tokenizer, prompt.ids if request.messages else prompt.text, sampling(sample))
        for chunk in stream:
            yield {"sample": sample, "text": chunk}
        if model.uses_files:
            check_unchanged(before)
        yield {
            "sample": sample,
            "done": True,
            "finish": stream.finish,
            "tokens": stream.num_tokens,
            "seed": offset_seed(base, sample),
            "elapsed_s": time.perf_counter() - begun,
        }


class Prompt(NamedTuple):
    """What the model reads: the text that the user gave, and the token ids made of it; of a chat, how its template made them."""

    text: str
    ids: list[int]
    template: str = ""
    ignores_tools: bool = False


def read_prompt(request: GenerateRequest, tokenizer: Tokenizer) -> Prompt:
    """The prompt of a request: a text with the tokenizer's ids before it, or a chat through the folder's chat template.

    Raises SeedbedError for a chat if the folder has no chat template, or the template fails; UsageError if it has none with
    the name of the request.
    """
    if not request.messages:
        text = normalised(request.prompt)
        return Prompt(text, [*tokenizer.prefix_ids, *tokenizer.encode(text)])
    folder = Path(request.checkpoint)
    template = ChatTemplate.of(folder)
    if template is None:
        raise missing_template(folder)
    messages = [{name: normalised(each) for name, each in message.items()} for message in request.messages]
    text = "\n".join(message.get("content", "") for message in messages)
    name = template.chosen(has_tools=request.tools is not None, name=request.template)
    ids = template.encode(tokenizer, messages, request.tools, name=name)
    ignores_tools = bool(request.tools) and template.ignores_tools(messages, request.tools or (), name)
    return Prompt(text, ids, name, ignores_tools)


def generation_dtype(device: torch.device, folder: Path, precision: str = "auto") -> torch.dtype:
    """The dtype to generate in: that of `precision` (fp32 or bf16), or the best for device and folder (auto).

    That is bf16 on a GPU that has it; on a CPU only if it is fast there and the weights are stored in it. A CPU without
    instructions for bf16 emulates it, up to 100 times more slowly. Weights that are stored in fp32 are used as they are, because
    the losses of their run were measured with them.
    """
    if precision != "auto":
        return {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    config = read_json(folder / CONFIG)
    stored = config.get("dtype") or config.get("torch_dtype") if isinstance(config, dict) else None
    is_fast = device.type == "cpu" and cpu.probe().fast_bf16 and torch.backends.mkldnn.is_available()
    return torch.bfloat16 if is_fast and stored == "bfloat16" else torch.float32


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
