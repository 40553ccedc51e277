"""`seedbed generate`: generate text with a trained model, also of a run that is still training."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

from seedbed.cli.argument_types import file_path, real, whole
from seedbed.cli.model_choice import (
    MODEL_FORMS,
    ask,
    checkpoint_option,
    choose_model,
    complete_model,
    temperature_option,
)
from seedbed.cli.parser import json_option, runs_option
from seedbed.cli.prompt import decoded, run_and_prompt
from seedbed.cli.sample_output import JsonWriter, PipeWriter, TerminalWriter, Writer
from seedbed.tokenizer.newlines import unescaped

DESCRIPTION = """\
Generate text that continues a prompt. RUN is a run, which may still be training, RUN@STEP, the path of a checkpoint or
another model folder, or hub:NAME; without RUN, the newest run with a checkpoint. The prompt is the argument after RUN,
--prompt, a file or stdin; the default is the prompt of the run's samples. In a pipe, the output is the prompt, the new
text and a newline.

With --chat, the prompt is a message, and the model answers it: the folder's chat template makes the text that the model
reads. Then the output is the answer alone. Control tokens in the prompt, such as <|im_end|>, stay text. Some folders
have several templates, which `seedbed models DIR` lists; --template chooses one. --tools describes functions that the
model may call: a JSON list of {"type": "function", "function": {"name": ..., "description": ..., "parameters": {...}}}.

Settings that you do not give come from the folder's generation_config.json if it recommends any, which a line on stderr
says.
"""
EXAMPLES = """\
  seedbed generate "Once upon a time"                              from the newest run with a checkpoint
  seedbed generate quickstart "The fox" -n 80 --temp 0.8 --top-k 40
  seedbed generate quickstart --prompt "The fox" --temp 0          greedy decoding
  seedbed generate quickstart --checkpoint 200 --num-samples 3 --seed 7 --stop '\\n\\n'
  seedbed generate runs/ID/checkpoints/step-00000200 "The fox"
  seedbed generate ~/models/SmolLM2-135M-Instruct --chat "What is the capital of France?"
  seedbed generate hub:HuggingFaceTB/SmolLM2-135M-Instruct --chat "What is the capital of France?"
  seedbed generate ~/models/Qwen3-0.6B --chat "How warm is it in Oslo?" --tools tools.json
  seedbed generate quickstart@best "The fox"
  cat opening.txt | seedbed generate quickstart > story.txt
"""
SYNONYMS = {
    "--apply-chat-template": "--chat",
    "--chat-template": "--template",
    "--conversation": "--chat",
    "--file": "--prompt-file",
    "--instruct": "--chat",
    "--length": "--max-new-tokens",
    "--max-length": "--max-new-tokens",
    "--model": "the name of a run or the path of a checkpoint, as an argument without an option",
    "--n-predict": "--max-new-tokens",
    "--num-return-sequences": "--num-samples",
    "--num-tokens": "--max-new-tokens",
    "--dtype": "--precision",
    "--torch-dtype": "--precision",
    "--repeat-penalty": "--repetition-penalty",
    "--samples": "--num-samples",
    "--template-name": "--template",
    "--functions": "--tools",
    "--tools-file": "--tools",
    "--system-prompt": "--system",
    "--tokens": "--max-new-tokens",
}
"""Option of another program -> the equivalent in Seedbed."""
_OF_CHATS = {"system": "the system prompt", "template": "the template", "tools": "the list of tools"}
SETTINGS = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
MAX_NEW_TOKENS, MAX_ANSWER_TOKENS = 100, 512


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `generate` to the parser."""
    words = parser.add_argument(
        "words",
        metavar="RUN PROMPT",
        nargs="*",
        help=f"{MODEL_FORMS}; then the prompt; both are optional",
    )
    words.completer = complete_model  # type: ignore[attr-defined]
    prompt = parser.add_mutually_exclusive_group()
    prompt.add_argument("-p", "--prompt", metavar="TEXT", help="the text that the model continues; - reads stdin")
    prompt.add_argument("--prompt-file", metavar="FILE", type=file_path, help="read the prompt from a file")
    add = parser.add_argument
    add("--chat", action="store_true", help="answer the prompt as a message, through the model's chat template")
    add("--system", metavar="TEXT", help="the system prompt of the chat")
    add(
        "--template",
        metavar="NAME",
        help="the chat template, if the folder has several (default: `default`, or with --tools `tool_use`, if there is one)",
    )
    add(
        "--tools", metavar="FILE", type=file_path, help="a JSON file with the tools that the model may call in the chat"
    )
    add(
        "-n",
        "--max-new-tokens",
        "--max-tokens",
        metavar="N",
        type=whole(1),
        help=f"generate at most N tokens (default: {MAX_NEW_TOKENS}; with --chat: {MAX_ANSWER_TOKENS})",
    )
    _sampling_options(parser)
    add(
        "--stop",
        metavar="TEXT",
        type=unescaped,
        action="append",
        default=[],
        help=r"stop before this text (\n: line break, \t: tab, \\: backslash); may be repeated",
    )
    add(
        "--seed",
        metavar="N",
        type=whole(0),
        help="the same seed gives the same text (default: a different one each time)",
    )
    add("--num-samples", metavar="N", type=whole(1), default=1, help="generate N texts, with seeds SEED, SEED + 1, ...")
    add(
        "--precision",
        choices=("auto", "fp32", "bf16"),
        default="auto",
        help="the numbers to compute in (default: auto: bf16 on a CUDA GPU, and for bf16 weights on a CPU that is fast at it)",
    )
    checkpoint_option(parser)
    runs_option(parser)
    json_option(parser, "one object per sample, one per line,")


def _sampling_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how the next token is chosen. What is not given is None: the model's process decides."""
    add = parser.add_argument
    temperature_option(parser, "0: greedy decoding; 1: the model's own probabilities (default: 0.8)")
    add("--top-k", metavar="K", type=whole(0), help="sample from the K likeliest tokens (default: 0, off)")
    add("--top-p", metavar="P", type=real(0, 1), help="sample from the likeliest tokens of total probability P")
    add("--min-p", metavar="P", type=real(0, 1), help="drop tokens below P times the top probability")
    add("--repetition-penalty", metavar="R", type=real(0), help="above 1 makes repeated tokens less likely")
    parser.set_defaults(temperature=None)


def run(arguments: argparse.Namespace) -> int:
    """Find the model, generate in a child process, and print the text."""
    from seedbed import actions
    from seedbed.cli.console import set_temporary_line, temporary_room
    from seedbed.text import shorten_start

    store = actions.store(arguments.runs)
    ref, prompt = run_and_prompt(store, arguments)
    messages = chat_messages(arguments, prompt)
    chat = chat_request(arguments, messages)
    chosen = choose_model(store, ref, arguments.checkpoint)
    if prompt is None:
        prompt = actions.default_prompt(chosen.run) if chosen.run else ""
    request = {
        **(chat if messages else {"prompt": prompt}),
        "max_new_tokens": arguments.max_new_tokens or (MAX_ANSWER_TOKENS if messages else MAX_NEW_TOKENS),
        "stop": arguments.stop,
        "seed": arguments.seed,
        "num_samples": arguments.num_samples,
        "precision": arguments.precision,
        **{name: value for name in SETTINGS if (value := getattr(arguments, name)) is not None},
    }
    writer: Writer
    if arguments.json:
        about = {
            key: value for key, value in chat.items() if key != "template"
        }  # the answer names the one that was used
        writer = JsonWriter({"run": chosen.run.id if chosen.run else None, "prompt": prompt, **about})
    elif sys.stdout.isatty():
        writer = TerminalWriter("" if messages else prompt, arguments.num_samples)
    else:
        writer = PipeWriter("" if messages else prompt)
    set_temporary_line(f"loading {shorten_start(chosen.name(), temporary_room() - len('loading  ...'))} ...")
    with closing(ask(chosen, "generate", request)) as answers:
        for answer in answers:
            if "ready" in answer:
                set_temporary_line()
                note_unknown(answer.get("unknown") or [])
                note_dropped(answer)
                note_ignored_settings(answer.get("ignored") or {})
                note_recommended(answer.get("recommended") or {})
                note_ignored_tools(answer)
                note_emulated(answer)
                writer.ready(answer)
            elif "text" in answer:
                writer.text(answer["sample"], answer["text"])
            elif answer.get("done"):
                writer.done(answer)
    return 0


def chat_messages(arguments: argparse.Namespace, prompt: str | None) -> list[dict[str, str]]:
    """The messages of a chat: the system prompt, if one is given, and the prompt; none without --chat.

    Raises UsageError for a chat without a prompt or with an empty one, and for options of a chat without --chat.
    """
    from seedbed.errors import UsageError

    if not arguments.chat:
        for name, what in _OF_CHATS.items():
            if getattr(arguments, name) is not None:
                raise UsageError(f"--{name} is {what} of a chat, but --chat is missing.", "Add --chat.")
        return []
    if not prompt or prompt.isspace():
        raise UsageError(
            "A chat needs a message.", 'Give it with --prompt: seedbed generate RUN --chat --prompt "Hello!"'
        )
    system = []
    if arguments.system is not None:
        text = decoded(arguments.system.encode("utf-8", "surrogateescape"), "--system")
        system = [{"role": "system", "content": text}]
    return [*system, {"role": "user", "content": prompt}]


def chat_request(arguments: argparse.Namespace, messages: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """The part of the request that describes a chat; empty without messages.

    Raises UsageError if the file of the tools cannot be used.
    """
    from seedbed.files import expand_home
    from seedbed.tokenizer.tool_schemas import read_tools

    if not messages:
        return {}
    found: dict[str, Any] = {"messages": messages}
    if arguments.template is not None:
        found["template"] = decoded(arguments.template.encode("utf-8", "surrogateescape"), "--template")
    if arguments.tools is not None:
        found["tools"] = read_tools(expand_home(arguments.tools))
    return found


def note_ignored_tools(answer: Mapping[str, Any]) -> None:
    """Print a warning on stderr if the chat template writes nothing about the tools."""
    from seedbed.cli.console import note
    from seedbed.presentation.generation import ignored_tools_text

    if answer.get("ignores_tools"):
        note(f"warning: {ignored_tools_text(answer['template'])}")


def note_emulated(answer: Mapping[str, Any]) -> None:
    """Print a warning on stderr if the CPU computes bf16 slowly."""
    from seedbed.cli.console import note

    if answer.get("emulated"):
        note("warning: this CPU has no bf16 instructions and emulates them, up to 100 times more slowly than fp32")


def note_ignored_settings(settings: Mapping[str, Any]) -> None:
    """Print a warning on stderr if the model's folder recommends impossible settings."""
    from seedbed.cli.console import note
    from seedbed.presentation.generation import ignored_text

    if settings:
        note(f"warning: {ignored_text(settings)}")


def note_recommended(settings: Mapping[str, float]) -> None:
    """Print on stderr which settings come from the model's folder, if any."""
    from seedbed.cli.console import note
    from seedbed.presentation.generation import recommended_text

    if settings:
        note(recommended_text(settings))


def note_dropped(answer: Mapping[str, Any]) -> None:
    """Print on stderr that the model does not read the beginning of the prompt, if it is too long."""
    from seedbed.cli.console import note
    from seedbed.presentation.generation import dropped_text

    if answer.get("dropped_tokens"):
        note(dropped_text(answer["dropped_tokens"], answer["prompt_tokens"], answer["context"]))


def note_unknown(pieces: Sequence[str]) -> None:
    """Print on stderr which parts of the prompt the tokenizer does not know, if any."""
    from seedbed.cli.console import note
    from seedbed.presentation.wording import unknown_to_tokenizer

    message = unknown_to_tokenizer(pieces)
    if message:
        note(message)
