"""The smallest model and text that a job trains in tests, as values for `--set`."""

from __future__ import annotations

MODEL_AND_DATA = (
    "model.layers=1",
    "model.hidden=16",
    "model.heads=2",
    "model.kv_heads=1",
    "model.head_dim=8",
    "model.ffn=16",
    "model.context=16",
    "tokenizer.vocab_size=300",
    "data.stories=40",
    "data.workers=1",
)
