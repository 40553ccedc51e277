"""The prompt of `seedbed generate`: an argument, an option, a file or stdin."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from seedbed.tokenizer.newlines import normalised

if TYPE_CHECKING:
    from seedbed.runs.store import Store

_PATIENCE_S = 2.0
"""Seconds to wait for data from a pipe before a note says that the command waits."""


def run_and_prompt(store: Store, arguments: argparse.Namespace) -> tuple[str | None, str | None]:
    """Find out which arguments of `seedbed generate` are RUN and the prompt. Each is None if it is not given.

    A single argument is RUN if it names a model (see actions/model_references.py). Otherwise it is the prompt, unless it
    looks like a misspelt name. Raises UsageError for other arguments, and for a prompt that cannot be read.
    """
    from seedbed.errors import UsageError
    from seedbed.files import expand_home
    from seedbed.text import printable, shorten

    words: list[str] = arguments.words
    given = arguments.prompt is not None or arguments.prompt_file is not None
    if len(words) > 2:
        joined = shorten(printable(" ".join(words)), 60)
        raise UsageError(
            f"generate takes a RUN and a prompt, but {len(words)} arguments were given: {joined}",
            'Put the prompt in quotes: seedbed generate RUN "Once upon a time"',
        )
    if len(words) == 2 and not given:
        refuse_unquoted_prompt(store, words)
    if len(words) == 2 and given:
        raise UsageError("The prompt is given twice: after RUN and as an option.", "Remove one of the two.")
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
    """Whether a word is the prompt: it names no model, and does not look like a misspelt name.

    Raises UsageError if it looks like a misspelt name, or if the name is invalid or ambiguous, with a hint on how to pass it
    as the prompt.
    """
    import difflib
    import shlex

    from seedbed.actions.model_references import locate
    from seedbed.errors import UsageError
    from seedbed.runs.store import NAME, UnknownRunError
    from seedbed.text import printable

    if word == "-":
        return True
    try:
        locate(store, word)
    except UsageError as error:
        known = [name.casefold() for run in store.all() for name in (run.name(), run.id)]
        misspelt = difflib.get_close_matches(word.casefold(), known, n=1, cutoff=0.75)
        text = any(char.isspace() for char in word) or not (NAME.fullmatch(word) or "/" in word)
        if text and not misspelt and isinstance(error, UnknownRunError):
            return True
        shown = shlex.quote(printable(word))
        as_prompt = f"--prompt-file {shown}" if is_file(Path(word)) else f"--prompt {shown}"
        error.hint = f"{error.hint} To use it as the prompt: seedbed generate {as_prompt}"
        raise
    return False


def refuse_unquoted_prompt(store: Store, words: list[str]) -> None:
    """Raise UsageError if the first of two arguments names no model.

    Then quotes around a prompt of several words are probably missing.
    """
    import shlex

    from seedbed.actions.model_references import locate
    from seedbed.runs.store import UnknownRunError
    from seedbed.text import printable

    try:
        locate(store, words[0])
    except UnknownRunError as error:
        both = shlex.quote(printable(" ".join(words)))
        error.hint = f"{error.hint} To use both words as the prompt: seedbed generate --prompt {both}"
        raise


def is_file(path: Path) -> bool:
    """Whether a path is that of an existing file; False for a path that the system rejects."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def from_file(path: Path) -> str:
    """The text of a file that contains the prompt, without its last line break.

    Raises UsageError if it cannot be read.
    """
    from seedbed.errors import UsageError

    try:
        raw = path.read_bytes()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f'Cannot read the prompt from "{path}": {why}.', "Check the path.") from error
    return decoded(raw, str(path)).removesuffix("\n")


def piped() -> bytes | None:
    """Read the bytes from a pipe or a redirected file on stdin.

    Returns None if there are none, or if stdin is a terminal or /dev/null.
    """
    import select
    import stat

    from seedbed.cli.console import note

    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (AttributeError, OSError, ValueError):  # stdin is closed or missing
        return None
    if stat.S_ISFIFO(mode):
        if not select.select([sys.stdin], [], [], _PATIENCE_S)[0]:
            note("Waiting for the prompt on stdin. To give it as an option, use --prompt TEXT.")
    elif not stat.S_ISREG(mode):
        return None
    return sys.stdin.buffer.read() or None


def decoded(raw: bytes, source: str) -> str:
    """The prompt as text, normalised like training text: without byte-order mark, with a newline at each line's end.

    Raises UsageError if the bytes are not UTF-8; `source` is where they come from, for the message.
    """
    import codecs

    from seedbed.errors import UsageError

    try:
        return normalised(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        kind = "UTF-16" if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "ITS_ENCODING"
        raise UsageError(
            f"The prompt ({source}) is not UTF-8 text (byte {error.start}).",
            f"Convert the text first: iconv -f {kind} -t UTF-8 FILE",
        ) from error
