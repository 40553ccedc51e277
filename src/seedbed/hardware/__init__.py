"""Probes of CPU, memory and GPU. Each missing value comes with a reason."""
