"""`seedbed score`: score the stories that a model generates."""

from __future__ import annotations

import argparse
from contextlib import closing

from seedbed.cli.argument_types import whole
from seedbed.cli.model_choice import ask, checkpoint_option, choose_model, complete_model, temperature_option
from seedbed.cli.parser import json_option, runs_option

DESCRIPTION = """\
Generate stories with a model that was trained on the built-in stories, and check each sentence: whether it fits the
stories' world, and whether it occurs word for word in the training text. A text without a complete sentence counts as
one wrong sentence; the generation of a text ends if a sentence becomes far too long. Without RUN, score the newest run
with a checkpoint.
"""
EXAMPLES = """\
  seedbed score
  seedbed score quickstart --sentences 1000 --seed 2
  seedbed score quickstart@best --json
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `score` to the parser."""
    add = parser.add_argument
    model = add(
        "ref",
        metavar="RUN",
        nargs="?",
        help="a run, RUN@STEP, or the path of one of its checkpoints (default: the newest with a checkpoint)",
    )
    model.completer = complete_model  # type: ignore[attr-defined]
    add("--sentences", metavar="N", type=whole(1), default=200, help="check N sentences (default: 200)")
    temperature_option(parser, "as in generate (default: 0.8)")
    add("--seed", metavar="N", type=whole(0), default=1, help="the same seed gives the same texts (default: 1)")
    checkpoint_option(parser)
    runs_option(parser)
    json_option(parser, "the result")


def run(arguments: argparse.Namespace) -> int:
    """Generate stories and check them in a child process, and print the scores."""
    from seedbed import actions
    from seedbed.cli.console import say, say_json, set_temporary_line
    from seedbed.hub.names import is_hub_reference
    from seedbed.text import printable

    if is_hub_reference(arguments.ref or ""):  # before it is downloaded
        raise _not_in_a_run(printable(arguments.ref))
    chosen = choose_model(actions.store(arguments.runs), arguments.ref, arguments.checkpoint)
    if chosen.run is None:
        raise _not_in_a_run(chosen.name())
    request = {
        "config": str(chosen.run.config),
        "sentences": arguments.sentences,
        "temperature": arguments.temperature,
        "seed": arguments.seed,
    }
    outcome: dict[str, object] = {}
    set_temporary_line("loading the model ...")
    with closing(ask(chosen, "score", request)) as answers:
        for answer in answers:
            if "done" in answer:
                set_temporary_line(f"{answer['done']} of {answer['total']} sentences")
            else:
                outcome = answer
    set_temporary_line()
    if arguments.json:
        say_json({"run": chosen.run.id, **outcome})
        return 0
    for line in describe(outcome):
        say(line)
    return 0


def _not_in_a_run(name: str) -> Exception:
    from seedbed.errors import UsageError

    return UsageError(
        f'"{name}" cannot be scored: it is in no run, whose config says which stories it was trained on.',
        "Give a run, or a checkpoint in the folder of a run.",
    )


def describe(outcome: dict[str, object]) -> list[str]:
    """The scores of the stories as lines of text."""
    from seedbed import text

    lines = [
        f"{outcome['passed']} of {text.plural(int(str(outcome['sentences'])), 'sentence')} fit the stories' world"
        f" ({outcome['pass_rate']:.1%});",
        f"{outcome['verbatim_rate']:.1%} occur word for word in the training text.",
    ]
    if outcome["cut"]:
        lines.append(
            f"{text.plural(int(str(outcome['cut'])), 'text')} of {outcome['stories']} had {outcome['cut_tokens']} tokens"
            " without the end of a sentence, and were cut there."
        )
    reasons = outcome["reasons"]
    if isinstance(reasons, dict) and reasons:
        lines.append("Errors: " + ", ".join(f"{text.printable(str(why))} ({n})" for why, n in reasons.items()))
    failed = outcome["failed"]
    if isinstance(failed, list):
        lines += [
            f'  "{text.printable(str(each["sentence"]))}": {text.printable(str(each["reason"]))}' for each in failed[:3]
        ]
    return lines
