"""`seedbed presets`: list the presets with model size, hardware and time."""

from __future__ import annotations

import argparse
import textwrap

from seedbed.cli.parser import json_option

DESCRIPTION = (
    "List the presets. Any value of a preset can be changed; `seedbed config show --preset NAME` prints all of them."
)
EXAMPLES = """\
  seedbed presets
  seedbed train --preset tiny
  seedbed train --preset nano --set model.layers=6      a preset with one value changed
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `presets` to the parser."""
    json_option(parser, "an object by name")


def run(arguments: argparse.Namespace) -> int:
    """Print the presets with model size, hardware and time."""
    from seedbed import text
    from seedbed.cli.console import paint, say, say_json, width
    from seedbed.config.preset import preset_about, preset_names
    from seedbed.config.roots import TRAIN

    if arguments.json:
        say_json({name: preset_about(name, TRAIN) for name in preset_names(TRAIN)})
        return 0
    for number, name in enumerate(preset_names(TRAIN)):
        about = preset_about(name, TRAIN)
        if number:
            say()
        say(f"{paint(name, 'bold')}  {text.count(about['parameters'])} parameters")
        for label, key in (("", "description"), ("hardware: ", "hardware"), ("time: ", "expected_time")):
            for line in textwrap.wrap(f"{label}{about[key]}", width() - 2):
                say("  " + line)
    return 0
