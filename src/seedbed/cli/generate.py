"""`seedbed generate`: let a trained model write, also one that is still training."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seedbed.cli.parser import json_option, run_option, runs_option

if TYPE_CHECKING:
    from seedbed.runs.store import RunDir

DESCRIPTION = """\
Let a run's model go on with a prompt, from its newest checkpoint or another; the run may still be training.
Piped, stdout is the prompt, what follows it, and a newline; nothing else. Without RUN, the newest with a checkpoint.
"""
EXAMPLES = """\
  seedbed generate --prompt "Once upon a time"
  seedbed generate quickstart --prompt "The fox" --max-new-tokens 80 --temperature 0.8 --top-k 40
  seedbed generate quickstart --prompt "The fox" --temperature 0           always the likeliest token
  seedbed generate quickstart --checkpoint 200 --num-samples 3 --seed 7
  cat opening.txt | seedbed generate quickstart --prompt - > story.txt
"""


def options(parser: argparse.ArgumentParser) -> None:
    """The options of `generate`."""
    run_option(parser, "which run (default: the newest with a checkpoint)")
    prompt = parser.add_mutually_exclusive_group()
    prompt.add_argument(
        "--prompt", metavar="TEXT", help="what the model goes on from; - reads stdin (default: the run's own)"
    )
    prompt.add_argument("--prompt-file", metavar="FILE", type=Path, help="read the prompt from a file")
    add = parser.add_argument
    add("--max-new-tokens", metavar="N", type=whole(1), default=100, help="write at most N tokens (default: 100)")
    add(
        "--temperature",
        metavar="T",
        type=real(0),
        default=0.8,
        help="0 is greedy, 1 the model's odds (default: 0.8)",
    )
    add(
        "--top-k",
        metavar="K",
        type=whole(0),
        default=0,
        help="choose among the K likeliest tokens (default: 0, off)",
    )
    add("--top-p", metavar="P", type=real(0, 1), default=1.0, help="choose among the likeliest of total probability P")
    add("--min-p", metavar="P", type=real(0, 1), default=0.0, help="drop tokens below P times the likeliest one's odds")
    add("--repetition-penalty", metavar="R", type=real(0), default=1.0, help="above 1 discourages tokens already there")
    add("--stop", metavar="TEXT", action="append", default=[], help="end before this text; may be given often")
    add("--seed", metavar="N", type=whole(0), help="the same seed writes the same text (default: another each time)")
    add("--num-samples", metavar="N", type=whole(1), default=1, help="write N texts, seeded SEED, SEED + 1, ...")
    add("--checkpoint", metavar="WHICH", help="a step, `latest`, `best`, or a model folder's path (default: latest)")
    runs_option(parser)
    json_option(parser, "one object per sample, a line each,")


def whole(low: int) -> Callable[[str], int]:
    """An argument type: a whole number from `low`."""

    def parse(word: str) -> int:
        try:
            value = int(word)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{word!r} is not a whole number") from None
        if not low <= value < 2**63:
            raise argparse.ArgumentTypeError(f"{word} is not {low} or more" if value < low else f"{word} is too large")
        return value

    return parse


def real(low: float, high: float = math.inf) -> Callable[[str], float]:
    """An argument type: a finite number between `low` and `high`."""

    def parse(word: str) -> float:
        try:
            value = float(word)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{word!r} is not a number") from None
        if not (math.isfinite(value) and low <= value <= high):
            bounds = f"{low:g} or more" if high == math.inf else f"between {low:g} and {high:g}"
            raise argparse.ArgumentTypeError(f"{word} is not {bounds}")
        return value

    return parse


def run(arguments: argparse.Namespace) -> int:
    """Find the checkpoint, start the writer, print what it writes."""
    from seedbed import actions
    from seedbed.text import printable

    found = actions.store(arguments.runs).find(
        arguments.ref, fits=actions.has_checkpoint, wanted="run with a checkpoint"
    )
    prompt = prompt_text(arguments, found)
    request = {
        "prompt": prompt,
        "max_new_tokens": arguments.max_new_tokens,
        "temperature": arguments.temperature,
        "top_k": arguments.top_k,
        "top_p": arguments.top_p,
        "min_p": arguments.min_p,
        "repetition_penalty": arguments.repetition_penalty,
        "stop": arguments.stop,
        "seed": arguments.seed,
        "num_samples": arguments.num_samples,
    }
    writer: Writer
    if arguments.json:
        writer = JsonWriter({"run": found.id, "prompt": prompt})
    elif sys.stdout.isatty():
        writer = TerminalWriter(prompt, arguments.num_samples)
    else:
        writer = PipeWriter(prompt)
    loading(f"loading {printable(found.name())} ...")
    with closing(actions.ask_checkpoint("generate", found, arguments.checkpoint, request)) as answers:
        for answer in answers:
            if "ready" in answer:
                loading("")
            elif "text" in answer:
                writer.text(answer["sample"], answer["text"])
            elif answer.get("done"):
                writer.done(answer)
    return 0


def prompt_text(arguments: argparse.Namespace, found: RunDir) -> str:
    """The prompt: given, from stdin or a file (one last newline taken off), or the run's first sample prompt."""
    from seedbed.config.load import load_frozen
    from seedbed.errors import SeedbedError, UsageError
    from seedbed.files import expand_home

    if arguments.prompt is None and arguments.prompt_file is None:
        try:
            prompts = load_frozen(found.config).train.sample_prompts
        except SeedbedError:
            return ""
        return prompts[0] if prompts else ""
    place = str(arguments.prompt_file or "stdin")
    if arguments.prompt not in (None, "-"):
        raw, place = str(arguments.prompt).encode("utf-8", "surrogateescape"), "--prompt"
    elif arguments.prompt == "-":
        raw = sys.stdin.buffer.read().removesuffix(b"\n")
    else:
        try:
            raw = expand_home(arguments.prompt_file).read_bytes().removesuffix(b"\n")
        except OSError as error:
            raise UsageError(f"Cannot read the prompt from {place}: {error.strerror}.", "Check the path.") from error
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"The prompt ({place}) is not UTF-8 text (byte {error.start}).", "Convert it first."
        ) from error


def loading(words: str) -> None:
    """Say on the terminal what takes so long, and take that away again; nothing where stderr is no terminal."""
    from seedbed.cli.console import wipe

    wipe(words)


class Writer:
    """Something that prints samples as they come."""

    def text(self, sample: int, chunk: str) -> None:
        """A piece of a sample."""
        raise NotImplementedError

    def done(self, end: dict[str, Any]) -> None:
        """A sample is whole."""
        raise NotImplementedError


class PipeWriter(Writer):
    """Prompt, continuation, newline; byte for byte."""

    def __init__(self, prompt: str) -> None:
        self._prompt = prompt
        self._begun = -1

    def text(self, sample: int, chunk: str) -> None:
        """Write it through."""
        if sample != self._begun:
            self._begun = sample
            chunk = self._prompt + chunk
        sys.stdout.buffer.write(chunk.encode())
        sys.stdout.buffer.flush()

    def done(self, end: dict[str, Any]) -> None:
        """End the line."""
        if end["sample"] != self._begun:
            self.text(end["sample"], "")
        sys.stdout.buffer.write(b"\n")
        sys.stdout.buffer.flush()


class TerminalWriter(Writer):
    """The same for eyes: streamed, the prompt set apart, nothing that steers the terminal; figures on stderr."""

    def __init__(self, prompt: str, num_samples: int) -> None:
        self._prompt = prompt
        self._num_samples = num_samples
        self._begun = -1

    def text(self, sample: int, chunk: str) -> None:
        """Show it at once."""
        from seedbed.cli.console import paint
        from seedbed.text import printable

        if sample != self._begun:
            self._begun = sample
            if self._num_samples > 1:
                print(paint(f"{chr(10) if sample else ''}sample {sample + 1} of {self._num_samples}", "dim"))
            print(paint(printable(self._prompt, newlines=True), "bold"), end="")
        print(printable(chunk, newlines=True), end="", flush=True)

    def done(self, end: dict[str, Any]) -> None:
        """End the line and tell the figures."""
        from seedbed.cli.console import note, paint

        if end["sample"] != self._begun:
            self.text(end["sample"], "")
        print(flush=True)
        speed = f", {end['tokens'] / end['elapsed_s']:.0f} tokens/s" if end["elapsed_s"] > 0 else ""
        why = "ended by itself" if end["finish"] == "stop" else "length reached"
        note(paint(f"{end['tokens']} tokens{speed}, {why}, seed {end.get('seed')}", "dim", sys.stderr))


class JsonWriter(Writer):
    """One object per sample, when it is whole."""

    def __init__(self, about: dict[str, Any]) -> None:
        self._about = about
        self._chunks: list[str] = []

    def text(self, sample: int, chunk: str) -> None:
        """Keep it."""
        self._chunks.append(chunk)

    def done(self, end: dict[str, Any]) -> None:
        """Print the object."""
        told = {key: value for key, value in end.items() if key != "done"}
        print(json.dumps({**self._about, "text": "".join(self._chunks), **told}), flush=True)
        self._chunks.clear()
