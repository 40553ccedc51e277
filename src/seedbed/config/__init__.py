"""Configs: their tables of keys, where values come from, presets and rules, and what a model costs.

Does not look at the machine or at runs."""
