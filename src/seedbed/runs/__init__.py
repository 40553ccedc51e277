"""Runs: their directories, event logs, status, queue, checkpoints and curves."""
