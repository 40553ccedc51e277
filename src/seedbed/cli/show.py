"""`seedbed show`: an endless show of simulated training runs in the terminal."""

from __future__ import annotations

import argparse
from contextlib import suppress
from typing import TYPE_CHECKING

from seedbed.cli.argument_types import file_path, real, whole

if TYPE_CHECKING:
    from seedbed.simulate.show.playlist import Options

DESCRIPTION = """\
Show training runs on clusters of 64 to 1,024 GPUs (or --gpus), one after the other, without end. Everything is
simulated, and every screen says so: no GPU is used, nothing is trained, no network is used, and no file is written,
except by --record. The numbers come from the same models as those of `seedbed plan` and `seedbed simulate`. Failures
are far more frequent.

Equal seeds give equal shows, however fast they are played. Ctrl-C ends the show.
"""
EXAMPLES = """\
  seedbed show
  seedbed show --full-screen                     GPUs as a heat map: u, m, t, p choose what it shows; q quits
  seedbed show --model llama3-70b --gpu H100 --gpus 512
  seedbed show --seed 7 --speed 4 --exit-after 2m
  seedbed show --record show.cast --exit-after 60s    play it with `asciinema play show.cast`
  seedbed show --list                            the models, datasets and GPUs
"""
SYNONYMS = {
    "--exit-after-time": "--exit-after",
    "--speed-factor": "--speed",
    "--modules": "--model",
    "--num-gpus": "--gpus",
    "--list-modules": "--list",
}
_SPEED = (0.1, 1000.0)
_MOST_GPUS = 100_000


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `show` to the parser."""
    add = parser.add_argument
    add("--gpus", metavar="N", type=whole(1), help="number of GPUs: 1 to 100,000 (default: 64 to 1,024, by the seed)")
    add("--model", metavar="NAME", help="only this model (default: another one in each run)")
    add("--gpu", metavar="NAME", help="kind of GPU, such as H100 (default: by the seed)")
    add("--seed", metavar="N", type=whole(0), default=0, help="seed of models, data, failures and noise (0)")
    add("--speed", metavar="X", type=real(*_SPEED), default=1.0, help="how fast to play: 0.1 to 1000 (1)")
    add("--exit-after", metavar="TIME", type=_duration, help="end after this time, such as 90s, 2m or 1h30m")
    views = parser.add_mutually_exclusive_group()
    views.add_argument("--scroll", action="store_true", help="scrolling lines (the default)")
    views.add_argument("--full-screen", action="store_true", help="a full-screen view with a heat map of the GPUs")
    add("--plain", action="store_true", help="no colours, and no lines that change in place")
    add("--record", metavar="FILE", type=file_path, help="also write the show to a new file (asciicast v2)")
    add("--list", action="store_true", help="list the models, datasets and GPUs of the show")


def run(arguments: argparse.Namespace) -> int:
    """Play the show until it is ended; or list what it is made of."""
    if arguments.list:
        _refuse_with_list(arguments)
        _list()
        return 0
    import sys

    from seedbed.cli.show_player import Player, Settings
    from seedbed.config.environment import env
    from seedbed.errors import UsageError

    if arguments.full_screen and (not sys.stdout.isatty() or env("TERM") == "dumb"):
        raise UsageError(
            "--full-screen needs a terminal that can move its cursor.",
            "Leave it out; the lines of the show go to any output.",
        )
    settings = Settings(
        seed=arguments.seed,
        speed=arguments.speed,
        exit_after_s=arguments.exit_after,
        full_screen=arguments.full_screen,
        plain=arguments.plain,
        record=arguments.record,
        # What was asked for may be unknown or impossible, so the first run is planned before anything is shown.
        plan_first=bool(arguments.model or arguments.gpu or arguments.gpus),
    )
    return Player(lambda: _options(arguments), settings).play()


def _options(arguments: argparse.Namespace) -> Options:
    """What the show shows. Raises UsageError for unknown names and impossible numbers."""
    from seedbed.errors import UsageError
    from seedbed.simulate import catalog
    from seedbed.simulate.show import cast
    from seedbed.simulate.show.playlist import Options

    num_gpus, gpu = arguments.gpus, None
    if arguments.gpu:
        typed, gpu = catalog.parse_gpus(arguments.gpu)
        if typed > 1 or arguments.gpu.strip().startswith("1"):
            if num_gpus is not None and num_gpus != typed:
                raise UsageError(
                    f"--gpu says {typed:,} GPUs, and --gpus says {num_gpus:,}.", "Give the number only once."
                )
            num_gpus = typed
    if num_gpus is not None and num_gpus > _MOST_GPUS:
        raise UsageError(f"The show has at most {_MOST_GPUS:,} GPUs, not {num_gpus:,}.", "Write a smaller --gpus.")
    shape = cast.model(arguments.model) if arguments.model else None
    return Options(seed=arguments.seed, num_gpus=num_gpus, gpu=gpu, shape=shape)


def _duration(word: str) -> float:
    """The type of an argument that is a time, such as `90s` or `1h30m`, in seconds. A number alone is seconds, too."""
    from seedbed.config.durations import seconds_of

    is_number = word.strip().replace(".", "", 1).isdecimal()
    seconds = 0.0
    with suppress(ValueError):
        seconds = seconds_of(word + "s" if is_number else word)
    if not seconds:
        raise argparse.ArgumentTypeError(f'"{word}" is not a time above 0, such as 90s, 2m or 1h30m')
    return seconds


def _refuse_with_list(arguments: argparse.Namespace) -> None:
    """Raise UsageError if --list is given together with an option that it would ignore."""
    from seedbed.errors import UsageError

    for name in ("model", "gpu", "gpus", "exit_after", "record"):
        if getattr(arguments, name) is not None:
            option = f"--{name.replace('_', '-')}"
            raise UsageError(
                f"{option} does not apply to --list, which lists everything.", f"Leave out {option} or --list."
            )


def _list() -> None:
    from seedbed import text
    from seedbed.cli.console import paint, say, table
    from seedbed.simulate.show import cast

    shapes = [(each, "fictional") for each in cast.facts().models] + [(each, "") for each in cast.real_models()]
    sections = {
        "Models": (
            ("model", "parameters", "layers", "hidden", ""),
            [
                [each.name, text.count(each.parameters), f"{each.layers}", f"{each.hidden}", note]
                for each, note in shapes
            ],
        ),
        "Datasets": (
            ("dataset", "documents", "tokens", ""),
            [
                [each.name, text.count(each.documents), text.count(each.tokens), "fictional" if each.fictional else ""]
                for each in cast.facts().datasets
            ],
        ),
        "GPUs": (
            ("GPU", "memory", "in a node"),
            [[each.name, f"{each.memory_gib:g} GiB", f"{each.gpus_per_node}"] for each in cast.gpus()],
        ),
    }
    for number, (title, (header, cells)) in enumerate(sections.items()):
        if number:
            say()
        say(paint(title, "bold"))
        for line in table([[text.printable(cell) for cell in row] for row in cells], header, right=header[1:-1]):
            say(line)
