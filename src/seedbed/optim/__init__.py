"""Optimizers (AdamW, Muon) and learning-rate schedules."""
