"""Configs: their tables, layers, presets and rules, and what a model costs. Does not look at the machine or at runs."""
