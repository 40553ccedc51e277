"""`seedbed doctor`: check this machine and installation."""

from __future__ import annotations

import argparse
from typing import Any

from seedbed.cli.parser import json_option

DESCRIPTION = """\
Check this machine and installation: hardware, packages, speed, and whether a training step works. Print each problem
with a command that fixes it. Nothing is changed. The exit status is 1 if training cannot work.
"""
EXAMPLES = """\
  seedbed doctor
  seedbed doctor --device cuda:1
  seedbed doctor --json          for a bug report
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `doctor` to the parser."""
    parser.add_argument("--device", default="auto", help="the device to check, as in train (default: auto)")
    json_option(parser, "the whole report")


def run(arguments: argparse.Namespace) -> int:
    """Check machine and installation in a child process, and print the report."""
    from seedbed import actions
    from seedbed.cli.console import say, say_json, set_temporary_line

    found: dict[str, Any] = {}
    set_temporary_line("checking, which takes a few seconds ...")
    with actions.child("doctor", arguments=[f"--device={arguments.device}"], ok_statuses=(0, 1)) as answers:
        for answer in answers:
            found = answer
    set_temporary_line()
    if arguments.json:
        say_json(found)
    else:
        for line in describe(found):
            say(line)
    return 1 if any(problem["level"] == "error" for problem in found.get("problems", [])) else 0


def describe(found: dict[str, Any]) -> list[str]:
    """The report on machine and installation as lines of text."""
    from seedbed import text
    from seedbed.cli.console import paint

    lines = [f"  {paint(f'{label:<10}', 'dim')}{text.printable(value)}" for label, value in figures(found)]
    problems = found.get("problems", [])
    if all(problem["level"] == "note" for problem in problems):
        lines += ["", paint("No problems found: training works.", "green")]
    styles = {"error": "bold red", "warning": "bold yellow"}
    for problem in problems:
        word = paint(problem["level"] + ":", styles.get(problem["level"], "bold"))
        lines += ["", f"{word} " + text.printable(f"{problem['what']} {problem['why']}".strip())]
        if problem["fix"]:
            lines.append("  " + text.printable(problem["fix"]))
    return lines


def figures(found: dict[str, Any]) -> list[tuple[str, str]]:
    """The label and value of each fact about the machine in the report, such as its memory."""
    from seedbed import text
    from seedbed.text import size

    cpu, memory, torch = found["cpu"], found["memory"], found.get("torch") or {}
    fast = ", fast bf16" if cpu.get("fast_bf16") else ""
    shown = [
        ("seedbed", f"{found['seedbed']}, Python {found['python']['version']}"),
        ("system", found["platform"]),
        (
            "processor",
            f"{cpu.get('name') or 'unknown'}, {text.plural(cpu['cores'], 'core') if cpu.get('cores') else '? cores'}{fast}",
        ),
        ("memory", f"{size(memory['total_bytes'])}, {size(memory['available_bytes'])} free"),
        ("disk", f"{size(found['disk']['free_bytes'])} free in {found['disk']['path']}"),
        ("cache", found["cache"]["path"] or "none"),
    ]
    for gpu in found["gpus"]:
        memory_size = f", {size(gpu['total_bytes'])}" if gpu.get("total_bytes") else ""
        shown.append(("gpu", f"{gpu.get('name') or 'unknown'}{memory_size}"))
    if not found["gpus"]:
        shown.append(("gpu", f"none: {found.get('no_gpu') or 'unknown'}"))
    if torch:
        shown.append(("torch", f"{torch['version']}, {text.plural(torch['threads'], 'thread')}"))
    device = found.get("device")
    if device:
        shown.append(("trains on", f"{device['torch_device']} ({device['name']}), {device['precision']}"))
    rates = [
        f"{name} {gigaflops(rate)} GFLOP/s"
        for name in ("fp32", "bf16")
        if (rate := (found.get("matmul") or {}).get(f"{name}_flops_per_s"))
    ]
    if rates:
        shown.append(("matmul", ", ".join(rates)))
    missing = [f"{extra['name']} ({extra['install']})" for extra in found["extras"] if extra["missing"]]
    shown.append(("extras", "missing: " + ", ".join(missing) if missing else "all installed"))
    return shown


def gigaflops(rate: float) -> str:
    """Billions of operations per second as text; below 10 with two significant digits, so that few do not show as 0."""
    value = rate / 1e9
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"
