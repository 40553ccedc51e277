"""The commands, and the options that set a key of the config."""

from __future__ import annotations

COMMANDS: dict[str, tuple[str, str]] = {
    "train": ("train", "train a language model and watch it learn"),
    "tui": ("tui", "watch and steer runs in a full-screen terminal"),
    "status": ("status", "how a run stands"),
    "runs": ("runs", "list the runs"),
    "queue": ("queue", "what runs, and what waits for its turn"),
    "curve": ("curve", "draw a run's losses"),
    "metrics": ("metrics", "every step of a run as CSV or JSON lines"),
    "logs": ("logs", "what happened in a run, and what its job printed"),
    "stop": ("stop", "ask a run to stop and save"),
    "pause": ("pause", "ask a run to save and hold"),
    "save": ("save", "ask a run for a checkpoint now"),
    "resume": ("resume", "go on with a run, or train it further"),
    "rename": ("rename", "give a run another name"),
    "tag": ("tag", "add, take away or print a run's tags"),
    "note": ("note", "write, change or print a note on a run"),
    "archive": ("archive", "leave runs out of the list"),
    "unarchive": ("unarchive", "list archived runs again"),
    "delete": ("delete", "remove runs and all that they saved"),
    "du": ("du", "what runs and caches take up on disk"),
    "prune": ("prune", "remove old runs, checkpoints or caches"),
    "generate": ("generate", "let a trained model write"),
    "score": ("score", "how well a model tells the built-in stories"),
    "config": ("config", "show or check a config"),
    "presets": ("presets", "list the presets: model, hardware, time"),
    "doctor": ("doctor", "examine this machine and installation"),
    "completion": ("completion", "print the shell's completion code"),
}
"""Command -> (module in seedbed.cli, what it does)."""

NAMED_KEYS = {
    "--data": "data.source",
    "--data-path": "data.path",
    "--lr": "optimizer.lr",
    "--steps": "train.steps",
    "--epochs": "train.epochs",
    "--tokens": "train.tokens",
    "--batch-size": "train.batch_size",
    "--context": "model.context",
    "--seed": "train.seed",
    "--device": "train.device",
    "--strict-device": "train.strict_device",
    "--precision": "train.precision",
}
"""Option -> the key of the config that it sets, for every command that takes a config."""
