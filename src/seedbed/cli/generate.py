"""`seedbed generate`: let a trained model write, also one that is still training."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from seedbed.cli.parser import complete_run, json_option, runs_option
from seedbed.tokenizer.newlines import normalised, unescaped

if TYPE_CHECKING:
    from seedbed.runs.store import RunDir, Store

DESCRIPTION = """\
Let a model continue a prompt. RUN is a run, which may still be training, or the path of a checkpoint or of another
model folder; without RUN, the newest run with a checkpoint. The prompt is the word after RUN, --prompt, a file, or what
is piped in; without one, the opening that the run's samples have. Piped, stdout is the prompt, what follows it, and a
newline.
"""
EXAMPLES = """\
  seedbed generate "Once upon a time"                              from the newest run with a checkpoint
  seedbed generate quickstart "The fox" -n 80 --temp 0.8 --top-k 40
  seedbed generate quickstart --prompt "The fox" --temp 0          always the likeliest token
  seedbed generate quickstart --checkpoint 200 --num-samples 3 --seed 7 --stop '\\n\\n'
  seedbed generate runs/ID/checkpoints/step-00000200 "The fox"
  cat opening.txt | seedbed generate quickstart > story.txt
"""
SYNONYMS = {
    "--file": "--prompt-file",
    "--length": "--max-new-tokens",
    "--max-length": "--max-new-tokens",
    "--model": "the name of a run, or the path of a checkpoint, without an option",
    "--n-predict": "--max-new-tokens",
    "--num-return-sequences": "--num-samples",
    "--num-tokens": "--max-new-tokens",
    "--repeat-penalty": "--repetition-penalty",
    "--samples": "--num-samples",
    "--tokens": "--max-new-tokens",
}
"""Options of other programs -> what stands for them here."""

_PATIENCE_S = 2.0
"""How long a pipe may bring nothing before we say that we wait for it."""


def options(parser: argparse.ArgumentParser) -> None:
    """The options of `generate`."""
    words = parser.add_argument(
        "words",
        metavar="RUN PROMPT",
        nargs="*",
        help="a run or a model folder's path, then the prompt; either may be left out",
    )
    words.completer = complete_run  # type: ignore[attr-defined]
    prompt = parser.add_mutually_exclusive_group()
    prompt.add_argument("-p", "--prompt", metavar="TEXT", help="what the model continues; - reads stdin")
    prompt.add_argument("--prompt-file", metavar="FILE", type=Path, help="read the prompt from a file")
    add = parser.add_argument
    add(
        "-n",
        "--max-new-tokens",
        "--max-tokens",
        metavar="N",
        type=whole(1),
        default=100,
        help="write at most N tokens (default: 100)",
    )
    temperature_option(parser, "0 is greedy, 1 the model's odds (default: 0.8)")
    add("--top-k", metavar="K", type=whole(0), default=0, help="choose among the K likeliest tokens (default: 0, off)")
    add("--top-p", metavar="P", type=real(0, 1), default=1.0, help="choose among the likeliest of total probability P")
    add("--min-p", metavar="P", type=real(0, 1), default=0.0, help="drop tokens below P times the likeliest one's odds")
    add("--repetition-penalty", metavar="R", type=real(0), default=1.0, help="above 1 discourages tokens already there")
    add(
        "--stop",
        metavar="TEXT",
        type=unescaped,
        action="append",
        default=[],
        help=r"end before this text, in which \n is a line break, \t a tab and \\ a backslash; may be given often",
    )
    add("--seed", metavar="N", type=whole(0), help="the same seed writes the same text (default: another each time)")
    add("--num-samples", metavar="N", type=whole(1), default=1, help="write N texts, seeded SEED, SEED + 1, ...")
    checkpoint_option(parser)
    runs_option(parser)
    json_option(parser, "one object per sample, a line each,")


def temperature_option(parser: argparse.ArgumentParser, help_text: str) -> None:
    """The option --temperature."""
    parser.add_argument("--temperature", "--temp", metavar="T", type=real(0), default=0.8, help=help_text)


def checkpoint_option(parser: argparse.ArgumentParser) -> None:
    """The option --checkpoint: which one of a run."""
    parser.add_argument(
        "--checkpoint", metavar="WHICH", help="a step, `latest`, `best`, or a model folder's path (default: latest)"
    )


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
        if math.isinf(value):
            raise argparse.ArgumentTypeError(f"{word} is too large")
        if not low <= value <= high:
            bounds = f"{low:g} or more" if high == math.inf else f"between {low:g} and {high:g}"
            raise argparse.ArgumentTypeError(f"{word} is not {bounds}")
        return value

    return parse


def run(arguments: argparse.Namespace) -> int:
    """Find the model, start the process that generates, print what it writes."""
    from seedbed import actions

    place = actions.store(arguments.runs)
    ref, prompt = understood(place, arguments)
    chosen = choose_model(place, ref, arguments.checkpoint)
    if prompt is None:
        prompt = actions.default_prompt(chosen.run) if chosen.run else ""
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
        writer = JsonWriter({"run": chosen.run.id if chosen.run else None, "prompt": prompt})
    elif sys.stdout.isatty():
        writer = TerminalWriter(prompt, arguments.num_samples)
    else:
        writer = PipeWriter(prompt)
    loading(f"loading {chosen.name()} ...")
    with closing(ask(chosen, "generate", request)) as answers:
        for answer in answers:
            if "ready" in answer:
                loading("")
                tell_unknown(answer.get("unknown") or [])
            elif "text" in answer:
                writer.text(answer["sample"], answer["text"])
            elif answer.get("done"):
                writer.done(answer)
    return 0


# Which model ---------------------------------------------------------------------------------------------------------


class Chosen(NamedTuple):
    """What a command line names: a run and which checkpoint of it, or a model folder and the run that it lies in."""

    run: RunDir | None
    checkpoint: str | None
    folder: Path | None

    def name(self) -> str:
        """What to call it."""
        from seedbed.text import printable

        return printable(self.run.name() if self.run else str(self.folder))


def choose_model(place: Store, ref: str | None, checkpoint: str | None) -> Chosen:
    """The run, or the model folder, that `ref` names. Raises UsageError where it names neither."""
    from seedbed import actions
    from seedbed.errors import UsageError
    from seedbed.runs.models import model_folder, run_of
    from seedbed.runs.store import UnknownRunError
    from seedbed.text import printable

    folder = model_folder(ref) if ref else None
    if folder is not None and "/" not in str(ref):  # a run of that name comes first
        try:
            return Chosen(place.find(ref), checkpoint, None)
        except UnknownRunError:
            pass
    if folder is not None:
        if checkpoint is not None:
            raise UsageError(
                f'"{printable(str(ref))}" is one checkpoint already, and --checkpoint names another.',
                "Give one of the two.",
            )
        return Chosen(run_of(folder), None, folder)
    found = place.find(ref, fits=actions.has_checkpoint, wanted="run with a checkpoint")
    return Chosen(found, checkpoint, None)


def ask(chosen: Chosen, verb: str, request: Mapping[str, Any]) -> Generator[dict[str, Any], None, None]:
    """The answers of a child about the chosen model."""
    from seedbed import actions

    if chosen.folder is not None or chosen.run is None:
        return actions.ask_model(verb, Path(chosen.folder or ""), request)
    return actions.ask_checkpoint(verb, chosen.run, chosen.checkpoint, request)


# The prompt ----------------------------------------------------------------------------------------------------------


def understood(place: Store, arguments: argparse.Namespace) -> tuple[str | None, str | None]:
    """RUN and the prompt, each None where it is not given.

    One word alone is a run or model folder if there is such a one, else a prompt if it can be nothing but text.
    """
    from seedbed.errors import UsageError
    from seedbed.files import expand_home
    from seedbed.text import printable, shorten

    words: list[str] = arguments.words
    given = arguments.prompt is not None or arguments.prompt_file is not None
    if len(words) > 2:
        said = shorten(printable(" ".join(words)), 60)
        raise UsageError(
            f"generate takes a RUN and a prompt, and was given {len(words)} words: {said}",
            'Put the prompt in quotes: seedbed generate RUN "Once upon a time"',
        )
    if len(words) == 2 and not given:
        refuse_loose_words(place, words)
    if len(words) == 2 and given:
        raise UsageError("The prompt is given twice, after RUN and by an option.", "Give one of the two.")
    prompt = words[1] if len(words) == 2 else arguments.prompt
    ref = words[0] if words else None
    if len(words) == 1 and not given and is_prompt(place, words[0]):
        ref, prompt = None, words[0]
    if arguments.prompt_file is not None:
        return ref, from_file(expand_home(arguments.prompt_file))
    if prompt == "-":
        return ref, decoded(sys.stdin.buffer.read() if sys.stdin else b"", "stdin").removesuffix("\n")
    if prompt is not None:
        return ref, decoded(prompt.encode("utf-8", "surrogateescape"), "the command line")
    raw = piped()
    return ref, decoded(raw, "stdin").removesuffix("\n") if raw else None


def is_prompt(place: Store, word: str) -> bool:
    """Whether a word names no run and no folder, and can be nothing but a prompt.

    Raises UsageError for what may be a misspelt name, with a hint that says how to make it a prompt.
    """
    import difflib
    import shlex

    from seedbed.runs.models import model_folder
    from seedbed.runs.store import NAME, UnknownRunError
    from seedbed.text import printable

    if word == "-":
        return True
    if model_folder(word):
        return False
    try:
        place.find(word)
    except UnknownRunError as error:
        known = [name.casefold() for run in place.all() for name in (run.name(), run.id)]
        misspelt = difflib.get_close_matches(word.casefold(), known, n=1, cutoff=0.75)
        text = any(char.isspace() for char in word) or not (NAME.fullmatch(word) or "/" in word)
        if text and not misspelt:
            return True
        shown = shlex.quote(printable(word))
        as_prompt = f"--prompt-file {shown}" if is_file(Path(word)) else f"--prompt {shown}"
        error.hint = f"{error.hint} To use it as the prompt: seedbed generate {as_prompt}"
        raise
    return False


def refuse_loose_words(place: Store, words: list[str]) -> None:
    """Raise UsageError where two words are a prompt without its quotes rather than a run and a prompt."""
    import shlex

    from seedbed.runs.models import model_folder
    from seedbed.runs.store import UnknownRunError
    from seedbed.text import printable

    if model_folder(words[0]):
        return
    try:
        place.find(words[0])
    except UnknownRunError as error:
        both = shlex.quote(printable(" ".join(words)))
        error.hint = f"{error.hint} To use both words as the prompt: seedbed generate --prompt {both}"
        raise


def is_file(path: Path) -> bool:
    """Whether there is a file; False for what no path can be."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def from_file(path: Path) -> str:
    """The text of a prompt file without its last line break. Raises UsageError where it cannot be read."""
    from seedbed.errors import UsageError

    try:
        raw = path.read_bytes()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f'Cannot read the prompt from "{path}": {why}.', "Check the path.") from error
    return decoded(raw, str(path)).removesuffix("\n")


def piped() -> bytes | None:
    """What is piped in, or comes from a file by `<`; None from a terminal, /dev/null, or where there is nothing."""
    import select
    import stat

    from seedbed.cli.console import note

    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (AttributeError, OSError, ValueError):  # closed, or none at all
        return None
    if stat.S_ISFIFO(mode):
        if not select.select([sys.stdin], [], [], _PATIENCE_S)[0]:
            note("Reading the prompt from stdin. (--prompt TEXT gives one directly.)")
    elif not stat.S_ISREG(mode):
        return None
    return sys.stdin.buffer.read() or None


def decoded(raw: bytes, place: str) -> str:
    """The prompt as training would read it: without a byte-order mark, each line ended by a newline alone."""
    import codecs

    from seedbed.errors import UsageError

    try:
        return normalised(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        kind = "UTF-16" if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "ITS_ENCODING"
        raise UsageError(
            f"The prompt ({place}) is not UTF-8 text (byte {error.start}).",
            f"Convert it first: iconv -f {kind} -t UTF-8 FILE",
        ) from error


def tell_unknown(pieces: Sequence[str]) -> None:
    """Say on stderr what of the prompt the model cannot see."""
    from seedbed.cli.console import note
    from seedbed.presentation.wording import unknown_to_tokenizer

    said = unknown_to_tokenizer(pieces)
    if said:
        note(said)


# What is printed -----------------------------------------------------------------------------------------------------


def loading(words: str) -> None:
    """Say on the terminal what takes so long, and take that away again; nothing where stderr is no terminal."""
    from seedbed.cli.console import set_temporary_line

    set_temporary_line(words)


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
        from seedbed.presentation.generation import result_text

        if end["sample"] != self._begun:
            self.text(end["sample"], "")
        print(flush=True)
        note(paint(result_text([end]), "dim", sys.stderr))


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
