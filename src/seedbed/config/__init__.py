"""Configs: their tables, layers, presets and rules, and what a model of a config costs. Does not look at the machine or at runs."""
