"""Probes of CPU, memory and GPU. They give a reason for each missing value."""
