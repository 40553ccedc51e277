"""The entry point of the command line: runs the typed command, turns errors into messages and exit statuses."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from seedbed.cli import streams
from seedbed.errors import EXIT_FAILURE, EXIT_INTERRUPTED, SeedbedError

EXIT_PIPE = 141
"""The exit status of a program whose output was closed (128 + SIGPIPE)."""


def main(words: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit status: 0 success, 1 failure, 2 wrong usage, 130 interrupted."""
    streams.prepare()
    try:
        return _status(words)
    finally:
        streams.discard_unwritten()


def _status(words: Sequence[str] | None) -> int:
    """Run one command line; returns the exit status."""
    try:
        try:
            status = _run(sys.argv[1:] if words is None else list(words))
        except SystemExit as leaving:
            status = leaving.code if isinstance(leaving.code, int) else 0 if leaving.code is None else EXIT_FAILURE
        sys.stdout.flush()
    except SeedbedError as error:
        from seedbed.cli.console import print_error

        print_error(error)
        return EXIT_FAILURE if error.exit_code not in (EXIT_FAILURE, 2) else error.exit_code
    except BrokenPipeError:
        return EXIT_PIPE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except OSError as error:
        from seedbed.cli.console import note

        note(f"error: {error.filename or 'output'}: {error.strerror or error}")
        return EXIT_FAILURE
    return status


def _run(words: list[str]) -> int:
    from seedbed.cli.commands import COMMANDS
    from seedbed.cli.parser import build

    if not words:
        # Shell completion calls the program without arguments. For a person who does, the help is printed.
        return _complete_or_help()
    if not words[0].startswith("-") and words[0] not in COMMANDS:
        from seedbed.cli.hints import unknown_command

        raise unknown_command(words[0])
    if words[0].startswith("-") and words[0] not in ("-h", "--help", "--version"):
        from seedbed.cli.hints import unknown_argument

        raise unknown_argument(build([]), words, words[0])
    parser = build(words)
    arguments, strange = parser.parse_known_args(words)
    if strange:
        from seedbed.cli.hints import unknown_argument

        raise unknown_argument(parser, words, strange[0])
    if not hasattr(arguments, "run"):
        build([]).error("a command is missing")
    try:
        status: int = arguments.run(arguments)
    except SeedbedError as error:
        if getattr(arguments, "runs", None):
            from seedbed.cli.store_option import with_runs_option

            error.hint = with_runs_option(error.hint, arguments.runs)
        raise
    return status


def _complete_or_help() -> int:
    from seedbed.cli.parser import build
    from seedbed.config.environment import env

    if env("_ARGCOMPLETE"):
        import argcomplete

        from seedbed.cli.completers import attach

        parser = build()
        attach(parser)
        argcomplete.autocomplete(parser)
    build([]).print_help()
    return 0


if __name__ == "__main__":
    sys.exit(main())
