"""The commands, and the options that set a key of the config."""

from __future__ import annotations

COMMANDS: dict[str, tuple[str, str]] = {
    "train": ("train", "train a language model"),
    "simulate": ("simulate", "simulate a training run on a cluster"),
    "show": ("show", "watch simulated training runs on clusters"),
    "tui": ("tui", "manage runs in a full-screen terminal"),
    "status": ("status", "show the state of a run"),
    "runs": ("runs", "list the runs"),
    "queue": ("queue", "show which runs train and which wait"),
    "curve": ("curve", "plot a run's losses"),
    "metrics": ("metrics", "print every step of a run as CSV or JSON lines"),
    "logs": ("logs", "show a run's log and what its job printed"),
    "stop": ("stop", "save a run and stop it"),
    "pause": ("pause", "save a run and pause it"),
    "save": ("save", "save a checkpoint of a run now"),
    "resume": ("resume", "continue a run, or train it further"),
    "rename": ("rename", "rename a run"),
    "tag": ("tag", "add, remove or print a run's tags"),
    "note": ("note", "write, change or print a run's note"),
    "archive": ("archive", "hide runs from the list"),
    "unarchive": ("unarchive", "show archived runs in the list again"),
    "delete": ("delete", "delete runs and everything they saved"),
    "du": ("du", "show the disk usage of runs and caches"),
    "prune": ("prune", "delete old runs, checkpoints or caches"),
    "generate": ("generate", "generate text with a trained model"),
    "evaluate": ("evaluate", "measure loss and bits per byte of models on a text"),
    "score": ("score", "score the stories that a model generates"),
    "models": ("models", "show what a model is, or list the models here"),
    "prepare": ("prepare", "make a dataset from logs, source files or commits"),
    "data": ("data", "merge, split, check and describe datasets"),
    "config": ("config", "show or check a config"),
    "plan": ("plan", "predict time, memory and money of a training"),
    "presets": ("presets", "list the presets with model size, hardware and time"),
    "doctor": ("doctor", "check this machine and installation"),
    "completion": ("completion", "print the code for shell completion"),
}
"""Command -> (its module in seedbed.cli, what the command does)."""

NAMED_KEYS = {
    "--from": "base.model",
    "--data": "data.source",
    "--data-path": "data.path",
    "--lr": "optimizer.lr",
    "--steps": "train.steps",
    "--epochs": "train.epochs",
    "--tokens": "train.tokens",
    "--for": "train.time",
    "--batch-size": "train.batch_size",
    "--context": "model.context",
    "--seed": "train.seed",
    "--device": "train.device",
    "--strict-device": "train.strict_device",
    "--precision": "train.precision",
}
"""Option -> the key of the config that it sets, for every command that takes a config."""
