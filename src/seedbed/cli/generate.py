"""`seedbed generate`: generate text with a trained model, also of a run that is still training."""

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
Generate text that continues a prompt. RUN is a run, which may still be training, or the path of a checkpoint or another
model folder; without RUN, the newest run with a checkpoint. The prompt is the argument after RUN, --prompt, a file or
stdin; the default is the prompt of the run's samples. In a pipe, stdout is the prompt, the new text and a newline.
"""
EXAMPLES = """\
  seedbed generate "Once upon a time"                              from the newest run with a checkpoint
  seedbed generate quickstart "The fox" -n 80 --temp 0.8 --top-k 40
  seedbed generate quickstart --prompt "The fox" --temp 0          greedy decoding
  seedbed generate quickstart --checkpoint 200 --num-samples 3 --seed 7 --stop '\\n\\n'
  seedbed generate runs/ID/checkpoints/step-00000200 "The fox"
  cat opening.txt | seedbed generate quickstart > story.txt
"""
SYNONYMS = {
    "--file": "--prompt-file",
    "--length": "--max-new-tokens",
    "--max-length": "--max-new-tokens",
    "--model": "the name of a run or the path of a checkpoint, as an argument without an option",
    "--n-predict": "--max-new-tokens",
    "--num-return-sequences": "--num-samples",
    "--num-tokens": "--max-new-tokens",
    "--repeat-penalty": "--repetition-penalty",
    "--samples": "--num-samples",
    "--tokens": "--max-new-tokens",
}
"""Options of other programs -> the equivalent here."""

_PATIENCE_S = 2.0
"""How long to wait for data from a pipe before a note says so."""


def options(parser: argparse.ArgumentParser) -> None:
    """The options of `generate`."""
    words = parser.add_argument(
        "words",
        metavar="RUN PROMPT",
        nargs="*",
        help="a run or a model folder's path, then the prompt; both are optional",
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
        help="generate at most N tokens (default: 100)",
    )
    temperature_option(parser, "0 is greedy, 1 the model's probabilities (default: 0.8)")
    add("--top-k", metavar="K", type=whole(0), default=0, help="sample from the K likeliest tokens (default: 0, off)")
    add("--top-p", metavar="P", type=real(0, 1), default=1.0, help="sample from the likeliest of total probability P")
    add("--min-p", metavar="P", type=real(0, 1), default=0.0, help="drop tokens below P times the top probability")
    add(
        "--repetition-penalty", metavar="R", type=real(0), default=1.0, help="above 1 makes repeated tokens less likely"
    )
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
    checkpoint_option(parser)
    runs_option(parser)
    json_option(parser, "one object per sample, one per line,")


def temperature_option(parser: argparse.ArgumentParser, help_text: str) -> None:
    """The option --temperature."""
    parser.add_argument("--temperature", "--temp", metavar="T", type=real(0), default=0.8, help=help_text)


def checkpoint_option(parser: argparse.ArgumentParser) -> None:
    """The option --checkpoint: a checkpoint of the run."""
    parser.add_argument(
        "--checkpoint", metavar="WHICH", help="a step, `latest`, `best`, or a model folder's path (default: latest)"
    )


def whole(low: int) -> Callable[[str], int]:
    """An argument type: a whole number of at least `low`."""

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
    """Find the model, generate in a child process, print the text."""
    from seedbed import actions

    store = actions.store(arguments.runs)
    ref, prompt = run_and_prompt(store, arguments)
    chosen = choose_model(store, ref, arguments.checkpoint)
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
                note_unknown(answer.get("unknown") or [])
            elif "text" in answer:
                writer.text(answer["sample"], answer["text"])
            elif answer.get("done"):
                writer.done(answer)
    return 0


# Which model ---------------------------------------------------------------------------------------------------------


class ChosenModel(NamedTuple):
    """The model of a command line: a run and one of its checkpoints, or a model folder and the run in which it lies."""

    run: RunDir | None
    checkpoint: str | None
    folder: Path | None

    def name(self) -> str:
        """The name of the run, or the folder."""
        from seedbed.text import printable

        return printable(self.run.name() if self.run else str(self.folder))


def choose_model(store: Store, ref: str | None, checkpoint: str | None) -> ChosenModel:
    """The run or model folder that `ref` names. Raises UsageError if it names neither."""
    from seedbed import actions
    from seedbed.errors import UsageError
    from seedbed.runs.models import model_folder, run_of
    from seedbed.runs.store import UnknownRunError
    from seedbed.text import printable

    folder = model_folder(ref) if ref else None
    if folder is not None and "/" not in str(ref):  # a run of that name has priority
        try:
            return ChosenModel(store.find(ref), checkpoint, None)
        except UnknownRunError:
            pass
    if folder is not None:
        if checkpoint is not None:
            raise UsageError(
                f'"{printable(str(ref))}" is a checkpoint, and --checkpoint names another one.',
                "Give one of the two.",
            )
        return ChosenModel(run_of(folder), None, folder)
    found = store.find(ref, fits=actions.has_checkpoint, wanted="run with a checkpoint")
    return ChosenModel(found, checkpoint, None)


def ask(chosen: ChosenModel, command: str, request: Mapping[str, Any]) -> Generator[dict[str, Any], None, None]:
    """The answers of a child process about the chosen model."""
    from seedbed import actions

    if chosen.folder is not None or chosen.run is None:
        return actions.ask_model(command, Path(chosen.folder or ""), request)
    return actions.ask_checkpoint(command, chosen.run, chosen.checkpoint, request)


# The prompt ----------------------------------------------------------------------------------------------------------


def run_and_prompt(store: Store, arguments: argparse.Namespace) -> tuple[str | None, str | None]:
    """RUN and the prompt, each None if it is not given.

    A single argument is RUN if it names a run or a model folder, else the prompt if it cannot be a misspelt name.
    """
    from seedbed.errors import UsageError
    from seedbed.files import expand_home
    from seedbed.text import printable, shorten

    words: list[str] = arguments.words
    given = arguments.prompt is not None or arguments.prompt_file is not None
    if len(words) > 2:
        joined = shorten(printable(" ".join(words)), 60)
        raise UsageError(
            f"generate takes a RUN and a prompt, and was given {len(words)} words: {joined}",
            'Put the prompt in quotes: seedbed generate RUN "Once upon a time"',
        )
    if len(words) == 2 and not given:
        refuse_unquoted_prompt(store, words)
    if len(words) == 2 and given:
        raise UsageError("The prompt is given twice, after RUN and by an option.", "Give one of the two.")
    prompt = words[1] if len(words) == 2 else arguments.prompt
    ref = words[0] if words else None
    if len(words) == 1 and not given and is_prompt(store, words[0]):
        ref, prompt = None, words[0]
    if arguments.prompt_file is not None:
        return ref, from_file(expand_home(arguments.prompt_file))
    if prompt == "-":
        return ref, decoded(sys.stdin.buffer.read() if sys.stdin else b"", "stdin").removesuffix("\n")
    if prompt is not None:
        return ref, decoded(prompt.encode("utf-8", "surrogateescape"), "the command line")
    raw = piped()
    return ref, decoded(raw, "stdin").removesuffix("\n") if raw else None


def is_prompt(store: Store, word: str) -> bool:
    """Whether a word is a prompt: it names no run or folder and cannot be a misspelt name.

    Raises UsageError if it can be a misspelt name, with a hint how to pass it as the prompt.
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
        store.find(word)
    except UnknownRunError as error:
        known = [name.casefold() for run in store.all() for name in (run.name(), run.id)]
        misspelt = difflib.get_close_matches(word.casefold(), known, n=1, cutoff=0.75)
        text = any(char.isspace() for char in word) or not (NAME.fullmatch(word) or "/" in word)
        if text and not misspelt:
            return True
        shown = shlex.quote(printable(word))
        as_prompt = f"--prompt-file {shown}" if is_file(Path(word)) else f"--prompt {shown}"
        error.hint = f"{error.hint} To use it as the prompt: seedbed generate {as_prompt}"
        raise
    return False


def refuse_unquoted_prompt(store: Store, words: list[str]) -> None:
    """Raise UsageError if the first of two words names no run or model folder: the prompt may lack its quotes."""
    import shlex

    from seedbed.runs.models import model_folder
    from seedbed.runs.store import UnknownRunError
    from seedbed.text import printable

    if model_folder(words[0]):
        return
    try:
        store.find(words[0])
    except UnknownRunError as error:
        both = shlex.quote(printable(" ".join(words)))
        error.hint = f"{error.hint} To use both words as the prompt: seedbed generate --prompt {both}"
        raise


def is_file(path: Path) -> bool:
    """Whether a file exists; False if the path is invalid."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def from_file(path: Path) -> str:
    """The text of a prompt file without its last line break. Raises UsageError if it cannot be read."""
    from seedbed.errors import UsageError

    try:
        raw = path.read_bytes()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f'Cannot read the prompt from "{path}": {why}.', "Check the path.") from error
    return decoded(raw, str(path)).removesuffix("\n")


def piped() -> bytes | None:
    """The bytes from a pipe or a redirected file on stdin; None from a terminal or /dev/null, or if there are none."""
    import select
    import stat

    from seedbed.cli.console import note

    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (AttributeError, OSError, ValueError):  # stdin is closed or missing
        return None
    if stat.S_ISFIFO(mode):
        if not select.select([sys.stdin], [], [], _PATIENCE_S)[0]:
            note("Waiting for the prompt on stdin. (Or give it with --prompt TEXT.)")
    elif not stat.S_ISREG(mode):
        return None
    return sys.stdin.buffer.read() or None


def decoded(raw: bytes, source: str) -> str:
    """The prompt, decoded and normalised like training text: no byte-order mark, newlines as line ends."""
    import codecs

    from seedbed.errors import UsageError

    try:
        return normalised(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        kind = "UTF-16" if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "ITS_ENCODING"
        raise UsageError(
            f"The prompt ({source}) is not UTF-8 text (byte {error.start}).",
            f"Convert it first: iconv -f {kind} -t UTF-8 FILE",
        ) from error


def note_unknown(pieces: Sequence[str]) -> None:
    """Print on stderr which parts of the prompt the model cannot see."""
    from seedbed.cli.console import note
    from seedbed.presentation.wording import unknown_to_tokenizer

    message = unknown_to_tokenizer(pieces)
    if message:
        note(message)


# Output --------------------------------------------------------------------------------------------------------------


def loading(line: str) -> None:
    """Show a temporary line on a terminal, about work that takes long; "" removes it."""
    from seedbed.cli.console import set_temporary_line

    set_temporary_line(line)


class Writer:
    """Prints samples while they are generated."""

    def text(self, sample: int, chunk: str) -> None:
        """Take a piece of a sample."""
        raise NotImplementedError

    def done(self, end: dict[str, Any]) -> None:
        """Take the end of a sample."""
        raise NotImplementedError


class PipeWriter(Writer):
    """Writes each sample as its exact bytes: prompt, generated text, newline."""

    def __init__(self, prompt: str) -> None:
        self._prompt = prompt
        self._begun = -1

    def text(self, sample: int, chunk: str) -> None:
        """Write and flush it."""
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
    """Prints each sample on a terminal: the prompt in bold, no control characters, figures on stderr."""

    def __init__(self, prompt: str, num_samples: int) -> None:
        self._prompt = prompt
        self._num_samples = num_samples
        self._begun = -1

    def text(self, sample: int, chunk: str) -> None:
        """Print it."""
        from seedbed.cli.console import paint
        from seedbed.text import printable

        if sample != self._begun:
            self._begun = sample
            if self._num_samples > 1:
                print(paint(f"{chr(10) if sample else ''}sample {sample + 1} of {self._num_samples}", "dim"))
            print(paint(printable(self._prompt, newlines=True), "bold"), end="")
        print(printable(chunk, newlines=True), end="", flush=True)

    def done(self, end: dict[str, Any]) -> None:
        """End the line and print the figures."""
        from seedbed.cli.console import note, paint
        from seedbed.presentation.generation import result_text

        if end["sample"] != self._begun:
            self.text(end["sample"], "")
        print(flush=True)
        note(paint(result_text([end]), "dim", sys.stderr))


class JsonWriter(Writer):
    """Prints one JSON object per sample, at its end."""

    def __init__(self, about: dict[str, Any]) -> None:
        self._about = about
        self._chunks: list[str] = []

    def text(self, sample: int, chunk: str) -> None:
        """Keep it."""
        self._chunks.append(chunk)

    def done(self, end: dict[str, Any]) -> None:
        """Print the object."""
        figures = {key: value for key, value in end.items() if key != "done"}
        print(json.dumps({**self._about, "text": "".join(self._chunks), **figures}), flush=True)
        self._chunks.clear()
