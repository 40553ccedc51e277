"""Splits a dataset into training and evaluation rows so that no evaluation answer is visible in training."""
