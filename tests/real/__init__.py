"""Tests on real models and tokenizers, which are fetched by package name and never committed."""
