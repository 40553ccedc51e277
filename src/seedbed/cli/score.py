"""`seedbed score`: how well a model tells stories of the built-in world."""

from __future__ import annotations

import argparse
from contextlib import closing

from seedbed.cli.generate import ask, checkpoint_option, choose_model, loading, temperature_option, whole
from seedbed.cli.parser import json_option, run_option, runs_option

DESCRIPTION = """\
Let a model that was trained on the built-in stories write some, and let the corpus's own checker read them: which
sentences are right in that world, and which stand word for word in the training text. A text without a whole sentence
counts as a wrong one; one that goes on without ending a sentence is cut. Without RUN, the newest.
"""
EXAMPLES = """\
  seedbed score
  seedbed score quickstart --sentences 1000 --seed 2
  seedbed score quickstart --json
"""


def options(parser: argparse.ArgumentParser) -> None:
    """The options of `score`."""
    run_option(parser, "which run, or the path of one of its checkpoints (default: the newest with a checkpoint)")
    add = parser.add_argument
    add("--sentences", metavar="N", type=whole(1), default=200, help="judge N sentences (default: 200)")
    temperature_option(parser, "as in generate (default: 0.8)")
    add("--seed", metavar="N", type=whole(0), default=1, help="the same seed writes the same texts (default: 1)")
    checkpoint_option(parser)
    runs_option(parser)
    json_option(parser, "the figures")


def run(arguments: argparse.Namespace) -> int:
    """Let it write, print what the checker found."""
    from seedbed import actions
    from seedbed.cli.console import say, say_json
    from seedbed.errors import UsageError

    chosen = choose_model(actions.store(arguments.runs), arguments.ref, arguments.checkpoint)
    if chosen.run is None:
        raise UsageError(
            f'"{chosen.name()}" lies in no run, and only the config of a run says which stories it was trained on.',
            "Name a run, or a checkpoint in its folder.",
        )
    request = {
        "config": str(chosen.run.config),
        "sentences": arguments.sentences,
        "temperature": arguments.temperature,
        "seed": arguments.seed,
    }
    outcome: dict[str, object] = {}
    loading("loading the model ...")
    with closing(ask(chosen, "score", request)) as answers:
        for answer in answers:
            if "done" in answer:
                loading(f"{answer['done']} of {answer['total']} sentences")
            else:
                outcome = answer
    loading("")
    if arguments.json:
        say_json({"run": chosen.run.id, **outcome})
        return 0
    for line in describe(outcome):
        say(line)
    return 0


def describe(outcome: dict[str, object]) -> list[str]:
    """The figures for people."""
    from seedbed import text

    said = [
        f"{outcome['passed']} of {text.plural(int(str(outcome['sentences'])), 'sentence')} fit the stories' world"
        f" ({outcome['pass_rate']:.1%});",
        f"{outcome['verbatim_rate']:.1%} of them stand word for word in the training text.",
    ]
    if outcome["cut"]:
        said.append(
            f"{text.plural(int(str(outcome['cut'])), 'text')} of {outcome['stories']} went on for {outcome['cut_tokens']} tokens"
            " without the end of a sentence, and were cut there."
        )
    reasons = outcome["reasons"]
    if isinstance(reasons, dict) and reasons:
        said.append("What was wrong: " + ", ".join(f"{text.printable(str(why))} ({n})" for why, n in reasons.items()))
    failed = outcome["failed"]
    if isinstance(failed, list):
        said += [
            f'  "{text.printable(str(each["sentence"]))}": {text.printable(str(each["reason"]))}' for each in failed[:3]
        ]
    return said
