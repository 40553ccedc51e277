"""Checkpoints: folders that are written whole or not at all, and that other programs open as models."""
