"""Errors for unknown commands and options, with what was probably meant. Imported only if there is such an error."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from typing import Any

from seedbed.cli.commands import COMMANDS, NAMED_KEYS
from seedbed.config.keys import keys
from seedbed.config.roots import ROOTS, TRAIN, Root
from seedbed.config.spelling import any_of, did_you_mean, edits
from seedbed.config.synonyms import OTHER_UNITS, meant
from seedbed.config.unknown_keys import nearest_keys
from seedbed.errors import UsageError
from seedbed.text import printable, shorten

_COMMANDS = {
    "train": "begin create fit launch learn new pretrain run start trainer",
    "simulate": "cluster emulate rehearse sim simulation simulator",
    "tui": "dashboard gui live monitor top ui watch window",
    "status": "describe get info inspect progress show stat state",
    "runs": "all experiments history jobs list ls",
    "queue": "jobs-queue ps qstat squeue waiting",
    "curve": "chart curves draw graph loss losses plot",
    "metrics": "csv data-export history-csv steps table",
    "logs": "journal output stdout tail",
    "stop": "abort cancel end halt interrupt kill quit scancel terminate",
    "pause": "freeze hold suspend",
    "save": "checkpoint ckpt snapshot",
    "resume": "continue extend go-on restart unpause",
    "rename": "mv name",
    "tag": "label labels tags untag",
    "note": "annotate comment describe-run notes",
    "archive": "hide",
    "unarchive": "unhide",
    "delete": "del destroy erase remove rm",
    "du": "df disk size usage",
    "prune": "clean cleanup clear gc purge",
    "generate": "ask chat complete infer inference predict prompt sample text write",
    "evaluate": "benchmark bpb compare eval perplexity ppl test validate",
    "score": "accuracy grade judge",
    "models": "checkpoints download hub model model-info pull show-model weights",
    "prepare": "dataset import ingest make-dataset",
    "data": "datasets dedupe merge-data",
    "config": "configs configure conf options params parameters settings",
    "presets": "models-list preset sizes zoo",
    "doctor": "check-env checkup diagnose env health selftest sysinfo verify",
    "completion": "autocomplete completions",
}
"""Command -> words that other programs use for the same command. None of these words is a command of Seedbed."""

_EXPORT = "Every checkpoint is a folder that transformers can open: `seedbed status RUN` shows its path. "
_ANSWERS = dict.fromkeys(("convert", "export", "push", "upload"), _EXPORT)
"""Commands of other programs that Seedbed does not need -> what to do instead."""


def unknown_command(word: str) -> UsageError:
    """The error to raise for a command that does not exist, with the command that was probably meant."""
    shown = shorten(printable(word), 40)
    plain = word.lower().replace("_", "-")
    if plain in ("help", "version"):
        return UsageError(f'There is no command "{shown}".', f"Did you mean `seedbed --{plain}`?")
    elsewhere = next((name for name, words in _COMMANDS.items() if name in COMMANDS and plain in words.split()), None)
    if plain in _ANSWERS and plain not in COMMANDS:
        return UsageError(f'There is no command "{shown}".', f"{_ANSWERS[plain]}`seedbed --help` lists the commands.")
    close = [elsewhere] if elsewhere else near(plain, COMMANDS)
    hint = f"{did_you_mean([f'`seedbed {name}`' for name in close])}`seedbed --help` lists the commands."
    return UsageError(f'There is no command "{shown}".', hint)


def unknown_argument(parser: argparse.ArgumentParser, words: Sequence[str], strange: str) -> UsageError:
    """The error to raise for an option or argument that a command does not have, with what was probably meant."""
    typed, _, value = strange.partition("=")
    shown = shorten(printable(typed), 40)
    if words[0] not in COMMANDS:
        command = next((word for word in words if word in COMMANDS), None)
        if command is None:
            return UsageError(f'seedbed does not take "{shown}".', "`seedbed --help` lists the commands.")
        hint = f"Options come after the command: `seedbed {command} --help` lists them."
        return UsageError(f'"{shown}" comes before the command.', hint)
    used, name = _deepest(parser, words)
    listed = f"`{name} --help` lists the options."
    if not typed.startswith("-"):
        # An extra word is often part of a text without quotes.
        hint = f"A text of several words needs quotes. {listed}"
        return UsageError(f'{name} takes no further argument, but "{shown}" was given.', hint)
    known = [option for action in used._actions for option in action.option_strings]
    given = value or _value_after(words, typed)
    own = getattr(used, "synonyms", {})
    root = ROOTS.get(_value_after(words, "--kind"), TRAIN)
    guess = _option(typed, known, own, given, root)
    return UsageError(f'{name} does not take "{shown}".', f"Did you mean {guess}? {listed}" if guess else listed)


def _option(typed: str, known: list[str], own: dict[str, str], value: str, root: Root[Any]) -> str | None:
    """The option that was probably meant by `typed`, or `--set` with a config key if the command has that option.

    Returns None if nothing similar is known. `known` has the options of the command; `own` maps options of other
    programs to these.
    """
    plain = "--" + typed.lower().lstrip("-").replace("_", "-")
    if plain in known or plain in own:
        return own.get(plain, plain)
    if "--set" in known and (key := _key(plain[2:], root)):
        return _setting(key, known, root, "" if key in OTHER_UNITS else shorten(printable(value), 40))
    long = [option for option in known if option.startswith("--")]
    close = near(plain, long) if len(plain) > 3 else []
    if not close:  # a part of its name: --samples for --num-samples
        close = [option for option in long if plain[2:] in option[2:].split("-")] if len(plain) > 4 else []
    if not close and "--set" in known and len(plain) > 4:
        close = [_setting(key, known, root) for key in nearest_keys(plain[2:].replace("-", "_"), root)]
    return any_of(close) if close else None


def _setting(key: str, known: list[str], root: Root[Any], value: str = "") -> str:
    """How to set a config key: its own option, such as `--lr`, else `--set KEY=VALUE` with the help text of the key."""
    named = [option for option, path in NAMED_KEYS.items() if path == key and option in known]
    return named[0] if named else f"`--set {key}={value or 'VALUE'}` ({keys(root)[key].help.rstrip('.')})"


def _key(name: str, root: Root[Any]) -> str | None:
    """The path of the config key that has this name in Seedbed or in another program; None if there is none."""
    plain = name.replace("-", "_")
    if plain in keys(root):
        return plain
    here = [key.path for key in keys(root).values() if key.name == plain]
    return here[0] if len(here) == 1 else meant(plain, keys(root))


def near(word: str, known: Iterable[str]) -> list[str]:
    """At most three of the words `known` that `word` may stand for: those that begin with it, else similar ones.

    The similar ones are those with the smallest edit distance, if that is small.
    """
    names = list(known)
    if len(word.lstrip("-")) > 1 and (begun := [name for name in names if name.startswith(word)]):
        return begun[:3]
    limit = max(1, len(word.lstrip("-")) // 3)
    slips = {name: edits(word, name) for name in names}
    least = min(slips.values(), default=limit + 1)
    return [name for name in names if slips[name] == least][:3] if least <= limit else []


def _deepest(parser: argparse.ArgumentParser, words: Sequence[str]) -> tuple[argparse.ArgumentParser, str]:
    """The parser of the command or subcommand in `words`, and its full name, such as `seedbed config show`."""
    used, called = parser, ["seedbed"]
    for word in words:
        nested = [each for each in used._actions if isinstance(each, argparse._SubParsersAction)]
        if not nested:
            break
        if word in nested[0].choices:
            used = nested[0].choices[word]
            called.append(word)
    return used, " ".join(called)


def _value_after(words: Sequence[str], option: str) -> str:
    """The word after an option in `words`; "" if there is none, or if the next word is an option."""
    after = [*words[words.index(option) + 1 :]] if option in words else []
    return after[0] if after and not after[0].startswith("-") else ""
