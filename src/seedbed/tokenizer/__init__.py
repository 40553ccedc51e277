"""Tokenizers: train, load, encode and decode."""
