"""Measures how well models predict a text: the text, windows, losses of tokens, and their statistics."""
