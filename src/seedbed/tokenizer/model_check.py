"""Checks the tokenizer and the chat templates of a model folder before any work, as the work itself would find them.

What needs a library runs in a process of its own, because front ends do not import it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from seedbed import files
from seedbed.checkpoint.marker import CONFIG, RESTORE
from seedbed.checkpoint.tokenizer_files import TOKENIZER_JSON
from seedbed.errors import SeedbedError
from seedbed.text import printable, quoted, shorten
from seedbed.tokenizer.chat_template import ChatTemplate
from seedbed.tokenizer.facts import TokenizerFacts, tokenizer_facts
from seedbed.tokenizer.model_files import DEFAULT_TEMPLATE, generation_object, unloadable

_COMMAND = (sys.executable, "-P", "-m", "seedbed.tokenizer.library_loading")


def usable_tokenizer(folder: Path) -> TokenizerFacts:
    """What the tokenizer files of a model folder say.

    Raises SeedbedError if one is missing or damaged, if generation_config.json is damaged, or if no token ends a text, or
    if the tokenizers library cannot load tokenizer.json.
    """
    config = files.read_json(folder / CONFIG, RESTORE)
    facts = tokenizer_facts(folder, [config if isinstance(config, dict) else {}, generation_object(folder)])
    error = loading_problem(folder)
    if error is not None:
        raise error
    return facts


def loading_problem(folder: Path) -> SeedbedError | None:
    """Why the tokenizers library cannot load the tokenizer.json of a folder; None if it can.

    This takes a tenth of a second for a small vocabulary, and half a second for 150,000 tokens.
    """
    done = subprocess.run([*_COMMAND, str(folder / TOKENIZER_JSON)], capture_output=True, check=False)
    if done.returncode == 0:
        return None
    try:
        reason = str(json.loads(done.stdout))
    except ValueError:  # the process ended in another way
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        reason = lines[-1] if lines else f"exit status {done.returncode}"
    error = unloadable(shorten(printable(reason), 400))
    return SeedbedError(f"{quoted(folder)}: {error.message}", error.hint)


def template_problems(folder: Path) -> list[tuple[SeedbedError, bool]]:
    """Why chat templates of a folder cannot be used: they cannot be read, are empty, or are not valid Jinja.

    With each whether the template is the one of a chat that names none, so that the folder cannot chat.
    """
    try:
        found = ChatTemplate.of(folder)
    except SeedbedError as error:
        return [(error, True)]
    if found is None:
        return []
    is_usual = found.names[0] if len(found.names) == 1 else DEFAULT_TEMPLATE
    return [(error, name == is_usual) for name, error in found.problems()]
