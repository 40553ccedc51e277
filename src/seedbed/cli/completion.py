"""`seedbed completion`: print the code for shell completion."""

from __future__ import annotations

import argparse

DESCRIPTION = "Print shell code that completes commands, options and runs with the Tab key."
EXAMPLES = """\
  seedbed completion bash >> ~/.bashrc
  seedbed completion zsh >> ~/.zshrc
  seedbed completion fish > ~/.config/fish/completions/seedbed.fish
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `completion` to the parser."""
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), help="which shell")


def run(arguments: argparse.Namespace) -> int:
    """Print the code that the shell needs for completion."""
    import argcomplete.shell_integration

    from seedbed.cli.console import say

    say(argcomplete.shell_integration.shellcode(["seedbed"], shell=arguments.shell))
    return 0
